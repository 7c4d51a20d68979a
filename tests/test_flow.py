"""SynFlow's fast iterations against the plain loop of a score and a removal, bit for bit."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunelib import flow, masks, networks, scores
from prunelib.errors import BadValueError


def plain(model, sparsity, iterations, seed, mask=None):
    """Section 3 in its own words: score what is left, remove the lowest, N times."""
    work, mask = copy.deepcopy(model), mask or masks.full(model)
    start = 1 - masks.sparsity_of(mask)
    for n in range(1, iterations + 1):
        density = start ** (1 - n / iterations) * (1 - sparsity) ** (n / iterations)
        goal = sparsity if n == iterations else 1 - density
        masks.apply(work, mask)
        mask = masks.remove(scores.score(work, "synflow"), goal, mask, seed)
    return mask


def assert_same(found, expected):
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], m) for name, m in expected.items())


@pytest.mark.parametrize("network", ["lenet_8x8", "resnet8_8x8"])
@pytest.mark.parametrize(("sparsity", "replicate"), [(0.2, 0), (0.738, 1), (0.945, 2), (0.99, 0)])
def test_the_masks_are_those_of_the_plain_loop(network, sparsity, replicate):
    model = networks.build(network, replicate)
    before = copy.deepcopy(model.state_dict())
    found = masks.prune(model, "synflow", sparsity, seed=replicate)
    assert_same(found, plain(model, sparsity, 100, replicate))
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


@pytest.mark.parametrize("network", ["resnet20", "vgg16", "resnet18"])
def test_the_masks_of_large_networks_are_those_of_the_plain_loop(network):
    """Two iterations, the second of a network most of which is gone."""
    model = networks.build(network, 1).to(memory_format=torch.channels_last)
    assert_same(masks.prune(model, "synflow", 0.99, iterations=2, seed=1), plain(model, 0.99, 2, 1))


def test_ties_go_as_in_the_plain_loop():
    """Where all weights of a layer are alike, most scores are; and where no path is left, all are
    0. The draws of one seed decide in every iteration."""
    model = networks.build("lenet_8x8")
    for layer in model.layers:
        nn.init.constant_(layer.weight, 0.5)
        nn.init.zeros_(layer.bias)
    ends = [masks.prune(model, "synflow", 0.9, iterations=5, seed=seed) for seed in (0, 1)]
    for seed, found in enumerate(ends):
        assert_same(found, plain(model, 0.9, 5, seed))
    assert not torch.equal(ends[0]["layers.0.weight"], ends[1]["layers.0.weight"])
    nn.init.zeros_(model.layers[1].weight)
    assert_same(masks.prune(model, "synflow", 0.5, iterations=3), plain(model, 0.5, 3, 0))


def test_iterations_go_on_from_a_mask_and_leave_it():
    model = networks.build("resnet8_8x8")
    start = masks.prune(model, "random", 0.5)
    kept = {name: m.clone() for name, m in start.items()}
    found = masks.prune(model, "synflow", 0.9, mask=start, iterations=7)
    assert_same(found, plain(model, 0.9, 7, 0, start))
    assert_same(start, kept)
    with pytest.raises(BadValueError, match="pruned weights stay pruned"):
        masks.prune(model, "synflow", 0.4, mask=start, iterations=7)


def test_where_the_plain_loop_refuses_so_does_this():
    model = networks.build("lenet_8x8")
    model.layers[0].weight.data[3, 4] = torch.inf
    for call in (lambda: plain(model, 0.5, 2, 0), lambda: masks.prune(model, "synflow", 0.5)):
        with pytest.raises(BadValueError, match=r"scores of layers\.0\.weight .* not finite"):
            call()
    del model.input_shape
    with pytest.raises(BadValueError, match="input_shape"):
        masks.prune(model, "synflow", 0.5)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(2, 300), st.integers(1, 40), st.floats(0, 1))
def test_the_lowest_are_those_of_a_sort(seed, size, values, share):
    """In NumPy, whatever the sample says: few values, so that there are many ties."""
    draw = np.random.default_rng(seed)
    z = draw.integers(0, values, size).astype(float)
    kept = draw.random(size) < 0.7
    count = int(share * kept.sum())
    cut = size // 2
    parts = {"a": slice(0, cut), "b": slice(cut, size)}
    given_scores = {name: torch.from_numpy(z[part]) for name, part in parts.items()}
    given_mask = {name: torch.from_numpy(kept[part]) for name, part in parts.items()}
    for stride in (1, 7, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(flow, "STRIDE", stride)
            found = flow.lowest(given_scores, given_mask, count, flow._Ties(given_mask, 0))
        gone = np.zeros(size, dtype=bool)
        for name, positions in found.items():
            gone[np.arange(size)[parts[name]][positions.numpy()]] = True
        assert gone.sum() == count
        assert not (gone & ~kept).any()
        assert sorted(z[gone]) == sorted(z[kept])[:count]
