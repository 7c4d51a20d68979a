"""What the tasks of one campaign have in common, what a task returns, and how tasks are stopped."""

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from prunelib import datasets, settings
from prunelib.engine import memory
from prunelib.engine.checkpoints import Folder, State
from prunelib.own import Luggage
from prunelib.results.records import Record, commit
from prunelib.runs import Run

Advance = Callable[[float], None]  # told of progress


@dataclass(frozen=True)
class Job:
    """What all tasks of one call share; it travels to the workers with each of them.

    Attributes:
        name: told to `stop` by whoever stops the job.
        device, precision: what is trained on, and what its products are computed in.
        data: the fingerprints of the caller's datasets that are needed, by the dataset's name; a
            worker's must be the same.
        folder: of the caller's checkpoints.
        token: what a file in that folder holds, so that a worker on another machine can tell
            whether it sees the same folder.
        deadline: in seconds since the epoch.
        own: the methods, networks, data and settings that the caller has registered, for workers to
            register.
        caller: the process that they are registered in already.
        compact: whether masked networks are trained without their dead channels (`compaction`).
    """

    name: str
    device: str
    precision: str
    data: dict[str, str]
    folder: Path
    token: str
    deadline: float
    own: Luggage
    caller: str
    compact: bool = False

    def checkpoints(self) -> Folder:
        """The caller's folder of states."""
        return Folder(self.folder, self.precision, self.data)

    @property
    def is_shared(self) -> bool:
        """Whether this process sees the caller's folder."""
        try:
            return (self.folder / "token").read_text() == self.token
        except OSError:
            return False

    def provenance(self, run: Run, needs_data: bool) -> dict[str, str]:
        """The columns of a record that say where it comes from."""
        dataset = datasets.load(settings.get(run.setting).dataset) if needs_data else None
        return {
            "device": memory.device_name(self.device),
            "dataset": f"{dataset.name}@{dataset.fingerprint}" if dataset else "none",
            "torch": torch.__version__.split("+")[0],
            "commit": commit(),
        }

    def is_over(self, margin: float = 0) -> bool:
        """Whether training should pause now, or the budget ends within `margin` seconds."""
        stopped = TERMINATED.is_set() or self.name in STOPPED
        return stopped or time.time() + margin >= self.deadline


@dataclass
class Done:
    """What a task returns: records, and dense states as `checkpoints.dump` writes them; neither
    where it paused."""

    records: list[Record] = field(default_factory=list)
    states: dict[State, bytes] = field(default_factory=dict)


def this_process() -> str:
    """A name of this process that no other one has at this time."""
    return f"{socket.gethostname()}:{os.getpid()}"


STOPPED: set[str] = set()  # names of jobs
TERMINATED = threading.Event()  # this worker is told to end


def stop(name: str) -> None:
    """Let the tasks of a job pause in this process, at their next iteration."""
    STOPPED.add(name)
