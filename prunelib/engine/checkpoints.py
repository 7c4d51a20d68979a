"""States on disk: of dense networks, from which other Runs start, and of groups in training.

Both are safetensors that carry, beside their tensors, what they are of and a digest of everything.
What is damaged, or of another network, precision or dataset than asked for, counts as absent and is
made again: nothing is ever trained from a state that might be another one's. The bytes of a dense
state are what travels to workers, so that these need no folder in common with the caller.
"""

import contextlib
import functools
import hashlib
import json
import time
from collections.abc import Callable, Collection
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from prunelib import errors, networks, settings
from prunelib.errors import PrunelibError
from prunelib.paths import write_atomically
from prunelib.runs import Run

STALE = 3600  # seconds after which a half-written file is taken for one of a killed process

Tensors = dict[str, torch.Tensor]
State = tuple[Run, int | str]  # a dense run and a step of its training, or "end"


def dump(tensors: Tensors, about: dict[str, str]) -> bytes:
    """Tensors, what they are of, and a digest of both, as safetensors."""
    return save(tensors, about | {"digest": _digest(tensors, about)})


def undump(content: bytes) -> tuple[Tensors, dict[str, str]] | None:
    """The tensors and what they are of; None if a bit of either is not as it was dumped."""
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        about, tensors = dict(header["__metadata__"]), load(content)
        whole = about.pop("digest") == _digest(tensors, about)
    except (SafetensorError, KeyError, TypeError, ValueError, OverflowError):
        return None
    return (tensors, about) if whole else None


def _digest(tensors: Tensors, about: dict[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


@functools.cache  # by what builds it, as the table's row may be replaced while a process runs
def _shapes(network: str, _make: Callable[[], torch.nn.Module]) -> str:
    """A digest of the names and shapes of a network's tensors: another network under the same name
    is another one."""
    state = networks.outline(network).state_dict()
    shapes = [(key, tuple(value.shape)) for key, value in state.items()]
    return hashlib.sha256(repr(shapes).encode()).hexdigest()[:16]


@functools.cache
def _code():
    """A digest of this package's sources: a group goes on under the code that began it alone."""
    digest = hashlib.sha256()
    for path in sorted(Path(errors.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Folder:
    """The states below a store, of one precision and of one version of each dataset.

    Args:
        root: where they lie.
        precision: that they were trained in.
        data: the fingerprints of the datasets, by their names.
    """

    def __init__(self, root: Path, precision: str, data: dict[str, str]):
        self.root, self.precision, self.data = root, precision, data

    def _conditions(self, run: Run) -> dict[str, str]:
        """What a state depends on beside its Run."""
        network, dataset = settings.get(run.setting).network, settings.get(run.setting).dataset
        return {
            "network": f"{network}@{_shapes(network, networks.NETWORKS[network][0])}",
            "schedule": repr(settings.schedule(run.setting, run.profile)),
            "precision": self.precision,
            "data": self.data.get(dataset, "none"),
        }

    # ------------------------------------------------------------------------- dense networks

    def about(self, run: Run, step: int | str) -> dict[str, str]:
        """What a dense state is of."""
        named = {"run": json.dumps(run.record()), "step": str(step)}
        return named | self._conditions(run)

    def _path(self, run: Run, step: int | str) -> Path:
        key = json.dumps(self.about(run, step), sort_keys=True).encode()
        name = f"{run.init}-r{run.replicate}-{step}-{hashlib.sha256(key).hexdigest()[:16]}"
        return self.root / run.setting / run.profile / f"{name}.safetensors"

    def read(self, run: Run, step: int | str) -> bytes | None:
        """The state of a dense run at a step, None where there is none to trust."""
        try:
            content = self._path(run, step).read_bytes()
        except OSError:
            return None
        found = undump(content)
        return content if found and found[1] == self.about(run, step) else None

    def write(self, run: Run, step: int | str, content: bytes) -> None:
        """Keep a state that `dump` made with `about`."""
        write_atomically(self._path(run, step), content)

    # ------------------------------------------------------------------------- groups in training

    def group_path(self, runs: tuple[Run, ...]) -> Path:
        """Where a group's checkpoint lies: a worker that takes over an interrupted group finds it
        by the group's runs and what they depend on alone, and leaves that of others."""
        about = [[run.record() for run in runs], self._conditions(runs[0])]
        key = json.dumps(about, sort_keys=True).encode()
        folder = self.root / runs[0].setting / runs[0].profile / "unfinished"
        return folder / f"{hashlib.sha256(key).hexdigest()[:16]}.safetensors"

    def write_group(
        self, runs: tuple[Run, ...], tensors: Tensors, done: int, seconds: float
    ) -> None:
        """Keep what a group needs to go on after `done` iterations and `seconds` of work."""
        about = self._conditions(runs[0]) | {
            "code": _code(),
            "runs": json.dumps([run.record() for run in runs]),
            "done": str(done),
            "seconds": str(seconds),
        }
        write_atomically(self.group_path(runs), dump(tensors, about))

    def read_group(self, path: Path) -> tuple[Tensors, dict[str, str], list[Run]] | None:
        """Tensors, what was written of them and the runs of a group; None where it cannot go on as
        it began. Other code may train otherwise, so that under it a group begins again."""
        try:
            group = _group(path)
        except OSError:
            return None
        if group is None:
            return None
        expected = self._conditions(group[2][0]) | {"code": _code()}
        return group if expected.items() <= group[1].items() else None

    def begun(
        self, pairs: Collection[tuple[str, str]], left: Callable[[list[Run]], list[Run]]
    ) -> list[tuple[Path, tuple[Run, ...]]]:
        """The groups in training that can go on, with those of their runs that are left to train.

        What is damaged, has nothing left, or was left half written by a process that was killed,
        is removed.

        Args:
            pairs: settings and profiles.
            left: says which of some runs are still to be trained.
        """
        found = []
        for setting, profile in sorted(pairs):
            folder = self.root / setting / profile / "unfinished"
            for path in sorted(folder.glob("*.safetensors")):
                try:
                    group = _group(path)
                except OSError:  # it may be whole all the same, as where another writes it anew
                    continue
                runs = left(group[2]) if group else []
                if not runs:
                    path.unlink(missing_ok=True)
                elif self.read_group(path):
                    found.append((path, tuple(runs)))
            for path in folder.glob(".*.safetensors.*"):
                with contextlib.suppress(FileNotFoundError):  # its writer has just ended it
                    if time.time() > path.stat().st_mtime + STALE:
                        path.unlink()
        return found


def _group(path: Path) -> tuple[Tensors, dict[str, str], list[Run]] | None:
    """What a group's file holds, under whatever conditions; None if it is damaged. OSError if it
    cannot be read."""
    content = path.read_bytes()
    try:
        tensors, about = undump(content)
        return tensors, about, [Run.recorded(**record) for record in json.loads(about["runs"])]
    except (TypeError, KeyError, ValueError, PrunelibError):
        return None
