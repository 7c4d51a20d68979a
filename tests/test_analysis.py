"""What is read off masks and off results, against values computed by hand."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from prunelib import analysis, masks, networks
from prunelib.errors import BadValueError


def test_layerwise_by_hand():
    mask = {"a": torch.tensor([[True, False], [False, False]]), "b": torch.tensor([True, True])}
    assert analysis.layerwise(mask) == {"a": 0.75, "b": 0.0}


def test_neuron_collapse_by_hand():
    mask = {
        "conv1": torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]]).bool().view(3, 1, 2, 2),
        "conv2": torch.zeros(1, 3, 1, 1).bool(),
        "fc": torch.zeros(10, 1).bool(),  # linear layers have no channels
    }
    assert analysis.neuron_collapse(mask) == 2 / 4
    assert analysis.neuron_collapse(mask, 0.75) == 3 / 4
    assert analysis.neuron_collapse(mask, 0.76) == 2 / 4
    hidden = {"a": torch.tensor([[0, 0], [0, 1]]).bool(), "b": torch.zeros(3, 2).bool()}
    assert analysis.neuron_collapse(hidden) == 1 / 2
    assert analysis.neuron_collapse(mask, 0) == 1
    eleven = {"conv": (torch.arange(20) >= 11).view(1, 20, 1, 1)}
    assert analysis.neuron_collapse(eleven, 0.55) == 1  # though 0.55 * 20 is above 11
    with pytest.raises(BadValueError, match=r"threshold 1.1 is not in \[0, 1\]"):
        analysis.neuron_collapse(mask, 1.1)
    with pytest.raises(BadValueError, match="one linear layer has no hidden neurons"):
        analysis.neuron_collapse({"a": hidden["a"]})


def _chain():
    """Two inputs, two hidden layers of two, one output; by hand one can follow every path."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    return model, {f"{i}.weight": torch.ones_like(model[i].weight).bool() for i in (0, 2, 4)}


def test_effective_mask_of_a_chain_with_a_cut():
    model, mask = _chain()
    mask["0.weight"][0] = False  # hidden neuron 0 has no inputs: its outgoing weights are dead
    mask["4.weight"][0, 1] = False  # second hidden neuron 1 has no output: its incoming are dead
    before = {name: p.clone() for name, p in model.named_parameters()}
    found = analysis.effective(model, mask, input_shape=(2,))
    assert found["0.weight"].tolist() == [[False, False], [True, True]]
    assert found["2.weight"].tolist() == [[False, True], [False, False]]
    assert found["4.weight"].tolist() == [[True, False]]
    assert all((p == before[name]).all() for name, p in model.named_parameters())


def test_a_network_cut_in_two_has_no_effective_weights():
    model, mask = _chain()
    mask["2.weight"][:] = False
    found = analysis.effective(model, mask, input_shape=(2,))
    assert not any(m.any() for m in found.values())


@pytest.mark.parametrize(
    "between",
    [
        nn.Tanh(),
        nn.Sequential(nn.LayerNorm(2), nn.GELU()),
        nn.BatchNorm1d(2, track_running_stats=False),
        nn.Sequential(nn.BatchNorm1d(2, affine=False), nn.ReLU6()),
        nn.RMSNorm(2),
        nn.LogSoftmax(1),
    ],
)
def test_activations_and_norms_cut_no_path(between):
    """With inputs of ones, activations of 50 saturate, and those of a layer are all alike."""
    model = nn.Sequential(nn.Linear(50, 2), between, nn.Linear(2, 3))
    if isinstance(between, nn.Sequential) and isinstance(between[0], nn.BatchNorm1d):
        between[0].running_mean.fill_(100.0)
    mask = masks.full(model)
    mask["0.weight"][1] = False  # hidden unit 1 has no inputs
    found = analysis.effective(model, mask, input_shape=(50,))
    assert masks.kept(found) == 50 + 3
    assert not found["2.weight"][:, 1].any()


def test_parameters_that_are_not_pruned_cut_no_path():
    """The embedding is negative, and a ReLU behind it would pass nothing on."""

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.body, self.head = (
                nn.Embedding(3, 4),
                nn.Linear(4, 2),
                nn.Linear(2, 2),
            )

        def forward(self, x):
            return self.head(self.body(self.embedding(x.long()).sum(1)).relu())

    model = Words()
    model.embedding.weight.data.fill_(-1.0)
    mask = masks.full(model)
    assert masks.kept(analysis.effective(model, mask, input_shape=(5,))) == 12


def test_a_dead_branch_of_a_residual_block_is_disconnected_and_its_shortcut_is_not():
    model = networks.build("resnet20", seed=0)
    mask = masks.full(model)
    mask["blocks.1.conv2.weight"][:] = False  # conv1 of this block leads nowhere
    found = analysis.effective(model, mask)
    changed = [name for name in mask if (found[name] != mask[name]).any()]
    assert changed == ["blocks.1.conv1.weight"]
    assert not found["blocks.1.conv1.weight"].any()


def test_a_collapsed_channel_disconnects_what_follows_it():
    model = networks.build("vgg11", seed=0)
    model.features[0].bias.data.fill_(5.0)  # biases are no connections
    mask = masks.full(model)
    mask["features.0.weight"][3] = False
    found = analysis.effective(model, mask)
    expected = masks.full(model)
    expected["features.0.weight"][3] = False
    expected["features.4.weight"][:, 3] = False
    assert all((found[name] == expected[name]).all() for name in mask)


# ----------------------------------------------------------- distributions of unpruned weights


def test_unpruned_weights_are_those_the_mask_keeps():
    weights = {"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b": torch.tensor([5.0, 6.0])}
    mask = {"a": torch.tensor([[True, False], [False, True]]), "b": torch.tensor([False, True])}
    found = [list(sample) for sample in analysis.unpruned(weights, mask)]
    assert found == [[1, 4, 6], [1, 4], [6]]


def test_moments_by_hand():
    """1, 2, 3, 4: variance 5/3; fourth moment 41/16 over the square of 5/4, less 3. Two tails at
    -1 and 1 have the lowest kurtosis there is, -2."""
    found = analysis.moments([np.array([1.0, 2, 3, 4]), np.array([-1.0, -1, 1, 1]), np.array([])])
    assert found["mean"][:2] == [2.5, 0]
    assert found["std"][0] == pytest.approx((5 / 3) ** 0.5)
    assert found["kurtosis"][:2] == pytest.approx([41 / 16 / (25 / 16) - 3, -2])
    assert all(np.isnan(values[2]) for values in found.values())


def test_distances_by_hand():
    """All mass moved by 3; half of it moved by 2; nothing moved."""
    one = np.array([0.0, 1, 2, 3])
    others = [one + 3, np.array([0.0, 1, 4, 5]), one[::-1], np.array([])]
    found = analysis.distances([one] * 4, others)
    assert found["wasserstein"][:3] == pytest.approx([3, 1, 0])
    assert found["ks"][:3] == pytest.approx([0.75, 0.5, 0])
    assert np.isnan(found["ks"][3])
    assert np.isnan(found["wasserstein"][3])


def test_counting_the_pruned_weights_in_shrinks_distances_by_the_density():
    """What S_weight_distributions says of an analysis that has them as zeros."""
    stream = np.random.default_rng(0)
    x, y, zeros = stream.normal(size=250), stream.uniform(-1, 1, 250), np.zeros(750)
    kept, all_ = (
        analysis.distances([a], [b])
        for a, b in ((x, y), (np.append(x, zeros), np.append(y, zeros)))
    )
    for name in ("ks", "wasserstein"):
        assert all_[name][0] == pytest.approx(0.25 * kept[name][0], rel=1e-9)


def test_samples_of_one_weight_have_their_distance_without_a_warning():
    one, other = [np.array([1.0])], [np.array([3.0])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert analysis.distances(one, other) == {"wasserstein": [2.0], "ks": [1.0]}


def test_a_mask_of_another_network_is_told():
    other = masks.full(networks.build("resnet8_8x8"))
    with pytest.raises(BadValueError, match="a mask must be of the prunable weights"):
        analysis.effective(networks.build("lenet_8x8"), other)
