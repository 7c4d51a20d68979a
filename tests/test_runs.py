"""Run, and the Runs of a figure, counted by hand."""

import itertools

import pytest

from prunelib import settings
from prunelib.errors import BadValueError, UnknownNameError
from prunelib.grids import TABLES, figure_runs, mask_runs, table_runs
from prunelib.runs import Run

EARLY = ("magnitude", "snip", "grasp", "synflow")


def run(**changes):
    fields = {"setting": "lenet_digits", "profile": "paper", "method": "snip", "sparsity": 0.5}
    return Run(**(fields | changes))


@pytest.mark.parametrize(
    ("field", "value", "listed"),
    [
        ("setting", "lenet_mnits", "lenet_mnist"),
        ("profile", "fast", "quick"),
        ("method", "smip", "iterative_snip"),
        ("ablation", "shuffled", "shuffle"),
        ("init", "xavier", "fixed_variance"),
    ],
)
def test_an_unknown_name_is_told_with_the_allowed_ones(field, value, listed):
    with pytest.raises(UnknownNameError, match=f"unknown {field} '{value}'.*{listed}"):
        run(**{field: value})


@pytest.mark.parametrize("method", ["dense", "synflow"])
def test_the_methods_listed_include_the_unpruned_network(method):
    with pytest.raises(UnknownNameError, match=method):
        run(method="nothing")


# The paper trains LeNet on digits for 40 epochs of 11 iterations: steps 0 to 439 and "end".
@pytest.mark.parametrize("field", ["prune_at", "weights_from"])
def test_steps_lie_in_the_schedule(field):
    assert getattr(run(**{field: 439}), field) == 439
    assert getattr(run(**{field: "end"}), field) == "end"
    for bad in (440, -1, "End", 1.0, None, True, False):
        with pytest.raises(BadValueError, match=f"{field} {bad!r}.*0 … 439"):
            run(**{field: bad})


@pytest.mark.parametrize("sparsity", [1.0, -0.01, float("nan"), "0.5", None])
def test_sparsity(sparsity):
    with pytest.raises(BadValueError, match=r"\[0, 1\)"):
        run(sparsity=sparsity)


@pytest.mark.parametrize("replicate", [-1, 1.0, "0", True])
def test_replicate(replicate):
    with pytest.raises(BadValueError, match="replicate"):
        run(replicate=replicate)


@pytest.mark.parametrize(
    "changes",
    [{"sparsity": 0.5}, {"ablation": "shuffle"}, {"prune_at": "end"}, {"weights_from": 3}],
)
def test_the_unpruned_network_has_one_name_only(changes):
    with pytest.raises(BadValueError, match="'dense' is the unpruned network"):
        run(**({"method": "dense", "sparsity": 0.0} | changes))


def test_parents():
    dense = Run("lenet_digits", "paper", init="fixed_variance", replicate=3)
    at = {"init": "fixed_variance", "replicate": 3}
    assert run(**at).parent is None
    assert run(**at).parent_steps == set()
    for steps, needed in [
        ((0, "end"), {"end"}), (("end", 7), {7, "end"}), ((7, 7), {7}), (("end", "end"), {"end"}),
    ]:  # fmt: skip
        child = run(prune_at=steps[0], weights_from=steps[1], **at)
        assert child.parent == dense
        assert child.parent_steps == needed
    assert dense.parent is None


def test_runs_are_values():
    assert run(sparsity=0) == run(sparsity=0.0)
    assert len({run(), run(), run(replicate=1)}) == 2
    assert Run(**run(prune_at="end").record()) == run(prune_at="end")


def test_runs_can_be_sorted_though_steps_are_numbers_and_words():
    expected = (
        run(replicate=2), run(replicate=10), run(weights_from="end"), run(prune_at=3),
        run(prune_at=20), run(prune_at="end"), run(sparsity=0.75),
    )  # fmt: skip
    for order in itertools.islice(itertools.permutations(expected), 0, 5040, 97):
        assert tuple(sorted(order)) == expected


# -------------------------------------------------------------------------------------- figures

LEVELS = [round(1 - 0.8**k, 6) for k in range(1, 19)]


def test_figure_3():
    """Per replicate the unpruned network and 18 sparsities of six curves: random, four methods
    at initialisation, magnitude after training."""
    found = figure_runs(3, "lenet_digits", "paper", replicates=2)
    assert len(found) == 2 * (1 + 6 * 18)
    assert len(set(found)) == len(found)
    half = len(found) // 2
    for replicate, part in enumerate((found[:half], found[half:])):
        assert part[0] == Run("lenet_digits", "paper", replicate=replicate)
        expected = {
            Run("lenet_digits", "paper", method, s, replicate=replicate)
            for method, s in itertools.product((*EARLY, "random"), LEVELS)
        } | {
            Run("lenet_digits", "paper", "magnitude", s, "none", "end", "end", "he", replicate)
            for s in LEVELS
        }
        assert set(part[1:]) == expected


def test_figure_4():
    """18 sparsities of: four methods, each plain, shuffled, reinitialised, inverted and from a
    fixed variance; and magnitude after training, plain, shuffled and reinitialised. The unpruned
    network has both initialisations, so that what pruning costs can be told from the variance."""
    found = figure_runs(4, "resnet20_cifar10", "paper", replicates=3)
    assert len(found) == 3 * (2 + (4 * 5 + 3) * 18)
    assert len(set(found)) == len(found)
    first = found[: len(found) // 3]
    assert [(r.method, r.init) for r in first[:2]] == [
        ("dense", "he"), ("dense", "fixed_variance"),
    ]  # fmt: skip
    assert {r.replicate for r in first} == {0}
    ablations = {(r.method, r.ablation, r.prune_at, r.weights_from, r.init) for r in first[2:]}
    assert ablations == {
        *((m, a, 0, 0, "he") for m in EARLY for a in ("none", "shuffle", "reinit", "invert")),
        *((m, "none", 0, 0, "fixed_variance") for m in EARLY),
        *(("magnitude", a, "end", "end", "he") for a in ("none", "shuffle", "reinit")),
    }
    assert [r.replicate for r in found] == sorted(r.replicate for r in found)


def test_the_figures_share_their_common_curves():
    """Figure 3 has two things that Figure 4 lacks: nothing else but random pruning."""
    three, four = (set(figure_runs(f, "vgg16_cifar10", "paper", 1)) for f in (3, 4))
    assert {r.method for r in three - four} == {"random"}
    assert len(three & four) == 1 + 5 * 18


def curves(figure, setting="resnet20_cifar10", profile="paper"):
    """What the runs of one replicate of a figure are, but for their sparsities."""
    fields = ("method", "ablation", "prune_at", "weights_from", "init")
    found = figure_runs(figure, setting, profile, 1)
    assert found[0] == Run(setting, profile)
    return {tuple(getattr(r, name) for name in fields) for r in found[1:]}


def test_figures_1_and_8_have_the_baselines():
    """Lottery ticket rewinding goes to iteration 1000 on ResNet-20, to 6255 on ResNet-50."""
    baselines = {
        ("magnitude", "none", "end", "end", "he"),
        ("magnitude", "none", "end", 1000, "he"),
        ("random", "none", 0, 0, "he"),
    }
    assert curves(8) == baselines | {("magnitude", "none", 0, 0, "he")}
    assert curves(1) == baselines | {("gradual", "none", 0, 0, "he")}
    assert ("magnitude", "none", "end", 6255, "he") in curves(1, "resnet50_imagenet")
    assert ("magnitude", "none", "end", 100, "he") in curves(8, profile="quick")
    assert ("magnitude", "none", "end", 0, "he") in curves(8, "lenet_mnist")


def test_figures_6_and_10_prune_at_many_steps_at_the_highest_matching_sparsity():
    found = figure_runs(6, "resnet20_cifar10", "paper", 1)
    assert {r.sparsity for r in found[1:]} == {round(1 - 0.8**6, 6)}
    steps = {r.prune_at for r in found if r.method == "snip"}
    assert {0, 1000, 5000, 25_000, "end"} <= steps  # as Section 6 and Appendix F.2 print them
    assert len(steps) == 16
    for r in found[1:]:
        if r.prune_at != r.weights_from:
            assert (r.method, r.prune_at) == ("magnitude", "end")  # lottery ticket rewinding
    rewound = {r.weights_from for r in found if r.prune_at == "end"}
    assert rewound == steps
    ten = figure_runs(10, "resnet20_cifar10", "paper", 1)
    assert len(ten) == 1 + 4 * 3 * 16
    assert {r.ablation for r in ten} == {"none", "shuffle", "reinit"}
    assert {r.method for r in ten} == {"dense", *EARLY}


@pytest.mark.parametrize("profile", ["paper", "quick"])
@pytest.mark.parametrize("setting", ["resnet20_cifar10", "vgg16_cifar10", "resnet18_tinyimagenet"])
def test_the_lottery_tickets_of_figure_8_are_points_of_figure_6(setting, profile):
    matching = settings.sparsity(settings.get(setting).matching)
    tickets = [
        r for r in figure_runs(8, setting, profile)
        if r.sparsity == matching and r.prune_at == "end" and r.weights_from != "end"
    ]  # fmt: skip
    assert len(tickets) == settings.replicates(setting, profile)
    assert set(tickets) <= set(figure_runs(6, setting, profile))


def test_figure_7_halves_the_weights_ten_times():
    found = figure_runs(7, "vgg11_cifar10", "paper", 1)
    assert len(found) == 1 + 5 * 10
    assert sorted({r.sparsity for r in found})[:4] == [0, 0.5, 0.75, 0.875]
    assert max(r.sparsity for r in found) == pytest.approx(0.999, abs=1e-4)
    with pytest.raises(BadValueError, match="not about 'lenet_mnist': name another --setting"):
        figure_runs(7, "lenet_mnist", "paper")


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        (9, {(m, a, "end", "end", "he") for m in EARLY for a in ("none", "shuffle", "reinit")}),
        (11, {(m, "none", 0, 0, "he") for m in ("snip", "iterative_snip")}),
        (12, {(m, a, 0, 0, "he") for m in ("snip", "iterative_snip")
              for a in ("none", "shuffle", "reinit")}),
        (13, {("grasp", "none", 0, 0, "he"), ("grasp", "invert", 0, 0, "he"),
              ("grasp_magnitude", "none", 0, 0, "he")}),
        (14, {("magnitude", "none", "end", "end", "he"), ("synflow", "shuffle", 0, 0, "he")}
             | {(m, "none", 0, 0, "he")
                for m in ("magnitude", "snip", "grasp_magnitude", "random")}),
    ],
)  # fmt: skip
def test_the_curves_of_the_other_figures(figure, expected):
    assert curves(figure) == expected
    assert len(figure_runs(figure, "resnet20_cifar10", "paper", 1)) == 1 + 18 * len(expected)


def test_what_appendix_k_shows_is_about_680_runs():
    """18 sparsities of: 6 curves in Figure 3, 18 more in 4, 9 in 9, 1 in 8, 11 and 13, 2 in 12;
    two unpruned networks."""
    found = {r for f in (3, 4, 8, 9, 11, 12, 13) for r in figure_runs(f, "lenet_mnist", "paper", 1)}
    assert len(found) == 2 + 18 * (6 + 18 + 9 + 1 + 1 + 1 + 2) == 686


@pytest.mark.parametrize(
    ("table", "setting", "expected"),
    [
        (2, "vgg16_cifar10", {"snip": {0.97}}),
        (2, "wrn_14_8_cifar10", {"snip": {0.95}}),
        (3, "vgg19_cifar10", {"snip": {0.9, 0.95, 0.98}}),
        (5, "wrn_32_2_cifar10", {"grasp": {0.9, 0.95, 0.98}}),
        (5, "resnet50_imagenet", {"grasp": {0.6, 0.8, 0.9}}),
        (7, "modified_resnet18_cifar10", {}),
        (7, "modified_resnet18_tinyimagenet_tanaka", {}),
    ],
)
def test_tables(table, setting, expected):
    found = table_runs(table, setting, "paper", 1)
    assert found[0] == Run(setting, "paper")
    assert {(r.method, r.sparsity) for r in found[1:]} == {
        (method, s) for method, sparsities in expected.items() for s in sparsities
    }
    # five: the CIFAR-10 settings have as many, and C.4 has for ResNet-50 too
    count = 3 if setting.startswith("modified_resnet18_tinyimagenet") else 5
    assert len(table_runs(table, setting, "paper")) == len(found) * count
    assert len(table_runs(table, setting, "quick")) == len(found) * 3


def test_table_7_has_the_six_rows_of_the_paper():
    """Four networks by this project's recipe, modified ResNet-18 by Tanaka et al.'s twice."""
    found = {
        r.setting
        for setting in TABLES[7].about
        for r in table_runs(7, setting, "paper", 1)
        if r.method == "dense"
    }
    assert found == {
        "vgg11_cifar10", "vgg16_cifar10", "modified_resnet18_cifar10",
        "modified_resnet18_cifar10_tanaka", "modified_resnet18_tinyimagenet",
        "modified_resnet18_tinyimagenet_tanaka",
    }  # fmt: skip


def test_masks_of_figure_15():
    """Five methods at initialisation, unmodified and shuffled; after training magnitude alone, and
    unmodified: what it needs is the unpruned network."""
    plain = mask_runs("resnet20_cifar10", levels=(6,))
    assert len(plain) == 5 * 5 * 2
    assert all(r.parent is None for r in plain)
    more = set(mask_runs("resnet20_cifar10", levels=(6,), after=True)) - set(plain)
    assert more == {
        Run("resnet20_cifar10", "paper", "magnitude", round(1 - 0.8**6, 6), "none", "end", "end",
            replicate=replicate)
        for replicate in range(5)
    }  # fmt: skip


def test_a_table_of_other_settings():
    with pytest.raises(BadValueError, match="table 7 is not about 'lenet_mnist'"):
        table_runs(7, "lenet_mnist", "paper")
    with pytest.raises(UnknownNameError, match="unknown table 1; choose from 2, 3, 5, 7"):
        table_runs(1, "lenet_mnist", "paper")


def test_gradual_pruning_takes_a_sparsity_only():
    assert run(method="gradual").parent is None
    for bad in ({"ablation": "shuffle"}, {"prune_at": "end"}, {"weights_from": 3}):
        with pytest.raises(BadValueError, match="'gradual' prunes while it trains"):
            run(method="gradual", **bad)


@pytest.mark.parametrize(
    ("setting", "profile", "count"),
    [
        ("lenet_digits", "smoke", 1 * (1 + 6 * 2)),
        ("lenet_digits", "quick", 3 * (1 + 6 * 6)),
        ("resnet20_cifar10", "paper", 5 * (1 + 6 * 18)),
        ("resnet18_tinyimagenet", "paper", 3 * (1 + 6 * 18)),
        ("resnet50_imagenet", "paper", 3 * (1 + 6 * 13)),  # highest considered: 94.5 %, k = 13
    ],
)
def test_replicates_and_sparsities_come_from_setting_and_profile(setting, profile, count):
    assert len(figure_runs(3, setting, profile)) == count


def test_bad_figures():
    with pytest.raises(UnknownNameError, match="unknown figure 99; choose from 1, 3, 4, 6"):
        figure_runs(99, "lenet_digits", "paper")
    with pytest.raises(UnknownNameError, match="unknown setting"):
        figure_runs(3, "lenet", "paper")
    for bad in (0, -1, 1.5, "2", True):
        with pytest.raises(BadValueError, match="replicates"):
            figure_runs(3, "lenet_digits", "paper", bad)
