"""The store: one record a finished run, one CSV file a setting, profile and kind of record.

Files are written atomically, so that a reader needs no lock. Who writes holds one lock a file: a
campaign for as long as it lasts, whoever only adds records for a moment.
"""

import contextlib
import csv
import io
import math
import os
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from filelock import FileLock, Timeout

from prunelib import settings
from prunelib.errors import BadValueError, PrunelibError, StoreError
from prunelib.paths import results_root, write_atomically, writing
from prunelib.results.records import TRAINED, Kind, Record
from prunelib.runs import Run

_THREADS = threading.RLock()  # the locks of files are of a process, not of a thread


class Store:
    """Results below a folder, by default results/, of one kind of record.

    Several processes may read and write one store at a time.
    """

    def __init__(self, root: Path | str | None = None, kind: Kind = TRAINED):
        self.root = Path(root) if root else results_root()
        self.kind = kind

    def path(self, setting: str, profile: str) -> Path:
        """The file that holds the records of a setting at a profile."""
        return self.root / settings.recorded(setting) / f"{profile}{self.kind.suffix}.csv"

    def records(self, setting: str, profile: str) -> dict[Run, Record]:
        """All records of a setting at a profile, by their Runs.

        Raises:
            StoreError: a record is damaged; the sentence names file, line and value. Or the file
                cannot be read.
        """
        setting, found = settings.recorded(setting), {}
        path = self.path(setting, profile)
        for line, words in enumerate(self._lines(path), 2):
            try:
                record = self.kind.record.parse(words)
            except PrunelibError as error:
                raise _damaged(path, line, error) from None
            run = record.run
            if (run.setting, run.profile) != (setting, profile):
                where = self.path(run.setting, run.profile)
                raise _damaged(path, line, f"its run belongs in {where}")
            if run in found:
                raise _damaged(path, line, "the run is recorded twice")
            found[run] = record
        return found

    def _lines(self, path):
        """The lines of a file below its header, each a list of words."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(
                f"{path} cannot be read ({error}): mend that and give the same command again"
            ) from None
        try:
            reader = csv.reader(io.StringIO(content.decode("utf-8-sig")))
            lines = list(reader)
        except UnicodeDecodeError as error:
            raise _damaged(path, content.count(b"\n", 0, error.start) + 1, error) from None
        except csv.Error as error:
            raise _damaged(path, reader.line_num, error) from None
        if not lines or tuple(lines[0]) != self.kind.columns:
            found = lines[0] if lines else []
            more, less = (", ".join(a) for a in _apart(found, self.kind.columns))
            raise _damaged(
                path,
                1,
                f"the header is not that of this version: more are {more or 'none'}, missing are "
                f"{less or 'none'}",
            )
        if not content.endswith(b"\n"):
            what = f"the file is cut off after {content.decode()[-20:]!r}"
            way_out = "delete that last line, and the runs that are lost are computed again"
            raise _damaged(path, len(lines), what, way_out)
        return lines[1:]

    def table(self, setting: str | None = None, profile: str | None = None) -> pd.DataFrame:
        """A tidy data frame, one row a record, with the columns of its kind.

        Args:
            setting, profile: only these; None is all that the store holds, settings that this
                version does not know among them.
        """
        setting = settings.recorded(setting)
        return self.kind.table(
            record
            for key in self.pairs()
            if setting in (None, key[0]) and profile in (None, key[1])
            for record in self.records(*key).values()
        )

    def pairs(self) -> list[tuple[str, str]]:
        """Setting and profile of every file: in the order of their tables, after settings that
        this version does not know."""
        known, found = list(settings.SETTINGS), []
        for folder in _listed(self.root):
            names = _listed(folder) if folder.is_dir() and folder.name[0] != "." else []
            there = {path.name for path in names}
            found += [
                (folder.name, profile)
                for profile in settings.PROFILES
                if f"{profile}{self.kind.suffix}.csv" in there
            ]
        return sorted(found, key=lambda pair: known.index(pair[0]) if pair[0] in known else -1)

    def missing(self, runs: Iterable[Run]) -> list[Run]:
        """Those of `runs` that have no record, in their order."""
        runs, done = list(runs), set()
        for key in {(run.setting, run.profile) for run in runs}:
            done |= self.records(*key).keys()
        return [run for run in runs if run not in done]

    def add(self, records: Iterable[Record]) -> None:
        """Add records; a run already recorded is left as it is.

        Waits while another process holds the lock of a file.

        Raises:
            BadValueError: a record is of another kind.
            StoreError: the file is damaged, or cannot be written; it is then as it was.
        """
        groups = {}
        for record in records:
            if not isinstance(record, self.kind.record):
                raise BadValueError(f"{record!r} is no record of {self.kind.name}")
            groups.setdefault((record.run.setting, record.run.profile), []).append(record)
        for key, new in groups.items():
            with self.hold([key]), _THREADS:
                found = {record.run: record for record in new} | self.records(*key)
                lines = io.StringIO()
                writer = csv.writer(lines, lineterminator="\n")
                writer.writerow(self.kind.columns)
                writer.writerows(found[run].words() for run in sorted(found))
                write_atomically(self.path(*key), lines.getvalue())

    def merge(self, folder: Path | str, waiting: Callable[[str], None] | None = None) -> int:
        """Add the records of another store; returns how many were new here.

        Args:
            folder: its root, as `engine.train` writes it with `output`.
            waiting: as in `hold`.

        Raises:
            StoreError: a record is damaged; the sentence names file, line and value. Or this store
                cannot be written.
        """
        other, added = Store(folder, self.kind), 0
        every = {key: other.records(*key) for key in other.pairs()}  # damage is told before all
        for key, found in every.items():
            if self.missing(found):
                with self.hold([key], waiting):
                    new = self.missing(found)  # whoever held it may have added some of them
                    self.add(found[run] for run in new)
                added += len(new)
        return added

    @contextlib.contextmanager
    def hold(
        self,
        pairs: Iterable[tuple[str, str]],
        waiting: Callable[[str], None] | None = None,
        until: float = math.inf,
    ) -> Iterator[None]:
        """Keep other processes from writing the files of some settings and profiles.

        One process may hold a file several times over, and add to it. The system frees what a
        process holds when it ends, however that ends.

        Args:
            pairs: (setting, profile) of each file. They are locked in one order, so that two
                campaigns never wait for each other.
            waiting: called with a sentence for each file that another process holds.
            until: the time, in seconds since the epoch, up to which to wait for it.

        Raises:
            StoreError: that time has come, or the lock cannot be written.
        """
        with contextlib.ExitStack() as held:
            for key in sorted(set(pairs)):
                held.enter_context(self._lock(key, waiting, until))
            yield

    def _lock(self, key, waiting=None, until=math.inf):
        name = quote(".".join(key) + self.kind.suffix, safe="")
        path = self.root.resolve() / ".locks" / f"{name}.lock"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path, thread_local=False, is_singleton=True)
            try:
                held = lock.acquire(timeout=0)
            except Timeout:
                if waiting:
                    holder = path.read_text() or "a process that does not say its name"
                    waiting(
                        f"{self.path(*key)} is held by another campaign ({holder}): waiting for "
                        "it to end"
                    )
                held = self._waited(lock, key, until)
        with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
            path.write_text(f"process {os.getpid()} on host {socket.gethostname()}")
        return held

    def _waited(self, lock, key, until):
        try:
            return lock.acquire(timeout=-1 if until == math.inf else max(0, until - time.time()))
        except Timeout:
            raise StoreError(
                f"{self.path(*key)} is still held by another campaign, and the time is over: "
                "nothing was done; give the same command again when that one has ended"
            ) from None


def _listed(folder):
    """What a folder holds, in the order of the names; nothing if it is not there."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be read ({error}): mend that and give the same command again"
        ) from None


def _apart(found, wanted):
    """Words that only the one has, and that only the other has."""
    return [w for w in found if w not in wanted], [w for w in wanted if w not in found]


def _damaged(path, line, what, way_out=None):
    """The error of a damaged line; where it is the header, no line can be spared."""
    way_out = way_out or (
        "move the file away, and its runs are computed again"
        if line == 1
        else "delete that line, and its run is computed again"
    )
    return StoreError(
        f"{path}, line {line}: damaged record: {what}; nothing of it was changed: restore the "
        f"file (git checkout {shlex.quote(str(path))}) or {way_out}"
    )
