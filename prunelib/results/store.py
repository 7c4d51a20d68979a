"""The store: one record a finished run, one CSV file a setting and profile, written atomically."""

import contextlib
import csv
import functools
import io
import math
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from filelock import FileLock, Timeout

from prunelib import settings
from prunelib.errors import PrunelibError, StoreError
from prunelib.paths import project_root, results_root
from prunelib.runs import FIELDS, Run


@dataclass(frozen=True)
class Kind:
    """What is recorded of a Run: the columns beside its fields, and how they are read.

    `readers` has, for each column that is no plain text, its type, what fits, and what to say of
    a value that does not. `suffix` tells the files of one kind from those of another.
    """

    results: tuple[str, ...]
    readers: dict
    suffix: str = ""

    @property
    def columns(self):
        return FIELDS + self.results


def _step(text):
    return text if text == "end" else int(text)


def _any(value):
    return True


def _from_0(value):
    return value >= 0 or math.isnan(value)


def _share(value):
    return 0 <= value <= 1


def _numbers(text):
    return text if [float(word) for word in text.split()] else None


def _counts(text):
    return text if [int(word) for word in text.split()] else None


_COUNT = (int, _from_0, "a whole number from 0")
_AMOUNT = (float, _from_0, "a number from 0")
_LOSS = (float, _from_0, "a number from 0, or nan")
_COUNTS = (_counts, _any, "whole numbers with spaces between")
_NUMBERS = (_numbers, _any, "numbers with spaces between")

_RUN = {
    "method": (str, lambda name: name and name.isprintable(), "a method's name"),
    "sparsity": (float, _any, "a number in [0, 1)"),
    "prune_at": (_step, _any, "a step or 'end'"),
    "weights_from": (_step, _any, "a step or 'end'"),
    "replicate": (int, _any, "a whole number from 0"),
}

# A trained network.
TRAINED = Kind(
    (
        "test_accuracy", "test_loss", "train_loss", "kept_weights", "epochs", "seconds", "engine",
        "precision", "device", "dataset", "torch", "commit",
    ),
    {
        "test_accuracy": (float, _share, "a number from 0 to 1"),
        "test_loss": _LOSS,
        "train_loss": _LOSS,
        "kept_weights": _COUNT,
        "epochs": _AMOUNT,
        "seconds": _AMOUNT,
    },
)  # fmt: skip

# A mask, read before any training: `layers` counts the kept weights of each layer, in order;
# `collapse` the neurons with at least 0, 5, … 100 % of their incoming weights pruned.
MASK = Kind(
    (
        "kept_weights", "effective_weights", "layers", "collapse", "seconds", "device", "dataset",
        "torch", "commit",
    ),
    {
        "kept_weights": _COUNT,
        "effective_weights": _COUNT,
        "layers": _COUNTS,
        "collapse": _COUNTS,
        "seconds": _AMOUNT,
    },
    "-masks",
)  # fmt: skip

# The distribution of the unpruned weights, each column a value for all layers together, then one
# a layer in order; the distances are from the unmodified network of the same replicate.
_WEIGHTS = ("mean", "std", "kurtosis", "wasserstein", "ks")
START = Kind(
    (*_WEIGHTS, "seconds", "precision", "device", "dataset", "torch", "commit"),
    {"seconds": _AMOUNT} | dict.fromkeys(_WEIGHTS, _NUMBERS),
    "-weights",
)  # before the pruned network is trained
END = replace(START, suffix="-weights-trained")  # after it

KINDS = (TRAINED, MASK, START, END)
COLUMNS = TRAINED.columns


class Store:
    """Results below a folder, by default results/.

    Several processes may read and write one store at a time. A process claims the runs it is
    about to train; a claim ends with the process that holds it, however that ends.
    """

    def __init__(self, root=None, kind=TRAINED):
        self.root = Path(root) if root else results_root()
        self.kind = kind

    def path(self, setting, profile):
        """The file that holds the records of a setting at a profile."""
        return self.root / setting / f"{profile}{self.kind.suffix}.csv"

    def records(self, setting, profile):
        """All records of a setting at a profile: dict from Run to a dict of its results.

        Raises:
            StoreError: a record is damaged; the sentence names file, line and value.
        """
        path = self.path(setting, profile)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error}") from None
        try:
            reader = csv.reader(io.StringIO(content.decode()))
            rows = list(reader)
        except UnicodeDecodeError as error:
            raise self._damaged(path, content.count(b"\n", 0, error.start) + 1, error) from None
        except csv.Error as error:
            raise self._damaged(path, reader.line_num, error) from None
        if not rows or tuple(rows[0]) != self.kind.columns:
            raise self._damaged(path, 1, f"the header is not {','.join(self.kind.columns)}")
        if not content.endswith(b"\n"):
            raise self._damaged(path, len(rows), f"it is cut off after {rows[-1][-1]!r}")
        found = {}
        for line, row in enumerate(rows[1:], 2):
            run, result = self._parse(path, line, row)
            if (run.setting, run.profile) != (setting, profile):
                where = self.path(run.setting, run.profile)
                raise self._damaged(path, line, f"its run belongs in {where}")
            if run in found:
                raise self._damaged(path, line, "the run is recorded twice")
            found[run] = result
        return found

    def _parse(self, path, line, row):
        if len(row) != len(self.kind.columns):
            raise self._damaged(
                path, line, f"it has {len(row)} values, expected {len(self.kind.columns)}"
            )
        record = dict(zip(self.kind.columns, row, strict=True))
        for name, (kind, fits, allowed) in (_RUN | self.kind.readers).items():
            try:
                value = kind(record[name])
            except ValueError:
                value = None
            if value is None or not fits(value):
                raise self._damaged(path, line, f"{name} is {record[name]!r}, expected {allowed}")
            record[name] = value
        try:
            run = Run.recorded(**{name: record[name] for name in FIELDS})
        except PrunelibError as error:
            raise self._damaged(path, line, str(error)) from None
        return run, {name: record[name] for name in self.kind.results}

    @staticmethod
    def _damaged(path, line, what):
        return StoreError(
            f"{path}, line {line}: damaged record: {what}; nothing was changed: restore the file "
            f"(git checkout {path}) or delete that line, and its run is trained again"
        )

    def table(self, setting=None, profile=None):
        """A tidy data frame, one row a record, with the columns of its kind.

        Args:
            setting, profile: only these; None is all that the store holds.
        """
        rows = []
        for folder in sorted(p for p in self.root.glob(setting or "*") if p.is_dir()):
            for name in [profile] if profile else settings.PROFILES:
                found = self.records(folder.name, name)
                rows += [run.record() | result for run, result in found.items()]
        return pd.DataFrame(rows, columns=list(self.kind.columns))

    def missing(self, runs):
        """Those of `runs` that have no record, in their order."""
        done = {}
        for key in {(run.setting, run.profile) for run in runs}:
            done |= self.records(*key)
        return [run for run in runs if run not in done]

    def add(self, records):
        """Add records, dicts with the columns of its kind; a run already recorded is left as it is.

        Raises:
            StoreError: the file is damaged, or cannot be written; it is then as it was.
        """
        groups = {}
        for record in records:
            groups.setdefault((record["setting"], record["profile"]), []).append(record)
        for key, new in groups.items():
            with self._lock(".".join(key) + self.kind.suffix):
                found = self.records(*key)
                for record in new:
                    run = Run.recorded(**{name: record[name] for name in FIELDS})
                    found.setdefault(run, {name: record[name] for name in self.kind.results})
                self._write(self.path(*key), found)

    def merge(self, folder):
        """Add the records of another store; returns how many were new here.

        Args:
            folder: its root, as `engine.train` writes it with `output`.

        Raises:
            StoreError: a record is damaged; the sentence names file, line and value.
        """
        other = Store(folder, self.kind)
        added = 0
        for setting in settings.SETTINGS:
            for profile in settings.PROFILES:
                found = other.records(setting, profile)
                new = self.missing(found)
                self.add([run.record() | found[run] for run in new])
                added += len(new)
        return added

    def _write(self, path, found):
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(self.kind.columns)
        for run in sorted(found):
            record = run.record() | found[run]
            writer.writerow(_text(name, record[name]) for name in self.kind.columns)
        write_atomically(path, lines.getvalue())

    def _lock(self, name, timeout=-1):
        """Take a lock; leaving a with statement over the result releases it."""
        path = self.root / ".locks" / f"{quote(name, safe='')}.lock"
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            return FileLock(path).acquire(timeout=timeout)

    @contextlib.contextmanager
    def claim(self, runs):
        """Claim what no other process has claimed; yields those runs, missing and recorded ones."""
        with contextlib.ExitStack() as held:
            claimed = []
            for run in runs:
                name = "-".join(str(v) for v in run.record().values()) + self.kind.suffix
                with contextlib.suppress(Timeout):
                    held.enter_context(self._lock(name, timeout=0))
                    claimed.append(run)
            missing = self.missing(claimed)
            yield missing, [run for run in claimed if run not in missing]


def _text(name, value):
    """A value as it is written; the fields of a Run in full, so that it is found again."""
    return f"{value:.6g}" if isinstance(value, float) and name not in FIELDS else str(value)


@contextlib.contextmanager
def _writing(path):
    try:
        yield
    except Timeout:
        raise
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error}): mend that and give the same command again; "
            "finished runs are kept"
        ) from None


def write_atomically(path, content):
    """Write text or bytes so that a reader sees the old file or the new one, never a part.

    Raises:
        StoreError: it cannot be written; the file is then as it was.
    """
    if isinstance(content, str):
        content = content.encode()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@functools.cache
def commit():
    """The commit of this checkout, "+" behind it if files differ; "unknown" outside git."""

    def git(*args):
        return subprocess.run(
            ["git", *args], cwd=project_root(), capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short=10", "HEAD") + (
            "+" if git("status", "--porcelain", "--", "prunelib") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
