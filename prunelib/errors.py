"""Errors that a user can act on: one sentence that names the value and the way out."""

import difflib
from collections.abc import Iterable
from typing import Any


class PrunelibError(Exception):
    """Base of every error this package raises on bad input; its text is one clear sentence."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

    def _render_traceback_(self) -> list[str]:
        """Show only the sentence in a notebook: the call stack says nothing a user can mend."""
        return [f"{type(self).__name__}: {self}"]


class UnknownNameError(PrunelibError, KeyError):
    """A name that is not in a table of names."""

    def __init__(self, kind: str, name: Any, allowed: Iterable):
        names = list(map(str, allowed))
        like = {n.lower(): n for n in names}
        near = difflib.get_close_matches(str(name).lower(), like, 1, 0.75)
        meant = f"; did you mean {like[near[0]]!r}?" if near else ""
        super().__init__(f"unknown {kind} {name!r}; choose from {', '.join(names)}{meant}")

    def __reduce__(self):  # an error raised in a worker process travels with its sentence
        return _rebuild, (type(self), str(self))


class BadValueError(PrunelibError, ValueError):
    """A value outside its range or of the wrong kind."""


class UserCodeError(PrunelibError, RuntimeError):
    """An exception in code of a user's own; `traceback` shows the frames of that code alone."""

    def __init__(self, sentence: str, traceback: str = ""):
        super().__init__(sentence, traceback)

    @property
    def traceback(self) -> str:
        """As Python prints it, of several lines."""
        return self.args[1]

    def _render_traceback_(self) -> list[str]:
        return [*self.traceback.splitlines(), f"{type(self).__name__}: {self}"]


class DatasetError(PrunelibError, OSError):
    """A dataset that is missing, incomplete or damaged."""


class StoreError(PrunelibError, OSError):
    """A file of results, or of pages made of them, that is damaged, held by another process, or
    cannot be read or written."""


def _rebuild(cls, sentence):
    error = cls.__new__(cls)
    error.args = (sentence,)
    return error


def check_name(kind: str, name: Any, allowed: Iterable) -> Any:
    """Return `name` if it is one of `allowed`; raise UnknownNameError otherwise."""
    if name not in allowed:
        raise UnknownNameError(kind, name, allowed)
    return name


def check_sparsity(sparsity: Any) -> float:
    """Return `sparsity` as a float in [0, 1); raise BadValueError otherwise."""
    if isinstance(sparsity, bool) or not isinstance(sparsity, int | float) or not 0 <= sparsity < 1:
        percent = isinstance(sparsity, int | float) and 1 < sparsity < 100
        example = f"{sparsity:g} % is {sparsity / 100:g}" if percent else "for example 0.9"
        raise BadValueError(
            f"sparsity {sparsity!r} is not a number in [0, 1): give the fraction of weights to "
            f"prune, {example}"
        )
    return float(sparsity)
