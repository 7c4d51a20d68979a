"""What is recorded of a Run: a trained network, its mask, or the weights that the mask keeps.

Each is a frozen pydantic model that refuses a bad value, whether it is made by the engine or read
from a file. A `Kind` says in which files of a store the records of one model lie.
"""

import contextlib
import functools
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import pandas as pd
from annotated_types import Predicate
from pydantic import BaseModel, BeforeValidator, Field, InstanceOf, ValidationError

from prunelib.errors import BadValueError
from prunelib.paths import checkout
from prunelib.precision import PRECISIONS
from prunelib.runs import FIELDS, Run

# Each description says what fits, in the sentence of a value that does not.
Count = Annotated[int, Field(ge=0, description="a whole number from 0")]
Share = Annotated[float, Field(ge=0, le=1, description="a number from 0 to 1")]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False, description="a number from 0")]
Loss = Annotated[
    float, Predicate(lambda loss: not loss < 0), Field(description="a number from 0, or nan")
]
Text = Annotated[  # it is shown in tables, on pages and in titles: no markup, wherever it is from
    str, Field(pattern=r"^[^\pC<>&|$`*\[\]\\]*$", description="text on one line without markup")
]
Precision = Annotated[Literal[PRECISIONS], Field(description=f"one of {', '.join(PRECISIONS)}")]
_words = BeforeValidator(lambda value: value.split() if isinstance(value, str) else value)
Counts = Annotated[
    tuple[Count, ...], _words, Field(min_length=1, description="whole numbers from 0")
]
Numbers = Annotated[tuple[float, ...], _words, Field(min_length=1, description="numbers")]

_READERS = {"sparsity": float, "prune_at": int, "weights_from": int, "replicate": int}


class Record(BaseModel, frozen=True, extra="forbid"):
    """What was found of a Run, and where.

    Raises:
        BadValueError: when made with a value that does not fit; the sentence names it.
    """

    run: Annotated[InstanceOf[Run], Field(description="a Run")]
    device: Text
    dataset: Text
    torch: Text
    commit: Text

    def __init__(self, **values: Any):
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            name = str(first["loc"][0])
            found = "missing" if first["type"] == "missing" else repr(first["input"])
            field = type(self).model_fields.get(name)
            allowed = field.description if field else "no column of this name"
            raise BadValueError(f"{name} is {found}, expected {allowed}") from None

    @classmethod
    def results(cls) -> tuple[str, ...]:
        """The columns beside the fields of the Run: what was found, then where."""
        where = [name for name in Record.model_fields if name != "run"]
        return (*(name for name in cls.model_fields if name not in Record.model_fields), *where)

    def row(self) -> dict[str, Any]:
        """The fields of the Run, then the results, in the order of the columns."""
        run = {name: getattr(self.run, name) for name in FIELDS}
        return run | {name: getattr(self, name) for name in self.results()}

    def words(self) -> list[str]:
        """The row as it is written: results to six digits; the Run in full, to be found again."""
        return [str(v) if name in FIELDS else _text(v) for name, v in self.row().items()]

    @classmethod
    def parse(cls, words: Iterable[str]) -> Self:
        """The record whose row is written so.

        Raises:
            PrunelibError: too few words or too many, or one that does not fit.
        """
        words, columns = list(words), (*FIELDS, *cls.results())
        if len(words) != len(columns):
            raise BadValueError(f"it has {len(words)} values, expected {len(columns)}")
        values = dict(zip(columns, words, strict=True))
        run = {name: values.pop(name) for name in FIELDS}
        for name, read in _READERS.items():
            with contextlib.suppress(ValueError):  # what is no number is left for Run to name
                run[name] = read(run[name])
        return cls(run=Run.recorded(**run), **values)


def _text(value):
    if isinstance(value, tuple):
        return " ".join(map(_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class Trained(Record):
    """A trained network.

    Its accuracy is a share in [0, 1], losses are mean cross-entropies in nats; `seconds` are those
    of the group that it was trained in, over its networks.
    """

    test_accuracy: Share
    test_loss: Loss
    train_loss: Loss
    kept_weights: Count
    epochs: Amount
    seconds: Amount
    engine: Text
    precision: Precision


class Mask(Record):
    """A mask, read before any training.

    `layers` counts the kept weights of each layer, in order; `collapse` the neurons with at least
    0, 5, … 100 % of their incoming weights pruned; `seconds` are those that making and reading it
    took.
    """

    kept_weights: Count
    effective_weights: Count
    layers: Counts
    collapse: Counts
    seconds: Amount


class Weights(Record):
    """The distribution of the unpruned weights.

    Columns of numbers have one for all layers together, then one a layer in order, nan where a
    layer has too few weights left (`analysis.moments`). `wasserstein` and `ks` are distances from
    the unmodified network of the same replicate.
    """

    mean: Numbers
    std: Numbers
    kurtosis: Numbers
    wasserstein: Numbers
    ks: Numbers
    seconds: Amount
    precision: Precision


@dataclass(frozen=True)
class Kind:
    """The records of one model in a store; `suffix` tells their files from those of another."""

    name: str
    record: type[Record]
    suffix: str = ""

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns of a file: the fields of a Run, then the results."""
        return (*FIELDS, *self.record.results())

    def table(self, records: Iterable[Record]) -> pd.DataFrame:
        """A tidy data frame, one row a record, with these columns."""
        return pd.DataFrame([record.row() for record in records], columns=list(self.columns))


TRAINED = Kind("trained networks", Trained)
MASK = Kind("masks", Mask, "-masks")
START = Kind("weights before training", Weights, "-weights")
END = Kind("weights after training", Weights, "-weights-trained")
KINDS = (TRAINED, MASK, START, END)


@functools.cache
def commit() -> str:
    """The commit of this checkout, "+" behind it if files of the package differ from it; "unknown"
    where there is none, or it is not under git."""
    root = checkout()
    if root is None or not (root / ".git").exists():  # another repository may be around it
        return "unknown"

    # In a hook of another repository, git's variables name that one.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*args):
        return subprocess.run(
            ["git", *args], cwd=root, env=env, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short=10", "HEAD") + (
            "+" if git("status", "--porcelain", "--", "prunelib") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
