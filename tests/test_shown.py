"""Tables as notebooks show them, SynFlow's paths, and whether weights that move predict harm."""

import math

import pandas as pd
import pytest
import torch
from conftest import trained, weights
from torch import nn

from prunelib import scores, settings
from prunelib.errors import BadValueError
from prunelib.findings import moved
from prunelib.findings.measures import Results
from prunelib.grids import WEIGHT_LEVELS
from prunelib.pages import draw_paths, shown
from prunelib.results.records import START
from prunelib.results.store import Store
from prunelib.runs import AFTER, Curve


def parts(table):
    """How many rows the tables of its HTML have beside the head, and what is folded."""
    text = shown.html(table)
    counts = [part.count("<tr") - 1 for part in text.split("<table")[1:]]
    return counts, text.partition("<details>")[2]


def test_a_table_of_25_rows_is_shown_whole_as_pandas_does():
    table = pd.DataFrame({"n": range(25)})
    assert shown.html(table) == table._repr_html_()


def test_of_a_longer_table_no_row_is_lost_and_what_fits_a_screen_comes_first():
    """Each of the 81 claims has 110 characters, which take four lines: six of them make 24."""
    claims = pd.DataFrame({"id": range(81), "claim": [f"{k:03}" + 107 * "x" for k in range(81)]})
    with pd.option_context("display.max_colwidth", None):
        counts, folded = parts(claims)
    assert counts == [6, 75]
    assert "The other 75 of 81 rows" in folded
    assert "006xxx" in folded
    assert "005xxx" not in folded
    assert parts(claims[["id"]])[0] == [25, 56]


def test_a_row_longer_than_a_screen_is_still_shown():
    assert parts(pd.DataFrame({"claim": 26 * [1000 * "x"]}))[0] == [1, 25]


def test_wide_tables_keep_their_columns():
    assert "<th>24</th>" in shown.html(pd.DataFrame([range(25)] * 26))
    assert "..." not in shown.html(pd.DataFrame([range(25)] * 26))


def test_no_number_of_a_rounded_table_reads_minus_zero():
    table = pd.DataFrame({"name": ["a", "b"], "value": [-0.001, -0.019]})
    made = shown.rounded(table, 2)
    assert made.astype(str).to_numpy().tolist() == [["a", "0.0"], ["b", "-0.02"]]
    assert str(table["value"][0]) == "-0.001"  # what is given stays as it is
    under = pd.DataFrame([[-0.001, 5]], columns=pd.MultiIndex.from_product([["a"], [1, 2]]))
    assert shown.rounded(under, 2).astype(str).to_numpy().tolist() == [["0.0", "5"]]


def test_methods_come_in_the_order_of_figures_and_sparsities_as_the_paper_prints_them():
    data = pd.DataFrame(
        [
            ("grasp", "reinit", 0.981986, "before training", 1),
            ("random", "shuffle", 0.737856, "before training", 2),
            ("magnitude after training", "shuffle", 0.737856, "after training", 3),
            ("magnitude", "shuffle", 0.737856, "after training", 4),
        ],
        columns=["method", "ablation", "sparsity", "when", "value"],
    )
    made = shown.readable(data)
    methods = ["Magnitude after training", "Magnitude", "GraSP", "Random"]
    assert list(made.groupby("method", observed=True).size().index) == methods
    assert list(made.groupby("ablation").size().index) == ["Shuffled", "Reinitialised"]
    assert list(made.groupby("sparsity").size().index) == ["73.8 %", "98.2 %"]
    assert list(made.groupby("when").size().index) == ["before training", "after training"]
    assert made["value"].tolist() == [1, 2, 3, 4]
    assert data["method"][0] == "grasp"  # what is given stays as it is


# -------------------------------------------------------------------------------- SynFlow's paths


def chain():
    """Three layers of 3, 2, 3 and 2 neurons, as a network and as matrices."""
    torch.manual_seed(0)
    layers = [nn.Linear(*sizes, bias=False) for sizes in ((3, 2), (2, 3), (3, 2))]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    model.input_shape = (3,)
    return model, [layer.weight.detach().numpy() for layer in layers]


def test_the_paths_through_a_weight_add_up_to_its_synflow_score():
    """The score comes from gradients, the paths from an enumeration."""
    model, matrices = chain()
    found = draw_paths.paths(matrices)
    assert len(found) == 3 * 2 * 3 * 2
    for layer, z in enumerate(scores.score(model, "synflow").values()):
        for to, at in ((0, 0), (1, 1)):
            own = [p for path, p in found.items() if (layer, to, at) in draw_paths.edges(path)]
            assert math.fsum(own) == pytest.approx(float(z[to, at]), rel=1e-6)


def test_the_drawing_says_the_product_and_the_sum_that_are_computed_by_hand():
    fig = draw_paths.network([[[1.0, -2.0], [3.0, 0.5]], [[2.0, -1.0]]], (1, 0, 0), (1, 0, 0))
    one, score = fig.axes
    assert one.get_title() == "One path: the product |-2| · |2| = 4"
    assert score.get_title() == "The score of the weight 2: the sum 2 + 4 = 6"
    assert "9.5" in fig.get_suptitle()  # 2 + 4 + 3 + 0.5
    for axis in (one, score):
        texts = [text.get_text() for text in axis.texts]
        assert texts[:6] == ["1", "-2", "3", "0.5", "2", "-1"]
        assert len(texts) == 6 + 5  # and the neurons
        widths = [line.get_linewidth() for line in axis.get_lines()]
        assert max(widths) == widths[2]  # the weight of 3
    marked = [line.get_color() for line in one.get_lines()]
    assert [c == marked[1] for c in marked] == [False, True, False, False, True, False]


def test_a_path_or_weight_that_is_not_there_is_refused():
    for path, weight in (((2, 0, 0), (0, 0, 0)), ((0, 0, 0), (2, 0, 0))):
        with pytest.raises(BadValueError, match="no path"):
            draw_paths.network([[[1.0, 2.0]], [[3.0]]], path, weight)


# ------------------------------------------------------------------- weights that move, and harm


ABOUT = ("lenet_digits", "paper")


def filled(root, late_ks=0.3, late_change=-0.05, early_change=0.0):
    """Results: magnitude's weights move by 0.3 at initialisation, SNIP's by 0.1, magnitude's after
    training by `late_ks`; shuffling costs SNIP 3 points, magnitude `early_change`, and after
    training `late_change`. Three replicates, a tenth of a point apart."""
    found = ((Curve("magnitude"), 0.3, early_change), (Curve("snip"), 0.1, -0.03),
             (AFTER, late_ks, late_change))  # fmt: skip
    for replicate in range(3):
        for curve, ks, change in found:
            for ablation, moves, loss in (("none", 0.0, 0.0), ("shuffle", ks, change)):
                own = Curve(**vars(curve) | {"ablation": ablation})
                runs = [own.run(*ABOUT, settings.sparsity(k), replicate) for k in WEIGHT_LEVELS]
                Store(root, START).add(weights(run, ks=(moves, moves, moves)) for run in runs)
                Store(root).add(trained(run, 0.9 + loss + replicate / 1000) for run in runs)
    return moved.effects(Results(root), *ABOUT)


def test_what_moves_and_what_it_costs_are_means_of_the_records(tmp_path):
    found = moved.table(filled(tmp_path))
    assert list(found.index) == [("shuffle", m) for m in (moved.LATE, "magnitude", "snip")]
    assert found["ks"].tolist() == pytest.approx([0.3, 0.3, 0.1])
    assert found["change"].tolist() == pytest.approx([-5, 0, -3])
    assert (found["n"] == 3).all()
    # the variance of each curve is 0.01 points squared, of a difference of two means 0.02/3
    half = (found["high"] - found["low"]).to_numpy() / 2
    assert half == pytest.approx([2.1788 * (0.02 / 3) ** 0.5] * 3, rel=1e-3)  # t at 12 degrees


@pytest.mark.parametrize(
    ("late", "said"),
    [
        ({}, "**A distribution that moves need not mean harm.**"),
        ({"late_ks": 0.36}, "No counterexample is shown."),  # further than 0.3 by more than 0.05
        ({"late_change": 0.0}, "No counterexample is shown."),
        ({"early_change": -0.04}, "No counterexample is shown."),  # harmed at initialisation too
    ],
)
def test_the_insight_is_what_the_results_say(tmp_path, late, said):
    text = moved.insight({"LeNet": filled(tmp_path, **late)}, str.upper)
    assert text.startswith(said)
    assert f"LeNet, shuffling, {'refuted' if late else 'shown'}: at init" in text
    assert "harmed although their weights move less: SNIP (0.10, -3.0)" in text


def test_without_records_the_insight_is_not_run(tmp_path):
    found = moved.effects(Results(tmp_path), *ABOUT)
    assert moved.insight({"LeNet": found}, str).endswith("not run.")
    assert moved.table(found).empty


def test_what_no_interval_tells_is_no_counterexample(tmp_path):
    """Early weights lose 0.25 points, give or take 0.18: neither spared nor harmed by 0.3."""
    text = moved.insight({"LeNet": filled(tmp_path, early_change=-0.0025)}, str)
    assert text.startswith("No counterexample is shown.")
    assert "is shown in 0 of 1 comparisons, refuted in 0 and undecided in 1." in text


def test_layers_are_named_as_in_figures():
    names = ["conv.weight", "blocks.0.conv1.weight", "blocks.1.shortcut.0.weight", "fc.weight"]
    table = shown.by_layer(pd.DataFrame({"SNIP": range(4)}, index=names))
    labels = ["input", "stage 1 block 1 conv 1", "stage 2 block 1 shortcut", "output"]
    assert table.index.tolist() == labels
    assert table["SNIP"].tolist() == [0, 1, 2, 3]
