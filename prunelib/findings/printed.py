"""The tables of Appendices B to D: what a method's authors report, what the paper has, and ours.

`comparison` sets the three side by side and says what was not run and what it would cost.
`misprints` and `sentences` hold the paper's numbers against each other, `readings` says how this
project reads the places that are left open or contradict each other. All rest on the CSV files of
`published/`.
"""

from collections.abc import Sequence

import pandas as pd

from prunelib import grids, settings
from prunelib.errors import check_name
from prunelib.findings import claims, curves, statistics
from prunelib.findings.statistics import published
from prunelib.grids import TABLES
from prunelib.results.store import Store
from prunelib.runs import DENSE, Curve, Run

ROUNDING = 0.1  # what a difference of two printed accuracies may be off by, in points
ROUNDED = 1  # the printed decimals


def comparison(table: int, store: Store, profile: str = "paper") -> pd.DataFrame:
    """A table of the paper with our results beside it.

    The verdict is on our mean being the paper's within half a percentage point; both numbers of
    replicates count, see `statistics.from_printed`.

    Args:
        table: a number of `grids.TABLES`.
        store: of trained networks.
        profile: the one of our results.

    Returns:
        data frame: setting, method, sparsity, what the method's authors report, what the paper
        has, ours (all in percent; in brackets the change from the unpruned network, as it is
        printed), how many replicates of those needed, profile and data, the cost of the missing
        ones in PFLOP, verdict. A row a printed one; ours is "not run" where nothing was.

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
        found = {row.source: row for row in group.itertuples()}
        wanted = TABLES[table].count(setting, profile)
        values = _values(records, method, sparsity)
        effect, region = statistics.effect(()), claims.REGIONS["same"]
        if pd.notna(found["paper"].accuracy):
            mean = found["paper"].accuracy / 100
            effect = statistics.from_printed(values, mean, TABLES[table].count(setting, "paper"))
        spoken = profile == "paper" and not curves.variant(setting, records)
        rows.append(
            {
                "setting": setting,
                "method": "unpruned" if method == "dense" else method,
                "sparsity": f"{100 * sparsity:.0f}" if sparsity else "",
                "reported": _spelled(found.get("reported")),
                "paper": _spelled(found["paper"]),
                "ours": ours(records, method, sparsity),
                "replicates": f"{min(len(values), wanted)} of {wanted}",
                "profile": profile + curves.variant(setting, records),
                "missing (PFLOP)": grids.cost(setting, profile, max(0, wanted - len(values))),
                "verdict": statistics.worded(statistics.verdict(effect, region), spoken),
            }
        )
    return pd.DataFrame(rows).round({"missing (PFLOP)": 1})


def ours(records: pd.DataFrame, method: str, sparsity: float) -> str:
    """Our accuracy as the tables print theirs: mean and standard deviation over replicates in
    percent, in brackets the change from the unpruned network; "not run" where there is none.

    Args:
        records: a results table of one setting and profile.
    """
    values, unpruned = _values(records, method, sparsity), _values(records, "dense", 0.0)
    if values.empty:
        return "not run"
    spread = f" ± {100 * values.std():.1f}" if len(values) > 1 else ""
    pairs = (values - unpruned).dropna()
    change = f" ({100 * pairs.mean():+.1f})" if method != "dense" and len(pairs) else ""
    return f"{100 * values.mean():.1f}{spread}{change}"


def _values(records: pd.DataFrame, method: str, sparsity: float) -> pd.Series:
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
    change = f" ({row.change:+.1f})" if pd.notna(row.change) else ""
    return f"{row.accuracy:.1f}{change}"


def runs(
    tables: Sequence[int], setting: str, profile: str, replicates: int | None = None
) -> list[Run]:
    """The Runs of a setting for some tables, without repetition.

    A setting of which they have nothing gets what comes nearest: the tables' methods, as Figure 3
    has them, at those of its own sparsities that are nearest to theirs.

    Args:
        tables: numbers of `grids.TABLES`. setting, profile, replicates: as in `grids.table_runs`.
    """
    printed = [t for t in tables if setting in TABLES[t].about]
    if printed:
        found = [run for t in printed for run in grids.table_runs(t, setting, profile, replicates)]
        return list(dict.fromkeys(found))
    methods = {curve.method for t in tables for curve in TABLES[t].panels[""]}
    asked = {s for t in tables for sparsities in TABLES[t].along.values() for s in sparsities}
    own = settings.sparsities(setting, profile)
    nearest = {min(own, key=lambda s: abs(s - goal)) for goal in asked}
    return [
        run
        for run in grids.figure_runs(3, setting, profile, replicates)
        if run.method == DENSE.method or (run.method in methods and run.sparsity in nearest)
    ]


def changes(
    tables: Sequence[int], store: Store, setting: str, profile: str = "paper"
) -> pd.DataFrame:
    """By how much pruning changes accuracy: as reported, in the paper, and ours.

    Args:
        tables: numbers of `grids.TABLES`. store: of trained networks.
        setting, profile: of our results, besides those of the tables' own settings.

    Returns:
        data frame: name (of the network in the paper; ours, where it has none), method, sparsity
        (percent), source ("reported", "paper" or "ours"), change and its standard deviation over
        replicates (NaN where none is known), both in percentage points. What was not run is absent.
    """
    named = published("frankle2021_networks").dropna(subset=["setting", "paper"])
    names = named.drop_duplicates("setting").set_index("setting")["paper"]
    rows = pd.concat([published("frankle2021_tables", table=t) for t in tables])
    rows = rows.dropna(subset="change").assign(std=float("nan"))
    points = dict.fromkeys(zip(rows["setting"], rows["method"], rows["sparsity"], strict=True))
    if setting not in set(rows["setting"]):
        own = runs(tables, setting, profile)
        points |= {(setting, r.method, r.sparsity): None for r in own if r.sparsity}
    found = []
    for name, method, sparsity in points:
        records = store.table(name, profile)
        values = _values(records, method, sparsity) - _values(records, DENSE.method, 0.0)
        if values.notna().any():
            about = {"setting": name, "method": method, "sparsity": sparsity, "source": "ours"}
            found.append(about | {"change": 100 * values.mean(), "std": 100 * values.std()})
    rows = pd.concat([rows, pd.DataFrame(found, columns=rows.columns)]) if found else rows
    rows["name"] = rows["setting"].map(names).fillna(rows["setting"])
    rows["sparsity"] = (100 * rows["sparsity"]).round(ROUNDED)
    shown = ["name", "method", "sparsity", "source", "change", "std"]
    return rows[shown].reset_index(drop=True)


def figure_7_runs(setting: str, profile: str, replicates: int | None = None) -> list[Run]:
    """The Runs of a setting for Figure 7; those of Figure 3 with the same methods where the paper
    shows the setting for other figures only."""
    figure = 7 if setting in grids.FIGURES[7].about else 3
    lines = {DENSE, *grids.FIGURES[7].panels[""]}
    found = grids.figure_runs(figure, setting, profile, replicates)
    return [run for run in found if Curve(run.method, run.ablation, run.prune_at) in lines]


def figure_7(store: Store, setting: str, profile: str = "paper") -> pd.DataFrame:
    """Figure 7: the raw results of Tanaka et al. (2020), with which the paper compares its own, and
    ours, at whatever sparsities were run.

    Args:
        store: of trained networks. setting: of our results, besides those of the figure.
        profile: of our results.

    Returns:
        data frame: setting, method, source ("reported" or "ours"), sparsity, remaining, accuracy
        and std over replicates, all in percent, and n.
    """
    reported = published("tanaka2020_accuracy").assign(source="reported")
    reported = reported.rename(columns={"runs": "n"})
    reported["sparsity"] *= 100
    rows = [reported.drop(columns=["note", "where"])]
    names = list(dict.fromkeys([*grids.FIGURES[7].paper, setting]))
    for name in names:
        records = store.table(name, profile)
        for curve in grids.FIGURES[7].panels[""]:
            found = statistics.over_replicates(records, curve).reset_index()
            found[["sparsity", "mean", "std"]] *= 100
            found = found.assign(setting=name, method=curve.method, source="ours")
            rows.append(found.rename(columns={"mean": "accuracy"}))
    table = pd.concat([part for part in rows if len(part)], ignore_index=True)
    table["remaining"] = 100 - table["sparsity"]
    table = table.sort_values("setting", key=lambda s: s.map(names.index), kind="stable")
    shown = ["setting", "method", "source", "sparsity", "remaining", "accuracy", "std", "n"]
    return table[shown].reset_index(drop=True)


def summary(tables: Sequence[int], store: Store, profile: str = "paper") -> str:
    """What `comparison` and `sentences` come to for some tables, in three sentences."""
    found = pd.concat([comparison(t, store, profile) for t in tables])
    run, cost = found["ours"] != "not run", found["missing (PFLOP)"].sum()
    pairs = pd.concat([published("frankle2021_tables", table=t) for t in tables]).pivot(
        index=["table", "setting", "method", "sparsity"], columns="source", values="accuracy"
    )
    apart = (pairs["paper"] - pairs["reported"]).dropna().round(ROUNDED)
    spans = [
        f"{own.min():+.1f} to {own.max():+.1f} points {what}"
        for what, unpruned in (("unpruned", True), ("pruned", False))
        if len(own := apart[(apart.index.get_level_values("method") == DENSE.method) == unpruned])
    ]
    said = pd.concat([sentences(t) for t in tables])["the table"]
    agree = (said == statistics.ELSEWHERE["supported"]).sum()
    return (
        f"Of {len(found)} accuracies, {run.sum()} were trained here at profile {profile}; the rest "
        f"cost {cost:,.0f} PFLOP. The paper's lie {' and '.join(spans)} from what the methods' "
        f"authors report. Of {len(said)} numbers that its text draws from these tables, {agree} "
        "agree with them."
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


def sentences(table: int) -> pd.DataFrame:
    """What the paper's text says of a table, held against the table.

    Args:
        table: 2, 3, 5 or 7.

    Returns:
        data frame: where, sentence, setting, sparsity (percent; "" for the unpruned network), the
        difference of the table, the paper's minus the reported one in percentage points, and
        whether the table "agrees" or "differs". Where the sentence has a number of points, the
        rounding of the accuracies is allowed for.
    """
    values = published("frankle2021_tables", table=table).pivot(
        index=["setting", "sparsity"], columns="source", values=["accuracy", "change"]
    )
    rows = []
    for said in published("frankle2021_sentences", table=table).itertuples():
        pair = values.loc[(said.setting, said.sparsity), said.quantity]
        difference = round(pair["paper"] - pair["reported"], ROUNDED)
        level = f"{100 * said.sparsity:.0f}" if said.sparsity else ""
        verdict = statistics.ELSEWHERE["supported" if _holds(said, difference) else "not supported"]
        rows.append((said.where, said.sentence, said.setting, level, difference, verdict))
    columns = ["where", "sentence", "setting", "sparsity", "difference", "the table"]
    return pd.DataFrame(rows, columns=columns)


def _holds(said, difference):
    if said.relation == "higher":
        return difference > said.low
    slack = ROUNDING if said.relation == "from … to" and said.quantity == "accuracy" else 0
    return round(said.low - slack, ROUNDED) <= difference <= round(said.high + slack, ROUNDED)


def readings(section: str) -> pd.DataFrame:
    """The places of the paper that a section has to read one way or another, and how it does.

    Args:
        section: as notebooks are named, "1" to "6" or "A" to "M".

    Returns:
        data frame: where, whether the paper leaves it open or contradicts itself, what the paper
        says, and what this project does.
    """
    table = published("frankle2021_readings")
    sections = table["sections"].str.split()
    check_name("section", section, sorted({s for own in sections for s in own}))
    chosen = table[[section in own for own in sections]].drop(columns="sections")
    return chosen.rename(columns={"kind": "the paper"}).reset_index(drop=True)
