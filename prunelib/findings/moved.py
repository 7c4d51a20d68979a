"""Whether unpruned weights that move predict harm: how far an ablation moves their distribution,
and what it does to accuracy, for each method (Singh and Liu, 2021)."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pandas as pd

from prunelib import settings
from prunelib.findings.curves import MOVED
from prunelib.findings.measures import Results
from prunelib.grids import WEIGHT_LEVELS
from prunelib.runs import AFTER, EARLY_METHODS, Curve

LATE = "magnitude after training"
_CURVES = {LATE: AFTER, **{method: Curve(method) for method in EARLY_METHODS}}
_VERBS = {"shuffle": "shuffling", "reinit": "reinitialising"}


def table(results: Results, setting: str, profile: str) -> pd.DataFrame:
    """What each ablation moves before training, and what it costs, over the sparsities at which
    weights are recorded.

    Returns:
        data frame indexed by ablation and method, magnitude after training being one: the mean
        Kolmogorov-Smirnov distance in [0, 1], the mean change of accuracy in percentage points, the
        ends of its 95 % interval, and n, the replicates. What was not run is absent.
    """
    accuracies = results.samples("accuracy", setting, profile)
    distances = results.samples("ks, before training", setting, profile)
    sparsities = [settings.sparsity(k) for k in WEIGHT_LEVELS]
    rows = {}
    for ablation in _VERBS:
        for method, curve in _CURVES.items():
            changed = replace(curve, ablation=ablation)
            points = [s for s in sparsities if distances.count(changed, s)]
            ks = distances.contrast(changed, None, dict.fromkeys(points, 1 / max(1, len(points))))
            effect = accuracies.difference(changed, curve, points).effect
            if ks.effect.n and effect.n > 1:
                ends = effect.interval()
                rows[ablation, method] = (ks.effect.mean, effect.mean, *ends, effect.n)
    index = pd.MultiIndex.from_tuples(rows, names=["ablation", "method"])
    return pd.DataFrame(list(rows.values()), index, ["ks", "change", "low", "high", "n"])


def insight(tables: Mapping[str, pd.DataFrame], label: Callable[[str], str]) -> str:
    """Whether a distribution that moves predicts harm, in sentences that are computed.

    Magnitude pruning's early weights move as far as its late ones where the distance is no smaller
    by more than `MOVED`. An ablation does harm where the interval of its effect lies below 0.

    Args:
        tables: as of `table`, by the name of their network. label: the name of a method.
    """
    said, count = [], 0
    for network, rows in tables.items():
        for ablation, found in rows.groupby(level="ablation", sort=False):
            own = found.droplevel("ablation")
            if {LATE, "magnitude"} <= set(own.index):
                holds, sentence = _compared(own, label)
                said.append(f"- {network}, {_VERBS[ablation]}: {sentence}.")
                count += holds
    if not said:
        return "Whether a distribution that moves predicts harm: not run."
    head = "**A distribution that moves need not mean harm**" if count else "No counterexample"
    return "\n".join(
        [
            f"{head}: in {count} of {len(said)} comparisons the weights that magnitude pruning "
            "leaves move as far at initialisation, where that is not seen to lower accuracy, as "
            "after training, where it does. (Kolmogorov-Smirnov distance before training; change "
            "of accuracy in percentage points, with its 95 % interval.)\n",
            *said,
        ]
    )


def _compared(own: pd.DataFrame, label: Callable[[str], str]) -> tuple[bool, str]:
    """Whether an ablation moves magnitude's weights as far early as late, and harms it late only;
    the numbers in words."""
    early, late = own.loc["magnitude"], own.loc[LATE]
    holds = early["ks"] >= late["ks"] - MOVED and late["high"] < 0 <= early["high"]
    words = [
        f"{when} they move by {row['ks']:.2f} and accuracy changes by {row['change']:+z.1f} "
        f"({row['low']:+.1f} to {row['high']:+.1f})"
        for when, row in (("at initialisation", early), ("after training", late))
    ]
    harmed = own[(own["high"] < 0) & (own["ks"] < early["ks"])].drop(LATE, errors="ignore")
    if len(harmed):
        names = ", ".join(
            f"{label(method)} ({row['ks']:.2f}, {row['change']:+z.1f})"
            for method, row in harmed.iterrows()
        )
        words.append(f"harmed although their weights move less: {names}")
    return holds, "; ".join(words)
