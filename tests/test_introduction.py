"""Figures 1 and 2, from made-up results whose answers are known."""

import pandas as pd
import pytest

from prunelib import settings
from prunelib.findings import introduction
from prunelib.grids import figure_runs
from prunelib.results.records import TRAINED
from prunelib.runs import DENSE, REWOUND, Curve

ABOUT = ("resnet8_digits", "paper")


def label(figure, curve):
    return f"{curve.method} {curve.weights_from}"


@pytest.fixture
def table(rows):
    """Unpruned 95 %. Random loses two points from the first sparsity on, lottery tickets one point
    beyond 79 %, magnitude after training three beyond 90 %, gradual pruning nothing."""

    def accuracy(run):
        if run.method == "random":
            return 0.93
        if run.weights_from not in (0, "end"):
            return 0.95 if run.sparsity < 0.8 else 0.935
        if run.prune_at == "end":
            return 0.95 if run.sparsity < 0.9 else 0.92
        return 0.95

    runs = figure_runs(1, *ABOUT, 2)
    return pd.DataFrame(rows((r, accuracy(r) + 0.001 * r.replicate) for r in runs))


def test_weights_remaining_at_each_step(table):
    """840 iterations, lottery tickets rewound to the 21st; 1 - 0.8^k: 79.0, 89.3 and 98.2 %."""
    data = introduction.remaining(table, *ABOUT, label, 2)
    first = data.groupby("line", sort=False).first()
    assert first["sparsity"].round(1).tolist() == [89.3, 79.0, 98.2, 0.0]
    assert first["retroactive"].tolist() == [False, True, False, False]
    assert first["accuracy"].tolist() == pytest.approx([95.05] * 4)
    assert set(first["n"]) == {2}
    lines = {line: points.set_index("step")["remaining"] for line, points in data.groupby("line")}
    after, gradual = lines["magnitude end"], lines["gradual 0"]
    assert after.round(1).to_dict() == {0: 100.0, 840: 10.7}
    assert lines["magnitude rewind"].round(1).to_dict() == {0: 100.0, 21: 21.0, 840: 21.0}
    assert lines["random 0"].to_dict() == {0: 100.0, 840: 100.0}
    assert gradual.is_monotonic_decreasing
    assert gradual[0] == 100
    # half of the way up: 98.2 * (1 - 0.5^3) % are pruned after a quarter of training
    assert gradual[210] == pytest.approx(100 - 98.2 * 0.875, abs=0.05)
    assert gradual[420] == gradual[840] == pytest.approx(1.8, abs=0.05)


def test_methods_that_were_not_run_are_absent(table):
    assert introduction.remaining(table[:0], *ABOUT, label).empty
    alone = table[table["method"].isin(["dense", "random"])]
    assert set(introduction.remaining(alone, *ABOUT, label)["line"]) == {"random 0"}


def test_the_area_under_a_line_by_hand(table):
    """Lottery tickets: all weights for 21 of 840 iterations, 21.0 % of them for the others."""
    found = introduction.trained_with(introduction.remaining(table, *ABOUT, label, 2))
    area = found["mean weights in training (%)"]
    assert area["magnitude end"] == 100
    assert area["magnitude rewind"] == round((21 * 100 + 819 * 100 * 0.8**7) / 840, 1) == 22.9
    # the cubic takes three quarters of the pruned share away over the half that it lasts, and all
    # of it over the other
    assert area["gradual 0"] == pytest.approx(100 - 98.2 * (0.5 * 0.75 + 0.5), abs=0.6)


def test_comparisons_are_those_printed_and_those_there_are(rows):
    """SNIP three points above random at 20 %, two at the other eight matching sparsities,
    reinitialised at one of them; and one replicate of GraSP."""
    low = [settings.sparsity(k) for k in range(1, 10)]
    snip = dict.fromkeys(low, 0.94) | {low[0]: 0.95}
    truths = {
        DENSE: {0.0: 0.95},
        Curve("snip"): snip,
        Curve("random"): dict.fromkeys(low, 0.92),
        Curve("snip", "shuffle"): snip,
        Curve("snip", "reinit"): {low[0]: 0.95},
        REWOUND.at(*ABOUT): {settings.sparsity(18): 0.9},
    }
    made = [
        (curve.run(*ABOUT, s, r), accuracy + 0.001 * r)
        for curve, accuracies in truths.items()
        for s, accuracy in accuracies.items()
        for r in range(2)
    ]
    made += [(Curve("snip").run(*ABOUT, settings.sparsity(18), r), 0.9) for r in range(2)]
    made += [(Curve("grasp").run(*ABOUT, s, 0), 0.9) for s in low]
    found = introduction.comparisons(pd.DataFrame(rows(made)), *ABOUT)
    assert len(found) == 9
    snip = found.loc["SNIP"]
    assert snip["Random"].tolist() == ["✗", "2", "+2.1"]
    assert snip["Shuffle"].tolist() == ["✗", "2", "+0.0"]
    assert snip["SNIP"].tolist() == ["—", "—", ""]
    assert snip["Reinit"].tolist() == ["✓", "✗", ""]
    assert snip["GraSP"].tolist() == ["—", "✗", ""]
    assert snip["LTR"].tolist() == ["✗", "✗", ""]  # beyond the matching sparsities
    assert found.loc["SynFlow", "Magnitude"].tolist() == ["✓", "✗", ""]


def test_figure_2_as_printed_has_six_comparisons_and_its_caption_three_more():
    printed = introduction.comparisons(pd.DataFrame(columns=list(TRAINED.columns)), *ABOUT)
    words = printed.xs("its paper", level=1).to_numpy().flatten().tolist()
    assert words.count("✓") == 6
    assert words.count("✗ (caption: ✓)") == 3
    assert len(words) == 3 * 11
