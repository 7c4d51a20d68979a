"""What is drawn: limits, bands, legends, and the values that the paper prints."""

import base64
import re

import numpy as np
import pandas as pd
import pytest
from conftest import trained
from matplotlib.collections import LineCollection

from prunelib import datasets, masks, networks, settings
from prunelib.findings import curves
from prunelib.grids import LATER, figure_runs
from prunelib.pages import draw, draw_layer, draw_masks, style
from prunelib.pages.axes import enlarged, panels
from prunelib.runs import EARLY_METHODS

ABOUT = ("lenet_digits", "quick")
SMALL = ("blocks.0.conv1.weight", (0.2, 0.865782, 0.981986))  # of resnet8_8x8, and sparsities
KEYS = (*((m, "none") for m in (*EARLY_METHODS, "random")), ("synflow", "shuffle"))


@pytest.fixture
def data():
    """Of Figure 3, two replicates: 90 % less a tenth of the sparsity, and a point a replicate."""
    runs = figure_runs(3, *ABOUT, 2)
    rows = [trained(r, 0.9 - 0.1 * r.sparsity - 0.01 * r.replicate).row() for r in runs]
    return curves.accuracy_data(3, pd.DataFrame(rows), *ABOUT, style.label)


def test_enlarged_axes_show_three_quarters_of_the_points_of_methods():
    lost = [0.0, 1.0, 2.0, 3.0, 4.0, 20.0, 60.0]
    lines = [*(6 * ["SNIP"]), "Random"]
    data = pd.DataFrame({"line": lines, "accuracy": [90 - points for points in lost]})
    # the quartile of SNIP's six losses is 3.75, and twice that is less than 20
    assert enlarged(data) == pytest.approx((90 - 1.06 * 3.75, 90 + 0.12 * 3.75))
    without = data[data["accuracy"] != 70]  # 3.0 of five: all of them fit
    assert enlarged(without) == pytest.approx((90 - 1.06 * 4, 90 + 0.12 * 4))


def test_a_title_too_long_for_one_line_takes_two_and_hides_neither_itself_nor_what_stands_below():
    long = "Neuron collapse of later methods: ResNet-8 on digits (the miniature) at its highest "
    with panels(f"{long}matching sparsity, 86.6 %\n5 replicates", (9.4, 3)) as (fig, _):
        fig.draw_without_rendering()
        title, below = fig._suptitle.get_window_extent(), fig.texts[-1].get_window_extent()
    assert below.y0 < below.y1 < title.y1
    lines = fig._suptitle.get_text().split("\n")
    assert len(lines) == 3
    assert not lines[-1]  # the room for what stands below
    assert below.y1 <= title.y1 - (title.height / 3) * 2 + 1
    assert 0 < title.x0 < title.x1 < fig.bbox.width


def test_what_leaves_the_enlarged_axis_is_shown_whole_and_nothing_is_shown_twice(data):
    assert len(draw.accuracy(data, "Figure 3", 3, *ABOUT).axes) == 1
    data.loc[data["line"] == "Random", "accuracy"] -= 50
    whole, top = draw.accuracy(data, "Figure 3", 3, *ABOUT).axes
    lowest = data["accuracy"].min()
    assert whole.get_ylim()[0] < lowest < top.get_ylim()[0]


def points(axis, label):
    """Where the one line lies whose words in the legend begin so."""
    (found,) = (x for x in axis.get_lines() if str(x.get_label()).startswith(label))
    return np.stack([found.get_xdata(), found.get_ydata()], axis=1).astype(float)


def whiskers(axis, along=1):
    """The ends of all whiskers, from below to above, or along 0 from left to right."""
    bars = [c for c in axis.collections if isinstance(c, LineCollection)]
    return [s[:, along].tolist() for bar in bars for s in bar.get_segments() if len(s) == 2]


def test_lines_are_where_their_numbers_are(data):
    """Over the weights that remain, the accuracy; and the unpruned network's, at all of them."""
    (axis,) = draw.accuracy(data, "Figure 3", 3, *ABOUT).axes
    for name, rows in data[data["line"] != "Unpruned"].groupby("line"):
        expected = np.stack([100 - rows["sparsity"], rows["accuracy"]], axis=1)
        assert points(axis, f"{name} (") == pytest.approx(expected, abs=0.05)  # as sparsity is said
    assert {y for _, y in points(axis, "Unpruned")} == {89.5}


def test_lines_have_gaps_where_nothing_was_run():
    """SNIP at three of the six sparsities of `quick`; between the first and the third is a gap."""
    about, there = ("vgg16_cifar10", "quick"), [settings.sparsity(k) for k in (3, 9, 12)]
    runs = [r for r in figure_runs(3, *about, 1) if r.method == "snip" and r.sparsity in there]
    table = pd.DataFrame([trained(run, 0.9).row() for run in runs])
    data = curves.accuracy_data(3, table, *about, style.label)
    axis = draw.accuracy(data, "Figure 3", 3, *about).axes[0]
    (line,) = (a for a in axis.get_lines() if str(a.get_label()).startswith("SNIP"))
    assert np.isnan(line.get_ydata()).tolist() == [False, True, False, False, True, True]


def test_bands_are_one_standard_deviation_wide_and_end_at_0_and_100_percent(data):
    data["std"] = 3.0
    (axis,) = draw.accuracy(data, "Figure 3", 3, *ABOUT).axes
    assert len(axis.collections) == data["line"].nunique() - 1
    rows = {name: own for name, own in data.groupby("line", sort=False) if name != "Unpruned"}
    ends = {
        (round(own["accuracy"].min() - 3, 3), round(own["accuracy"].max() + 3, 3))
        for own in rows.values()
    }
    found = [band.get_paths()[0].vertices[:, 1] for band in axis.collections]
    assert {(round(v.min(), 3), round(v.max(), 3)) for v in found} == ends
    (whole,) = axis.patches  # of the unpruned network
    assert whole.get_extents().height == pytest.approx(
        axis.transData.transform((1, 6))[1] - axis.transData.transform((1, 0))[1]
    )
    data["std"] = 99.0
    for band in draw.accuracy(data, "Figure 3", 3, *ABOUT).axes[0].collections:
        heights = band.get_paths()[0].vertices[:, 1]
        assert heights.min() == 0
        assert heights.max() == 100


def test_the_lines_of_figure_6_stand_at_their_steps():
    """A tenth of a point more a hundred iterations."""
    last = settings.schedule(*ABOUT).iterations
    runs = figure_runs(6, *ABOUT, 1)
    steps = [last if r.prune_at == "end" else r.prune_at for r in runs]
    table = pd.DataFrame(
        [trained(r, 0.5 + 1e-5 * s).row() for r, s in zip(runs, steps, strict=True)]
    )
    numbers = curves.accuracy_data(6, table, *ABOUT, style.label)
    (axis,) = draw.steps(numbers, "Figure 6", 6, *ABOUT, 1).axes
    found = points(axis, "SNIP (")
    where = [last if s == "end" else s for s in settings.steps(*ABOUT)]
    assert found == pytest.approx(np.array([[s, 50 + 1e-3 * s] for s in where]))


def test_figure_1_falls_at_the_step_of_pruning():
    rows = [("SNIP", 80.0, step, left, 3, False) for step, left in ((0, 20.0), (40, 20.0))]
    rows += [("Gradual Pruning", 80.0, s, left, 3, False) for s, left in ((0, 100.0), (20, 20.0))]
    columns = ["line", "sparsity", "step", "remaining", "n", "retroactive"]
    numbers = pd.DataFrame(rows, columns=columns)
    looks = {look.label for look in style.METHODS.values()}
    numbers = numbers[numbers["line"].isin(looks)]
    (axis,) = draw.introduction(numbers, "Figure 1", 3).axes
    (line,) = (x for x in axis.get_lines() if x.get_label().startswith("SNIP"))
    assert line.get_drawstyle() == "steps-post"
    assert points(axis, "SNIP").tolist() == [[0, 20], [40, 20]]


def test_figures_of_masks_are_where_their_numbers_are():
    """Neurons, layers and ratios, with whiskers of one standard deviation."""
    rows = pd.DataFrame(
        [("snip", "none", t, y, 2.0, 3) for t, y in ((0.0, 100.0), (50.0, 60.0), (100.0, 7.0))],
        columns=["method", "ablation", "threshold", "share", "std", "n"],
    )
    axis, last = draw_masks.collapse(rows, "Figure 5", 3, "lenet_digits").axes
    assert points(axis, "SNIP").tolist() == [[0, 100], [50, 60], [100, 7]]
    assert whiskers(last, along=0) == [[5, 9]]
    rows = pd.DataFrame(
        [("snip", f"layers.{i}", y, 2.0, 3) for i, y in enumerate((90.0, 60.0, 30.0))],
        columns=["method", "layer", "sparsity", "std", "n"],
    )
    (axis,) = draw_masks.layers(rows, "Figure 15", 3, "lenet_digits").axes
    assert points(axis, "SNIP").tolist() == [[0, 90], [1, 60], [2, 30]]
    assert whiskers(axis) == [[88, 92], [58, 62], [28, 32]]
    levels = [settings.sparsity(k) for k in (1, 2)]
    rows = pd.DataFrame(
        [("snip", s, y, 0.01, 3) for s, y in zip(levels, (1.0, 1.02), strict=True)],
        columns=["method", "sparsity", "ratio", "std", "n"],
    )
    (axis,) = draw_masks.ratio(rows, "Figure 16", 3, "lenet_digits").axes
    found = points(axis, "SNIP")
    expected = np.array([[80, 1.0], [64, 1.02]])
    assert found[np.isfinite(found[:, 1])] == pytest.approx(expected)
    ends = [pair for pair in whiskers(axis) if np.isfinite(pair).all()]
    assert ends[:2] == [pytest.approx([0.99, 1.01]), pytest.approx([1.01, 1.03])]


def test_the_legend_says_what_a_line_lacks(data):
    short = data[(data["line"] != "SNIP") | (data["sparsity"] < 80)]
    (legend,) = draw.accuracy(short, "Figure 3", 3, *ABOUT).legends
    named = {text.get_text() for text in legend.get_texts()}
    assert {"SNIP (n = 2 of 3, 2 of 6 sparsities)", "GraSP (n = 2 of 3)"} < named
    (legend,) = draw.accuracy(data, "Figure 3", 3, *ABOUT, replicates=2).legends
    assert "SNIP (n = 2)" in {text.get_text() for text in legend.get_texts()}


def test_a_short_schedule_says_that_what_is_pruned_late_is_trained_twice(data):
    fig = draw.accuracy(data, "Figure 3\nProfile quick", 3, *ABOUT)
    assert "training twice" in fig.texts[-1].get_text().replace("\n", " ")
    early = data[~data["line"].str.contains("after")]
    fig = draw.accuracy(early, "Figure 3\nProfile quick", 3, *ABOUT)
    assert "training twice" not in fig.texts[-1].get_text().replace("\n", " ")


def test_a_panel_without_a_line_says_that_it_was_not_run(data):
    fig = draw.accuracy(data[data["line"] == "Unpruned"], "Figure 3", 3, *ABOUT)
    assert [text.get_text() for text in fig.axes[0].texts] == ["not run"]
    assert not draw.accuracy(data, "Figure 3", 3, *ABOUT).axes[0].texts


@pytest.mark.parametrize("whole_too", [False, True])
def test_eight_panels_are_two_rows_each_with_the_lines_of_its_method(whole_too):
    """Method k has k points less; inverting costs 60, which is shown on axes of their own."""
    lost = {m: 0.01 * place for place, m in enumerate(LATER)}
    rows = [
        trained(r, 0.95 - lost.get(r.method, 0) - 0.6 * (whole_too and r.ablation == "invert"))
        for r in figure_runs("Y", *ABOUT, 1)
    ]
    table = pd.DataFrame([record.row() for record in rows])
    data = curves.accuracy_data("Y", table, *ABOUT, style.label)
    axes = draw.accuracy(data, "Figure Y", "Y", *ABOUT).axes
    named = {axis.get_title(): axis for axis in axes if axis.get_title()}
    assert list(named) == [style.method(m).label for m in LATER]
    assert len(axes) == 8 * (1 + whole_too)
    places = {axis.get_subplotspec().rowspan.start for axis in named.values()}
    assert len(places) == 2
    for method, axis in zip(LATER, named.values(), strict=True):
        (line,) = (x for x in axis.get_lines() if x.get_label().startswith("Unmodified"))
        assert line.get_ydata() == pytest.approx(95 - 100 * lost[method])


def open_markers(axis):
    """The (x, y) of the values that the paper prints."""
    lines = [a for a in axis.get_lines() if a.get_markerfacecolor() == "none"]
    return sorted((a.get_xdata()[0], a.get_ydata()[0]) for a in lines if len(a.get_xdata()))


def test_figure_3_marks_the_matching_sparsities_that_the_paper_prints():
    about = ("vgg16_cifar10", "quick")
    table = pd.DataFrame([trained(run, 0.9).row() for run in figure_runs(3, *about, 1)])
    data = curves.accuracy_data(3, table, *about, style.label)
    marks = [x for x, _ in open_markers(draw.accuracy(data, "Figure 3", 3, *about).axes[-1])]
    # Section 4: 93.1 % after training, 59.0 % for SNIP and SynFlow, 20.0 % for random pruning
    assert marks == pytest.approx([6.9, 41.0, 41.0, 80.0])


@pytest.mark.parametrize(
    ("figure", "setting", "remaining", "cut"),
    [(4, "resnet20_cifar10", 51.2, False), (3, "vgg16_cifar10", 80.0, True)],
)
def test_a_printed_mark_is_whole_where_the_axis_begins_and_hidden_beyond(
    figure, setting, remaining, cut
):
    """Of `quick`, the axes begin at 48.8 %: there ResNet-20's shuffled networks match (Section 5);
    VGG-16's random pruning does at 20.0 % (Section 4)."""
    runs = figure_runs(figure, setting, "quick", 1)
    table = pd.DataFrame([trained(run, 0.9).row() for run in runs])
    data = curves.accuracy_data(figure, table, setting, "quick", style.label)
    axis = draw.accuracy(data, "", figure, setting, "quick").axes[-1]
    marks = [a for a in axis.get_lines() if a.get_markerfacecolor() == "none"]
    there = [a.get_clip_on() for a in marks if a.get_xdata() == pytest.approx([remaining])]
    assert set(there) == {cut}


def test_figures_5_and_16_show_what_the_paper_prints():
    rows = pd.DataFrame(
        [(m, a, t, 100 - t, 0.0, 5) for m, a in KEYS for t in (0.0, 100.0)],
        columns=["method", "ablation", "threshold", "share", "std", "n"],
    )
    _, last = draw_masks.collapse(rows, "Figure 5", 5, "resnet20_cifar10").axes
    # Section 5, of ResNet-20: magnitude, SNIP, GraSP, SynFlow, and SynFlow shuffled
    assert [x for _, x in sorted((y, x) for x, y in open_markers(last))] == [0, 5, 1, 31, 1]
    rows = pd.DataFrame(
        [("snip", s, 1.0, 0.0, 5) for s in (0.2, 0.737856, 0.981986)],
        columns=["method", "sparsity", "ratio", "std", "n"],
    )
    (axis,) = draw_masks.ratio(rows, "Figure 16", 5, "resnet20_cifar10").axes
    # Appendix M, of ResNet-20 at 73.8 and 98.2 %
    assert [y for _, y in open_markers(axis)] == pytest.approx(
        [0.9921, 1.0016, 1.0197, 1.0353, 1.0, 1.0, 1.0, 1.0006]
    )
    bound = "The paper's bound"  # Appendix M, of the highest matching sparsity alone
    assert points(axis, bound) == pytest.approx(np.array([[100 * 0.262144, 1.0026]]))
    for other in ("lenet_mnist", "resnet8_digits"):  # of which the paper says nothing
        (axis,) = draw_masks.ratio(rows, "Figure 16", 5, other).axes
        assert not [a for a in axis.get_lines() if str(a.get_label()).startswith(bound)]


def test_no_line_of_figure_15_runs_through_a_shortcut():
    model = networks.build("resnet20")
    names = [name.removesuffix(".weight") for name in networks.prunable(model)]
    rows = pd.DataFrame({"method": "snip", "layer": names, "sparsity": 50.0, "std": 1.0, "n": 5})
    (axis,) = draw_masks.layers(rows, "Figure 15", 5, "resnet20_cifar10").axes
    (joined,) = [
        a for a in axis.get_lines() if a.get_linestyle() != "None" and len(a.get_xdata()) > 2
    ]
    assert sorted(set(range(22)) - {round(x) for x in joined.get_xdata()}) == [0, 9, 16, 21]
    (overall,) = [a for a in axis.get_lines() if a.get_label().startswith("The network")]
    assert overall.get_ydata() == pytest.approx([73.8, 73.8], abs=0.05)


def test_the_weights_figure_shows_chance_and_the_limit():
    data = pd.DataFrame(
        [
            ("before training", 0.5, method, ablation, 0, ks + more, 0.0, 1.0)
            for method, ks in (("snip", 0.3), ("random", 0.02))
            for ablation, more in (("shuffle", 0.0), ("reinit", 0.1 * (method == "snip")))
        ],
        columns=["when", "sparsity", "method", "ablation", "replicate", "ks", "wasserstein", "std"],
    )
    (axis,) = draw_masks.weights(data, "Unpruned weights", 1).axes
    heights = {a.get_label(): a.get_ydata()[0] for a in axis.get_lines()}
    assert heights["Chance: random pruning (n = 1)"] == pytest.approx(0.02)
    assert heights["Limit of the claim: chance + 0.05"] == pytest.approx(0.07)
    assert [bar.get_height() for bar in axis.patches] == pytest.approx([0.3, 0.4])


def test_figures_of_masks_say_how_many_replicates_of_those_asked_for_are_there():
    """SNIP has three of five; of GraSP none is missing."""
    about = {"sparsity": 50.0, "std": 1.0, "ratio": 1.0, "share": 10.0, "ablation": "none"}
    rows = pd.DataFrame(
        [
            {"method": method, "layer": layer, "threshold": threshold, "n": n} | about
            for method, n in (("snip", 3), ("grasp", 5))
            for layer, threshold in (("layers.0", 0.0), ("layers.1", 50.0), ("layers.2", 100.0))
        ]
    )
    for drawing in (draw_masks.collapse, draw_masks.layers, draw_masks.ratio):
        of_ratio = drawing is draw_masks.ratio
        points = 2 * [settings.sparsity(k) for k in (1, 2, 3)]
        shown = rows.assign(sparsity=points) if of_ratio else rows
        lacks = ", 3 of 18 sparsities" if of_ratio else ""
        (legend,) = drawing(shown, "A figure", 5, "lenet_mnist").legends
        names = {text.get_text() for text in legend.get_texts()}
        assert {f"SNIP (n = 3 of 5{lacks})", f"GraSP (n = 5{lacks})"} <= names


def test_a_bound_that_the_paper_prints_is_no_value_and_what_was_not_run_has_a_place():
    """Of ResNet-18, Section 5 prints less than 1 % for magnitude pruning."""
    rows = pd.DataFrame(
        [("random", "none", t, 100 - t, 0.0, 3) for t in (0.0, 100.0)],
        columns=["method", "ablation", "threshold", "share", "std", "n"],
    )
    _, last = draw_masks.collapse(rows, "Figure 5", 3, "resnet18_tinyimagenet").axes
    assert "< 1" in {text.get_text() for text in last.texts}
    assert 1 not in [x for x, _ in open_markers(last)]
    names = [text.get_text().replace("\n", " ") for text in last.get_yticklabels()]
    assert names[0] == "Random"
    assert "SNIP, not run" in names


def test_the_lines_of_figure_16_have_gaps_where_nothing_was_run():
    rows = pd.DataFrame(
        [("snip", settings.sparsity(k), 1.0, 0.1, 5) for k in (1, 2, 18)],
        columns=["method", "sparsity", "ratio", "std", "n"],
    )
    (axis,) = draw_masks.ratio(rows, "Figure 16", 5, "lenet_mnist").axes
    (line,) = [a for a in axis.get_lines() if a.get_label().startswith("SNIP (n = 5, 3 of 18")]
    assert np.isfinite(line.get_ydata()).nonzero()[0].tolist() == [0, 1, 17]


def test_panels_of_unlike_numbers_of_replicates_say_so():
    """Of Figure 9 three replicates of SNIP, one of the others."""
    about = ("lenet_digits", "quick")
    runs = [
        run
        for run in figure_runs(9, *about)
        if run.replicate == 0 or run.method in ("snip", "dense")
    ]
    table = pd.DataFrame([trained(run, 0.9).row() for run in runs])
    data = curves.accuracy_data(9, table, *about, style.label)
    fig = draw.accuracy(data, "Figure 9", 9, *about)
    titles = {axis.get_title().replace("\n", " ") for axis in fig.axes}
    assert "SNIP after training (n = 3)" in titles
    assert "GraSP after training (n = 1)" in titles
    assert "no band where n = 1" in fig.texts[-1].get_text()


def test_the_weights_figure_says_which_bars_lack_replicates():
    """GraSP's bar after training is missing, and one replicate of random pruning, of two."""
    made = [
        (when, 0.5, method, ablation, replicate, 0.1, 0.0, 1.0)
        for when in ("before training", "after training")
        for method in ("snip", "grasp", "random")
        for ablation in ("shuffle", "reinit")
        for replicate in range(2)
        if (when, method, ablation) != ("after training", "grasp", "shuffle")
        and (method, replicate) != ("random", 1)
    ]
    columns = ["when", "sparsity", "method", "ablation", "replicate", "ks", "wasserstein", "std"]
    fig = draw_masks.weights(pd.DataFrame(made, columns=columns), "Unpruned weights", 2)
    (legend,) = fig.legends
    names = {text.get_text() for text in legend.get_texts()}
    assert {
        "Shuffled (n = 0 to 2 of 2)", "Reinitialised (n = 2)",
        "Chance: random pruning (n = 1 of 2)",
    } < names  # fmt: skip
    for axis in fig.axes:
        labels = [label.get_text() for label in axis.get_xticklabels()]
        assert labels in ([], ["SNIP", "GraSP"])


def test_a_panel_of_weights_that_were_not_read_says_so():
    columns = ["when", "sparsity", "method", "ablation", "replicate", "ks", "wasserstein", "std"]
    read = (("before training", 0.5), ("before training", 0.9), ("after training", 0.5))
    made = [(*place, "snip", "shuffle", 0, 0.1, 0.0, 1.0) for place in read]
    fig = draw_masks.weights(pd.DataFrame(made, columns=columns), "Unpruned weights", 1)
    texts = [[text.get_text() for text in axis.texts] for axis in fig.axes]
    assert texts == [[], [], [], ["not run"]]


def test_figure_1_says_how_many_replicates_are_there():
    rows = [("Random", step, 80.0, 20.0, 1, False) for step in (0, 10)]
    columns = ["line", "step", "remaining", "sparsity", "n", "retroactive"]
    fig = draw.introduction(pd.DataFrame(rows, columns=columns), "Figure 1", 3)
    (legend,) = fig.legends
    assert [t.get_text() for t in legend.get_texts()] == ["Random: 20.0 % pruned (n = 1 of 3)"]


def test_histograms_have_a_panel_a_method_and_layer_and_the_distance_under_shuffling():
    """SNIP's weights lie above all of the shuffled ones, in the output above three quarters."""
    low, high = np.linspace(-1, -0.5, 100), np.linspace(0.5, 1, 100)
    mixed = np.concatenate([low[:75], high[:25]])
    samples = {
        "snip": {"none": [high, high], "shuffle": [low, mixed], "reinit": [low, high]},
        "random": {"none": [low, high], "shuffle": [low, high], "reinit": [low, high]},
    }
    fig = draw_masks.histograms(samples, ["all layers", "output"], "Weights")
    assert [axis.get_title(loc="right") for axis in fig.axes] == [
        "KS 1.00", "KS 0.00", "KS 0.75", "KS 0.00",
    ]  # fmt: skip
    assert [axis.get_ylabel() for axis in fig.axes] == ["all layers", "", "output", ""]
    assert [axis.texts[0].get_text() for axis in fig.axes[:2]] == ["SNIP", "Random"]
    (legend,) = fig.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["Unmodified", "Shuffled", "Reinitialised"]


@pytest.fixture(scope="module")
def miniature():
    """A network and its scoring batch; dict from method and sparsity to the mask of one layer."""
    model = networks.build("resnet8_8x8", seed=0)
    batch, (name, sparsities) = datasets.scoring_batch("resnet8_digits", seed=0), SMALL
    expected = {
        (method, s): masks.prune(model, method, s, batch)[name].flatten(1).numpy()
        for method in (*EARLY_METHODS, "random")
        for s in sparsities
    }
    return model, batch, expected


@pytest.fixture(scope="module")
def layer(miniature):
    model, batch, _ = miniature
    return draw_layer.Layer(model, (*EARLY_METHODS, "random"), SMALL[1], batch)


def test_a_picture_of_a_mask_shows_the_mask(layer, miniature):
    assert layer.name == "stage 1, block 1, conv 1"
    for (method, sparsity), expected in miniature[2].items():
        fig = layer.draw(method, sparsity)
        (axis,) = fig.axes
        (cells,) = axis.collections
        assert (cells.get_array() == expected).all()
        assert axis.yaxis_inverted()  # the first output is the uppermost row
        edges = [line.get_xdata()[0] for line in axis.get_lines()]
        assert edges == [9, 18, 27, 36, 45, 54, 63]  # eight input channels of 3 x 3 weights
        said = f"density {expected.sum() / 5.76:.1f} %, {expected.sum()} of 576 weights"
        assert fig.get_suptitle().startswith(f"{style.method(method).label}: {said}")


def test_the_slider_holds_every_mask_and_shows_one(layer, miniature):
    _, sparsities = SMALL
    page = layer.slider(sparsities[1]).data
    bits = re.findall(r'data-bits="([\w+/=]+)"', page)
    paths = re.findall(r'<path fill="#\w+" d="([^"]*)"', page)
    said = re.findall(r"<figcaption>(.+): <output>([\d.]+)</output>", page)
    assert [label for label, _ in said] == [style.method(m).label for m in layer.kept]
    shares = re.findall(r'data-shares="([\d. ]+)"', page)
    found = zip(layer.kept, bits, paths, said, shares, strict=True)
    for method, packed, path, (_, share), every in found:
        frames = np.unpackbits(np.frombuffer(base64.b64decode(packed), np.uint8))
        expected = [miniature[2][method, sparsity] for sparsity in sparsities]
        assert (frames.reshape(3, 8, 72) == expected).all()
        shown = [(int(y), int(x)) for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", path)]
        assert shown == [tuple(place) for place in np.argwhere(expected[1])]
        assert every.split() == [f"{mask.sum() / 5.76:.1f}" for mask in expected]
        assert share == every.split()[1]
    assert 'data-percents="20.0 86.6 98.2"' in page


@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("lenet_8x8", "output"),  # 1,000 weights; the others have 19,200 and 30,000
        ("resnet20", "stage 1, block 1, conv 1"),  # 2,304; the first has 432
        ("vgg16", "conv 1"),  # 1,728
        ("resnet18", "stage 2, block 1, shortcut"),  # none is small: 8,192 of at least 9,408
    ],
)
def test_the_layer_whose_mask_is_shown_is_a_small_one(network, name, capsys):
    """Without a batch SNIP is left out, and says so."""
    found = draw_layer.Layer(networks.build(network), ("magnitude", "snip"), (0.5,))
    assert (found.name, list(found.kept)) == (name, ["magnitude"])
    assert found.draw("snip", 0.5) is None
    assert "SNIP needs a scoring batch" in capsys.readouterr().out
