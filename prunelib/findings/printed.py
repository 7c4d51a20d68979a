"""The tables of Appendices B to D: what a method's authors report, what the paper has, and ours.

`comparison` sets the three side by side and says what was not run and what it would cost.
`misprints` holds the paper's numbers against each other, `gaps` our results against those of
Sections 4 and J, and `readings` says how this project reads the places that are left open or
contradict each other. All rest on the CSV files of `published/`; verdicts are the ledger's.
"""

from collections.abc import Sequence

import pandas as pd

from prunelib import grids, settings
from prunelib.errors import check_name
from prunelib.findings import statistics
from prunelib.findings.measures import other_data
from prunelib.findings.statistics import published
from prunelib.grids import TABLES
from prunelib.results.store import Store
from prunelib.runs import DENSE, EARLY_METHODS, Curve

ROUNDING = 0.1  # what a difference of two printed accuracies may be off by, in points
ROUNDED = 1  # the printed decimals
WORST, BEST = "worst early method", "best early method"  # as the file of gaps has them


def comparison(table: int, store: Store, profile: str = "paper") -> pd.DataFrame:
    """A table of the paper with our results beside it.

    Args:
        table: a number of `grids.TABLES`.
        store: of trained networks.
        profile: the one of our results.

    Returns:
        data frame: setting, method, sparsity, what the method's authors report, what the paper
        has, ours (all in percent; in brackets the change from the unpruned network, as it is
        printed), how many replicates of those needed, profile and data, the cost of the missing
        ones in PFLOP. A row a printed one; ours is "not run" where nothing was.

    Raises:
        UnknownNameError: for another table or profile.
    """
    check_name("table", table, TABLES)
    rows = []
    printed = published("frankle2021_tables", table=table)
    for (setting, method, sparsity), group in printed.groupby(
        ["setting", "method", "sparsity"], sort=False
    ):
        records = store.table(setting, profile)
        other = other_data(setting, records)
        by_source = {row.source: row for row in group.itertuples()}
        wanted = TABLES[table].count(setting, profile)
        accuracies = values(records, method, sparsity)
        rows.append(
            {
                "setting": setting,
                "method": "unpruned" if method == "dense" else method,
                "sparsity": f"{100 * sparsity:.0f}" if sparsity else "",
                "reported": _spelled(by_source.get("reported")),
                "paper": _spelled(by_source["paper"]),
                "ours": ours(records, method, sparsity),
                "replicates": f"{min(len(accuracies), wanted)} of {wanted}",
                "profile": f"{profile} on {other}" if other else profile,
                "missing (PFLOP)": grids.cost(setting, profile, max(0, wanted - len(accuracies))),
            }
        )
    return pd.DataFrame(rows).round({"missing (PFLOP)": 1})


def ours(records: pd.DataFrame, method: str, sparsity: float) -> str:
    """Our accuracy as the tables print theirs: mean and standard deviation over replicates in
    percent, in brackets the change from the unpruned network; "not run" where there is none.

    Args:
        records: a results table of one setting and profile.
    """
    own = values(records, method, sparsity)
    if own.empty:
        return "not run"
    spread = f" ± {100 * own.std():.1f}" if len(own) > 1 else ""
    pairs = (own - values(records, DENSE.method, 0.0)).dropna()
    change = f" ({100 * pairs.mean():+z.1f})" if method != "dense" and len(pairs) else ""
    return f"{100 * own.mean():.1f}{spread}{change}"


def values(records: pd.DataFrame, method: str, sparsity: float) -> pd.Series:
    """The test accuracies of a method that prunes at initialisation, by replicate."""
    rows = statistics.select(records, Curve(method))
    rows = rows[rows["sparsity"].astype(float).round(6) == round(sparsity, 6)]
    return rows.set_index("replicate")["test_accuracy"].astype(float)


def _spelled(row) -> str:
    """A printed accuracy with its change, or what is printed instead."""
    if row is None or pd.isna(row.accuracy):
        return "" if row is None else row.note
    if row.note == "about":
        return f"about {row.accuracy:.0f}"
    change = f" ({row.change:+z.1f})" if pd.notna(row.change) else ""
    return f"{row.accuracy:.1f}{change}"


def summary(tables: Sequence[int], store: Store, profile: str = "paper") -> str:
    """What `comparison` comes to for some tables, in two sentences."""
    found = pd.concat([comparison(t, store, profile) for t in tables])
    run, cost = found["ours"] != "not run", found["missing (PFLOP)"].sum()
    pairs = pd.concat([published("frankle2021_tables", table=t) for t in tables]).pivot(
        index=["table", "setting", "method", "sparsity"], columns="source", values="accuracy"
    )
    apart = (pairs["paper"] - pairs["reported"]).dropna().round(ROUNDED)
    spans = [
        f"{own.min():+z.1f} to {own.max():+z.1f} points {what}"
        for what, unpruned in (("unpruned", True), ("pruned", False))
        if len(own := apart[(apart.index.get_level_values("method") == DENSE.method) == unpruned])
    ]
    return (
        f"Of {len(found)} accuracies, {run.sum()} were trained here at profile {profile}; the rest "
        f"cost {cost:,.0f} PFLOP. The paper's lie {' and '.join(spans)} from what the methods' "
        "authors report."
    )


def recipes() -> pd.DataFrame:
    """The table of Appendix A.3 as `settings` has it, in the form in which the paper prints it.

    Returns:
        data frame: a row a setting of the table, indexed by its name, and the columns of
        `published/frankle2021_training.csv`; what the paper leaves empty is NaN.
    """
    rows = {}
    for name in published("frankle2021_training")["setting"]:
        s = settings.get(name)
        rows[name] = {
            "epochs": s.epochs,
            "batch_size": s.batch_size,
            "momentum": s.momentum or None,
            "learning_rate": s.learning_rate,
            "drop_factor": 1 / s.drop_factor if s.drops else None,
            "drops": " ".join(map(str, s.drops)) or None,
            "weight_decay": s.weight_decay or None,
            "iterations_per_epoch": s.iterations_per_epoch,
            "rewind_step": s.rewind_step,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def misprints() -> pd.DataFrame:
    """The printed changes that are not the pruned accuracy minus the unpruned one, but for the
    rounding of both.

    Returns:
        data frame: where, setting, sparsity (percent), source, unpruned, accuracy (both percent),
        the change as printed and as computed, in percentage points.
    """
    printed = published("frankle2021_tables")
    keys = ["table", "setting", "source"]
    unpruned = printed[printed["method"] == "dense"].set_index(keys)["accuracy"].rename("unpruned")
    pruned = printed.dropna(subset="change").join(unpruned, on=keys)
    pruned["computed"] = (pruned["accuracy"] - pruned["unpruned"]).round(ROUNDED)
    wrong = (pruned["computed"] - pruned["change"]).abs().round(ROUNDED) > ROUNDING
    found = pruned[wrong].assign(sparsity=(100 * pruned["sparsity"]).round(ROUNDED))
    shown = ["where", "setting", "sparsity", "source", "unpruned", "accuracy", "change", "computed"]
    return found[shown].reset_index(drop=True)


def readings(section: str) -> pd.DataFrame:
    """The places of the paper that a section has to read one way or another, and how it does.

    Args:
        section: as notebooks are named, "1", "3" to "6", "A" to "M", or "S" for Singh and Liu;
            raises UnknownNameError for another.

    Returns:
        data frame: where, whether the paper leaves it open or contradicts itself, what the paper
        says, and what this project does.
    """
    table = published("frankle2021_readings")
    sections = table["sections"].str.split()
    check_name("section", section, sorted({s for own in sections for s in own}))
    chosen = table[[section in own for own in sections]].drop(columns="sections")
    return chosen.rename(columns={"kind": "the paper"}).reset_index(drop=True)


def gaps(records: pd.DataFrame, setting: str) -> pd.DataFrame:
    """By how much each early method lies below the best one at matching sparsities, ours beside
    what Section 4 prints; and at the highest, from the worst to the best (Appendix J).

    Args:
        records: a results table of the setting at one profile.

    Returns:
        data frame, in percentage points: a row a method, and one for the worst; ours, the largest
        gap of means over the sparsities at which all methods were run, and a column for each
        setting of which the paper prints an upper bound.
    """
    limit = settings.highest_matching(setting)
    means = pd.DataFrame(
        {m: statistics.over_replicates(records, Curve(m))["mean"] for m in EARLY_METHODS}
    ).dropna()
    means = means[means.index.astype(float) <= limit]
    below = 100 * means.rsub(means.max(axis=1), axis=0)
    ours = below.max()
    ours[WORST] = below.iloc[-1].max() if len(below) else float("nan")
    printed = published("frankle2021_gaps", against=BEST).pivot(
        index="method", columns="setting", values="points"
    )
    named = {WORST: f"{WORST}, at the highest matching sparsity"}
    return printed.reindex([*EARLY_METHODS, WORST]).assign(ours=ours.round(2)).rename(named)
