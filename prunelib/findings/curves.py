"""The numbers of each figure, computed from the store's tables."""

import pandas as pd

from prunelib import networks, settings
from prunelib.analysis import THRESHOLDS
from prunelib.findings import statistics
from prunelib.runs import EARLY_METHODS

# How far a mean may lie from a printed value: percentage points of neurons; the ratio at the
# highest matching sparsity, and beyond it.
NEAR = {"percent_neurons_pruned": 2.0, "matching": 0.0005, "extreme": 0.01}


def collapse_data(table, sparsity):
    """The curves of Figure 5: the share of neurons with at least s % of their weights pruned.

    Args:
        table: records of masks of one setting.
        sparsity: which of its sparsities.

    Returns:
        data frame: method, ablation, threshold (s), share and std in percent, n.
    """
    rows = []
    for (method, ablation), group in _lines(table[table["sparsity"] == sparsity]):
        counts = pd.DataFrame([[int(c) for c in text.split()] for text in group["collapse"]])
        shares = 100 * counts.div(counts[0], axis=0)
        for column, threshold in enumerate(THRESHOLDS):
            values = shares[column]
            rows.append(
                (method, ablation, 100 * threshold, values.mean(), values.std(), len(values))
            )
    return pd.DataFrame(
        rows, columns=["method", "ablation", "threshold", "share", "std", "n"]
    ).round({"threshold": 1})


def layer_data(table, setting, sparsity):
    """The bars of Figure 15: the sparsity of each layer, of the unmodified masks.

    Returns:
        data frame: method, layer (in order), sparsity and std in percent, n.
    """
    model = _network(setting)
    names = networks.prunable(model)
    sizes = [model.get_parameter(name).numel() for name in names]
    rows = []
    unmodified = table[(table["sparsity"] == sparsity) & (table["ablation"] == "none")]
    for (method, _), group in _lines(unmodified):
        kept = pd.DataFrame([[int(c) for c in text.split()] for text in group["layers"]])
        pruned = 100 * (1 - kept / sizes)
        for column, name in enumerate(names):
            values = pruned[column]
            layer = name.removesuffix(".weight")
            rows.append((method, layer, values.mean(), values.std(), len(values)))
    return pd.DataFrame(rows, columns=["method", "layer", "sparsity", "std", "n"])


def ratio_data(table):
    """The lines of Figure 16: effective weights of the shuffled mask over the unmodified one's.

    A replicate whose unmodified mask has no effective weight at all has no ratio.

    Returns:
        data frame: method, sparsity in [0, 1), ratio and std over replicates, n.
    """
    keys = ["method", "sparsity", "replicate"]
    weights = table.pivot(index=keys, columns="ablation", values="effective_weights")
    weights = weights[weights["none"] > 0].dropna()
    ratio = (weights["shuffle"] / weights["none"]).rename("ratio")
    groups = ratio.groupby(["method", "sparsity"])
    found = pd.DataFrame({"ratio": groups.mean(), "std": groups.std(), "n": groups.size()})
    return found.reset_index().sort_values("method", key=_place, kind="stable")


def weight_data(tables):
    """How far the unpruned weights of all layers together move under each ablation.

    Args:
        tables: dict from "before training" or "after training" to records of weights.

    Returns:
        data frame: when, sparsity in [0, 1), method (magnitude after training is one of its own),
        ablation, replicate, ks in [0, 1], wasserstein in units of the standard deviation of the
        unmodified network's unpruned weights, and the ratio of the standard deviations.
    """
    rows = []
    keys = ["sparsity", "method", "prune_at", "replicate"]
    for when, table in tables.items():
        first = table.copy()
        for name in ("std", "wasserstein", "ks"):
            first[name] = first[name].map(lambda text: float(str(text).split()[0]))
        for (sparsity, method, prune_at, replicate), group in first.groupby(keys, sort=False):
            stds = group.set_index("ablation")["std"]
            if "none" not in stds:
                continue  # there is nothing to compare with
            for row in group[group["ablation"] != "none"].itertuples():
                name = "magnitude after training" if prune_at == "end" else method
                rows.append(
                    (when, sparsity, name, row.ablation, replicate, row.ks,
                     row.wasserstein / stds["none"], row.std / stds["none"])
                )  # fmt: skip
    columns = ["when", "sparsity", "method", "ablation", "replicate", "ks", "wasserstein", "std"]
    return pd.DataFrame(rows, columns=columns)


def layer_weights(table, setting, sparsity, quantity, ablation="shuffle"):
    """A quantity of the unpruned weights of each layer, mean over replicates, a column a method.

    Args:
        table: records of weights of one setting.
        setting: its name. sparsity: one of those recorded.
        quantity: "mean", "std", "kurtosis", "wasserstein" or "ks".
        ablation: of the runs it is read of.
    """
    names = [n.removesuffix(".weight") for n in networks.prunable(_network(setting))]
    rows = table[(table["sparsity"] == sparsity) & (table["ablation"] == ablation)]
    found = {}
    for (method, prune_at), group in rows.groupby(["method", "prune_at"], sort=False):
        values = pd.DataFrame([[float(v) for v in text.split()] for text in group[quantity]])
        found[f"{method} after training" if prune_at == "end" else method] = values.mean()
    return pd.DataFrame(found).set_axis(["all layers", *names])


def _network(setting):
    return networks.build(settings.get(setting).network)


def _lines(table):
    """((method, ablation), rows): methods in the order of the paper, unmodified first."""
    return table.sort_values("method", key=_place, kind="stable").groupby(
        ["method", "ablation"], sort=False
    )


def _place(names):
    return names.map({name: place for place, name in enumerate((*EARLY_METHODS, "random"))})


def against_published(table, setting):
    """Our values beside those the paper prints in Section 5 and Appendix M.

    Args:
        table: records of masks of the setting.

    Returns:
        data frame: quantity, method, sparsity, paper (as printed), ours (mean), std, n,
        difference, the difference in units of our standard deviation, and whether it is within
        the tolerances `NEAR`. Empty where the paper prints nothing for the setting.
    """
    chosen = settings.get(setting)
    printed = statistics.published(
        "frankle2021_before_training",
        network=chosen.network,
        dataset=chosen.dataset,
    )
    rows = []
    for row in printed.itertuples():
        near = table[table["sparsity"].round(3) == row.sparsity]
        values = _measured(near, row.quantity, row.method)
        number = pd.to_numeric(row.value, errors="coerce")
        difference = values.mean() - number
        matching = settings.sparsity(settings.matching_level(setting)[0])
        near = "matching" if row.sparsity <= round(matching, 3) else "extreme"
        tolerance = NEAR.get(row.quantity, NEAR[near])
        rows.append(
            {
                "quantity": row.quantity.replace("_", " "),
                "method": row.method,
                "sparsity": 100 * row.sparsity,
                "paper": row.value,
                "ours": values.mean(),
                "std": values.std(),
                "n": len(values),
                "difference": difference,
                "in stds": difference / values.std() if values.std() else float("nan"),
                "within": "" if pd.isna(difference) else bool(abs(difference) <= tolerance),
            }
        )
    return pd.DataFrame(rows)


def replicates_of_ratio(table, method, sparsity):
    """Effective weights, unmodified and shuffled, and their ratio: a row a replicate.

    Args:
        table: records of masks of one setting. method: a name. sparsity: one of those recorded.
    """
    rows = table[(table["method"] == method) & (table["sparsity"] == sparsity)]
    weights = rows.pivot(index="replicate", columns="ablation", values="effective_weights")
    kept = rows.groupby("replicate")["kept_weights"].first().rename("kept")
    found = pd.concat([kept, weights[["none", "shuffle"]]], axis=1)
    return found.assign(ratio=found["shuffle"] / found["none"])


def _measured(table, quantity, method):
    """One value a replicate of a printed quantity; "synflow+shuffle" is the shuffled mask."""
    name, _, ablation = method.partition("+")
    if quantity == "effective_parameter_ratio":
        pairs = table[table["method"] == name].pivot(
            index="replicate", columns="ablation", values="effective_weights"
        )
        return (pairs["shuffle"] / pairs["none"]).dropna() if len(pairs) else pd.Series(dtype=float)
    rows = table[(table["method"] == name) & (table["ablation"] == (ablation or "none"))]
    counts = [[int(c) for c in text.split()] for text in rows["collapse"]]
    return pd.Series([100 * c[-1] / c[0] for c in counts], dtype=float)


def fidelity(runs, table):
    """One sentence: how many masks there are of those wanted, on what data they were scored."""
    data = sorted(set(table["dataset"]) - {"none"})
    missing = len(runs) - len(table)
    return (
        f"{runs[0].setting}: {len(table)} of {len(runs)} masks"
        + (f", {missing} not made" if missing else "")
        + f"; scored on {', '.join(data) or 'no data'}."
    )
