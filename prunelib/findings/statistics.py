"""Effects with their intervals, what a claim allows of them, and printed numbers.

An `Effect` is a mean and how well it is known; a `Region` is what a claim allows; `decisions` holds
the one against the other. Below them: statistics over replicates, and the tables of what the
papers print.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from scipy import stats

from prunelib.errors import BadValueError, check_name
from prunelib.runs import DENSE, Curve

PUBLISHED = {
    path.stem: path for path in sorted((Path(__file__).parent / "published").glob("*.csv"))
}

TOLERANCES = (0.0, 0.001, 0.0025, 0.005, 0.01)
TOLERANCE = 0.0025  # the criterion of "matching", where one is needed: the paper prints none

# What is said, instead of a verdict, of results that the claim does not speak of.
ELSEWHERE = {"supported": "agrees", "not supported": "differs"}

# Decimals that ends of intervals and bounds are compared to. The store keeps six digits of an
# accuracy; what lies behind them is rounding, and must not decide.
DIGITS = 6

# The interval that each region allows, from its bound or bounds.
_ENDS = {
    "higher": lambda margin: (margin, math.inf),
    "lower": lambda margin: (-math.inf, -margin),
    "same": lambda margin: (-margin, margin),
    "not lower": lambda margin: (-margin, math.inf),
    "not higher": lambda margin: (-math.inf, margin),
    "at most": lambda bound: (-math.inf, bound),
    "at least": lambda bound: (bound, math.inf),
    "between": lambda low, high: (low, high),
}
_MARGINS = ("higher", "lower", "same", "not lower", "not higher")


@dataclass(frozen=True)
class Effect:
    """A mean over replicates and how well it is known.

    `error` is its standard error, in the unit of the mean, and `freedom` the degrees of freedom
    that this rests on; `n` counts the replicates. An exact number has the error 0. The error is
    NaN where there are too few results to tell it, and infinite where there are results but none
    says anything about the effect.
    """

    mean: float
    error: float
    freedom: float
    n: int

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The two ends of the t interval of the mean; both NaN where there are too few results."""
        if self.error == 0:
            return self.mean, self.mean
        if math.isinf(self.error):
            return -math.inf, math.inf
        half = self.error * float(stats.t.ppf((1 + confidence) / 2, self.freedom))
        return self.mean - half, self.mean + half


def combined(terms: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The standard error of a sum of independent terms, and its degrees of freedom (Satterthwaite,
    1946; of a difference of two means it is Welch's).

    Args:
        terms: the squared standard error and the degrees of freedom of each.
    """
    terms = list(terms)
    total = sum(square for square, _ in terms)
    parts = sum(square**2 / freedom for square, freedom in terms if square and freedom)
    return math.sqrt(total), total**2 / parts if parts else math.inf


def effect(values: Iterable[float]) -> Effect:
    """The mean of one value a replicate; values that are NaN do not count.

    Two values are the fewest that have an interval.
    """
    found = pd.Series(values, dtype=float).dropna()
    error = float(found.sem()) if len(found) > 1 else math.nan
    return Effect(float(found.mean()), error, len(found) - 1, len(found))


def exact(value: float) -> Effect:
    """A number without sampling error: a count, or an identity that holds or does not."""
    return Effect(float(value), 0.0, math.inf, 1)


def less_printed(ours: Effect, printed: float, replicates: int) -> Effect:
    """How far our mean lies from a printed mean of other replicates.

    The printed mean was drawn as ours was, so that both numbers of replicates enter: the interval
    is the prediction interval of a mean of `replicates` values (Hahn and Meeker, 1991, ch. 4).

    Args:
        ours: our mean, whose spread stands for both.
        printed: the mean that a paper prints, over `replicates` values, in the same unit.
    """
    error = ours.error * math.sqrt(1 + ours.n / replicates)
    return Effect(ours.mean - printed, error, ours.freedom, ours.n)


@dataclass(frozen=True)
class Region:
    """The effects that a claim allows, in a word and its bound, in the unit of the effect.

    "higher", "lower": a change by more than the bound. "same", "not lower", "not higher": no change
    beyond the bound, a margin. "at most", "at least": the bound itself. "between": two bounds.

    Raises:
        UnknownNameError: for another word. BadValueError: for a margin below zero, or bounds that
            are too few, too many or in the wrong order.
    """

    word: str
    bound: float
    upper: float | None = None

    def __post_init__(self):
        check_name("region", self.word, _ENDS)
        if self.word in _MARGINS and not self.bound >= 0:
            raise BadValueError(f"region {self.word!r}: margin {self.bound!r} is not at least 0")
        if (self.word == "between") != (self.upper is not None):
            raise BadValueError(f"region {self.word!r}: 'between' takes two bounds, others one")
        if self.word == "between" and not self.bound <= self.upper:
            raise BadValueError(f"region 'between': {self.bound!r} is above {self.upper!r}")

    @property
    def ends(self) -> tuple[float, float]:
        """Its lowest and its highest value; where it is "higher" or "lower" these lie outside."""
        bounds = (self.bound,) if self.upper is None else (self.bound, self.upper)
        return _ENDS[self.word](*bounds)

    def scaled(self, factor: float) -> "Region":
        """The same with its margin times a factor; "at most", "at least" and "between" have none
        and stay."""
        return replace(self, bound=self.bound * factor) if self.has_margin else self

    @property
    def has_margin(self) -> bool:
        """Whether it has a margin above zero, which could be half or twice as large."""
        return self.word in _MARGINS and self.bound > 0

    @property
    def confidence(self) -> float:
        """Of the interval to compare with it.

        0.9 for equivalence, whose two one-sided tests at 0.05 it carries out (Schuirmann, 1987).
        """
        return 0.9 if self.word in ("same", "between") else 0.95


def worded(verdict: str, speaks: bool) -> str:
    """A verdict as it may be said of these results.

    Args:
        verdict: "supported", "undecided", "not supported" or "not run".
        speaks: whether the claim speaks of them. Below profile `paper`, on other data or on
            another network it does not: results "agree" or "differ", and contradict nothing.
    """
    return verdict if speaks else ELSEWHERE.get(verdict, verdict)


def select(table: pd.DataFrame, curve: Curve) -> pd.DataFrame:
    """The rows of a results table that belong to a `runs.Curve`."""
    chosen = table["method"] == curve.method
    for name in ("ablation", "prune_at", "weights_from", "init"):
        chosen &= table[name] == getattr(curve, name)
    return table[chosen]


def over_replicates(table: pd.DataFrame, curve: Curve) -> pd.DataFrame:
    """Mean and standard deviation of test accuracy at each sparsity of a curve.

    Returns:
        data frame indexed by sparsity, ascending: mean and std in [0, 1] (std over replicates,
        n - 1 in the denominator, NaN for one replicate) and n.
    """
    groups = select(table, curve).groupby("sparsity")["test_accuracy"]
    return pd.DataFrame({"mean": groups.mean(), "std": groups.std(), "n": groups.size()})


def highest_matching(table: pd.DataFrame, curve: Curve, tolerance: float) -> float | None:
    """The highest sparsity at which a curve still matches the unpruned network.

    The paper prints no criterion. Here: the mean accuracy is at most `tolerance` below the
    mean of the unpruned network of the same initialisation, at this sparsity and at all lower ones
    that were run.

    Args:
        tolerance: a difference of accuracies in [0, 1], for example 0.0025.

    Returns:
        the sparsity; 0.0 where none matches; None where either was not run.
    """
    dense = over_replicates(table, replace(DENSE, init=curve.init))
    pruned = over_replicates(table, curve)
    if dense.empty or pruned.empty:
        return None
    lost = (dense["mean"].iloc[0] - pruned["mean"] - tolerance).round(DIGITS)
    below = pruned.index[lost > 0]
    matching = pruned.index[pruned.index < below.min()] if len(below) else pruned.index
    return float(max(matching, default=0.0))


def matching_in_words(table: pd.DataFrame, curve: Curve, tolerance: float) -> str:
    """`highest_matching` in percent, as text: "not run" where it is None, and "< 20.0" where not
    even the lowest sparsity run, here 20 %, matches."""
    found = highest_matching(table, curve, tolerance)
    if found is None:
        return "not run"
    lowest = over_replicates(table, curve).index[0]
    return f"{100 * found:.1f}" if found else f"< {100 * lowest:.1f}"


def matching_table(table: pd.DataFrame, curves: dict[str, Curve]) -> pd.DataFrame:
    """The highest matching sparsity in percent of each labelled curve, a column each of
    `TOLERANCES`."""
    rows = {}
    for label, curve in curves.items():
        rows[label] = [matching_in_words(table, curve, tolerance) for tolerance in TOLERANCES]
    columns = [f"within {100 * t:g} points" for t in TOLERANCES]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def published(name: str, **where) -> pd.DataFrame:
    """Numbers that the papers print, as a data frame; `where` selects rows by column.

    Args:
        name: a file of `published/`, without its ending.

    Raises:
        UnknownNameError: there is no such file; the sentence lists those there are.
    """
    check_name("published table", name, PUBLISHED)
    table = pd.read_csv(PUBLISHED[name])
    for column, value in where.items():
        table = table[table[column] == value]
    return table.reset_index(drop=True)
