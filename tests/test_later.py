"""The later methods against hand-computed masks, enumerated paths, plain loops and differences."""

import copy
import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from prunelib import analysis, masks, networks, scores, seeds
from prunelib.errors import BadValueError
from prunelib.later import gradients, paths
from prunelib.runs import Run

MASKS = ("erk", "smart_ratios", "igq", "phew")
SCORES = ("synflow_l2", "force", "prospr", "ntk_sap")


class Smooth(nn.Module):
    """A convolution, batch norm and a linear layer without kinks: 36 + 12 prunable weights."""

    input_shape = (2, 5, 5)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, (2, 3))
        self.norm = nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, 4)

    def forward(self, x):
        return self.fc(torch.tanh(self.norm(self.conv(x))).mean((2, 3)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    model = Smooth().double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
        model.norm.running_mean.normal_()  # far from any batch's statistics
        model.norm.running_var.uniform_(2, 9)
    return model


def batch_of(number, shape=(2, 5, 5), dtype=torch.float64):
    stream = torch.Generator().manual_seed(number)
    return torch.randn(12, *shape, generator=stream, dtype=dtype), torch.arange(12) % 4


def linear(*sizes, bias=False):
    """Linear layers of these sizes, with ReLU between."""
    layers = [nn.Flatten()]
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs, bias=bias), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    model.input_shape = (1, 1, sizes[0])
    return model


def counts(model, method, sparsity):
    return [int(m.sum()) for m in masks.prune(model, method, sparsity).values()]


def differences(function, mask, step=1e-5):
    """The derivatives of function(mask) by each entry of a dict of tensors, central ones."""
    found = {}
    for name, m in mask.items():
        found[name] = torch.empty_like(m)
        for place in itertools.product(*map(range, m.shape)):
            sides = []
            for sign in (1, -1):
                moved = {**mask, name: m.clone()}
                moved[name][place] += sign * step
                sides.append(function(moved).item())
            found[name][place] = (sides[0] - sides[1]) / (2 * step)
    return found


def assert_close(found, expected, tolerance):
    assert list(found) == list(expected)
    for name, z in expected.items():
        largest = float(z.abs().max())
        assert largest > 0
        torch.testing.assert_close(found[name], z, rtol=0, atol=tolerance * largest, msg=name)


# --------------------------------------------------------------------------------- all of them


def data(method, network):
    shape = networks.NETWORKS[network][1]
    batches = [batch_of(k, shape, torch.float32) for k in range(4)]
    return batches if method == "prospr" else batches[0]


def few(method):
    """Fewer iterations, where there are many."""
    return {"iterations": 3} if scores.get(method).iterations > 1 else {}


@pytest.mark.parametrize("sparsity", [0.2, 0.9, 0.9856])
@pytest.mark.parametrize("method", [*MASKS, *SCORES])
def test_each_keeps_exactly_as_many_weights_as_asked(method, sparsity):
    """LeNet on 8x8 images has 50,200 weights."""
    model = networks.build("lenet_8x8")
    mask = masks.prune(model, method, sparsity, data(method, "lenet_8x8"), **few(method))
    assert masks.kept(mask) == 50_200 - round(sparsity * 50_200)


@pytest.mark.parametrize("method", [*MASKS, *SCORES])
def test_each_gives_the_same_again_and_depends_on_the_replicate_where_it_draws(method):
    model, given = networks.build("lenet_8x8"), data(method, "lenet_8x8")
    first, again, other = (
        masks.prune(model, method, 0.9, given, seed=seed, **few(method)) for seed in (1, 1, 2)
    )
    assert all(torch.equal(m, again[name]) for name, m in first.items())
    shared = sum(int((m & other[name]).sum()) for name, m in first.items()) / masks.kept(first)
    assert (shared < 0.6) == (method in (*MASKS, "ntk_sap"))


@pytest.mark.parametrize("method", [*MASKS, *SCORES])
def test_each_prunes_a_convolutional_network_with_shortcuts(method):
    model = networks.build("resnet8_8x8")
    mask = masks.prune(model, method, 0.8, data(method, "resnet8_8x8"), **few(method))
    assert masks.sparsity_of(mask) == pytest.approx(0.8, abs=1e-4)
    assert masks.kept(analysis.effective(model, mask)) > 0.95 * masks.kept(mask)


def test_all_are_known_where_a_method_is_named():
    for method in (*MASKS, *SCORES):
        assert Run("lenet_digits", "smoke", method, 0.9).method == method
        with pytest.raises(BadValueError, match=f"{method!r} is .*of those after it.*another name"):
            scores.register(method)


def test_they_are_known_without_being_imported_and_their_names_are_taken():
    """In a process that has imported nothing but the masks: the table is completed on demand."""
    code = (
        "from prunelib import masks, networks, scores\n"
        "assert 'erk' not in scores.METHODS\n"
        "try:\n    scores.register('force')(lambda model, batch: {})\n"
        "except ValueError as error:\n    print(error)\n"
        "mask = masks.prune(networks.build('lenet_8x8'), 'erk', 0.9)\n"
        "print(masks.kept(mask))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == ""
    taken, kept = done.stdout.splitlines()
    assert taken.startswith("method 'force' is one of")
    assert kept == "5020"


# --------------------------------------------------------------------------------- densities


def test_erk_by_hand():
    """A convolution of 90 weights whose dimensions sum to 1 + 10 + 3 + 3 = 17, a linear layer of
    100 with 20. To keep 19 of 190: 19 * 17 / 37 = 8.7 and 10.3; to keep 95: 43.6 and 51.4."""
    model = nn.Sequential(nn.Conv2d(1, 10, 3), nn.Flatten(), nn.Linear(10, 10))
    assert counts(model, "erk", 0.9) == [9, 10]
    assert counts(model, "erk", 0.5) == [44, 51]


def test_erk_keeps_small_layers_whole_and_scales_the_others_again():
    """Of 10,000, 1,000 and 10 weights, dimensions 200, 110 and 11. To keep 5,505 by 5505 / 321 =
    17.15 a dimension, the third would get 189 of 10; without it 5495 / 310 = 17.7, and the second
    would get 1950 of 1000: both are kept whole, and the first has what is left."""
    assert counts(linear(100, 100, 10, 1), "erk", 1 - 5505 / 11_010) == [4495, 1000, 10]
    assert counts(linear(100, 100, 10, 1), "erk", 0.0) == [10_000, 1000, 10]


@pytest.mark.parametrize("k", [1, 3, 6, 10, 19])
def test_erk_is_the_loop_of_its_paper(k):
    """Layers that exceed 1 are taken out one after the other, and the rest scaled anew."""
    model, density = networks.build("resnet8_8x8"), 0.8**k
    shapes = [model.get_parameter(name).shape for name in networks.prunable(model)]
    sizes, dense = np.array([s.numel() for s in shapes]), np.zeros(len(shapes), dtype=bool)
    raw = np.array([sum(s) / s.numel() for s in shapes])
    while True:
        epsilon = (density * sizes.sum() - sizes[dense].sum()) / (raw * sizes)[~dense].sum()
        found = np.where(dense, 1, epsilon * raw)
        if found.max() <= 1:
            break
        dense[np.where(dense, 0, raw).argmax()] = True
    assert np.abs(np.array(counts(model, "erk", 1 - density)) - found * sizes).max() < 1


def test_smart_ratios_by_hand():
    """Three layers of 100 weights, shares 3^2 + 3 and (2^2 + 2) / 4, the output 30. To keep 60 of
    300, 30 are shared out as 12 to 1.5; to keep 180, 133 of the 150 would be in the first, 33 go to
    the second; to keep 270, what exceeds both goes to the output; and to keep 15, it has all."""
    model = linear(10, 10, 10, 10)
    assert counts(model, "smart_ratios", 0.8) == [27, 3, 30]
    assert counts(model, "smart_ratios", 0.4) == [100, 50, 30]
    assert counts(model, "smart_ratios", 0.1) == [100, 100, 70]
    assert counts(model, "smart_ratios", 0.95) == [0, 0, 15]
    assert counts(linear(10, 10), "smart_ratios", 0.5) == [50]  # nothing else is there to keep


def test_smart_ratios_of_residual_networks_are_not_divided_by_the_depth():
    class TinyResNet(nn.Sequential):
        pass

    model = TinyResNet(*linear(10, 10, 10, 10))  # 12 to 6
    assert counts(model, "smart_ratios", 0.8) == [20, 10, 30]


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9, 0.99])
def test_igq_has_the_root_of_a_quadratic_for_two_layers(sparsity):
    """n / (1 + f n) + m / (1 + f m) = k, times both denominators:
    k n m f^2 + (k (n + m) - 2 n m) f + k - n - m = 0."""
    n, m = 1000, 200
    k = (1 - sparsity) * (n + m)
    f = max(np.roots([k * n * m, k * (n + m) - 2 * n * m, k - n - m]))
    found = counts(linear(50, 20, 10), "igq", sparsity)
    assert sum(found) == round(k)
    assert found == pytest.approx([n / (1 + f * n), m / (1 + f * m)], abs=1)


def test_igq_treats_layers_of_one_size_alike_and_keeps_everything_if_asked():
    assert counts(linear(10, 10, 10, 10), "igq", 0.9) == [10, 10, 10]
    assert counts(linear(50, 20, 10), "igq", 0.0) == [1000, 200]


# --------------------------------------------------------------------------------- SynFlow-L2


def test_synflow_l2_sums_the_squares_of_paths():
    """z of a weight is the sum, over the paths through it, of the product of their squares."""
    torch.manual_seed(4)
    sizes = (3, 4, 3, 2)
    model = linear(*sizes)
    names = networks.prunable(model)
    weights = {name: model.get_parameter(name).detach().double() for name in names}
    expected = {name: torch.zeros_like(w) for name, w in weights.items()}
    for path in itertools.product(*map(range, sizes)):
        edges = [(after, before) for before, after in itertools.pairwise(path)]
        product = np.prod([float(w[e]) ** 2 for w, e in zip(weights.values(), edges, strict=True)])
        for z, edge in zip(expected.values(), edges, strict=True):
            z[edge] += product
    assert_close(scores.score(model, "synflow_l2"), expected, 1e-12)


def test_synflow_l2_squares_batch_norm_but_not_its_statistics():
    """By hand, from input 1: 4; (4 - 2) / sqrt(3 + 1) * 9 = 9; 25 * 9. z = 4 * (1/2 * 9 * 25)."""
    conv, norm, fc = nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, eps=1.0), nn.Linear(1, 1)
    values = {conv.weight: -2, norm.weight: -3, norm.running_mean: 2, norm.running_var: 3,
              fc.weight: -5, fc.bias: -1}  # fmt: skip
    with torch.no_grad():
        for tensor, value in values.items():
            tensor.fill_(value)
    model = nn.Sequential(conv, norm, nn.ReLU(), nn.Flatten(), fc)
    model.input_shape = (1, 1, 1)
    found = scores.score(model, "synflow_l2")
    assert found["0.weight"].item() == pytest.approx(450, rel=1e-12)
    assert found["4.weight"].item() == pytest.approx(225, rel=1e-12)


# --------------------------------------------------------------------------------- FORCE


def test_force_is_a_plain_loop_in_which_a_weight_comes_back(net):
    """48 weights, in 60 steps to 5: each step ranks |w * dL/dw'| of all of them anew."""
    batch, names = batch_of(1), networks.prunable(net)
    weights = torch.cat([net.get_parameter(name).detach().flatten() for name in names])
    kept, returned = torch.ones(48, dtype=torch.bool), 0
    for step in range(1, 61):
        work = copy.deepcopy(net).train()
        with torch.no_grad():
            for name, m in zip(names, kept.split([36, 12]), strict=True):
                work.get_parameter(name).mul_(m.view_as(work.get_parameter(name)))
        F.cross_entropy(work(batch[0]), batch[1]).backward()
        z = (weights * torch.cat([work.get_parameter(n).grad.flatten() for n in names])).abs()
        target = 48 - round((1 - (5 / 48) ** (step / 60)) * 48)
        before, kept = kept, torch.zeros_like(kept)
        kept[z.argsort(descending=True)[:target]] = True
        returned += int((kept & ~before).sum())
    assert returned > 0
    found = masks.prune(net, "force", 1 - 5 / 48, batch)
    assert torch.equal(torch.cat([found[name].flatten() for name in names]), kept)


def test_force_leaves_the_weights_as_they_were(net):
    """Its scores of pruned weights are not zero, and the model is not changed."""
    before = copy.deepcopy(net.state_dict())
    mask = {name: torch.zeros_like(m) for name, m in masks.full(net).items()}
    mask["conv.weight"][:] = True
    mask["fc.weight"][0] = True
    found = scores.score(net, "force", batch_of(1), mask=mask)
    assert (found["fc.weight"][1:] > 0).all()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_force_scores_in_double_precision_and_training_mode(net):
    """From a network and a batch in single precision, however the network is."""
    inputs, targets = batch_of(1)
    found = scores.score(copy.deepcopy(net).float().eval(), "force", (inputs.float(), targets))
    single = copy.deepcopy(net).float().double(), (inputs.float().double(), targets)
    expected = scores.score(single[0], "force", single[1])
    for name, value in expected.items():
        assert found[name].dtype == torch.float64
        assert torch.equal(found[name], value)


# --------------------------------------------------------------------------------- ProsPr


def test_prospr_takes_its_steps_in_training_mode(net):
    batches = [batch_of(number) for number in range(1, 5)]
    expected = scores.score(net.train(), "prospr", batches)
    found = scores.score(net.eval(), "prospr", batches)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_prospr_is_the_slope_of_the_loss_after_three_steps(net):
    """By torch's own SGD, from weights times a mask that moves a little."""
    batches = [batch_of(number) for number in range(1, 5)]

    def loss(mask):
        work = copy.deepcopy(net).train()
        with torch.no_grad():
            for name, m in mask.items():
                work.get_parameter(name).mul_(m)
        optimiser = torch.optim.SGD(work.parameters(), lr=0.1)
        for inputs, targets in batches[:3]:
            optimiser.zero_grad()
            F.cross_entropy(work(inputs), targets).backward()
            optimiser.step()
        return F.cross_entropy(work(batches[3][0]), batches[3][1])

    ones = {name: m.double() for name, m in masks.full(net).items()}
    expected = {name: d.abs() for name, d in differences(loss, ones).items()}
    assert_close(scores.score(net, "prospr", batches), expected, 1e-6)
    at_first = scores.score(net, "snip", batches[3])  # of which it would be the limit
    assert not torch.allclose(at_first["conv.weight"], expected["conv.weight"], rtol=0.1)


def test_prospr_asks_for_its_batches(net):
    with pytest.raises(BadValueError, match="'prospr' needs a list of 4 training batches"):
        scores.score(net, "prospr", batch_of(1))


# --------------------------------------------------------------------------------- NTK-SAP


def test_ntk_sap_is_the_slope_of_the_change_of_the_outputs(net):
    """The same draws, written out: batch norm keeps the statistics that the mask has without being
    moved, also for the outputs of the changed weights."""
    kept = masks.full(net)
    kept["conv.weight"][0, 0] = False
    at = {name: m.double() for name, m in kept.items()}
    torch.manual_seed(seeds.seed(3, "ntk_sap", 48 - 6))
    draws = []
    for _ in range(5):
        model = copy.deepcopy(net)
        networks.initialise(model)
        inputs = torch.randn(40, 2, 5, 5, dtype=torch.float64)
        noise = [torch.randn(at[name].shape, dtype=torch.float64) for name in at]
        draws.append((model.requires_grad_(False), inputs, noise))

    def hidden(model, inputs, weight):
        return F.conv2d(inputs, weight, model.conv.bias)

    def change(mask):
        total = 0.0
        for model, inputs, noise in draws:
            base = hidden(model, inputs, model.conv.weight * at["conv.weight"])
            mean = base.mean((0, 2, 3), keepdim=True)
            deviation = (base.var((0, 2, 3), keepdim=True) + 1e-5).sqrt()
            outputs = []
            for size in (0, 0.01):
                conv, fc = (
                    (w + size * n) * m
                    for w, n, m in zip(
                        (model.conv.weight, model.fc.weight), noise, mask.values(), strict=True
                    )
                )
                x = (hidden(model, inputs, conv) - mean) / deviation
                gain, shift = model.norm.weight.view(3, 1, 1), model.norm.bias.view(3, 1, 1)
                outputs.append(torch.tanh(x * gain + shift).mean((2, 3)) @ fc.T + model.fc.bias)
            total += ((outputs[0] - outputs[1]) ** 2).sum()
        return total

    expected = {name: d.abs() for name, d in differences(change, at).items()}
    found = scores.score(net, "ntk_sap", seed=3, mask=kept)
    assert_close(found, expected, 1e-6)


def test_ntk_sap_does_not_ask_for_weights_but_for_the_mask():
    model = networks.build("lenet_8x8")
    other = copy.deepcopy(model)
    for name in networks.prunable(other):
        nn.init.ones_(other.get_parameter(name))
    sparse = masks.prune(model, "random", 0.5)
    first, same, later = (
        scores.score(m, "ntk_sap", mask=mask)["layers.0.weight"]
        for m, mask in ((model, None), (other, None), (model, sparse))
    )
    assert torch.equal(first, same)
    kept = sparse["layers.0.weight"]
    correlation = np.corrcoef(first[kept], later[kept])[0, 1]
    assert abs(correlation) < 0.5  # in the next iteration all is drawn anew


# --------------------------------------------------------------------------------- PHEW


def tiny():
    """|w|: from input 0 to hidden units 1, 2, 5, from input 1 to 3, 3, 2; on to the outputs."""
    model = linear(2, 3, 2)
    model[1].weight.data = torch.tensor([[1.0, -3], [-2, 3], [5, 2]])
    model[3].weight.data = torch.tensor([[1.0, 1, 2], [4, -4, 8]])
    return model


def test_steps_of_walks_are_proportional_to_weights():
    """By place, [output, input]. Forward from input 0: 1/8, 2/8, 5/8; from hidden unit 0 to outputs
    1/5, 4/5. Backward from output 0: 1/4, 1/4, 2/4; from hidden unit 0 to inputs 1/4, 3/4."""
    walker, total = paths.Walker(tiny()), 40_000
    places, walks = walker.walk(np.arange(total), np.random.default_rng(0))
    steps = places.reshape(total, 2)  # each walk has two weights: sorted by walk
    assert (walks.reshape(total, 2) == np.arange(total)[:, None]).all()
    forward, backward = steps[::2], steps[1::2, ::-1]  # both with the first layer's first

    def assert_shares(chosen, expected):
        found = {place: float((chosen == place).mean()) for place in expected}
        assert found == pytest.approx(expected, abs=0.03)

    inputs = forward[:, 0] % 2
    assert (inputs == np.arange(total // 2) % 2).all()  # one after the other
    assert_shares(forward[inputs == 0, 0], {0: 1 / 8, 2: 2 / 8, 4: 5 / 8})
    assert_shares(forward[inputs == 1, 0], {1: 3 / 8, 3: 3 / 8, 5: 2 / 8})
    first = forward[forward[:, 0] // 2 == 0, 1]
    assert_shares(first, {6: 1 / 5, 9: 4 / 5})
    outputs = (backward[:, 1] - 6) // 3
    assert (outputs == np.arange(total // 2) % 2).all()
    last = backward[outputs == 0]
    assert_shares(last[:, 1], {6: 1 / 4, 7: 1 / 4, 8: 2 / 4})
    before = last[(last[:, 1] - 6) % 3 == 0, 0]
    assert_shares(before, {0: 1 / 4, 1: 3 / 4})


def test_walks_choose_a_weight_of_a_kernel_and_follow_channels_through_a_flattened_image():
    """A convolution from 1 to 2 channels, kernels [1, 0, 3] and [2, 2, 0]; then two places of each
    channel lead to one output, weights 1, 2, 3, 4."""
    layers = nn.Conv2d(1, 2, (1, 3), bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4, 1)
    model = nn.Sequential(*layers)
    model[0].weight.data = torch.tensor([[1.0, 0, 3], [2, 2, 0]]).view(2, 1, 1, 3)
    model[3].weight.data = torch.tensor([[1.0, 2, 3, 4]])
    places, _ = paths.Walker(model).walk(np.arange(40_000), np.random.default_rng(1))
    steps = places.reshape(-1, 2)
    forward, backward = steps[::2], steps[1::2, ::-1]
    for found in (forward, backward):
        assert (found[:, 0] // 3 == (found[:, 1] - 6) // 2).all()  # one channel
    shares = [np.bincount(found[:, 0], minlength=6) / len(found) for found in (forward, backward)]
    assert shares[0] == pytest.approx(np.array([1, 0, 3, 2, 2, 0]) / 8, abs=0.02)
    assert shares[1] == pytest.approx(
        np.array([0.3 * 1 / 4, 0, 0.3 * 3 / 4, 0.7 / 2, 0.7 / 2, 0]), abs=0.02
    )
    ends = np.bincount(forward[:, 1] - 6) / len(forward)  # either place, whatever its weight
    assert ends == pytest.approx([1 / 4] * 4, abs=0.02)


def by_layer(network, walks):
    """For each prunable layer, which of the walks go through it."""
    model = networks.build(network)
    names = networks.prunable(model)
    places, numbers = paths.Walker(model).walk(np.arange(walks), np.random.default_rng(2))
    ends = np.cumsum([model.get_parameter(name).numel() for name in names])
    layers = np.searchsorted(ends, places, side="right")
    found = np.zeros((len(names), walks), dtype=int)
    np.add.at(found, (layers, numbers), 1)
    return dict(zip(names, found, strict=True))


def test_walks_take_a_block_or_its_shortcut_but_no_shortcut_without_weights():
    found = by_layer("resnet8_8x8", 4000)
    for name in ("conv.weight", "blocks.0.conv1.weight", "blocks.0.conv2.weight", "fc.weight"):
        assert (found[name] == 1).all()
    for block in (1, 2):
        first, second, shortcut = (
            found[f"blocks.{block}.{name}.weight"] for name in ("conv1", "conv2", "shortcut.0")
        )
        assert (first == second).all()
        assert (first + shortcut == 1).all()
        for side in (0, 1):  # forward and backward
            assert shortcut[side::2].mean() == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(
    ("network", "shortest", "longest"), [("vgg11", 9, 9), ("resnet20", 18, 20)]
)
def test_walks_lead_through_every_network(network, shortest, longest):
    """Two of ResNet-20's nine blocks have a shortcut of one layer beside their two."""
    lengths = sum(by_layer(network, 400).values())
    assert (lengths.min(), lengths.max()) == (shortest, longest)


def joined(mask):
    """Whether channels are joined, [outputs, inputs]."""
    return mask.flatten(1) if mask.dim() == 2 else mask.flatten(2).any(2)


def reach_of(mask):
    """For each layer of an 8x8 ResNet, the channels that its inputs reach, and that reach the
    output, through kept weights: followed block by block."""
    layers = {name.removesuffix(".weight"): joined(m) for name, m in mask.items()}
    there, blocks = {}, [f"blocks.{k}" for k in range(3)]

    def forward(name, x):
        there[name] = x
        return (layers[name] & x).any(1)

    x = forward("conv", torch.ones(1, dtype=torch.bool))
    for block in blocks:
        y = forward(f"{block}.conv2", forward(f"{block}.conv1", x))
        x = y | (forward(f"{block}.shortcut.0", x) if f"{block}.shortcut.0" in layers else x)
    forward("fc", x)
    back = {"fc": torch.ones(10, dtype=torch.bool)}

    def backward(name):
        return (layers[name] & back[name][:, None]).any(0)

    x = backward("fc")
    for block in reversed(blocks):
        back[f"{block}.conv2"] = x
        back[f"{block}.conv1"] = backward(f"{block}.conv2")
        y = backward(f"{block}.conv1")
        if f"{block}.shortcut.0" in layers:
            back[f"{block}.shortcut.0"] = x
            x = y | backward(f"{block}.shortcut.0")
        else:
            x = y | x
    back["conv"] = x
    return layers, there, back


@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.98, 0.999])
def test_every_weight_that_phew_keeps_is_on_a_path(sparsity):
    lenet = networks.build("lenet_8x8")
    mask = masks.prune(lenet, "phew", sparsity)
    first, second, third = mask.values()
    reached = [torch.ones(64, dtype=torch.bool), first.any(1), (second & first.any(1)).any(1)]
    leading = [(second & third.any(0)[:, None]).any(0), third.any(0), torch.ones(10, dtype=bool)]
    for m, before, after in zip(mask.values(), reached, leading, strict=True):
        assert (before.expand_as(m)[m] & after[:, None].expand_as(m)[m]).all()

    mask = masks.prune(networks.build("resnet8_8x8"), "phew", sparsity)
    layers, there, back = reach_of(mask)
    for name, m in layers.items():
        assert (there[name].expand_as(m)[m] & back[name][:, None].expand_as(m)[m]).all(), name


@pytest.mark.parametrize("kept", [3, 4, 5, 100, 2000])
def test_phew_keeps_whole_walks_and_draws_fewer_weights_than_a_walk_has(kept):
    """Walk by walk, as in the paper, until one is too long."""
    model, expected = networks.build("lenet_8x8", seed=5), set()
    mask = masks.prune(model, "phew", 1 - kept / 50_200, seed=7)
    random = np.random.default_rng(seeds.seed(7, "phew"))
    places, _ = paths.Walker(model).walk(np.arange(paths.WALKS), random)
    for walk in places.reshape(-1, 3):
        if len(expected | set(walk)) > kept:
            break
        expected |= set(walk)
    found = set(torch.cat([m.flatten() for m in mask.values()]).nonzero().flatten().tolist())
    assert len(found) == kept
    assert expected <= found
    assert len(found - expected) < 3


def test_phew_keeps_wide_layers_and_large_weights():
    """No neuron of LeNet is cut off at 90 %, and kept weights are larger than the others."""
    model = networks.build("lenet_8x8")
    mask = masks.prune(model, "phew", 0.9)
    assert analysis.neuron_collapse(mask) < 0.05
    weight, m = model.get_parameter("layers.1.weight").detach().abs(), mask["layers.1.weight"]
    assert weight[m].mean() > 1.3 * weight[~m].mean()


def test_phew_ends_where_walks_cannot_find_what_is_missing():
    model = tiny()
    with torch.no_grad():
        model[1].weight[:, 1] = torch.tensor([1.0, 0, 0])
    mask = masks.prune(model, "phew", 1 / 12)
    assert masks.kept(mask) == 11
    assert masks.prune(model, "phew", 0.0)["1.weight"].all()


class Joined(nn.Module):
    def __init__(self, join):
        super().__init__()
        self.one, self.two, self.join = nn.Linear(4, 3), nn.Linear(4, 3), join

    def forward(self, x):
        return self.join(self.one(x.flatten(1)), self.two(x.flatten(1)))


class Dense(nn.Module):
    """As in a DenseNet, the first layer leads to the last through the second and straight."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1), nn.Linear(4, 2)

    def forward(self, x):
        x = self.one(x)
        return self.head(torch.cat([x, self.two(x)], 1).mean((2, 3)))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Dense(), "sums of layers of one width, not 'cat'"),
        (Joined(lambda a, b: torch.cat([a, b], 1)), "sums of layers of one width, not 'cat'"),
        (Joined(lambda a, b: a if a.sum() > 0 else b), "cannot follow this network's computation"),
        (nn.Sequential(nn.Conv2d(2, 4, 3, groups=2)), "does not know grouped convolutions"),
        (nn.Linear(4, 2), "a layer that is not called as a module"),
    ],
)
def test_networks_that_phew_cannot_walk_through_get_one_sentence(model, words):
    model.input_shape = (1, 2, 2)
    with pytest.raises(BadValueError, match=words):
        masks.prune(model, "phew", 0.5)


def test_phew_walks_through_shapes_that_a_forward_pass_reads():
    class Viewing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 2, 3), nn.Linear(8, 3)

        def forward(self, x):
            x = self.conv(x)
            return self.fc(x.view(x.size(0), x.shape[1] * 4))

    model = Viewing()
    model.input_shape = (1, 4, 4)
    assert masks.kept(masks.prune(model, "phew", 0.5)) == 21


# --------------------------------------------------------------------------------- their places


def test_connected_weights_are_those_that_would_complete_a_path():
    """By hand: only input 0 - hidden 1 - output 0 is kept. Of the first layer all that lead to
    hidden unit 1, of the second all from it would be on a path."""
    model = tiny()
    mask = {"1.weight": torch.zeros(3, 2, dtype=bool), "3.weight": torch.zeros(2, 3, dtype=bool)}
    mask["1.weight"][1, 0] = mask["3.weight"][0, 1] = True
    found = analysis.connected(model, mask)
    assert found["1.weight"].tolist() == [[False] * 2, [True] * 2, [False] * 2]
    assert found["3.weight"].tolist() == [[False, True, False]] * 2


def test_options_are_those_of_the_authors():
    assert (scores.get("force").iterations, scores.get("force").revives) == (60, True)
    assert scores.get("prospr").batches == gradients.STEPS + 1 == 4
    assert scores.get("ntk_sap").iterations * gradients.DRAWS == 100
    assert scores.get("synflow_l2").iterations == scores.get("synflow").iterations
