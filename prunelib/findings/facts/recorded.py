"""Facts as they were computed: results/facts.csv, so that the ledger need not compute them anew."""

import csv
import functools
from collections.abc import Iterable
from pathlib import Path

from prunelib.findings.facts import FACTS
from prunelib.paths import project_root, write_atomically

COLUMNS = ("fact", "setting", "value")


def path() -> Path:
    """The file: beside this project's results, whatever folder a reader's own results are in."""
    return project_root() / "results" / "facts.csv"


@functools.cache
def _known() -> dict[tuple[str, str], float]:
    if not path().exists():
        return {}
    with open(path(), newline="", encoding="utf-8") as file:
        return {(r["fact"], r["setting"]): float(r["value"]) for r in csv.DictReader(file)}


def value(fact: str, setting: str) -> float:
    """A fact of a setting, as recorded; computed where it is not.

    Args:
        fact: a name of `FACTS`. setting: one that it makes sense of.

    Raises:
        BadValueError: it makes none.
    """
    known = _known().get((fact, setting))
    return FACTS[fact](setting) if known is None else known


def record(wanted: Iterable[tuple[str, str]]) -> int:
    """Compute facts anew and write the file.

    Args:
        wanted: pairs of fact and setting.

    Returns:
        how many there are.
    """
    rows = [(fact, setting, FACTS[fact](setting)) for fact, setting in sorted(set(wanted))]
    lines = [",".join(COLUMNS), *(f"{fact},{setting},{value:.6g}" for fact, setting, value in rows)]
    write_atomically(path(), "\n".join(lines) + "\n")
    _known.cache_clear()
    return len(rows)
