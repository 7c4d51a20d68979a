"""The table of facts, into which their functions enter themselves."""

from collections.abc import Callable

Fact = Callable[[str], float]
FACTS: dict[str, Fact] = {}  # by name: a function of a setting's name


def fact(function: Fact) -> Fact:
    """Decorator that makes a function a fact, by its name with spaces."""
    FACTS[named(function)] = function
    return function


def named(function: Callable) -> str:
    """The name of a function with spaces."""
    return function.__name__.replace("_", " ")
