"""Files of one's own: methods, networks, data and settings that a user's file registers.

`load` runs a file and says what it registered. `pack` and `unpack` take to workers whatever is not
of this package: files as their text, which workers run, and what was registered elsewhere, in a
notebook for example, pickled.
"""

import functools
import importlib
import linecache
import os
import sys
import tokenize
import types
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from prunelib import networks, provenance, scores, settings
from prunelib.datasets import LOADERS
from prunelib.errors import BadValueError, PrunelibError

TABLES: dict[str, dict[str, Any]] = {
    "method": scores.METHODS,
    "setting": settings.SETTINGS,
    "network": networks.NETWORKS,
    "dataset": LOADERS,
}


@dataclass(frozen=True)
class Own:
    """What a file has registered.

    Attributes:
        path: of the file.
        digest: of its code, which comments and formatting do not change.
        methods, settings: their names as they are recorded.
    """

    path: Path
    digest: str
    methods: tuple[str, ...]
    settings: tuple[str, ...]


@dataclass(frozen=True)
class File:
    """A user's file as it travels to workers: its path here, its text, and its digest."""

    path: str
    source: str
    digest: str


_ran: dict[str, File] = {}  # the files that have run in this process, by their digests


def load(path: Path | str) -> Own:
    """Run a file of one's own, so that what it registers can be used by name.

    It runs as a module of its own, again at each call. It is one file: whatever it imports must be
    installed wherever it runs, as on the workers of a cluster.

    Args:
        path: of a Python file that registers methods, networks, datasets or settings.

    Raises:
        BadValueError: it cannot be read, or registers nothing.
        UserCodeError: it is no Python, or an exception while it runs.
    """
    path = Path(os.path.expanduser(path)).absolute()
    try:
        with tokenize.open(path) as file:  # in the encoding that it names, as Python reads it
            source = file.read()
    except (OSError, UnicodeDecodeError, SyntaxError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadValueError(f"{path} cannot be read ({reason}): give a Python file") from None
    try:
        digest = provenance.source_digest(source, str(path))
    except RecursionError:
        raise BadValueError(
            f"{path} has an expression of so many parts that no digest can be made of it: write "
            "it as a loop, or as data"
        ) from None
    except (SyntaxError, ValueError) as error:
        raise provenance.user_error(f"{path} is not Python: {error}", error) from error
    found = _run(File(str(path), source, digest))
    names = {kind: tuple(key for k, key in found if k == kind) for kind in TABLES}
    if not found:
        raise BadValueError(
            f"{path} registers nothing: write @scores.register('name') above a "
            "function to scores, or @masks.register('name') above one to a mask"
        )
    return Own(path, digest, names["method"], names["setting"])


def method(files: Iterable[Path | str], name: str | None = None) -> str:
    """The method to judge: the one named, or the only one that files of one's own register.

    Args:
        files: are run first, see `load`.

    Raises:
        BadValueError: none is named, and they register none or several.
    """
    found = [own for path in files for own in load(path).methods]
    if not name and len(found) != 1:
        raise BadValueError(
            f"the files register {len(found)} methods ({', '.join(map(provenance.label, found))}): "
            f"say which one to judge, by --method {provenance.label(found[0])}, or in a notebook "
            "by its parameter method"
            if found
            else "there is no method to judge: give a file that registers one, as mine.py, or a "
            "later one by its name, as erk"
        )
    return name or found[0]


def _run(file: File) -> list[tuple[str, str]]:
    """Run a file as a module; the kinds and names of what it registered."""
    module = types.ModuleType(f"prunelib_own_{file.digest}")
    module.__file__ = file.path
    lines = file.source.splitlines(keepends=True)
    linecache.cache[file.path] = (len(file.source), None, lines, file.path)  # for its traceback
    sys.modules[module.__name__] = module
    with provenance.file(file.digest) as found:
        try:
            exec(compile(file.source, file.path, "exec"), vars(module))
        except (Exception, SystemExit) as error:
            del sys.modules[module.__name__]
            said = f" cannot be imported: {type(error).__name__}: {error}"
            said = f": {error}" if isinstance(error, PrunelibError) else said
            raise provenance.user_error(file.path + said, error) from error
    _ran.pop(file.digest, None)
    _ran[file.digest] = file  # the last: files travel in the order in which they were run
    return found


# -------------------------------------------------------------------------------------- to workers


@dataclass(frozen=True)
class Luggage:
    """What is not of this package, and what a worker must import, as it travels with a job.

    Attributes:
        files: that the caller has run.
        modules: of this package that register methods.
        pickled: what the caller has registered elsewhere.
        fault: a sentence where something that is needed cannot be pickled; else "".
    """

    files: tuple[File, ...]
    modules: tuple[str, ...]
    pickled: bytes
    fault: str = ""


def pack(methods: Iterable[str], names: Iterable[str]) -> Luggage:
    """Whatever of one's own is the newest of its name, or is needed.

    Args:
        methods, names: the methods and settings that are needed, as they are recorded.
    """
    needed = {("method", name) for name in methods}
    for name in names:
        about = settings.get(name)
        needed |= {("setting", about.name), ("network", about.network), ("dataset", about.dataset)}
    files, others, fault = set(), {}, ""
    for kind, table in TABLES.items():
        for key in list(table):
            plain = provenance.label(key)
            used = (kind, key) in needed
            if plain == key or not (used or provenance.resolve(kind, plain, table) == key):
                continue
            digest = key.removeprefix(f"{plain}_")
            if digest in _ran:
                files.add(digest)
            elif error := _unpicklable(table[key]):
                if used:
                    fault = (
                        f"{kind} {plain!r} cannot be sent to workers ({error}): write it into a "
                        "file, and load that with own.load or --file"
                    )
            else:
                others[kind, key] = table[key]
    modules = {m.function.__module__ for m in scores.METHODS.values() if m.label == m.name}
    ordered = tuple(file for digest, file in _ran.items() if digest in files)
    return Luggage(ordered, tuple(sorted(modules)), cloudpickle.dumps(others), fault)


def _unpicklable(value):
    try:
        cloudpickle.dumps(value)
    except Exception as error:  # of ever other kinds, which whatever it refers to raises
        return str(error) or type(error).__name__
    return None


@functools.lru_cache(maxsize=1)  # the last: another campaign may have other things of those names
def unpack(luggage: Luggage) -> None:
    """Register in this process what `pack` found in another one.

    Raises:
        BadValueError: something that is needed could not be pickled.
        UserCodeError: a file does not run here.
    """
    if luggage.fault:
        raise BadValueError(luggage.fault)
    for module in luggage.modules:
        importlib.import_module(module)
    for file in luggage.files:
        if file.digest not in _ran:
            _run(file)
    for (kind, key), value in cloudpickle.loads(luggage.pickled).items():
        TABLES[kind][key] = value
