import math

import pandas as pd
import pytest

from prunelib import settings
from prunelib.findings import curves, quantities
from prunelib.grids import figure_runs
from prunelib.pages import style
from prunelib.results.records import END, MASK, START
from prunelib.results.store import Store
from prunelib.runs import Run

SPARSITY = settings.sparsity(6)


def mask(
    method,
    ablation,
    replicate,
    effective,
    collapse=(100,) * 21,
    setting="resnet20_cifar10",
    **fields,
):
    run = Run(setting, "paper", method, SPARSITY, ablation, replicate=replicate, **fields)
    return run.record() | {
        "kept_weights": 100,
        "effective_weights": effective,
        "collapse": collapse,
        "layers": (4800 * (replicate + 1), 15000, 500),
        "dataset": "cifar10@0",
    }


def weights(method, ablation, replicate, std, wasserstein, ks, prune_at=0):
    run = Run("lenet_digits", "paper", method, SPARSITY, ablation, prune_at, replicate=replicate)
    return run.record() | {
        "std": (std, 1.0, 2.0, 3.0),
        "wasserstein": (wasserstein, 0.0, 0.0, 0.0),
        "ks": (ks, 0.1, 0.2 + 0.2 * replicate, 0.3),
    }


@pytest.fixture
def masks():
    """Two replicates: 31 and 33 % of 100 neurons collapsed, ratios 1.01 and 1.03."""
    whole = (100,) * 20
    return pd.DataFrame(
        [
            mask("synflow", "none", 0, 100, (*whole, 31)),
            mask("synflow", "shuffle", 0, 101, (*whole, 1)),
            mask("synflow", "none", 1, 100, (*whole, 33)),
            mask("synflow", "shuffle", 1, 103, (*whole, 3)),
        ]
    )


def test_accuracies_of_a_figure(rows):
    runs = figure_runs(3, "lenet_digits", "smoke", 2)
    made = pd.DataFrame(rows((run, 0.9 - 0.1 * run.replicate) for run in runs))
    other = pd.DataFrame(rows([(Run("lenet_digits", "smoke", "snip", SPARSITY, "shuffle"), 0.1)]))

    def label(figure, curve):
        return f"{figure}: {curve.method} {curve.prune_at}"

    about = (3, pd.concat([made, other]), "lenet_digits", "smoke", label)
    data = curves.accuracy_data(*about, replicates=2)
    assert list(data["line"].unique()) == [
        "3: dense 0",
        "3: magnitude end",
        *(f"3: {m} 0" for m in ("magnitude", "snip", "grasp", "synflow", "random")),
    ]
    assert list(data["sparsity"].unique()) == [0.0, 73.8, 96.5]
    assert set(data["n"]) == {2}
    assert data["accuracy"].tolist() == pytest.approx([85.0] * len(data))
    assert data["std"].tolist() == pytest.approx([10 / 2**0.5] * len(data))
    alone = curves.accuracy_data(*about, replicates=1)
    assert alone["accuracy"].tolist() == pytest.approx([90.0] * len(data))


def test_accuracies_along_the_steps_of_pruning(rows):
    """Ten iterations, of which the first, the fourth and the end are there: a run's accuracy is a
    half, and a tenth more where it prunes at the end. Lottery ticket rewinding always does."""
    runs = figure_runs(6, "lenet_digits", "smoke", 2)
    assert {run.prune_at for run in runs} == {0, 3, "end"}
    made = pd.DataFrame(rows((r, 0.6 if r.prune_at == "end" else 0.5) for r in runs))
    about = (
        6,
        made,
        "lenet_digits",
        "smoke",
        lambda figure, curve: f"{curve.method} {curve.prune_at}",
    )
    data = curves.accuracy_data(*about)
    assert list(data.columns) == ["panel", "line", "step", "accuracy", "std", "n"]
    found = data.set_index(["line", "step"])["accuracy"]
    assert found["dense 0", 0] == pytest.approx(50)
    assert found["magnitude end", 0] == found["magnitude end", 10] == pytest.approx(60)
    assert found["magnitude k", 0] == found["random k", 0] == pytest.approx(50)
    assert found["magnitude k", 10] == found["random k", 10] == pytest.approx(60)
    assert len(found) == 1 + 3 * 6


def test_each_initialisation_has_its_unpruned_network(rows):
    """Of Figure 4's five panels, all but the one of pruning after training have both."""
    runs = figure_runs(4, "lenet_digits", "smoke", 1)
    made = pd.DataFrame(rows((r, 0.8 if r.init == "fixed_variance" else 0.9) for r in runs))
    data = curves.accuracy_data(4, made, "lenet_digits", "smoke", style.label)
    found = data[data["sparsity"] == 0].set_index(["panel", "line"])["accuracy"]
    for panel in ("magnitude", "snip", "grasp", "synflow"):
        unpruned = {"Unpruned": 90.0, "Unpruned, fixed-variance init": 80.0}
        assert found[panel].to_dict() == pytest.approx(unpruned)
    assert found["magnitude after training"].to_dict() == pytest.approx({"Unpruned": 90.0})


def test_rows_of_some_runs_in_their_order(rows):
    runs = figure_runs(4, "lenet_digits", "smoke", 1)
    made = pd.DataFrame(rows((run, place / 100) for place, run in enumerate(runs)))
    found = curves.rows_of([runs[7], runs[2]], made)
    assert list(found["test_accuracy"]) == [0.07, 0.02]
    assert list(found.columns) == list(made.columns)
    assert curves.rows_of(runs, made[:0]).empty


def test_neurons_and_ratios_by_hand(masks):
    collapse = curves.collapse_data(masks, SPARSITY).set_index(["method", "ablation", "threshold"])
    assert collapse.loc[("synflow", "none", 100.0), "share"] == pytest.approx(32)
    assert collapse.loc[("synflow", "none", 100.0), "std"] == pytest.approx(2**0.5)
    assert collapse.loc[("synflow", "shuffle", 100.0), "share"] == pytest.approx(2)
    assert collapse.loc[("synflow", "none", 95.0), "share"] == 100
    ratio = curves.ratio_data(masks).iloc[0]
    assert ratio["ratio"] == pytest.approx(1.02)
    assert ratio["n"] == 2
    each = curves.replicates_of_ratio(masks, "synflow", SPARSITY)
    assert each["ratio"].tolist() == pytest.approx([1.01, 1.03])
    assert curves.replicates_of_ratio(masks, "snip", SPARSITY).empty


def test_a_network_that_is_cut_in_two_has_no_ratio(masks):
    masks.loc[2, "effective_weights"] = 0
    ratio = curves.ratio_data(masks).iloc[0]
    assert ratio["ratio"] == pytest.approx(1.01)
    assert ratio["n"] == 1
    assert math.isnan(curves.replicates_of_ratio(masks, "synflow", SPARSITY)["ratio"].iloc[1])


@pytest.mark.parametrize("other", [{"prune_at": "end"}, {"init": "fixed_variance"}])
def test_masks_of_trained_networks_or_of_one_variance_are_in_no_figure_but_15(other):
    """Magnitude before and after training, or of layers of one variance; Figures 5 and 16 and
    Section 5 are about the former."""
    whole, half = (1000,) * 21, (*(1000,) * 20, 500)
    early = [mask("magnitude", a, r, 9, half) for a in ("none", "shuffle") for r in (0, 1)]
    late = [mask("magnitude", a, r, 8, whole, **other) for a in ("none", "shuffle") for r in (0, 1)]
    for numbers in (
        lambda table: curves.collapse_data(table, SPARSITY),
        lambda table: curves.ratio_data(table),
        lambda table: curves.replicates_of_ratio(table, "magnitude", SPARSITY),
        lambda table: curves.against_published(table, "resnet20_cifar10"),
    ):
        pd.testing.assert_frame_equal(
            numbers(pd.DataFrame(early + late)), numbers(pd.DataFrame(early))
        )
    made = [mask("magnitude", "none", 0, 9, setting="lenet_digits", **o) for o in ({}, other)]
    made[1]["layers"] = (9600, 30000, 1000)
    data = curves.layer_data(pd.DataFrame(made), "lenet_digits", SPARSITY)
    shown = [75, 50, 50, 50, 0, 0] if other == {"prune_at": "end"} else [75, 50, 50]
    assert data["sparsity"].tolist() == pytest.approx(shown)
    assert (
        list(data["method"].unique())
        == ["magnitude", "magnitude after training"][: len(shown) // 3]
    )


def test_layers_by_hand():
    """LeNet on the digits has 19,200, 30,000 and 1,000 weights in its layers; a quarter of the
    first layer's are kept, then half."""
    made = [
        mask(m, "none", r, 9, setting="lenet_digits") for m in ("snip", "magnitude") for r in (0, 1)
    ]
    made += [mask("snip", "shuffle", 0, 9, setting="lenet_digits")]
    data = curves.layer_data(pd.DataFrame(made), "lenet_digits", SPARSITY)
    assert list(data["method"].unique()) == ["magnitude", "snip"]  # the order of the paper
    assert list(data["layer"][:3]) == ["layers.0", "layers.1", "layers.2"]
    assert data["sparsity"][:3].tolist() == pytest.approx([62.5, 50, 50])
    assert data["std"][:3].tolist() == pytest.approx([25 / 2**0.5, 0, 0])
    assert set(data["n"]) == {2}
    assert curves.layer_sparsities(pd.DataFrame(made), "lenet_digits", 0.5, "snip").empty
    assert quantities.classes("lenet_digits") == 10
    assert quantities.classes("resnet18_tinyimagenet") == 200


def test_our_values_beside_the_printed(masks):
    """Printed: 31 % of neurons, 1 % shuffled, a ratio of 1.0000. Ours of two replicates are 32 and
    2 with a standard deviation of 2^0.5, against five: an error of (2/2 + 2/5)^0.5, and t of 0.95
    with one degree of freedom is 6.314."""
    shown = curves.against_published(masks, "resnet20_cifar10")
    assert len(shown) == 5 + 8
    rows = shown.set_index(["quantity", "method", "sparsity"])
    neurons = rows.loc[("percent neurons pruned", "synflow", 73.8)]
    assert (neurons["paper"], neurons["ours"], neurons["n"]) == ("31", 32, 2)
    assert neurons["difference"] == pytest.approx(1)
    half = 6.313752 * 1.4**0.5
    assert neurons["interval"] == f"{1 - half:+.4f} … {1 + half:+.4f}"
    assert rows.loc[("percent neurons pruned", "synflow+shuffle", 73.8), "ours"] == 2
    ratio = rows.loc[("effective parameter ratio", "synflow", 73.8)]
    assert ratio["difference"] == pytest.approx(0.02)
    missing = rows.loc[("effective parameter ratio", "snip", 73.8)]
    assert (missing["n"], missing["interval"]) == (0, "")
    assert curves.against_published(masks, "lenet_digits").empty


@pytest.mark.parametrize(
    ("setting", "replicates"),
    [("resnet20_cifar10", 5), ("vgg16_cifar10", 5), ("resnet18_tinyimagenet", 3)],
)
def test_recorded_masks_agree_with_the_printed_values(setting, replicates):
    """Channels within 2 points; at the highest matching sparsity ratios within 0.0005."""
    shown = curves.against_published(Store(kind=MASK).table(setting), setting)
    assert (shown["n"] == replicates).all()
    neurons = shown["quantity"] == "percent neurons pruned"
    assert shown[neurons]["difference"].abs().max() <= 2
    matching = ~neurons & (shown["sparsity"] < shown["sparsity"].max())
    assert matching.sum() == 4
    assert shown[matching]["difference"].abs().max() <= 0.0005


def test_how_far_weights_move_by_hand():
    """Shuffling moves the weights by 0.3, and by 0.5 in units of 2; what has no unmodified network
    beside it is left out; the last of the figures is pruned after training."""
    table = pd.DataFrame(
        [
            weights("snip", "none", 0, 2.0, 0.0, 0.0),
            weights("snip", "shuffle", 0, 1.0, 1.0, 0.3),
            weights("grasp", "shuffle", 0, 1.0, 1.0, 0.3),
            weights("magnitude", "none", 0, 1.0, 0.0, 0.0, "end"),
            weights("magnitude", "reinit", 0, 3.0, 0.2, 0.4, "end"),
        ]
    )
    data = curves.weight_data({"before training": table})
    assert data.to_dict("records") == [
        {
            "when": "before training",
            "sparsity": SPARSITY,
            "method": "snip",
            "ablation": "shuffle",
            "replicate": 0,
            "ks": 0.3,
            "wasserstein": 0.5,
            "std": 0.5,
        },
        {
            "when": "before training",
            "sparsity": SPARSITY,
            "method": "magnitude after training",
            "ablation": "reinit",
            "replicate": 0,
            "ks": 0.4,
            "wasserstein": 0.2,
            "std": 3.0,
        },
    ]


def test_weights_of_each_layer_by_hand():
    table = pd.DataFrame([weights("snip", "shuffle", r, 2.0, 1.0, 0.3 + 0.1 * r) for r in (0, 1)])
    found = curves.layer_weights(table, "lenet_digits", SPARSITY, "ks")
    assert list(found.index) == ["all layers", "layers.0", "layers.1", "layers.2"]
    assert found["snip"].tolist() == pytest.approx([0.35, 0.1, 0.3, 0.3])


def test_chance_moves_recorded_weights_little_and_magnitude_much():
    """Distances of the digits' LeNet at 73.8 %: random pruning's are those of two draws."""
    tables = {
        when: Store(kind=kind).table("lenet_digits", "paper")
        for when, kind in (("before training", START), ("after training", END))
    }
    data = curves.weight_data(tables)
    assert set(data["ablation"]) == {"shuffle", "reinit"}
    before = data[(data["when"] == "before training") & (data["sparsity"] == SPARSITY)]
    ks = before.groupby("method")["ks"].mean()
    assert ks["magnitude"] > 0.2 > 0.05 > ks["random"]
    assert "magnitude after training" in ks
