"""Whether unpruned weights that move predict harm: how far an ablation moves their distribution,
and what it does to accuracy, for each method (Singh and Liu, 2021)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from prunelib import settings
from prunelib.findings.curves import MOVED
from prunelib.findings.decisions import Part, Parts, decide
from prunelib.findings.measures import Results
from prunelib.findings.statistics import Effect, Region, combined
from prunelib.grids import WEIGHT_LEVELS
from prunelib.runs import AFTER, EARLY_METHODS, Curve

LATE = "magnitude after training"
_CURVES = {LATE: AFTER, **{method: Curve(method) for method in EARLY_METHODS}}
_VERBS = {"shuffle": "shuffling", "reinit": "reinitialising"}
_SAID = {"supported": "shown", "not supported": "refuted"}
# Percentage points that an early method may lose and maintain its accuracy, as the claims of
# Section 5 have it, and that a late one is to lose; of ResNet-18, whose claims allow 0.8, no
# weights are recorded.
HARM = 0.3


class Moved(NamedTuple):
    """What an ablation does to the weights that a method leaves: how far their distribution moves,
    in [0, 1], and what accuracy changes by, in percentage points."""

    ks: Effect
    change: Effect


def effects(results: Results, setting: str, profile: str) -> dict[tuple[str, str], Moved]:
    """What each ablation moves before training, and what it costs, over the sparsities of the
    profile at which weights are recorded, by (ablation, method), magnitude after training being
    one. Of what was not run at all of them, in two replicates, there is nothing."""
    accuracies = results.samples("accuracy", setting, profile)
    distances = results.samples("ks, before training", setting, profile)
    levels = {settings.sparsity(k) for k in WEIGHT_LEVELS}
    points = [s for s in settings.sparsities(setting, profile) if s in levels]
    found = {}
    for ablation in _VERBS:
        for method, curve in _CURVES.items():
            changed = replace(curve, ablation=ablation)
            ks = distances.difference(changed, None, points).effect
            change = accuracies.difference(changed, curve, points).effect
            if not (math.isnan(ks.error) or math.isnan(change.error)):
                found[ablation, method] = Moved(ks, change)
    return found


def table(found: Mapping[tuple[str, str], Moved]) -> pd.DataFrame:
    """Effects as a data frame, a row an ablation and method: the mean Kolmogorov-Smirnov distance
    in [0, 1], the mean change of accuracy in percentage points, the ends of its 95 % interval, and
    n, the replicates."""
    rows = [
        (own.ks.mean, own.change.mean, *own.change.interval(), own.change.n)
        for own in found.values()
    ]
    index = pd.MultiIndex.from_tuples(found, names=["ablation", "method"])
    return pd.DataFrame(rows, index, ["ks", "change", "low", "high", "n"])


def insight(
    found: Mapping[str, Mapping[tuple[str, str], Moved]], label: Callable[[str], str]
) -> str:
    """Whether a distribution that moves predicts harm, in sentences that are computed.

    A counterexample is an ablation that moves magnitude pruning's early weights no less than its
    late ones (by more than `MOVED`), lowers the accuracy of the late ones by more than `HARM`, and
    does not so lower that of the early ones; decided as claims are, from the intervals of the three
    (`decisions.decide`).

    Args:
        found: as of `effects`, by the name of their network. label: the name of a method.
    """
    said, verdicts, places = [], [], []
    for network, own in found.items():
        for ablation, verb in _VERBS.items():
            methods = {m: moved for (a, m), moved in own.items() if a == ablation}
            if {LATE, "magnitude"} <= set(methods):
                verdict, sentence = _compared(methods, label)
                said.append(f"- {network}, {verb}, {verdict}: {sentence}.")
                verdicts.append(verdict)
                places.append(f"{network}, {verb}")
    if not said:
        return "Whether a distribution that moves predicts harm: not run."
    shown = [where for where, verdict in zip(places, verdicts, strict=True) if verdict == "shown"]
    head = "**A distribution that moves need not mean harm.**"
    head = head if shown else "No counterexample is shown."
    named = f" ({', '.join(shown)})" if shown else ""
    return "\n".join(
        [
            f"{head} That an ablation moves magnitude pruning's weights no less at initialisation "
            f"than after training, and yet lowers accuracy only after training, is "
            f"shown in {len(shown)} of {len(said)} comparisons{named}, refuted in "
            f"{verdicts.count('refuted')} and undecided in {verdicts.count('undecided')}. "
            "(Kolmogorov-Smirnov distance before training, no less by a margin of "
            f"{MOVED:g}; change of accuracy in percentage points, with its 95 % interval, harm "
            f"being more than {HARM:g}.)\n",
            *said,
        ]
    )


def _compared(own: Mapping[str, Moved], label: Callable[[str], str]) -> tuple[str, str]:
    """Whether an ablation moves magnitude's weights as far early as late, and harms it late only;
    the numbers in words."""
    early, late = own["magnitude"], own[LATE]
    spread = combined((moved.ks.error**2, moved.ks.freedom) for moved in (early, late))
    further = Effect(early.ks.mean - late.ks.mean, *spread, min(early.ks.n, late.ks.n))
    parts = (
        Part("moves as far", further, Region("not lower", MOVED)),
        Part("harms late weights", late.change, Region("lower", HARM)),
        Part("spares early ones", early.change, Region("not lower", HARM)),
    )
    verdict = decide(Parts("all", parts)).verdict
    words = []
    for when, moved in (("at initialisation", early), ("after training", late)):
        low, high = moved.change.interval()
        words.append(
            f"{when} they move by {moved.ks.mean:.2f} and accuracy changes by "
            f"{moved.change.mean:+z.1f} ({low:+z.1f} to {high:+z.1f})"
        )
    harmed = [
        f"{label(method)} ({moved.ks.mean:.2f}, {moved.change.mean:+z.1f})"
        for method, moved in own.items()
        if method != LATE
        and moved.ks.mean < early.ks.mean
        and decide(Part(method, moved.change, Region("lower", HARM))).verdict == "supported"
    ]
    if harmed:
        words.append(f"harmed although their weights move less: {', '.join(harmed)}")
    return _SAID.get(verdict, "undecided"), "; ".join(words)
