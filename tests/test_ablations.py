"""What ablations change, of accuracies that are written down."""

from dataclasses import replace

import pandas as pd
import pytest
from scipy import stats

from prunelib import settings
from prunelib.findings.ablations import changes
from prunelib.findings.samples import Samples
from prunelib.runs import DENSE, Curve

SETTING = "resnet8_digits"  # whose highest matching sparsity is 86.6 %, the seventh of the grid
GRID = settings.sparsities(SETTING, "paper")


def test_changes_up_to_the_highest_matching_sparsity_and_beyond_by_hand():
    """Two replicates, 1 above and below: a mean over sparsities has the variance 2, and the
    difference of two means of two 2. Shuffling costs nothing below, and 3 points beyond but for
    the last sparsity, where it leaves a network that guesses."""
    low = [s <= settings.highest_matching(SETTING) for s in GRID]

    def curve(*means):
        return pd.DataFrame([[m - 1 for m in means], [m + 1 for m in means]], columns=GRID)

    shuffled = [*[90.0 if own else 87.0 for own in low[:-1]], 10.0]
    lines = [Curve("snip"), Curve("snip", "shuffle")]
    values = dict(zip(lines, (curve(*[90.0] * 18), curve(*shuffled)), strict=True))
    samples = Samples(values, guess=20)
    panels = {"SNIP": lines}
    table = changes(samples, SETTING, "paper", panels)
    assert table.index.tolist() == [("SNIP", "shuffle", p) for p in ("up to 86.6 %", "beyond")]
    half = stats.t.isf(0.025, 2) * 2**0.5
    assert table["effect"].tolist() == pytest.approx([0, -3])
    assert table["low"].tolist() == pytest.approx([-half, -3 - half])
    assert table["high"].tolist() == pytest.approx([half, -3 + half])
    empty = changes(Samples({}), SETTING, "paper", panels)
    assert len(empty) == 2
    assert empty.isna().all(axis=None)


def test_of_another_initialisation_what_pruning_costs_is_compared():
    """SNIP loses 4 points from an unpruned network at 94 %, and 3 from one at 92 %."""
    fixed = Curve("snip", init="fixed_variance")
    truths = {Curve("snip"): 90.0, fixed: 89.0}
    unpruned = {DENSE: 94.0, replace(DENSE, init="fixed_variance"): 92.0}
    values = {c: pd.DataFrame([[t] * 18, [t] * 18], columns=GRID) for c, t in truths.items()}
    values |= {c: pd.DataFrame({s: [t, t] for s in GRID}) for c, t in unpruned.items()}
    table = changes(Samples(values), SETTING, "paper", {"SNIP": [Curve("snip"), fixed]})
    assert table.index.get_level_values("ablation").tolist() == 2 * ["fixed_variance"]
    assert table["effect"].tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("profile", ["paper", "coarse"])
def test_steps_of_curves_are_those_of_the_setting(profile):
    """Lottery ticket rewinding is named by its iteration."""
    panels = {"": [Curve("magnitude", prune_at="end", weights_from="rewind")]}
    panels[""] += [Curve("magnitude", "reinit", "end", "rewind")]
    grid = settings.sparsities(SETTING, profile)
    values = pd.DataFrame([[90.0] * len(grid), [91.0] * len(grid)], columns=list(grid))
    plain, ablated = (curve.at(SETTING, profile) for curve in panels[""])
    samples = Samples({plain: values, ablated: values - 1})
    found = changes(samples, SETTING, profile, panels)
    assert found["effect"].tolist() == pytest.approx([-1, -1])
