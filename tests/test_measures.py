"""Quantities of masks and weights, by hand; and what is read of a folder of results."""

import math

import pandas as pd
import pytest
from conftest import mask, trained, weights

from prunelib import settings
from prunelib.errors import BadValueError
from prunelib.findings import claims, measures, quantities
from prunelib.findings.measures import Results
from prunelib.results.records import END, MASK, START, TRAINED
from prunelib.results.store import Store
from prunelib.runs import DENSE, REWOUND, Curve, Run

LENET, RESNET = "lenet_mnist", "resnet20_cifar10"
SPARSITY = settings.sparsity(6)
SIZES = (235_200, 30_000, 1_000)  # of LeNet-300-100's layers


ABLATED = ("none", "shuffle")


def masks(setting, rows):
    """Records of masks: tuples of method, ablation, the step of pruning and changed columns."""
    made = []
    for method, ablation, step, changes in rows:
        run = Run(setting, "paper", method, SPARSITY, ablation, step, step)
        made.append(mask(run, **changes).row())
    return pd.DataFrame(made)


def one(name, setting, rows):
    """The value of a measure of the first of some records."""
    table = masks(setting, rows)
    return measures.measure(name).values(table, setting, table).iloc[0]


def lenet(*kept):
    return [("snip", "none", 0, {"layers": kept})]


def test_layers_of_lenet_by_hand():
    half = lenet(117_600, 3_000, 900)  # keeps a half, a tenth and nine tenths
    assert one("sparsity of output", LENET, half) == pytest.approx(10)
    assert one("sparsity of others", LENET, half) == pytest.approx(100 * (1 - 120_600 / 265_200))
    assert one("sparsity of first less output", LENET, half) == pytest.approx(40)
    assert one("kept of output over others", LENET, half) == pytest.approx(
        0.9 / (120_600 / 265_200)
    )
    assert one("unevenness", LENET, half) == pytest.approx(40)  # of 50, 90, 10 %
    assert math.isnan(one("sparsity of shortcuts", LENET, half))
    assert one("emptied layers", LENET, lenet(0, 5, 0)) == 2
    assert one("emptied shortcuts", LENET, lenet(0, 5, 0)) == 0


def test_groups_of_resnet20():
    """Nineteen convolutions and the output layer on the main path, a third of which is seven; two
    shortcuts, and the four convolutions of their blocks."""
    names = list(quantities.layers(RESNET))
    assert [names[i] for i in quantities.group(RESNET, "shortcuts")] == [
        name for name in names if "shortcut" in name
    ]
    assert len(quantities.group(RESNET, "main")) == 20
    assert len(quantities.group(RESNET, "early")) == len(quantities.group(RESNET, "late")) == 7
    assert len(quantities.group(RESNET, "blocks")) == 4
    assert quantities.group(RESNET, "output") == [len(names) - 1]
    with pytest.raises(BadValueError, match="'middle': one of layers, output"):
        quantities.group(RESNET, "middle")


def test_neurons_and_effective_weights():
    rows = [
        ("synflow", "none", 0, {"collapse": (400,) + 19 * (9,) + (100,), "layers": (0, 7, 9)}),
        ("synflow", "shuffle", 0, {"effective_weights": 33, "layers": (1, 7, 9)}),
    ]
    rows[0][3].update(kept_weights=30, effective_weights=30)
    assert one("neurons", LENET, rows) == 25
    assert one("neurons in emptied layers", LENET, rows) == 300  # 300 neurons of layer 1, 100 known
    assert one("reconnected", LENET, rows) == pytest.approx(1.1)
    even = [Run(LENET, "paper", "synflow", SPARSITY, a, init="fixed_variance") for a in ABLATED]
    table = pd.concat([masks(LENET, rows), pd.DataFrame(mask(run).row() for run in even)])
    found = measures.measure("reconnected").values(table, LENET, table)
    assert found.iloc[[0, 2]].tolist() == pytest.approx([1.1, 1.0])  # of each initialisation
    assert one("disconnected", LENET, rows) == 0
    rows[0][3].update(effective_weights=0)
    assert one("reconnected", LENET, rows) == math.inf
    assert one("cut", LENET, rows) == 100


@pytest.mark.parametrize(
    ("kept", "effective", "differs"),
    [
        (69_814, 69_790, 0),  # 73.779 and 73.788 %
        (69_814, 69_600, 100),  # 73.859 %
        (5_994, 5_993, 0),  # 97.7487 and 97.7490 %
        (5_992, 5_989, 100),  # 97.7494 and 97.7506 %: near the edge three weights decide
    ],
)
def test_where_effective_and_actual_sparsity_are_rounded_to(kept, effective, differs):
    rows = [("snip", "none", 0, {"kept_weights": kept, "effective_weights": effective})]
    assert one("rounds differently", LENET, rows) == differs


def test_distances_of_layerwise_sparsities():
    """From layers that keep all to layers that keep a half, a tenth and nine tenths."""
    rows = [
        *lenet(*SIZES),
        ("magnitude", "none", "end", {"layers": (117_600, 3_000, 900)}),
    ]
    assert one("distance to magnitude@end", LENET, rows) == pytest.approx((50 + 90 + 10) / 3)
    assert math.isnan(one("distance to grasp", LENET, rows))


def test_proportions_that_follow_from_the_variances():
    """Layers that keep what one threshold leaves of their normal distributions are at distance 0:
    t = 0.05, deviations (2 / fan-in)^0.5 of 784, 300 and 100 inputs."""
    pruned = [math.erf(0.05 / (2 / fan) ** 0.5 / 2**0.5) for fan in (784, 300, 100)]
    kept = tuple(round(n * (1 - p)) for n, p in zip(SIZES, pruned, strict=True))
    level = 1 - sum(kept) / sum(SIZES)
    table = masks(LENET, lenet(*kept)).assign(sparsity=level)
    assert quantities.distance_to_variances(table, LENET).iloc[0] == pytest.approx(0, abs=0.05)
    table = masks(LENET, lenet(*(round(n * (1 - level)) for n in SIZES))).assign(sparsity=level)
    even = sum(abs(100 * (p - level)) for p in pruned) / 3
    assert quantities.distance_to_variances(table, LENET).iloc[0] == pytest.approx(even, abs=0.05)


def moved(**about):
    """Of SNIP, whose shuffled weights move: one layer by 0.4 in KS, all by 0.2, chance by 0.05;
    in the smaller layer chance moves them by 0.3."""
    rows = []
    for method, ks in (("snip", (0.2, 0.1, 0.4)), ("random", (0.05, 0.05, 0.3))):
        for ablation in ("none", "shuffle"):
            run = Run("lenet_digits", "paper", method, SPARSITY, ablation)
            own = {"ks": ks, "wasserstein": (0.3, 0.2, 0.9), "std": (1.2, 1.0, 3.0)}
            plain = {"ks": (0, 0, 0), "wasserstein": (0, 0, 0), "std": (1.5, 2.0, 1.5)}
            rows.append(weights(run, **(plain if ablation == "none" else own)).row())
    made = [mask(Run(LENET, "paper", "snip", SPARSITY), layers=(3, 1)).row()]
    values = quantities.moved(pd.DataFrame(rows), LENET, pd.DataFrame(made), **about)
    return values.tolist()


def test_how_far_weights_move_by_hand():
    assert moved(quantity="ks")[1] == pytest.approx(0.2)
    assert math.isnan(moved(quantity="ks")[0])  # the unmodified network moves nowhere
    assert moved(quantity="ks", layer="each layer")[1] == pytest.approx(0.4)
    assert moved(quantity="ks", excess=True)[1] == pytest.approx(0.15)
    # Chance moves the second layer by 0.3; the first keeps three weights of four.
    mean = moved(quantity="ks", layer="mean layer", excess=True)[1]
    assert mean == pytest.approx((3 * (0.1 - 0.05) + (0.4 - 0.3)) / 4)
    assert moved(quantity="wasserstein")[1] == pytest.approx(0.2)  # in deviations of 1.5
    assert moved(quantity="wasserstein", layer="each layer")[1] == pytest.approx(0.6)
    assert moved(quantity="std")[1] == pytest.approx(-0.2)
    assert moved(quantity="std", layer="each layer")[1] == pytest.approx(1.0)  # doubled in the last


def test_zeros_that_are_counted_hide_what_moves():
    """All layers together keep 26.2 % of their weights, the layers a tenth and three tenths."""
    rows = [
        weights(Run(LENET, "paper", "snip", SPARSITY, a), ks=ks).row()
        for a, ks in (("none", (0, 0, 0, 0)), ("shuffle", (0.2, 0.5, 0.4, 0.1)))
    ]
    kept = (23_520, 9_000, 1_000)
    made = pd.DataFrame([mask(Run(LENET, "paper", "snip", SPARSITY), layers=kept).row()])
    found = quantities.moved(pd.DataFrame(rows), LENET, made, "ks", zeros=True)
    assert found.iloc[1] == pytest.approx(0.2 * (1 - SPARSITY))
    layers = quantities.moved(pd.DataFrame(rows), LENET, made, "ks", layer="each layer", zeros=True)
    assert layers.iloc[1] == pytest.approx(0.12)  # of 0.05, 0.12 and 0.1


def test_accuracies_that_scatter():
    made = [
        trained(Run(LENET, "paper", "snip", SPARSITY, ablation, replicate=r), accuracy).row()
        for ablation, own in (("none", (0.95, 0.93)), ("shuffle", (0.94, 0.94)))
        for r, accuracy in enumerate(own)
    ]
    table = pd.DataFrame(made)
    assert quantities.deviation(table, LENET).tolist() == pytest.approx([1, 1, 0, 0])


def test_an_unknown_measure_is_named():
    with pytest.raises(BadValueError, match="measure 'speed' is none"):
        measures.measure("speed")
    for claim in claims.every():
        assert claim.measure.startswith("fact ") or measures.measure(claim.measure).kind in (
            TRAINED,
            MASK,
            START,
            END,
        )


def test_results_of_a_folder(tmp_path):
    """Values along sparsities and along steps; what is missing, at the profile's replicates."""
    about = ("resnet8_digits", "coarse")
    matching = settings.sparsity(9)
    curves = {Curve("snip"): 0.9, Curve("snip", "none", 420, 420): 0.95, REWOUND: 0.97}
    made = [(Curve("dense").run(*about, 0.0, 0), 0.98)]
    made += [(curve.run(*about, matching, r), a) for curve, a in curves.items() for r in (0, 1)]
    Store(tmp_path).add(trained(run, accuracy) for run, accuracy in made)
    results = Results(tmp_path)
    assert results.pairs() == [about]
    along = results.samples("accuracy", *about).values
    assert along[Curve("snip")].loc[1, matching] == pytest.approx(90)
    assert along[DENSE].loc[0, matching] == pytest.approx(98)  # to be compared with
    steps = results.samples("accuracy", *about, steps=True).values
    assert steps[Curve("snip", "none", "k", "k")].loc[0].to_dict() == pytest.approx(
        {0: 90, 420: 95}
    )
    assert steps[Curve("magnitude", "none", "end", 21)].loc[0].eq(97).all()
    points = ((matching, 0), (settings.sparsity(3), 0))
    missing = results.missing(TRAINED, *about, Curve("snip"), points, 2)
    assert [(run.sparsity, run.replicate) for run in missing] == [
        (settings.sparsity(3), 0),
        (settings.sparsity(3), 1),
    ]
    dense = results.missing(TRAINED, *about, Curve("dense"), points, 2)
    assert [run.replicate for run in dense] == [1]


@pytest.mark.parametrize(("lowest", "left_out"), [(0.19, True), (0.21, False)])
def test_guessing_is_up_to_twice_the_chance_of_the_classes(tmp_path, lowest, left_out):
    """Of ten classes: 20 %."""
    about, levels = ("resnet8_digits", "paper"), (settings.sparsity(3), settings.sparsity(4))
    made = {("snip", 0): 0.9, ("snip", 1): 0.91, ("grasp", 0): 0.9, ("grasp", 1): 0.92}
    Store(tmp_path).add(
        trained(
            Curve(method).run(*about, level, r),
            lowest if (method, r, level) == ("grasp", 1, levels[1]) else value,
        )
        for (method, r), value in made.items()
        for level in levels
    )
    found = (
        Results(tmp_path)
        .samples("accuracy", *about)
        .difference(Curve("snip"), Curve("grasp"), levels)
    )
    assert found.left_out == (levels[1:] if left_out else ())


def test_accuracies_share_their_spread_and_masks_do_not(tmp_path):
    """Three replicates of three curves, whose variances are 1, 4 and 10 of the same unit: pooled
    they are 5 with six degrees of freedom, and alone 1 and 4 with those of Satterthwaite."""
    about, level = ("lenet_digits", "paper"), settings.sparsity(3)
    widths = {"snip": 1.0, "grasp": 2.0, "random": 10**0.5}
    for kind in (TRAINED, MASK):
        records = []
        for method, width in widths.items():
            for r, sign in enumerate((-1, 0, 1)):
                run = Curve(method).run(*about, level, r)
                collapse = (400_000,) + 19 * (0,) + (round(100_000 + 4000 * sign * width),)
                if kind == MASK:
                    records.append(mask(run, collapse=collapse))
                else:
                    records.append(trained(run, round(0.9 + 0.001 * sign * width, 6)))
        Store(tmp_path, kind).add(records)
    results = Results(tmp_path)
    snip, grasp = Curve("snip"), Curve("grasp")
    pooled = results.samples("accuracy", *about).difference(snip, grasp, [level]).effect
    assert pooled.error == pytest.approx(0.1 * (5 * 2 / 3) ** 0.5, rel=1e-3)
    assert pooled.freedom == pytest.approx(6)
    own = results.samples("neurons", *about).difference(snip, grasp, [level]).effect
    assert own.error == pytest.approx(((1 + 4) / 3) ** 0.5, rel=1e-3)
    assert own.freedom == pytest.approx(5**2 / (1 / 2 + 16 / 2), rel=1e-3)


def test_runs_that_only_show_that_everything_runs_are_no_results(tmp_path):
    for profile in ("smoke", "quick"):
        Store(tmp_path).add([trained(Curve("snip").run("lenet_digits", profile, 0.5, 0))])
    assert Results(tmp_path).pairs() == [("lenet_digits", "quick")]


def test_disconnected_weights_and_diverged_networks_by_hand():
    """A hundredth of the 266,200 weights of LeNet; a loss that is no number, or a network that does
    no better than twice the chance of one in ten."""
    rows = [("snip", "none", 0, {"kept_weights": 30_000, "effective_weights": 27_338})]
    assert one("disconnected", LENET, rows) == pytest.approx(1)
    run = Curve("snip").run(LENET, "paper", 0.5, 0)
    table = pd.DataFrame([trained(run, train_loss=x).row() for x in (0.5, math.nan, math.inf)])
    found = measures.measure("diverged").values(table, LENET, table)
    assert found.tolist() == [0, 100, 100]
    stuck = pd.DataFrame([trained(run, accuracy).row() for accuracy in (0.1, 0.2, 0.21)])
    assert measures.measure("diverged").values(stuck, LENET, stuck).tolist() == [100, 100, 0]


def test_early_and_late_layers_of_resnet20_by_hand():
    """Twenty main layers, of which a third is seven: the first convolution and three blocks, and
    the output with three blocks."""
    names = list(quantities.layers(RESNET))
    early, late = ([names[i] for i in quantities.group(RESNET, n)] for n in ("early", "late"))
    assert early[0].startswith("conv")
    assert [name.split(".")[1] for name in early[1:]] == ["0", "0", "1", "1", "2", "2"]
    assert [name.split(".")[1] for name in late[:-1]] == ["6", "6", "7", "7", "8", "8"]
    assert late[-1].startswith("fc")
    # of LeNet's three layers, the late ones would be the output layer alone
    assert quantities.group("lenet_mnist", "early") == quantities.group("lenet_mnist", "late") == []
