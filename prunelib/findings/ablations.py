"""Ablations in two numbers: what each changes up to the highest matching sparsity, and beyond."""

from collections.abc import Mapping, Sequence

import pandas as pd

from prunelib import settings
from prunelib.findings.samples import Samples
from prunelib.runs import Curve


def changes(
    samples: Samples, setting: str, profile: str, panels: Mapping[str, Sequence[Curve]]
) -> pd.DataFrame:
    """The mean effect of ablations on accuracy at matching sparsities and at higher ones, all
    sparsities alike; those at which a network guesses are left out, unless nothing else is there:
    see `Samples.difference`.

    Args:
        samples: of accuracies in percent. setting, profile: whose.
        panels: of a name each, an unmodified curve and its ablations; a curve of another
            initialisation, whose unpruned network is another, is passed over.

    Returns:
        data frame indexed by panel, ablation and part: "effect", "low" and "high", percentage
        points and the ends of the 95 % interval, NaN where there is nothing to compare.
    """
    level = settings.highest_matching(setting)
    grid = settings.sparsities(setting, profile)
    parts = {
        f"up to {100 * level:.1f} %": [s for s in grid if s <= level],
        "beyond": [s for s in grid if s > level],
    }
    rows = {}
    for name, (plain, *others) in panels.items():
        pairs = [curve.at(setting, profile) for curve in (plain, *others)]
        for curve, line in zip(others, pairs[1:], strict=True):
            if curve.init == plain.init:
                for part, points in parts.items():
                    effect = samples.difference(line, pairs[0], points).effect
                    rows[name, curve.ablation, part] = (effect.mean, *effect.interval())
    index = pd.MultiIndex.from_tuples(rows, names=["panel", "ablation", "part"])
    return pd.DataFrame(list(rows.values()), index, ["effect", "low", "high"])
