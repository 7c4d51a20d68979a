"""Quantities: what Sections 5, J and M and Singh and Liu speak of, read off records of masks and of
unpruned weights. Each function takes records and a setting's name, and gives one value a record.
"""

import functools
import math
import re

import numpy as np
import pandas as pd

from prunelib import networks, settings
from prunelib.errors import BadValueError
from prunelib.findings import samples
from prunelib.findings.facts import architectures
from prunelib.runs import Curve

_PARTNER = ["method", "prune_at", "init", "sparsity", "replicate"]  # of ablations of one mask


@functools.cache
def layers(setting: str) -> dict[str, tuple[int, int]]:
    """Of each prunable layer, from input to output: how many weights it has, how many outputs."""
    found = architectures.shapes(setting)
    return {n.removesuffix(".weight"): (shape.numel(), shape[0]) for n, shape in found.items()}


def classes(setting: str) -> int:
    """How many classes the network of a setting tells apart."""
    return networks.classes(settings.get(setting).network)


def group(setting: str, name: str) -> list[int]:
    """The places of the layers that Appendix J calls by a name, from input to output.

    Args:
        name: "layers" (all), "output", "others" (all but it), "first", "shortcuts" (1x1
            convolutions on skip connections), "main" (all but these), "early" and "late" (the first
            and the last third of the main ones, where a third is more than the input or the output
            layer alone), "blocks" (the convolutions of the blocks that have a shortcut).

    Raises:
        BadValueError: for another name.
    """
    names = list(layers(setting))
    skips = [i for i, n in enumerate(names) if re.search("shortcut|downsample", n)]
    main = [i for i in range(len(names)) if i not in skips]
    blocks = {re.split(r"\.(?:shortcut|downsample)", names[i])[0] for i in skips}
    third = round(len(main) / 3)
    third = third if third > 1 else 0
    found = {
        "layers": list(range(len(names))),
        "output": main[-1:],
        "others": [i for i in range(len(names)) if i != main[-1]],
        "first": main[:1],
        "shortcuts": skips,
        "main": main,
        "early": main[:third],
        "late": main[len(main) - third :],
        "blocks": [i for i in main if names[i].rpartition(".")[0] in blocks],
    }
    if name not in found:
        raise BadValueError(f"group of layers {name!r}: one of {', '.join(found)}")
    return found[name]


def cells(column: pd.Series) -> pd.DataFrame:
    """The tuples in the cells of a column, a column an entry."""
    return pd.DataFrame(list(column), index=column.index, dtype=float)


def beside(
    values: pd.DataFrame | pd.Series,
    table: pd.DataFrame,
    chosen: pd.Series,
    keys: list[str],
    to: pd.DataFrame | None = None,
) -> np.ndarray:
    """For each record the values of its counterpart: the chosen record that equals it in `keys`.

    Args:
        values: a row a record of `table`. chosen: which of these may be counterparts, one at the
            most for each combination of `keys`, which are columns.
        to: the records beside which they stand; those of `table` by default.

    Returns:
        array, a row a record of `to`; NaN where there is none.
    """
    index = pd.MultiIndex.from_frame(table[chosen][keys])
    wanted = pd.MultiIndex.from_frame((table if to is None else to)[keys])
    return values[chosen].set_axis(index).reindex(wanted).to_numpy()


def pruned(table: pd.DataFrame, setting: str) -> pd.DataFrame:
    """The sparsity of each layer in percent: a row a record, a column a layer."""
    weights = [count for count, _ in layers(setting).values()]
    kept = cells(table["layers"]).reindex(columns=range(len(weights)))  # also of no record
    return 100 * (1 - kept / weights)


def sparsity_of(table: pd.DataFrame, setting: str, name: str) -> pd.Series:
    """The sparsity of a group of layers in percent, of all their weights; NaN where a network has
    none."""
    places = group(setting, name)
    own = pruned(table, setting)[places]
    weights = np.array([count for count, _ in layers(setting).values()])[places]
    return (own * weights).sum(axis=1) / (weights.sum() if places else math.nan)


def kept_over(table: pd.DataFrame, setting: str, name: str, other: str) -> pd.Series:
    """The share of weights that a group of layers keeps, over the share that another keeps."""
    ours, theirs = (100 - sparsity_of(table, setting, n) for n in (name, other))
    return ours / theirs.where(theirs > 0)


def emptied(table: pd.DataFrame, setting: str, name: str) -> pd.Series:
    """How many layers of a group are pruned entirely."""
    return (cells(table["layers"])[group(setting, name)] == 0).sum(axis=1).astype(float)


def accuracy(table: pd.DataFrame, setting: str) -> pd.Series:
    """Test accuracy in percent."""
    return 100 * table["test_accuracy"]


def diverged(table: pd.DataFrame, setting: str) -> pd.Series:
    """100 where training ended with a loss that is not finite, or with a network that guesses, else
    0."""
    finite = np.isfinite(table["train_loss"].astype(float))
    guess = samples.guessing(1 / classes(setting))
    return 100.0 * (~finite | (table["test_accuracy"].astype(float) <= guess))


def cut(table: pd.DataFrame, setting: str) -> pd.Series:
    """100 where no weight lies on a path from input to output, else 0 (Section 3)."""
    return 100.0 * (table["effective_weights"] == 0)


def unevenness(table: pd.DataFrame, setting: str) -> pd.Series:
    """The standard deviation of the layers' sparsities, in percentage points."""
    return pruned(table, setting).std(axis=1)


def sparsity_less(table: pd.DataFrame, setting: str, name: str, other: str) -> pd.Series:
    """The sparsity of a group of layers less that of another, in percentage points."""
    return sparsity_of(table, setting, name) - sparsity_of(table, setting, other)


def neurons(table: pd.DataFrame, setting: str) -> pd.Series:
    """The percentage of neurons whose incoming weights are all pruned (Figure 5)."""
    counts = cells(table["collapse"])
    return 100 * counts.iloc[:, -1] / counts.iloc[:, 0]


def neurons_in_emptied_layers(table: pd.DataFrame, setting: str) -> pd.Series:
    """The percentage of those neurons that lie in layers pruned entirely (footnote 6)."""
    outputs = np.array([outputs for _, outputs in layers(setting).values()])
    empty = cells(table["layers"]).to_numpy() == 0
    collapsed = cells(table["collapse"]).iloc[:, -1]
    return 100 * (empty * outputs).sum(axis=1) / collapsed.where(collapsed > 0)


def disconnected(table: pd.DataFrame, setting: str) -> pd.Series:
    """Effective minus actual sparsity, in percentage points (Appendix M)."""
    total = sum(count for count, _ in layers(setting).values())
    return 100 * (table["kept_weights"] - table["effective_weights"]) / total


def rounds_differently(table: pd.DataFrame, setting: str) -> pd.Series:
    """100 where effective and actual sparsity differ when they are rounded to a tenth of a percent,
    else 0 (Appendix M)."""
    total = sum(count for count, _ in layers(setting).values())
    kept = table[["kept_weights", "effective_weights"]].astype(float)
    actual, effective = (100 * (1 - kept / total)).round(1).to_numpy().T
    return pd.Series(100.0 * (actual != effective), table.index)


def reconnected(table: pd.DataFrame, setting: str) -> pd.Series:
    """Effective weights of the shuffled mask over those of the unmodified one, at the unmodified
    one; infinite where that has none, NaN for all others (Appendix M)."""
    effective = table["effective_weights"].astype(float)
    shuffled = beside(effective, table, table["ablation"] == "shuffle", _PARTNER)
    ratios = (shuffled / effective).where(table["ablation"] == "none")
    return ratios.mask(~np.isnan(shuffled) & (effective == 0), math.inf)


def distance_to(table: pd.DataFrame, setting: str, curve: str) -> pd.Series:
    """The mean absolute difference of layerwise sparsities from those of another curve's mask, of
    the same replicate and sparsity, in percentage points."""
    own, target = pruned(table, setting), Curve.parse(curve)
    about = ("method", "ablation", "prune_at", "init")
    chosen = np.logical_and.reduce([table[n] == getattr(target, n) for n in about])
    theirs = beside(own, table, chosen, ["sparsity", "replicate"])
    return (own - theirs).abs().mean(axis=1, skipna=False)


def distance_to_variances(table: pd.DataFrame, setting: str) -> pd.Series:
    """The mean absolute difference of layerwise sparsities from those that follow from the
    variances of He initialisation alone, in percentage points (Section 5, Magnitude pruning)."""
    expected = {
        s: list(architectures.proportions_from_variances(setting, s).values())
        for s in table["sparsity"].unique()
    }
    wanted = 100 * np.array([expected[s] for s in table["sparsity"]])
    return (pruned(table, setting) - wanted).abs().mean(axis=1)


def deviation(table: pd.DataFrame, setting: str) -> pd.Series:
    """How far a network's accuracy lies from the mean over its replicates, in percentage points
    (Levene's measure of spread)."""
    keys = ["method", "ablation", "prune_at", "weights_from", "init", "sparsity"]
    accuracy = 100 * table["test_accuracy"].astype(float)
    return (accuracy - accuracy.groupby([table[k] for k in keys]).transform("mean")).abs()


def moved(
    table: pd.DataFrame,
    setting: str,
    masks: pd.DataFrame,
    quantity: str,
    layer: str = "",
    zeros: bool | str = False,
    excess: bool | str = False,
) -> pd.Series:
    """How far the unpruned weights move under the ablation of a record (Singh and Liu); NaN for
    unmodified networks.

    Args:
        table: records of weights. masks: those of the setting's masks, for `zeros`.
        quantity: "ks"; "wasserstein" or "std", in standard deviations of the unmodified network's
            unpruned weights, the latter as a ratio less 1.
        layer: in place of all layers together, "each layer" takes the one that moves most, and
            "mean layer" the mean, in which a layer counts by the weights that it keeps.
        zeros: whether pruned weights count, as zeros: both distributions then share them, and a
            distance shrinks to the share of weights that are kept.
        excess: whether to take off what chance alone moves, which random pruning shows: its
            unpruned weights are drawn from one distribution whatever the ablation. In a small
            layer that is much, so that it is taken off layer by layer.
    """
    values, unmodified = cells(table[quantity]), masks["ablation"] == "none"
    if quantity != "ks":
        std = beside(cells(table["std"]), table, table["ablation"] == "none", _PARTNER)
        values = values / std - (quantity == "std")
    if zeros:
        kept = 100 - pruned(masks, setting)
        kept.insert(0, "all layers", 100 * (1 - masks["sparsity"]))
        values = values * beside(kept, masks, unmodified, _PARTNER, table) / 100
    if excess:
        random = table["method"] == "random"
        values = values - beside(values, table, random, ["ablation", "sparsity", "replicate"])
    found, each = values[0], values.iloc[:, 1:]
    if layer == "each layer":
        found = each.abs().max(axis=1)
    elif layer == "mean layer":
        counts = beside(cells(masks["layers"]), masks, unmodified, _PARTNER, table)
        found = (each * counts).sum(axis=1) / (each.notna() * counts).sum(axis=1)
    return found.where(table["ablation"] != "none")
