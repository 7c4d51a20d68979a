"""Statistics over replicates, and what the papers print."""

from pathlib import Path

import pandas as pd

from prunelib.errors import check_name
from prunelib.runs import DENSE

PUBLISHED = {
    path.stem: path for path in sorted((Path(__file__).parent / "published").glob("*.csv"))
}

TOLERANCES = (0.0, 0.001, 0.0025, 0.005, 0.01)


def select(table, curve):
    """The rows of a results table that belong to a `runs.Curve`."""
    chosen = table["method"] == curve.method
    for name in ("ablation", "prune_at", "weights_from", "init"):
        chosen &= table[name] == getattr(curve, name)
    return table[chosen]


def over_replicates(table, curve):
    """Mean and standard deviation of test accuracy at each sparsity of a curve.

    Returns:
        data frame indexed by sparsity, ascending: mean and std in [0, 1] (std over replicates,
        n - 1 in the denominator, NaN for one replicate) and n.
    """
    groups = select(table, curve).groupby("sparsity")["test_accuracy"]
    return pd.DataFrame({"mean": groups.mean(), "std": groups.std(), "n": groups.size()})


def paired_differences(table, curve, against, sparsities):
    """Differences of test accuracy, curve minus against, one a replicate.

    Replicates share data order, augmentation and initial weights, so they are compared pairwise;
    each replicate's value is the mean over those `sparsities` at which it has both. They need not
    share the precision they were computed in: see `mixed_precision`.

    Returns:
        series indexed by replicate, in [-1, 1]; empty where nothing can be compared.
    """
    keys = ["replicate", "sparsity"]
    ours, theirs = (select(table, c).set_index(keys)["test_accuracy"] for c in (curve, against))
    difference = (ours - theirs).dropna()
    difference = difference[difference.index.get_level_values("sparsity").isin(sparsities)]
    return difference.groupby("replicate").mean()


def mixed_precision(table, curve, against):
    """How many of the pairs behind `paired_differences`, at all sparsities, had two precisions.

    Returns:
        (count, number of pairs).
    """
    keys = ["replicate", "sparsity"]
    ours, theirs = (select(table, c).set_index(keys)["precision"] for c in (curve, against))
    pairs = pd.concat([ours, theirs], axis=1, join="inner").set_axis(["ours", "theirs"], axis=1)
    return int((pairs["ours"] != pairs["theirs"]).sum()), len(pairs)


def highest_matching(table, curve, tolerance):
    """The highest sparsity at which a curve still matches the unpruned network.

    The paper prints no criterion. Here: the mean accuracy is at most `tolerance` below the
    unpruned network's mean, at this sparsity and at all lower ones that were run.

    Args:
        tolerance: a difference of accuracies in [0, 1], for example 0.0025.

    Returns:
        the sparsity; 0.0 where none matches; None where either was not run.
    """
    dense = over_replicates(table, DENSE)
    pruned = over_replicates(table, curve)
    if dense.empty or pruned.empty:
        return None
    below = pruned.index[pruned["mean"] < dense["mean"].iloc[0] - tolerance]
    matching = pruned.index[pruned.index < below.min()] if len(below) else pruned.index
    return float(max(matching, default=0.0))


def matching_table(table, curves, tolerances=TOLERANCES):
    """The highest matching sparsity in percent of each labelled curve, a column a tolerance.

    Args:
        curves: dict from label to Curve.
        tolerances: differences of accuracies in [0, 1].
    """
    rows = {}
    for label, curve in curves.items():
        found = [highest_matching(table, curve, tolerance) for tolerance in tolerances]
        rows[label] = ["not run" if s is None else f"{100 * s:.1f}" for s in found]
    columns = [f"within {100 * t:g} points" for t in tolerances]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def published(name, **where):
    """Numbers that the papers print, as a data frame; `where` selects rows by column.

    Args:
        name: a file of `published/`, without its ending.
    """
    check_name("published table", name, PUBLISHED)
    table = pd.read_csv(PUBLISHED[name])
    for column, value in where.items():
        table = table[table[column] == value]
    return table.reset_index(drop=True)
