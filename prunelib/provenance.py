"""Whose code something is, and the name that it is recorded under.

What this package registers keeps its name. What others register is recorded as `name_xxxxxxxx`,
with eight hexadecimal digits of a digest of its source, so that a method that changed is not
mistaken for what it was; the plain name then stands for the newest one.
"""

import ast
import contextlib
import dis
import functools
import hashlib
import inspect
import os
import re
import textwrap
import traceback
from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from prunelib.errors import BadValueError, PrunelibError, UserCodeError

DIGITS = 8  # hexadecimal, of a digest
HERE = str(Path(__file__).parent) + os.sep

_newest: dict[tuple[str, str], str] = {}  # by kind and plain name, the name that is recorded
_met: ContextVar[list[object]] = ContextVar("met")  # the objects of which a digest is made
# While a user's file runs: its digest, and what it has registered so far, by kind and name.
_file: ContextVar[tuple[str, list[tuple[str, str]]] | None] = ContextVar("file", default=None)


def is_ours(function: Any) -> bool:
    """Whether a function or class is defined in this package."""
    return f"{getattr(function, '__module__', None)}.".startswith("prunelib.")


def is_ours_as(function: Any, name: str) -> bool:
    """Whether it is this package that registers a function: under its own name, and not a user who
    registers a function of the package under another."""
    return is_ours(function) and function.__name__ == name


def is_registered(kind: str, name: str) -> bool:
    """Whether something of a plain name, or recorded under a name, was registered."""
    return any(k == kind and name in (plain, key) for (k, plain), key in _newest.items())


def record(kind: str, name: str, function: Any = None, *options: Any) -> str:
    """The name under which something that is being registered is recorded, from now on the newest
    of its plain name.

    Args:
        kind: "method", "network", "dataset" or "setting".
        name: the plain name.
        function: what is registered; None where it is not made by a function.
        options: how it is registered, which belongs to what it is.
    """
    file = _file.get()
    if is_ours_as(function, name):  # also where a user's file is the first to need it
        key = name
    elif file:
        digits = file[0]
        # A setting whose network or data another file has is another one when these change.
        others = [o for o in options if isinstance(o, str) and is_own(o) and not o.endswith(digits)]
        key = f"{name}_{_short([digits, *others]) if others else digits}"
        file[1].append((kind, key))
    else:
        key = f"{name}_{digest(function, *options)}"
    _newest[kind, name] = key
    return key


def resolve(kind: str, name: Any, table: Collection[str]) -> Any:
    """The name of a table that a name means: itself, or the newest of that plain name; itself too
    where there is none."""
    if name in table or not isinstance(name, str):
        return name
    found = _newest.get((kind, name), name)
    return found if found in table else name


def newest(kind: str, name: str) -> str:
    """The name that the newest of a plain name is recorded under; itself where there is none."""
    return _newest.get((kind, name), name)


def check_new(kind: str, name: Any, table: Collection[str]) -> None:
    """Raise BadValueError unless something of one's own may be registered under a plain name."""
    if not (isinstance(name, str) and name.isidentifier()):
        raise BadValueError(f"{kind} name {name!r}: give letters, digits and '_', no digit first")
    if len(name) > 64:
        raise BadValueError(f"{kind} name {name!r} has {len(name)} letters: give at most 64")
    if name in table:
        raise BadValueError(f"{kind} {name!r} is one of this project's: take another name")
    if is_own(name):
        raise BadValueError(
            f"{kind} {name!r} ends as recorded names do, with '_' and eight hexadecimal digits: "
            "take another name"
        )


def label(name: str) -> str:
    """The plain name of a name that is recorded."""
    return re.sub(rf"(?<=.)_[0-9a-f]{{{DIGITS}}}$", "", name)


def is_own(name: str) -> bool:
    """Whether a recorded name is that of something of a user's own, which ends with a digest."""
    return label(name) != name


def labels(table: Collection[str]) -> list[str]:
    """The plain names of a table, each once."""
    return list(dict.fromkeys(map(label, table)))


@contextlib.contextmanager
def file(digits: str) -> Iterator[list[tuple[str, str]]]:
    """While a user's file runs: what is registered has these digits, unless it has parts of another
    file, and is listed here by kind and name."""
    found: list[tuple[str, str]] = []
    token = _file.set((digits, found))
    try:
        yield found
    finally:
        _file.reset(token)


# ---------------------------------------------------------------------------------------- digests


def source_digest(source: str, path: str) -> str:
    """The digest of the Python code of a file, which comments and formatting do not change.

    Raises:
        SyntaxError, ValueError: it is none.
    """
    return _short(_form(compile(source, path, "exec", ast.PyCF_ONLY_AST)))


def digest(function: Any, *options: Any) -> str:
    """The digest of a function, class or object that can be called, and of options; and of the
    numbers, texts, functions, classes and objects of the same module that it names, closes over,
    holds or has for defaults. Of one without source it is that of its compiled code."""
    token = _met.set([])
    try:
        return _short([_code(function), *map(repr, options)])
    finally:
        _met.reset(token)


def code(function: Any) -> str:
    """The source of a function or class; "" where there is none."""
    try:
        return textwrap.dedent(inspect.getsource(function)).rstrip()
    except (OSError, TypeError):
        return ""


def _short(form):
    return hashlib.sha256(repr(form).encode()).hexdigest()[:DIGITS]


def _form(node):
    """A syntax tree as nested lists, without what is empty: newer Pythons add empty fields."""
    if isinstance(node, list):
        return [_form(part) for part in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(n, _form(v)) for n, v in ast.iter_fields(node) if v is not None and v != []]
    return [type(node).__name__, *fields]


def _code(function, seen=()):
    """The source of a function or class, with what it uses beside its arguments: defaults, what it
    closes over, and the globals that it names."""
    if isinstance(function, functools.partial):
        given = [_value(v, function.func, seen) for v in function.args]
        named = sorted(function.keywords.items())
        named = [[name, _value(v, function.func, seen)] for name, v in named]
        return [_code(function.func, seen), given, named]
    if inspect.ismethod(function):
        return [_code(function.__func__, seen), _value(function.__self__, function, seen)]
    if callable(function) and not (inspect.isroutine(function) or inspect.isclass(function)):
        return _state(function, seen)
    seen = (*seen, function)
    code = getattr(function, "__code__", None)
    values = [*(getattr(function, "__defaults__", None) or ())]
    values += (getattr(function, "__kwdefaults__", None) or {}).values()
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # a cell that is still empty
            values.append(cell.cell_contents)
    if inspect.isclass(function):
        own = vars(function).items()
        values += [_unwrapped(v) for k, v in own if k[:2] != "__" or inspect.isfunction(v)]
    around = getattr(function, "__globals__", {})
    values += [around[name] for name in sorted(_names(code)) if name in around]
    found = [said for v in values if (said := _value(v, function, seen)) is not None]
    try:
        source = textwrap.dedent(inspect.getsource(code or function))  # of a wrapper, not unwrapped
    except (OSError, TypeError):
        return [_compiled(code), found]
    try:
        return [_form(ast.parse(source)), found]
    except SyntaxError:  # of a lambda, whose source is the lines that it stands on
        return [source, found]


def _value(value, user, seen):
    """What of a value belongs to the digest of the function that uses it; None if nothing does, as
    of modules. Nothing here imports torch or numpy, which a setting's name does not need."""
    if value is None or isinstance(value, int | float | complex | str | bytes):
        return repr(value)
    if isinstance(value, tuple | list):
        return [_value(v, user, seen) for v in value]
    if isinstance(value, set | frozenset):
        return sorted(repr(_value(v, user, seen)) for v in value)
    if isinstance(value, dict):
        return [[repr(k), _value(v, user, seen)] for k, v in value.items()]
    if isinstance(value, functools.partial) or inspect.ismethod(value):
        return _code(value, seen)
    if inspect.isfunction(value) or inspect.isclass(value):
        foreign = value.__module__ != user.__module__  # is known by its name
        return value.__qualname__ if foreign or value in seen else _code(value, seen)
    if type(value).__module__ in ("torch", "torch.nn.parameter") and hasattr(value, "numpy"):
        with contextlib.suppress(TypeError, RuntimeError):  # of a sparse tensor, for example
            value = (value.double() if value.is_floating_point() else value).numpy(force=True)
    if type(value).__module__ == "numpy" and hasattr(value, "tobytes"):
        return [str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
    if type(value).__module__ in (user.__module__, "argparse", "types"):
        return _state(value, seen)
    return None


def _state(value, seen):
    """An object of a class of the user's own: the code of its class and what it holds; one that was
    met before by its number."""
    met = _met.get()
    for number, other in enumerate(met):
        if value is other:
            return number
    met.append(value)
    held = dict(getattr(value, "__dict__", {}))
    for name in (n for c in type(value).__mro__ for n in getattr(c, "__slots__", ())):
        if hasattr(value, name):
            held[name] = getattr(value, name)
    own = type(value)
    return [_value(own, own, seen), [[k, _value(v, own, seen)] for k, v in sorted(held.items())]]


def _unwrapped(value):
    """What of a class stands behind a method or property of it."""
    if isinstance(value, property):
        return [f for f in (value.fget, value.fset) if f]
    return getattr(value, "__func__", value)


def _names(code):
    """The globals that code, and functions in it, look up."""
    if code is None:
        return set()
    own = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    return own.union(*(_names(c) for c in code.co_consts if inspect.iscode(c)))


def _compiled(code):
    if code is None:
        return ""
    constants = [_compiled(c) if inspect.iscode(c) else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), constants, code.co_names]


# ----------------------------------------------------------------------------- errors of their code


@contextlib.contextmanager
def running(what: str, function: Callable | None = None, of_none: str = "") -> Iterator[None]:
    """Turn an exception of a user's code into a UserCodeError, whose sentence says what failed,
    and, where something was None, `of_none`. Where a user's code gave this package a bad value,
    that error says whose it was; what this package's own functions raise stays as it is."""
    try:
        yield
    except Exception as error:
        ours = function is not None and is_ours(function)
        if isinstance(error, BadValueError) and not ours and what not in str(error):
            raise BadValueError(f"{what}: {error}") from None
        if ours or isinstance(error, PrunelibError):
            raise
        hint = of_none if "NoneType" in str(error) else ""
        said = f"{what} raised {type(error).__name__}: {error}{hint}"
        raise user_error(said, error) from error


def user_error(sentence: str, error: BaseException) -> UserCodeError:
    """The error of a sentence, with the frames of the user's own code."""
    described = traceback.TracebackException.from_exception(error)
    described.stack = traceback.StackSummary.from_list(
        [frame for frame in described.stack if not _is_hidden(frame.filename)]
    )
    lines = "Traceback (most recent call last):\n" + "".join(described.stack.format())
    text = lines + "".join(described.format_exception_only())
    return UserCodeError(" ".join(sentence.split()), text.rstrip())


def _is_hidden(filename):
    return filename.startswith((HERE, "<frozen")) or filename == contextlib.__file__
