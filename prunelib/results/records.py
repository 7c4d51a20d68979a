"""What is recorded of a Run: a trained network, its mask, or the weights that the mask keeps.

Each is a frozen pydantic model that refuses a bad value, whether it is made by the engine or read
from a file. A `Kind` says in which files of a store the records of one model lie.
"""

import functools
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
)

from prunelib.errors import BadValueError
from prunelib.paths import project_root
from prunelib.precision import PRECISIONS
from prunelib.runs import FIELDS, Run


def _from_0_or_nan(value: float) -> float:
    if value < 0:
        raise ValueError
    return value


def _words(value: Any) -> Any:
    return value.split() if isinstance(value, str) else value


Count = Annotated[int, Field(ge=0, description="a whole number from 0")]
Counts = Annotated[
    tuple[Count, ...],
    BeforeValidator(_words),
    Field(min_length=1, description="whole numbers from 0 with spaces between"),
]
Numbers = Annotated[
    tuple[float, ...],
    BeforeValidator(_words),
    Field(min_length=1, description="numbers with spaces between"),
]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, description="a number from 0 to 1")]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False, description="a number from 0")]
Loss = Annotated[
    float, AfterValidator(_from_0_or_nan), Field(description="a number from 0, or nan")
]
Text = Annotated[str, Field(pattern=r"^\PC*$", description="text on one line")]
Precision = Annotated[Literal[PRECISIONS], Field(description=f"one of {', '.join(PRECISIONS)}")]


class Record(BaseModel):
    """What was found of a Run; the fields beside `run` are the columns of its results, in order.

    Raises:
        BadValueError: when made with a value that does not fit; the sentence names it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: Annotated[InstanceOf[Run], Field(description="a Run")]

    def __init__(self, **values: Any):
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise BadValueError(self._sentence(error)) from None

    @classmethod
    def _sentence(cls, error: ValidationError) -> str:
        first = error.errors(include_url=False, include_context=False)[0]
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            return f"{name} is no column of {cls.__name__}: it has {', '.join(cls.results())}"
        found = "missing" if first["type"] == "missing" else repr(first["input"])
        return f"{name} is {found}, expected {cls.model_fields[name].description}"

    @classmethod
    def results(cls) -> tuple[str, ...]:
        """The names of the columns beside those of the Run."""
        return tuple(name for name in cls.model_fields if name != "run")

    @classmethod
    def parse(cls, words: Iterable[str]) -> Self:
        """The record of a line of a file: a word for each column, the fields of the Run first.

        Raises:
            PrunelibError: too few words or too many, or one that does not fit.
        """
        words, columns = list(words), (*FIELDS, *cls.results())
        if len(words) != len(columns):
            raise BadValueError(f"it has {len(words)} values, expected {len(columns)}")
        values = dict(zip(columns, words, strict=True))
        return cls(run=_run(**{name: values.pop(name) for name in FIELDS}), **values)

    def words(self) -> list[str]:
        """The record as a line of a file: results to six digits, the Run in full, so that it is
        found again."""
        run = [str(getattr(self.run, name)) for name in FIELDS]
        return run + [_text(getattr(self, name)) for name in self.results()]

    def row(self) -> dict[str, Any]:
        """The fields of the Run, then the results, in the order of the columns."""
        run = {name: getattr(self.run, name) for name in FIELDS}
        return run | {name: getattr(self, name) for name in self.results()}


class Trained(Record):
    """A trained network."""

    test_accuracy: Share
    test_loss: Loss
    train_loss: Loss
    kept_weights: Count
    epochs: Amount
    seconds: Amount
    engine: Text
    precision: Precision
    device: Text
    dataset: Text
    torch: Text
    commit: Text


class Mask(Record):
    """A mask, read before any training.

    `layers` counts the kept weights of each layer, in order; `collapse` the neurons with at least
    0, 5, … 100 % of their incoming weights pruned.
    """

    kept_weights: Count
    effective_weights: Count
    layers: Counts
    collapse: Counts
    seconds: Amount
    device: Text
    dataset: Text
    torch: Text
    commit: Text


class Weights(Record):
    """The distribution of the unpruned weights.

    Each column has a value for all layers together, then one a layer in order, nan where a layer
    has no weights left. `wasserstein` and `ks` are distances from the unmodified network of the
    same replicate.
    """

    mean: Numbers
    std: Numbers
    kurtosis: Numbers
    wasserstein: Numbers
    ks: Numbers
    seconds: Amount
    precision: Precision
    device: Text
    dataset: Text
    torch: Text
    commit: Text


def _run(**words: str) -> Run:
    """The Run of a line; a word that is no number is left for Run to name."""

    def parsed(read, word):
        try:
            return read(word)
        except ValueError:
            return word

    readers = {"sparsity": float, "prune_at": int, "weights_from": int, "replicate": int}
    return Run.recorded(**words | {n: parsed(read, words[n]) for n, read in readers.items()})


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


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


TRAINED = Kind("trained networks", Trained)
MASK = Kind("masks", Mask, "-masks")
START = Kind("weights before training", Weights, "-weights")
END = Kind("weights after training", Weights, "-weights-trained")
KINDS = (TRAINED, MASK, START, END)


@functools.cache
def commit() -> str:
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
