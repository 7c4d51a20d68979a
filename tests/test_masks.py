"""Masks against hand-computed ones, a reference ranking by numpy, and the paper's formulas."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunelib import masks, networks, scores
from prunelib.engine.starts import Starts
from prunelib.errors import BadValueError
from prunelib.runs import Run

NAN = float("nan")


def flat(mask):
    return torch.cat([m.flatten() for m in mask.values()])


@st.composite
def scored(draw):
    """Scores of one to three tensors; few distinct values, so that there are many ties."""
    shapes = draw(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=3))
    values = st.one_of(st.integers(-2, 2).map(float), st.floats(-1e6, 1e6, width=32))
    return {
        f"layer{i}": torch.tensor(
            draw(st.lists(values, min_size=a * b, max_size=a * b)), dtype=torch.float64
        ).view(a, b)
        for i, (a, b) in enumerate(shapes)
    }


SPARSITY = st.one_of(st.floats(0, 1, exclude_max=True), st.sampled_from([0.0, 0.2, 0.5, 0.75]))


def pruned_values(z, mask):
    """The scores of the pruned weights, ascending: what no order among ties changes."""
    return sorted(z[~flat(mask).numpy()].tolist())


@settings(deadline=None)
@given(scored(), SPARSITY)
def test_remove_prunes_exactly_the_lowest(z, sparsity):
    found = masks.remove(z, sparsity)
    values = torch.cat([t.flatten() for t in z.values()]).numpy()
    assert {n: m.shape for n, m in found.items()} == {n: t.shape for n, t in z.items()}
    assert all(m.dtype == torch.bool for m in found.values())
    expected = np.sort(values)[: round(sparsity * len(values))]
    assert pruned_values(values, found) == expected.tolist()


@settings(deadline=None)
@given(scored(), SPARSITY, SPARSITY)
def test_more_sparsity_only_takes_away(z, one, other):
    less, more = sorted((one, other))
    assert not (flat(masks.remove(z, more)) & ~flat(masks.remove(z, less))).any()


@settings(deadline=None)
@given(scored(), SPARSITY, SPARSITY, st.randoms(use_true_random=False))
def test_pruned_weights_stay_pruned_and_are_not_ranked(z, one, other, shuffler):
    """Whatever their score: infinite ones must not save them, nor tiny ones take their place."""
    less, more = sorted((one, other))
    other_scores = {
        n: torch.tensor([shuffler.random() for _ in range(t.numel())]).view(t.shape)
        for n, t in z.items()
    }
    mask = masks.remove(other_scores, less)
    before = flat(mask).numpy().copy()
    values = torch.cat([t.flatten() for t in z.values()]).numpy()
    count = round(more * len(values)) - int((~before).sum())
    expected = np.sort(values[before])[:count]
    for fill in (None, math.inf, -math.inf):
        changed = {n: t if fill is None else t.masked_fill(~mask[n], fill) for n, t in z.items()}
        found = flat(masks.remove(changed, more, mask)).numpy()
        assert not (found & ~before).any()
        assert np.sort(values[before & ~found]).tolist() == expected.tolist()
    assert np.array_equal(flat(mask).numpy(), before)  # the mask given is not changed


def test_remove_by_hand():
    """Global threshold: the lowest four of ten lie in both tensors."""
    z = {"a": torch.tensor([[5.0, 3], [1, 7]]), "b": torch.tensor([6.0, 0, 9, -2, 4, 8])}
    found = masks.remove(z, 0.4)
    assert found["a"].tolist() == [[True, False], [False, True]]
    assert found["b"].tolist() == [True, False, True, False, True, True]


def test_neither_one_weight_too_many_nor_every_tie_is_pruned():
    """Fault: keeping scores strictly above the n-th smallest."""
    assert masks.remove({"a": torch.tensor([1.0, 2.0, 3.0, 4.0])}, 0.5)["a"].sum() == 2
    assert masks.remove({"a": torch.zeros(8)}, 0.25)["a"].sum() == 6
    assert masks.remove({"a": torch.zeros(8)}, 0.0)["a"].all()


def test_ties_are_spread_over_the_layers_in_proportion():
    """Fault: ties broken by position, which empties the first layers. Of n tied weights in a
    layer, n s go, with a standard deviation below that of a binomial draw."""
    sizes = {"first": 30_000, "second": 10_000, "third": 1_000}
    z = {name: torch.zeros(n) for name, n in sizes.items()} | {"above": torch.ones(500)}
    found = masks.remove(z, 0.3)
    share = round(0.3 * 41_500) / 41_000
    for name, n in sizes.items():
        deviation = math.sqrt(n * share * (1 - share))
        assert abs(int((~found[name]).sum()) - n * share) < 5 * deviation
    assert found["above"].all()


def test_ties_are_a_function_of_the_seed_alone():
    z = {"a": torch.zeros(1000)}
    one, other = (masks.remove(z, 0.5, seed=seed)["a"] for seed in (0, 1))
    torch.manual_seed(12345)
    assert torch.equal(masks.remove(z, 0.5, seed=0)["a"], one)
    assert 400 < int((one ^ other).sum()) < 600  # two independent halves differ in a half


def test_a_tie_more_or_less_leaves_the_order_of_the_others():
    """Else a rounding error in one weight would redraw thousands."""
    z, fewer = torch.zeros(1000), torch.zeros(1000)
    fewer[17] = 1.0
    one, other = (masks.remove({"a": scores}, 0.5)["a"] for scores in (z, fewer))
    assert int((one ^ other).sum()) <= 2


def test_iterations_break_ties_by_their_seed():
    model = nn.Sequential(nn.Linear(100, 10))
    model[0].weight.data.fill_(1.0)
    found = [masks.prune(model, "magnitude", 0.5, iterations=2, seed=k)["0.weight"] for k in (0, 1)]
    assert 350 < int((found[0] ^ found[1]).sum()) < 650


def test_infinite_scores_are_ranked_and_what_is_pruned_is_not():
    """Of the two infinite scores one stays; a pruned weight does not stand in for it."""
    z = {"a": torch.tensor([9.0, torch.inf, torch.inf, 1, -torch.inf, 2])}
    mask = {"a": torch.tensor([False, True, True, True, True, True])}
    for seed in range(4):
        kept = masks.remove(z, 5 / 6, mask, seed)["a"].nonzero().flatten().tolist()
        assert kept in ([1], [2])


@pytest.mark.parametrize("kind", [torch.int64, torch.bfloat16, torch.float32, torch.float64])
def test_scores_may_be_of_any_kind_of_number(kind):
    found = masks.remove({"a": torch.tensor([3, -1, 2, 4], dtype=kind)}, 0.5)
    assert found["a"].tolist() == [True, False, False, True]


def test_complex_scores_are_refused():
    with pytest.raises(BadValueError, match="complex scores have no order"):
        masks.remove({"a": torch.tensor([1 + 1j, 2])}, 0.5)


def test_nan_is_refused_by_name():
    z = {"good": torch.ones(2), "bad": torch.tensor([1.0, NAN])}
    with pytest.raises(BadValueError, match="scores of bad contain NaN"):
        masks.remove(z, 0.5)


@pytest.mark.parametrize("sparsity", [1, 1.0, -0.1, 1.5, NAN, math.inf, "0.5", None, True, [0.5]])
def test_a_sparsity_outside_0_1_is_refused(sparsity):
    model = nn.Sequential(nn.Linear(2, 2))
    for call in (
        lambda: masks.remove({"a": torch.ones(4)}, sparsity),
        lambda: masks.prune(model, "magnitude", sparsity),
    ):
        with pytest.raises(BadValueError, match=r"is not a number in \[0, 1\)") as error:
            call()
        assert repr(sparsity) in str(error.value)


def test_a_mask_cannot_become_denser():
    z = {"a": torch.arange(10.0)}
    with pytest.raises(BadValueError, match="pruned weights stay pruned"):
        masks.remove(z, 0.2, masks.remove(z, 0.5))
    nothing = {"0.weight": torch.zeros(10, 10, dtype=torch.bool)}
    with pytest.raises(BadValueError, match="pruned weights stay pruned"):
        masks.prune(nn.Sequential(nn.Linear(10, 10)), "magnitude", 0.5, mask=nothing)


# ----------------------------------------------------------------------------------- iterations


@pytest.fixture
def recording(registry):
    """A method that notes how many weights are left in the network it is given."""
    seen = []

    @scores.register("recording", needs_data=False, iterations=4)
    def record(model, batch):
        seen.append(int((model.get_parameter("0.weight") != 0).sum()))
        return scores.magnitude(model)

    return seen


def linear(inputs=100, outputs=10):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, outputs))


def test_the_density_is_geometric_in_the_iterations(recording):
    """1,000 weights to 99.9 %: densities 1, 0.001^(1/4), … = 1, 0.178, 0.032, 0.0056, 0.001.
    (The sparsity to the power n/N, as the paper writes, would begin with 0.99975.)"""
    mask = masks.prune(linear(), "recording", 0.999)
    assert recording == [1000, 178, 32, 6]
    assert masks.kept(mask) == 1


def test_iterations_go_on_from_a_mask(recording):
    """From half of 1,000 to 5 % in two: the density between them is sqrt(.5 * .05) = 0.158."""
    model = linear()
    start = masks.remove({"0.weight": torch.arange(1000.0).view(10, 100)}, 0.5)
    mask = masks.prune(model, "recording", 0.95, mask=start, iterations=2)
    assert recording == [500, 158]
    assert masks.kept(mask) == 50
    assert not (mask["0.weight"] & ~start["0.weight"]).any()


@pytest.mark.parametrize("iterations", [0, -1, 2.5, "3", True])
def test_iterations_must_be_a_whole_number(iterations):
    with pytest.raises(BadValueError, match=f"iterations={iterations!r}"):
        masks.prune(linear(), "magnitude", 0.5, iterations=iterations)


def test_a_sparsity_that_leaves_no_weight_is_refused():
    """Of 0.9999999 of 25,100 + weights nothing is left, which no network can be trained with."""
    with pytest.raises(BadValueError, match=r"^sparsity 0\.9999999 leaves no weight .* for less$"):
        masks.prune(networks.build("lenet_8x8"), "magnitude", 0.9999999)
    with pytest.raises(BadValueError, match=r"^sparsity 0\.9999999 leaves no weight of le"):
        Starts({}).start(Run("lenet_digits", "smoke", "magnitude", 0.9999999))


@pytest.mark.parametrize("iterations", [1, 3])
def test_every_sparsity_of_the_paper_is_met_exactly(iterations):
    model = linear(37, 11)
    for k in range(1, 19):
        mask = masks.prune(model, "magnitude", 1 - 0.8**k, iterations=iterations)
        assert masks.kept(mask) == 407 - round((1 - 0.8**k) * 407)


# ------------------------------------------------------------------------------------ inversion


def test_inversion_at_half_keeps_what_the_standard_prunes():
    model = linear()
    standard = masks.prune(model, "magnitude", 0.5)["0.weight"]
    inverted = masks.prune(model, "magnitude", 0.5, invert=True)["0.weight"]
    assert torch.equal(inverted, ~standard)
    smallest = model[0].weight.abs().flatten().argsort()[:500]
    assert inverted.flatten()[smallest].all()


def test_inversion_neither_revives_weights_nor_leaves_signed_scores_in_order(registry):
    """Fault: ranking 1/score. A pruned weight has 1/0, and -1 < 1 both before and after."""

    @scores.register("signed", prunes="highest", needs_data=False)
    def signed(model, batch):
        return {"0.weight": model.get_parameter("0.weight").detach().clone()}

    model = nn.Sequential(nn.Linear(8, 1))
    model[0].weight.data = torch.tensor([[-4.0, -3, -2, -1, 1, 2, 3, 4]])
    standard = masks.prune(model, "signed", 0.5)["0.weight"]
    assert standard.tolist() == [[True] * 4 + [False] * 4]
    inverted = masks.prune(model, "signed", 0.5, invert=True)["0.weight"]
    assert inverted.tolist() == [[False] * 4 + [True] * 4]
    start = {"0.weight": torch.tensor([[True, True, True, False, False, True, True, True]])}
    mask = masks.prune(model, "signed", 0.5, mask=start, invert=True, iterations=2)
    assert mask["0.weight"].tolist() == [[False] * 2 + [True] + [False] * 2 + [True] * 3]


# -------------------------------------------------------------------------------------- shuffle


def some_mask():
    stream = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.rand(20, 30, generator=stream) < 0.3,
        "b.weight": torch.rand(10, 2, 3, 3, generator=stream) < 0.7,
        "c.weight": torch.zeros(5, 5, dtype=torch.bool),
    }


def test_shuffling_moves_weights_within_each_layer():
    """Fault: a shuffle that rebinds a local variable and does nothing."""
    mask, before = some_mask(), some_mask()
    found = masks.shuffle(mask, seed=0)
    assert [(n, m.shape, int(m.sum())) for n, m in found.items()] == [
        (n, m.shape, int(m.sum())) for n, m in before.items()
    ]
    for name in ("a.weight", "b.weight"):
        # of two independent masks of density d, a share of 2 d (1 - d) = 0.42 differs
        assert 0.3 < (found[name] != before[name]).float().mean() < 0.55
    assert all(torch.equal(mask[n], before[n]) for n in before)  # the mask given is not changed


def test_shuffling_is_keyed_by_replicate_and_layer():
    same = torch.rand(20, 30, generator=torch.Generator().manual_seed(1)) < 0.5
    mask = {"a.weight": same, "b.weight": same.clone()}
    found, again, other = masks.shuffle(mask, 0), masks.shuffle(mask, 0), masks.shuffle(mask, 1)
    assert torch.equal(flat(found), flat(again))
    assert not torch.equal(found["a.weight"], other["a.weight"])
    assert not torch.equal(found["a.weight"], found["b.weight"])
    alone = masks.shuffle({"b.weight": same}, 0)  # whatever other layers there are
    assert torch.equal(alone["b.weight"], found["b.weight"])


# ---------------------------------------------------------------------------------------- apply


def test_apply_zeroes_the_pruned_weights_in_place():
    model = linear(3, 2)
    model[0].weight.data = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    bias = model[0].bias.detach().clone()
    mask = {"0.weight": torch.tensor([[True, False, True], [False, False, True]])}
    assert masks.apply(model, mask) is model
    assert model[0].weight.tolist() == [[1, 0, 3], [0, 0, 6]]
    assert torch.equal(model[0].bias, bias)
    assert model[0].weight.requires_grad


def test_counting():
    mask = some_mask()
    assert masks.kept(mask) == sum(int(m.numpy().sum()) for m in mask.values())
    assert masks.sparsity_of(mask) == pytest.approx(1 - masks.kept(mask) / 805)
    model = networks.build("lenet")
    assert masks.kept(masks.full(model)) == 266_200
    assert masks.sparsity_of(masks.full(model)) == 0


def test_synflow_inverted_prunes_the_highest():
    model = networks.build("lenet_8x8")
    z = scores.score(model, "synflow")
    found = masks.prune(model, "synflow", 0.3, invert=True, iterations=1)
    expected = masks.remove({name: -own for name, own in z.items()}, 0.3)
    assert all(torch.equal(found[name], m) for name, m in expected.items())


def test_layers_of_one_shape_are_drawn_apart():
    model = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20))
    mask = masks.from_densities(model, {"0.weight": 0.5, "1.weight": 0.5}, 0.5)
    assert 150 < (mask["0.weight"] ^ mask["1.weight"]).sum() < 250  # half of 400 by chance


def test_a_mask_of_other_weights_than_the_scores_is_refused():
    scores, mask = {"a": torch.ones(4), "b": torch.ones(4)}, {"a": torch.ones(4).bool()}
    with pytest.raises(BadValueError, match="one has no b"):
        masks.remove(scores, 0.5, mask)


def test_no_scores_cannot_be_ranked():
    with pytest.raises(BadValueError, match="there are no scores"):
        masks.remove({}, 0.5)
