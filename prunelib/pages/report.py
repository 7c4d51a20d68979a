"""results/README.md: what was run, what was not, and where it differs from the paper.

Each section is a table computed from a store by a function of its own; `text` sets them on a page,
and a test holds the committed page to the records beside it."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from prunelib import grids, runs, settings
from prunelib.findings import curves, ledger, statistics
from prunelib.findings.ledger import Entry
from prunelib.findings.measures import Results
from prunelib.pages import verdicts
from prunelib.pages.evidence import Evidence
from prunelib.pages.style import label, percentages
from prunelib.results.records import END, MASK, START
from prunelib.results.store import Store

PAGE = """# Results

This page is generated from the records beside it by `prunelib report`; a test holds it to them.

`<setting>/<profile>.csv` has a row for every network that was trained, `-masks.csv` for every mask
that was read, `-weights.csv` and `-weights-trained.csv` for the distributions of
unpruned weights before and after training. What is not listed was not run.

## What was run

"In the paper" says whether the paper shows the figure or table for the setting. The cost of what is
missing is in PFLOP, 10¹⁵ floating-point operations of training; `prunelib bench` says how many
TFLOP a machine does in a second. "Replicates complete" counts those of which nothing is missing.

{covered}

Records of masks and of unpruned weights. Those from before training rest on no training, but for
magnitude pruning after training, which takes the trained unpruned network (data "none": the methods
need none). Behind a method that is not there at all of the sparsities stands at how many it is;
"replicates" are the fewest and the most of a method at a sparsity:

{read_off}

## What was not begun

At profile `paper`, the settings for which the paper shows the figure or table and there is no run
of it here beyond the unpruned network.

{left}

## The highest matching sparsity

The highest sparsity at which a method still matches the unpruned network: mean accuracy at most
{tolerance:g} percentage points below the unpruned network's, there and at all lower sparsities that
were run. The paper prints no criterion;
[04_at_initialization](../notebooks/04_at_initialization.ipynb) shows how the answer moves with it.
Claims are held at the sparsity that the paper prints, and on the miniature at {miniature:.1f} %,
which was fixed beforehand, on ten other seeds ([A_settings](../notebooks/A_settings.ipynb)).
"< 20.0": not even 20.0 %, the lowest sparsity run, matches.

{matching}

## Where these results differ from the paper

Claims of the ledger that the results do not support, with the part that decides. Only the paper's
networks by its own recipe on its own data can fail to support a claim that speaks of them; others
agree with it or differ. LeNet on the digits, `lenet_digits`, is not held to sentences about LeNet
on MNIST: what it differs in, and why, stands in [K_lenet](../notebooks/K_lenet.ipynb), where GraSP
on LeNet is looked into too; iterative SNIP on LeNet is in
[G_iterative_snip](../notebooks/G_iterative_snip.ipynb). [Z_claims](../notebooks/Z_claims.ipynb) has
the whole ledger.

{differences}

## Runs that diverged

{diverged}
"""

EVIDENCE = {
    "The paper's networks by the paper's recipe": lambda e: e.spoken and e.verdict != "not run",
    "The paper's networks at a lower profile, on other data or beside the claim": lambda e: (
        not e.spoken and e.setting != "resnet8_digits" and e.verdict != "not run"
    ),
    "The miniature, resnet8_digits": lambda e: e.setting == "resnet8_digits",
    "Not run": lambda e: e.verdict == "not run",
}
WHERE = ("for", "setting", "in the paper", "profile")
COUNTS = ("runs needed", "in the store", "replicates complete", "missing (PFLOP)")
ORIGIN = ("precision", "data", "hardware")
READ = ("records", "setting", "profile", "count", "methods", "sparsities", "replicates", "data")
HIGHEST = ("method", "ours (%)", "paper (%)", "sparsities run", "replicates")


def _grids() -> Iterator[tuple[str, grids.Grid, str, Callable[[str], list[runs.Run]]]]:
    """(name, grid, setting, function from profile to runs) of every figure and table."""
    figures, tables = (grids.FIGURES, grids.figure_runs), (grids.TABLES, grids.table_runs)
    for kind, (chosen, function) in {"Figure": figures, "Table": tables}.items():
        for number, grid in chosen.items():
            for setting in grid.about:
                yield f"{kind} {number}", grid, setting, partial(function, number, setting)


def _pairs(store):
    return [pair for pair in store.pairs() if pair[0] in settings.SETTINGS]


def coverage(store: Store) -> pd.DataFrame:
    """How many of the runs of each figure and table a store of trained networks holds.

    Returns:
        data frame: a row for each figure or table, setting and profile of which there is a run
        beyond the unpruned network, with what it was run in and the cost of what is missing.
    """
    rows, pairs = [], _pairs(store)
    for (name, grid, setting, needed_by), profile in product(_grids(), settings.PROFILES):
        if (setting, profile) not in pairs:
            continue
        found = Evidence.read(needed_by(profile), store)
        if any(run.method != "dense" for run in found.records):
            wanted, left = ({r.replicate for r in some} for some in (found.wanted, found.missing))
            about = (name, setting, "yes" if grid.shows(setting) else "no", profile)
            counts = (len(found.wanted), len(found.records), len(wanted - left))
            missing = grids.cost(setting, profile, len(found.missing))
            origin = (", ".join(found.values(c)) for c in ("precision", "dataset", "device"))
            rows.append((*about, *counts, missing, *origin))
    return pd.DataFrame(rows, columns=[*WHERE, *COUNTS, *ORIGIN])


def read_off(root: Path) -> pd.DataFrame:
    """The records of masks and of unpruned weights in a results folder.

    Returns:
        data frame: records (what they are), setting, profile, count, methods (behind one that is
        not at all of the sparsities, at how many it is), sparsities (how many), replicates (the
        fewest and the most of a method at a sparsity), data.
    """
    rows = []
    for kind in (MASK, START, END):
        for (setting, profile), group in Store(root, kind).table().groupby(["setting", "profile"]):
            there = group.groupby(["method", "sparsity"])["replicate"].nunique()
            data = ", ".join(sorted(set(group["dataset"]) - {"none"})) or "none"
            total = group["sparsity"].nunique()
            named = [
                method if count == total else f"{method} ({count})"
                for method, count in there.groupby("method").size().items()
            ]
            replicates = " to ".join(map(str, sorted({there.min(), there.max()})))
            about = (kind.name, setting, profile, len(group), ", ".join(named))
            rows.append((*about, total, replicates, data))
    return pd.DataFrame(rows, columns=READ)


def not_run() -> pd.DataFrame:
    """What each figure and table needs at profile "paper", for the settings the paper shows it for.

    Returns:
        data frame: for, setting, runs, PFLOP.
    """
    rows = []
    for name, grid, setting, needed_by in _grids():
        if grid.shows(setting):
            count = len(needed_by("paper"))
            rows.append((name, setting, count, grids.cost(setting, "paper", count)))
    return pd.DataFrame(rows, columns=["for", "setting", "runs", "PFLOP"])


def matching(store: Store) -> pd.DataFrame:
    """The highest sparsity at which each method still matches the unpruned network.

    Returns:
        data frame: setting, profile, method, ours ("< 20.0" where not even the lowest sparsity run,
        20 %, matches) and the paper's in percent, how many of the profile's sparsities were run,
        replicates.
    """
    rows = []
    for setting, profile in _pairs(store):
        table, wanted = store.table(setting, profile), settings.sparsities(setting, profile)
        for curve in grids.FIGURES[3].panels[""]:
            highest = statistics.matching_in_words(table, curve, statistics.TOLERANCE)
            if highest == "not run":
                continue
            run = statistics.over_replicates(table, curve)
            printed = percentages(curves.printed_matching(setting, curve)) or "not printed"
            share = f"{run.index.isin(wanted).sum()} of {len(wanted)}"
            name = label(3, curve)
            rows.append((setting, profile, name, highest, printed, share, int(run["n"].min())))
    return pd.DataFrame(rows, columns=["setting", "profile", *HIGHEST])


def _against(found: list[Entry]) -> str:
    """For each kind of evidence how often each verdict was reached, and what goes against a claim.

    The ledger holds everything at lower profiles too; a table lists what is not supported, or
    differs.
    """
    parts = []
    for name, belongs in EVIDENCE.items():
        own = [entry for entry in found if belongs(entry)]
        parts.append(f"### {name}: {verdicts.counted(own)}")
        against = verdicts.table(e for e in own if e.verdict in verdicts.AGAINST)
        if len(against):
            left = ["allowed", "verdict", "at half, twice the margin", "by own spreads"]
            shown = against.drop(columns=left)
            parts.append(shown.to_markdown(index=False, disable_numparse=True))
    return "\n\n".join(parts)


def text(store: Store) -> str:
    """results/README.md."""
    covered, left = coverage(store), not_run()
    own = covered[covered["profile"] == "paper"]
    begun = set(zip(own["for"], own["setting"], strict=True))
    left = left[[pair not in begun for pair in zip(left["for"], left["setting"], strict=True)]]
    left = left.groupby("for", sort=False).agg(
        settings=("setting", ", ".join), runs=("runs", "sum"), PFLOP=("PFLOP", "sum")
    )
    table = store.table()
    diverged = table[~np.isfinite(table["train_loss"].astype(float))][list(runs.FIELDS)]
    finite = "None: every training ended with a finite loss."
    return PAGE.format(
        covered=covered.to_markdown(index=False, floatfmt=",.1f"),
        read_off=read_off(store.root).to_markdown(index=False),
        left=left.reset_index().to_markdown(index=False, floatfmt=",.1f"),
        tolerance=100 * statistics.TOLERANCE,
        miniature=100 * settings.highest_matching("resnet8_digits"),
        matching=matching(store).to_markdown(index=False, disable_numparse=True),
        differences=_against(ledger.entries(Results(store.root))),
        diverged=diverged.to_markdown(index=False) if len(diverged) else finite,
    )
