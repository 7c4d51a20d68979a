"""Whether the paper agrees with itself: its sentences with its tables, and with the raw results of
Tanaka et al. (2020) that it compares with.

All is computed from the numbers in `published/`; no network is trained.
"""

import functools
import itertools
import math
from collections.abc import Callable

import pandas as pd

from prunelib.errors import BadValueError
from prunelib.findings.facts.architectures import classes
from prunelib.findings.facts.table import FACTS, fact, named
from prunelib.findings.statistics import published


@functools.cache
def _table(table: int, setting: str) -> pd.DataFrame:
    """The accuracies and changes of a setting in a table: a row a sparsity, 0 for the unpruned
    network; columns (quantity, "reported" or "paper")."""
    rows = published("frankle2021_tables", table=table, setting=setting)
    if rows.empty:
        raise BadValueError(f"Table {table} has no row of {setting}")
    return rows.pivot(index="sparsity", columns="source", values=["accuracy", "change"])


def _apart(table: int, setting: str, quantity: str = "accuracy") -> pd.Series:
    """The paper's number less the reported one, in points, by sparsity, where both are printed."""
    rows = _table(table, setting)[quantity]
    return (rows["paper"] - rows["reported"]).dropna()


def _pruned(table: int, setting: str) -> pd.Series:
    return _apart(table, setting).drop(index=0.0)


def unpruned_difference(table: int, setting: str) -> float:
    """The paper's unpruned accuracy less the one reported, in points (B.4, B.5, C.4, D.3)."""
    return float(_apart(table, setting)[0.0])


def unpruned_distance(table: int, setting: str) -> float:
    """How far the two unpruned accuracies are apart, in points (B.5)."""
    return abs(unpruned_difference(table, setting))


def lowest_pruned_difference(table: int, setting: str) -> float:
    """The lowest of the paper's pruned accuracies less those reported, in points (B.5, C.4)."""
    return float(_pruned(table, setting).min())


def highest_pruned_difference(table: int, setting: str) -> float:
    """The highest of the paper's pruned accuracies less those reported, in points (C.4)."""
    return float(_pruned(table, setting).max())


def largest_pruned_distance(table: int, setting: str) -> float:
    """How far pruned accuracies are apart at most, in points (B.5)."""
    return float(_pruned(table, setting).abs().max())


def pruned_over_unpruned_distance(table: int, setting: str) -> float:
    """How far pruned accuracies are apart over how far unpruned ones are (B.4)."""
    return largest_pruned_distance(table, setting) / unpruned_distance(table, setting)


def highest_change_of_the_drop(table: int, setting: str) -> float:
    """The most that what pruning changes in the paper is above what it changes as reported, in
    points (B.4)."""
    return float(_apart(table, setting, "change").max())


def largest_distance_of_the_drops(table: int, setting: str) -> float:
    """How far what pruning changes is apart at most, in points (C.4)."""
    return float(_apart(table, setting, "change").abs().max())


def drops_off_their_difference(table: int, setting: str) -> float:
    """How far a number in brackets is from pruned less unpruned accuracy at most, in points."""
    rows = _table(table, setting)
    computed = rows["accuracy"] - rows["accuracy"].loc[0.0]
    return float((rows["change"] - computed).abs().max().max())


def replicated_accuracy(table: int, setting: str) -> float:
    """The paper's unpruned accuracy in percent (D.3)."""
    return float(_table(table, setting)["accuracy"]["paper"][0.0])


@functools.cache
def _raw(setting: str) -> pd.DataFrame:
    """The raw results of Tanaka et al.: mean accuracy in percent, by sparsity and method."""
    rows = published("tanaka2020_accuracy", setting=setting)
    if rows.empty:
        raise BadValueError(f"the raw results of Tanaka et al. have nothing of {setting}")
    return rows.pivot(index="sparsity", columns="method", values="accuracy").sort_index()


def off_the_raw_results(table: int, setting: str) -> float:
    """The paper's unpruned accuracy less the mean of the raw results, in points (D.3)."""
    return replicated_accuracy(table, setting) - float(_raw(setting).loc[0.0].mean())


@fact
def sparsities_of_the_raw_results(setting: str) -> float:
    """D.4: "13 sparsities"."""
    return float(len(_raw(setting)))


@fact
def unevenness_of_the_raw_sparsities(setting: str) -> float:
    """D.4: "evenly space logarithmically"; the largest distance from the even step, as a share."""
    levels = [-math.log10(1 - s) for s in _raw(setting).index]
    even = levels[-1] / (len(levels) - 1)
    return max(abs((b - a) / even - 1) for a, b in itertools.pairwise(levels))


@fact
def highest_compression_of_the_raw_results(setting: str) -> float:
    """D.4: "compression ratio 10^3"."""
    return float(1 / (1 - _raw(setting).index[-1]))


@fact
def last_raw_accuracy_of_snip(setting: str) -> float:
    """D.4: that of SNIP at the highest sparsity, which does not collapse for Tanaka et al."""
    return float(_raw(setting)["snip"].iloc[-1])


@fact
def last_raw_lead_of_synflow(setting: str) -> float:
    """D.4: how far SynFlow is above the next method at the highest sparsity, in points."""
    last = _raw(setting).iloc[-1]
    return float(last["synflow"] - last.drop("synflow").max())


@fact
def last_raw_accuracy_of_magnitude_over_chance(setting: str) -> float:
    """D.4: "magnitude pruning does not drop to random accuracy", unlike theirs: 1 if it does."""
    return float(_raw(setting)["magnitude"].iloc[-1]) * classes(setting) / 100


def _ratios(when: str, summary: Callable[[pd.Series], float], setting: str) -> float:
    """A summary of the ratios of all networks and methods in Appendix M's table; `setting` does
    not matter, as the sentence is about all."""
    rows = published("frankle2021_before_training", quantity="effective_parameter_ratio")
    networks = rows.assign(value=rows["value"].astype(float)).groupby("network", sort=False)
    edge = networks["sparsity"].transform("min" if when == "matching" else "max")
    return float(summary(rows.loc[rows["sparsity"] == edge, "value"].astype(float)))


def _of_table(table: int, *functions: Callable[[int, str], float]):
    return {
        f"table {table} {named(function)}": functools.partial(function, table)
        for function in functions
    }


_ALL = (drops_off_their_difference, unpruned_difference)
FACTS |= {
    **_of_table(2, *_ALL, pruned_over_unpruned_distance, highest_change_of_the_drop),
    **_of_table(3, *_ALL, unpruned_distance, lowest_pruned_difference, largest_pruned_distance),
    **_of_table(
        5, *_ALL, lowest_pruned_difference, highest_pruned_difference, largest_distance_of_the_drops
    ),
    **_of_table(7, unpruned_difference, replicated_accuracy, off_the_raw_results),
    **{
        f"{word} printed ratio {name}": functools.partial(_ratios, when, summary)
        for word, summary in (("largest", pd.Series.max), ("median", pd.Series.median))
        for when, name in (("matching", "when matching"), ("highest", "at the highest"))
    },
}
