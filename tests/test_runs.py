"""Run, and the Runs of a figure, counted by hand."""

import itertools

import pytest

from prunelib.errors import BadValueError, UnknownNameError
from prunelib.runs import Run, figure_runs

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
    fixed variance; and magnitude after training, plain, shuffled and reinitialised."""
    found = figure_runs(4, "resnet20_cifar10", "paper", replicates=3)
    assert len(found) == 3 * (1 + (4 * 5 + 3) * 18)
    assert len(set(found)) == len(found)
    first = found[: len(found) // 3]
    assert first[0].method == "dense"
    assert {r.replicate for r in first} == {0}
    ablations = {
        (r.method, r.ablation, r.prune_at, r.weights_from, r.init) for r in first if r != first[0]
    }
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
    with pytest.raises(UnknownNameError, match="unknown figure 99; choose from 3, 4"):
        figure_runs(99, "lenet_digits", "paper")
    with pytest.raises(UnknownNameError, match="unknown setting"):
        figure_runs(3, "lenet", "paper")
    for bad in (0, -1, 1.5, "2", True):
        with pytest.raises(BadValueError, match="replicates"):
            figure_runs(3, "lenet_digits", "paper", bad)
