"""What is drawn of Appendices B to D, reported and ours: what pruning changes (Tables 2, 3 and 5),
and Figure 7; and the Runs that this takes of a setting, whether or not the paper has it there."""

from collections.abc import Sequence

import pandas as pd

from prunelib import grids, settings
from prunelib.findings import statistics
from prunelib.findings.printed import ROUNDED, ours, values
from prunelib.findings.statistics import published
from prunelib.grids import TABLES
from prunelib.results.store import Store
from prunelib.runs import DENSE, Curve, Run

MEET = 0.05  # of the weights remaining: how far apart networks of two grids may lie to be compared


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
    nearest = {min(own, key=lambda s: abs(s - goal)) for goal in asked if own}
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
        nearest = runs(tables, setting, profile)
        points |= {(setting, r.method, r.sparsity): None for r in nearest if r.sparsity}
    shown = []
    for name, method, sparsity in points:
        records = store.table(name, profile)
        differences = values(records, method, sparsity) - values(records, DENSE.method, 0.0)
        if differences.notna().any():
            about = {"setting": name, "method": method, "sparsity": sparsity, "source": "ours"}
            shown.append(
                about | {"change": 100 * differences.mean(), "std": 100 * differences.std()}
            )
    rows = pd.concat([rows, pd.DataFrame(shown, columns=rows.columns)]) if shown else rows
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


def figure_7_beside(store: Store, profile: str = "paper") -> pd.DataFrame:
    """The four networks of Figure 7: accuracies of Tanaka et al. and ours, where both prune to the
    same number of weights, but for `MEET`.

    Args:
        store: of trained networks. profile: of our results.

    Returns:
        data frame: a row a setting and method; at each such point a column of theirs and one of
        ours, in percent ("" where they report none, "not run" where we have none; ours as
        `printed.ours` has them), named by the weights remaining; how many of our networks at all
        points of the figure are trained, and what the missing ones cost in PFLOP.
    """
    theirs, halvings = published("tanaka2020_accuracy"), settings.halvings(profile)
    met = [
        (own, other)
        for own in halvings
        for other in theirs["sparsity"].unique()
        if abs((1 - other) / (1 - own) - 1) <= MEET
    ]
    rows = []
    for setting in grids.FIGURES[7].paper:
        wanted, records = grids.figure_runs(7, setting, profile), store.table(setting, profile)
        missing = set(store.missing(wanted))
        for curve in grids.FIGURES[7].panels[""]:
            row = {"setting": setting, "method": curve.method}
            reported = theirs[(theirs["setting"] == setting) & (theirs["method"] == curve.method)]
            for own, other in met:
                there = reported["accuracy"][reported["sparsity"] == other]
                row[f"Tanaka et al., {100 * (1 - other):.2g} %"] = "".join(
                    f"{accuracy:.1f}" for accuracy in there
                )
                row[f"ours, {100 * (1 - own):.2g} %"] = ours(records, curve.method, own)
            of_it = {run for run in wanted if run.method == curve.method}
            row["trained here"] = f"{len(of_it - missing)} of {len(of_it)}"
            row["missing (PFLOP)"] = grids.cost(setting, profile, len(of_it & missing))
            rows.append(row)
    return pd.DataFrame(rows).round({"missing (PFLOP)": 1})
