"""The numbers of each figure, computed from the store's tables.

First accuracies (the figures that rest on training), then what masks show (Figures 5, 15 and 16,
and our values beside the printed ones), last how far unpruned weights move. Each function returns
a tidy data frame that a page draws or prints.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import pandas as pd

from prunelib import settings
from prunelib.findings import quantities, statistics
from prunelib.findings.quantities import layers as layers_of
from prunelib.grids import FIGURES, LATER, compared, figure_runs
from prunelib.runs import DENSE, Curve, Run

# What an ablation that changes a distribution "minimally" may move it by beyond chance, as a
# Kolmogorov-Smirnov distance (Singh and Liu print no number); and the paper's bound on effective
# weights, shuffled over unmodified, at matching sparsities (Appendix M).
MOVED, RECONNECTED = 0.05, 1.0026
AFTER_TRAINING = " after training"  # behind the name of a method that prunes a trained network


def accuracy_data(
    figure: int | str,
    table: pd.DataFrame,
    setting: str,
    profile: str,
    label: Callable[[int, Curve], str],
    replicates: int | None = None,
) -> pd.DataFrame:
    """The numbers that an accuracy figure draws.

    Args:
        figure: a key of `grids.FIGURES`.
        table: a results table; only runs of the figure are read from it.
        label: the name of a curve's line in a figure, given both.
        replicates: how many; the profile's number by default.

    Returns:
        data frame: panel, line, sparsity and weights remaining (both in percent), mean and std of
        test accuracy in percent, n. Figures 6 and 10, which have one sparsity, have the step in
        place of it: the iteration at which the network is pruned, the last one for "end". Rows for
        which no run exists are absent; the unpruned network, of each initialisation that the panel
        has, has sparsity, or step, 0.
    """
    grid, schedule = FIGURES[figure], settings.schedule(setting, profile)
    table = rows_of(figure_runs(figure, setting, profile, replicates), table)
    points = grid.points(setting, profile)
    rows = []
    for panel, lines in grid.panels.items():
        inits = dict.fromkeys(curve.init for curve in (DENSE, *lines))
        for curve in (*(replace(DENSE, init=init) for init in inits), *lines):
            name, pruned = label(figure, curve), curve.method != "dense"
            for step in {step: None for _, step in points} if pruned else (0,):
                found = statistics.over_replicates(table, curve.at(setting, profile, step))
                place = (schedule.iteration(step),)
                for s, row in found.iterrows():
                    about = place if grid.along == "step" else (round(100 * s, 1), 100 * (1 - s))
                    mean, std = 100 * row["mean"], 100 * row["std"]
                    rows.append((panel, name, *about, mean, std, int(row["n"])))
    about = ["step"] if grid.along == "step" else ["sparsity", "remaining"]
    return pd.DataFrame(rows, columns=["panel", "line", *about, "accuracy", "std", "n"])


def rows_of(runs: Iterable[Run], table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that belong to some Runs, in their order."""
    index = pd.DataFrame([run.record() for run in runs])
    # steps are whole numbers or "end": compared as objects
    typed = dict.fromkeys(("prune_at", "weights_from"), object)
    found = index.astype(typed).merge(table.astype(typed), on=list(index.columns))
    return found[list(table.columns)]


def collapse_data(table: pd.DataFrame, sparsity: float) -> pd.DataFrame:
    """The curves of Figure 5: the share of neurons with at least s % of their weights pruned.

    Args:
        table: records of masks of one setting.
        sparsity: which of its sparsities.

    Returns:
        data frame: method, ablation, threshold (s), share and std in percent, n.
    """
    rows = []
    for (method, ablation), group in _lines(_early(table[table["sparsity"] == sparsity])):
        counts = quantities.cells(group["collapse"])
        shares = 100 * counts.div(counts[0], axis=0)
        thresholds = [100 * k / (len(shares.columns) - 1) for k in shares.columns]
        for threshold, (_, values) in zip(thresholds, shares.items(), strict=True):
            rows.append((method, ablation, threshold, values.mean(), values.std(), len(values)))
    return pd.DataFrame(
        rows, columns=["method", "ablation", "threshold", "share", "std", "n"]
    ).round({"threshold": 1})


def layer_data(table: pd.DataFrame, setting: str, sparsity: float) -> pd.DataFrame:
    """The bars of Figure 15: the sparsity of each layer, of the unmodified masks.

    Returns:
        data frame: method, layer (in order), sparsity and std in percent, n.
    """
    methods, rows = _named(table), []
    for method in methods.drop_duplicates().sort_values(key=_place):
        pruned = 100 * layer_sparsities(table, setting, sparsity, method)
        for layer, values in pruned.items() if len(pruned) else ():
            rows.append((method, layer, values.mean(), values.std(), len(values)))
    return pd.DataFrame(rows, columns=["method", "layer", "sparsity", "std", "n"])


def layer_sparsities(
    table: pd.DataFrame, setting: str, sparsity: float, method: str
) -> pd.DataFrame:
    """The sparsity of each layer in [0, 1], of a method's unmodified masks.

    Args:
        method: a name, as "magnitude after training" where the trained network is pruned.

    Returns:
        data frame: a row a replicate, a column a layer, from input to output.
    """
    chosen = table[(_named(table) == method) & (table["sparsity"] == sparsity)]
    chosen = chosen[(chosen["ablation"] == "none") & (chosen["init"] == "he")]
    return (quantities.pruned(chosen, setting) / 100).set_axis(list(layers_of(setting)), axis=1)


def ratio_data(table: pd.DataFrame) -> pd.DataFrame:
    """The lines of Figure 16: effective weights of the shuffled mask over the unmodified one's.

    A replicate whose unmodified mask has no effective weight at all has no ratio.

    Returns:
        data frame: method, sparsity in [0, 1), ratio and std over replicates, n.
    """
    keys = ["method", "sparsity", "replicate"]
    weights = _early(table).pivot(index=keys, columns="ablation", values="effective_weights")
    weights = weights.reindex(columns=["none", "shuffle"])  # also where there is only one of them
    weights = weights[weights["none"] > 0].dropna()
    ratio = (weights["shuffle"] / weights["none"]).rename("ratio")
    groups = ratio.groupby(["method", "sparsity"])
    found = pd.DataFrame({"ratio": groups.mean(), "std": groups.std(), "n": groups.size()})
    return found.reset_index().sort_values("method", key=_place, kind="stable")


def weight_data(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """How far the unpruned weights of all layers together move under each ablation.

    Args:
        tables: dict from "before training" or "after training" to records of weights.

    Returns:
        data frame: when, sparsity in [0, 1), method (magnitude after training is one of its own),
        ablation, replicate, ks in [0, 1], wasserstein in units of the standard deviation of the
        unmodified network's unpruned weights, and the ratio of the standard deviations.
    """
    rows = []
    keys = ["sparsity", "method", "replicate"]
    for when, table in tables.items():
        first = table.assign(method=_named(table))
        for name in ("std", "wasserstein", "ks"):
            first[name] = quantities.cells(first[name])[0]
        for (sparsity, method, replicate), group in first.groupby(keys, sort=False):
            stds = group.set_index("ablation")["std"]
            if "none" not in stds:
                continue  # there is nothing to compare with
            for row in group[group["ablation"] != "none"].itertuples():
                scaled = row.wasserstein / stds["none"], row.std / stds["none"]
                rows.append((when, sparsity, method, row.ablation, replicate, row.ks, *scaled))
    columns = ["when", "sparsity", "method", "ablation", "replicate", "ks", "wasserstein", "std"]
    return pd.DataFrame(rows, columns=columns)


def layer_weights(
    table: pd.DataFrame, setting: str, sparsity: float, quantity: str, ablation: str = "shuffle"
) -> pd.DataFrame:
    """A quantity of the unpruned weights of each layer, mean over replicates, a column a method.

    Args:
        table: records of weights of one setting.
        setting: its name. sparsity: one of those recorded.
        quantity: "mean", "std", "kurtosis", "wasserstein" or "ks".
        ablation: of the runs it is read of.
    """
    rows = table[(table["sparsity"] == sparsity) & (table["ablation"] == ablation)]
    groups = rows.groupby(_named(rows), sort=False)
    found = {method: quantities.cells(group[quantity]).mean() for method, group in groups}
    return pd.DataFrame(found).set_axis(["all layers", *layers_of(setting)])


def _named(table: pd.DataFrame) -> pd.Series:
    """The method of each row, with " after training" behind those that prune a trained network."""
    return table["method"].mask(table["prune_at"] == "end", table["method"] + AFTER_TRAINING)


def _early(table: pd.DataFrame) -> pd.DataFrame:
    """The masks made at He initialisation; those of trained networks are for Figure 15 alone, those
    of layers of one variance for claims."""
    return table[(table["prune_at"] == 0) & (table["init"] == "he")]


def _lines(table: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """((method, ablation), rows): methods in the order of the paper."""
    ordered = table.sort_values("method", key=_place, kind="stable")
    return iter(ordered.groupby(["method", "ablation"], sort=False))


def _place(names: pd.Series) -> pd.Series:
    order = dict.fromkeys((*compared(), *LATER))
    return names.map({name: place for place, name in enumerate(order)})


def against_published(table: pd.DataFrame, setting: str) -> pd.DataFrame:
    """Our values beside those the paper prints in Section 5 and Appendix M.

    Both numbers of replicates count in the interval of the difference, see
    `statistics.less_printed`. The ledger has the verdicts.

    Args:
        table: records of masks of the setting, made at profile "paper".

    Returns:
        data frame: quantity, method, sparsity, paper (as printed), ours (mean), std, n,
        difference, its 90 % interval. Empty where the paper prints nothing for the setting; where
        it prints a bound, as "<1", there is no difference.
    """
    chosen = settings.get(setting)
    printed = statistics.published(
        "frankle2021_before_training", network=chosen.network, dataset=chosen.dataset
    )
    rows = []
    for row in printed.itertuples():
        values = _measured(table[table["sparsity"].round(3) == row.sparsity], setting, row)
        bound = str(row.value).startswith("<")
        number = float(str(row.value).removeprefix("<"))
        effect = statistics.less_printed(statistics.effect(values), number, chosen.replicates)
        low, high = effect.interval(0.9)
        interval = f"{low:+z.4f} … {high:+z.4f}" if effect.n > 1 else ""
        about = (row.quantity.replace("_", " "), row.method, 100 * row.sparsity, row.value)
        apart = (float("nan"), "") if bound else (effect.mean, interval)
        rows.append((*about, values.mean(), values.std(), effect.n, *apart))
    columns = ["quantity", "method", "sparsity", "paper", "ours", "std", "n"]
    return pd.DataFrame(rows, columns=[*columns, "difference", "interval"])


def printed_matching(setting: str, curve: Curve) -> list[float]:
    """The highest matching sparsities in [0, 1) that the paper prints of a curve, often none."""
    method = curve.method + AFTER_TRAINING * (curve.prune_at == "end")
    where = {"setting": setting, "method": method, "ablation": curve.ablation}
    printed = statistics.published("frankle2021_matching", **where)["sparsity"]
    plain = curve.init == "he" and curve.weights_from == curve.prune_at
    return list(printed) if plain else []


def replicates_of_ratio(table: pd.DataFrame, method: str, sparsity: float) -> pd.DataFrame:
    """Effective weights, unmodified and shuffled, and their ratio: a row a replicate.

    Args:
        table: records of masks of one setting. method: a name. sparsity: one of those recorded.
    """
    rows = _early(table[(table["method"] == method) & (table["sparsity"] == sparsity)])
    weights = rows.pivot(index="replicate", columns="ablation", values="effective_weights")
    weights = weights.reindex(columns=["none", "shuffle"])
    kept = rows.groupby("replicate")["kept_weights"].first().rename("kept")
    found = pd.concat([kept, weights], axis=1)
    # a network that is cut in two has no effective weights, and no ratio
    return found.assign(ratio=found["shuffle"] / found["none"].where(found["none"] > 0))


def _measured(table: pd.DataFrame, setting: str, printed) -> pd.Series:
    """One value a replicate of a printed quantity; "synflow+shuffle" is the shuffled mask."""
    name, _, ablation = printed.method.partition("+")
    if printed.quantity == "effective_parameter_ratio":
        return replicates_of_ratio(table, name, table["sparsity"].max())["ratio"].dropna()
    rows = _early(table[(table["method"] == name) & (table["ablation"] == (ablation or "none"))])
    return quantities.neurons(rows, setting) if len(rows) else pd.Series(dtype=float)
