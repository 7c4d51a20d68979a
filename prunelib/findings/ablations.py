"""Ablations in two numbers: what each changes up to the highest matching sparsity, and beyond."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from prunelib import settings
from prunelib.findings.samples import Samples
from prunelib.runs import DENSE, Curve


def changes(
    samples: Samples, setting: str, profile: str, panels: Mapping[str, Sequence[Curve]]
) -> pd.DataFrame:
    """The mean effect of ablations on accuracy at matching sparsities and at higher ones, all
    sparsities alike; those at which a network guesses are left out, unless nothing else is there:
    see `Samples.difference`.

    Args:
        samples: of accuracies in percent. setting, profile: whose.
        panels: of a name each, an unmodified curve and its ablations. A curve of another
            initialisation has another unpruned network: what pruning costs is compared then.

    Returns:
        data frame: "effect", "low" and "high", percentage points and the ends of the 95 % interval,
        NaN where there is nothing to compare; the ends are infinite where all networks guess. The
        index has the panel, the ablation (or initialisation) and the part.
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
            other = curve.init != plain.init
            less = tuple(replace(DENSE, init=own.init) for own in (curve, plain)) if other else None
            change = curve.init if other else curve.ablation
            for part, points in parts.items():
                effect = samples.difference(line, pairs[0], points, less).effect
                rows[name, change, part] = (effect.mean, *effect.interval())
    index = pd.MultiIndex.from_tuples(rows, names=["panel", "ablation", "part"])
    return pd.DataFrame(list(rows.values()), index, ["effect", "low", "high"])
