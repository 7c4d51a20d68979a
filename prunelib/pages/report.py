"""What was run and what was not, as results/README.md: computed from the store, never written."""

import numpy as np
import pandas as pd

from prunelib import grids, runs, settings
from prunelib.engine import speed
from prunelib.findings import claims, statistics
from prunelib.pages.draw import METHOD_STYLE
from prunelib.results.store import END, MASK, START, Store

TITLE = """# Results

This page is generated from the records beside it by `prunelib report`; a test holds it to them.

`<setting>/<profile>.csv` has a row for every network that was trained, `-masks.csv` for every mask
that was read before training, `-weights.csv` and `-weights-trained.csv` for the distributions of
unpruned weights before and after training. What is not listed was not run."""

EVIDENCE = (
    "The paper's networks by the paper's recipe",
    "The paper's networks at a lower profile",
    "The miniature, lenet_digits",
)
READ_OFF = (("masks", MASK), ("weights before training", START), ("weights after training", END))
VERDICT_COLUMNS = [
    "evidence", "setting", "profile", "sparsities", "claim", "subject", "n", "points", "95 %",
    "mixed", "verdict",
]  # fmt: skip


def coverage(store):
    """How many of the runs of each figure and table the store holds.

    Args:
        store: a `Store` of trained networks.

    Returns:
        data frame: a row for each figure or table, setting and profile of which there is a run
        beyond the unpruned network, with what it was run in; the missing ones and their cost in
        PFLOP (10^15 floating-point operations, forward and backward, pruned weights included).
    """
    records = {
        (setting, profile): found
        for setting in settings.SETTINGS
        for profile in settings.PROFILES
        if (found := store.records(setting, profile))
    }
    rows = []
    for name, grid, setting, needed_by in _grids():
        for profile in settings.PROFILES:
            found = records.get((setting, profile), {})
            needed = needed_by(profile)
            there = [run for run in needed if run in found]
            if not any(run.method != "dense" for run in there):
                continue
            replicates = pd.Series([run.replicate for run in there]).value_counts()
            each = len(needed) // settings.replicates(setting, profile)
            rows.append(
                {
                    "for": name, "setting": setting,
                    "in the paper": "yes" if grid.shows(setting) else "no", "profile": profile,
                    "runs needed": len(needed), "in the store": len(there),
                    "replicates complete": int((replicates == each).sum()),
                    "missing (PFLOP)": cost(setting, profile, len(needed) - len(there)),
                    "precision": _values(found, there, "precision"),
                    "data": _values(found, there, "dataset"),
                    "hardware": _values(found, there, "device"),
                }
            )  # fmt: skip
    columns = [
        "for", "setting", "in the paper", "profile", "runs needed", "in the store",
        "replicates complete", "missing (PFLOP)", "precision", "data", "hardware",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def read_off(root):
    """The records of masks and of unpruned weights in a results folder.

    Returns:
        data frame: records (what they are), setting, profile, count, methods, sparsities (how
        many), replicates, data.
    """
    rows = []
    for name, kind in READ_OFF:
        for (setting, profile), group in Store(root, kind).table().groupby(["setting", "profile"]):
            there = group.groupby("method")["replicate"].nunique()
            span = sorted({there.min(), there.max()})
            rows.append(
                {
                    "records": name, "setting": setting, "profile": profile, "count": len(group),
                    "methods": ", ".join(sorted(set(group["method"]))),
                    "sparsities": group["sparsity"].nunique(),
                    "replicates": " to ".join(map(str, span)),
                    "data": ", ".join(sorted(set(group["dataset"]) - {"none"})) or "none",
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _grids():
    """(name, grid, setting, function from profile to runs) of every figure and table."""
    for kind, chosen, function in (
        ("Figure", grids.FIGURES, grids.figure_runs),
        ("Table", grids.TABLES, grids.table_runs),
    ):
        for number, grid in chosen.items():
            for setting in grid.about:
                yield (
                    f"{kind} {number}", grid, setting,
                    lambda profile, f=function, n=number, s=setting: f(n, s, profile),
                )  # fmt: skip


def _values(found, there, column):
    return ", ".join(sorted({str(found[run][column]) for run in there}))


def cost(setting, profile, count=1):
    """The PFLOP, 10^15 floating-point operations, of training `count` networks."""
    schedule = settings.schedule(setting, profile)
    return count * schedule.iterations * schedule.batch_size * speed.flops(setting) / 1e15


def not_run():
    """What each figure and table needs at profile "paper", for the settings the paper shows it for.

    Returns:
        data frame: for, setting, runs, PFLOP.
    """
    rows = []
    for name, grid, setting, needed_by in _grids():
        if grid.shows(setting):
            needed = needed_by("paper")
            rows.append((name, setting, len(needed), cost(setting, "paper", len(needed))))
    return pd.DataFrame(rows, columns=["for", "setting", "runs", "PFLOP"])


def matching(store):
    """The highest sparsity at which each method still matches the unpruned network.

    Returns:
        data frame: setting, profile, method, ours ("< 20.0" where not even the lowest sparsity run,
        20 %, matches) and the paper's in percent, how many of the profile's sparsities were run,
        replicates.
    """
    rows = []
    printed = statistics.published("frankle2021_matching")
    for setting in settings.SETTINGS:
        for profile in settings.PROFILES:
            table = store.table(setting, profile)
            for curve in grids.FIGURES[3].panels[""]:
                ours = statistics.highest_matching(table, curve, claims.TOLERANCE)
                if ours is None:
                    continue
                key = "magnitude after training" if curve == runs.AFTER else curve.method
                theirs = printed[(printed["setting"] == setting) & (printed["method"] == key)]
                theirs = theirs[theirs["ablation"] == "none"]["sparsity"]
                run = statistics.over_replicates(table, curve)
                wanted = settings.sparsities(setting, profile)
                rows.append(
                    {
                        "setting": setting, "profile": profile, "method": METHOD_STYLE[key][0],
                        "ours (%)": f"{100 * ours:.1f}" if ours else f"< {100 * run.index[0]:.1f}",
                        "paper (%)": ", ".join(f"{100 * s:.1f}" for s in theirs) or "not printed",
                        "sparsities run": f"{run.index.isin(wanted).sum()} of {len(wanted)}",
                        "replicates": int(run["n"].min()),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def verdicts(store):
    """Every verdict of `claims.check` that rests on two replicates or more.

    Returns:
        data frame: evidence (of `EVIDENCE`), setting, profile, sparsities, claim, subject, n,
        points, 95 %, mixed, verdict.
    """
    found = []
    for setting in settings.SETTINGS:
        for profile in settings.PROFILES:
            table = store.table(setting, profile)
            if table.empty or profile == "smoke":
                continue
            if setting == "lenet_digits":
                evidence = EVIDENCE[2]
            else:
                evidence = EVIDENCE[0] if profile == "paper" else EVIDENCE[1]
            checked = pd.concat([claims.check(table, setting, profile, s) for s in claims.SECTIONS])
            for band in ("matching", "extreme"):
                decided = checked[f"{band}: verdict"].isin(claims.VERDICTS)
                for row in checked[decided & (checked["n"] > 1)].to_dict("records"):
                    found.append(
                        {"evidence": evidence, "setting": setting, "profile": profile,
                         "sparsities": band}
                        | {key: row[key] for key in ("claim", "subject", "n")}
                        | {key: row[f"{band}: {key}"] for key in ("points", "95 %")}
                        | {"mixed": row["mixed"], "verdict": row[f"{band}: verdict"]}
                    )  # fmt: skip
    return pd.DataFrame(found, columns=VERDICT_COLUMNS)


def _contradictions(found):
    """A heading with counts and a table of what is contradicted, for each kind of evidence."""
    parts = []
    for evidence in EVIDENCE:
        rows = found[found["evidence"] == evidence]
        if rows.empty:
            continue
        counts = rows["verdict"].value_counts().reindex(claims.VERDICTS, fill_value=0)
        said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        parts.append(f"### {evidence}: {said}")
        against = rows[rows["verdict"] == "contradicted"].drop(columns=["evidence", "verdict"])
        if len(against):
            parts.append(against.to_markdown(index=False, disable_numparse=True))
    return "\n\n".join(parts) or "No claim has two replicates."


def text(store):
    """results/README.md."""
    covered, left = coverage(store), not_run()
    begun = set(zip(covered["for"], covered["setting"], strict=True))
    left = left[[pair not in begun for pair in zip(left["for"], left["setting"], strict=True)]]
    left = left.groupby("for", sort=False).agg(
        settings=("setting", ", ".join), runs=("runs", "sum"), PFLOP=("PFLOP", "sum")
    )
    diverged = store.table()
    diverged = diverged[~np.isfinite(diverged["train_loss"].astype(float))]
    return "\n\n".join(
        [
            TITLE,
            "## What was run\n\n\"In the paper\" says whether the paper shows the figure or table "
            "for the setting. The cost of what is missing is in PFLOP, 10^15 floating-point "
            "operations of training; `prunelib bench` says how many TFLOP a machine does in a "
            "second. \"Replicates complete\" counts those of which nothing is missing.",
            covered.to_markdown(index=False, floatfmt=",.1f"),
            "Records that rest on no training, or are read off the weights after it (data "
            "\"none\": the methods need none):",
            read_off(store.root).to_markdown(index=False),
            "## What was not begun\n\nAt profile `paper`, the settings for which the paper shows "
            "the figure or table and there is no run of it here beyond the unpruned network.",
            left.reset_index().to_markdown(index=False, floatfmt=",.1f"),
            "## The highest matching sparsity\n\nThe highest sparsity at which a method still "
            "matches the unpruned network: mean accuracy at most "
            f"{100 * claims.TOLERANCE:g} percentage points below the unpruned network's, there "
            "and at all lower sparsities that were run. The paper prints no criterion; "
            "[04_at_initialization](../notebooks/04_at_initialization.ipynb) shows how the answer "
            "moves with it. \"< 20.0\": not even 20.0 %, the lowest sparsity run, matches.",
            matching(store).to_markdown(index=False, disable_numparse=True),
            "## Where these results contradict the paper\n\nClaims of Sections 4 and 5 and of "
            "Appendices G and K whose 95 % interval lies on the other side, averaged over the "
            "sparsities up to the highest matching one or beyond it (extreme). By chance alone one "
            "interval in twenty would miss. \"mixed\" counts the pairs of runs that were computed "
            "in two precisions; benchmarks/README.md has what that changes. Whether the "
            "code is at fault was looked into: magnitude on the miniature in "
            "[05_ablations](../notebooks/05_ablations.ipynb), GraSP and iterative SNIP on LeNet in "
            "[K_lenet](../notebooks/K_lenet.ipynb). All verdicts are in the notebooks.",
            _contradictions(verdicts(store)),
            "## Runs that diverged\n\n"
            + (
                diverged[list(runs.FIELDS)].to_markdown(index=False)
                if len(diverged) else "None: every training ended with a finite loss."
            ),
        ]
    ) + "\n"  # fmt: skip
