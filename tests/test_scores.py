"""Scores against finite differences, enumerated paths and values computed by hand."""

import copy
import itertools
import re

import numpy as np
import pytest
import torch
from torch import nn

from prunelib import datasets, masks, networks, scores
from prunelib.errors import BadValueError, PrunelibError, UnknownNameError
from prunelib.runs import Run

BUILT_IN = (
    "random", "magnitude", "snip", "iterative_snip", "grasp", "grasp_magnitude", "synflow",
)  # fmt: skip
SIGNED_BY_DATA = ("snip", "grasp", "grasp_magnitude", "iterative_snip")


class SmallNet(nn.Module):
    """A smooth convolutional network with batch norm: 54 + 12 prunable weights."""

    input_shape = (2, 5, 5)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, 4)

    def forward(self, x):
        return self.fc(torch.tanh(self.norm(self.conv(x))).mean((2, 3)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    model = SmallNet().double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
        model.norm.running_mean.normal_()  # far from the batch's statistics
        model.norm.running_var.uniform_(2, 9)
    return model


@pytest.fixture
def batch():
    stream = torch.Generator().manual_seed(1)
    inputs = torch.randn(12, 2, 5, 5, generator=stream, dtype=torch.float64)
    return inputs, torch.arange(12) % 4


def loss_of(model, batch, temperature=1.0):
    """Cross-entropy in training mode, written out."""
    inputs, targets = batch
    model.train()
    logits = model(inputs) / temperature
    picked = logits[torch.arange(len(targets)), targets]
    return (logits.exp().sum(1).log() - picked).mean()


def numeric_gradient(model, batch, step=1e-6):
    """dL/dw of every prunable weight, from central differences."""
    result = {}
    with torch.no_grad():
        for name in networks.prunable(model):
            weight = model.get_parameter(name).view(-1)
            gradient = torch.empty_like(weight)
            for i, value in enumerate(weight.tolist()):
                sides = []
                for moved in (value + step, value - step):
                    weight[i] = moved
                    sides.append(loss_of(model, batch))
                weight[i] = value
                gradient[i] = (sides[0] - sides[1]) / (2 * step)
            result[name] = gradient.view_as(model.get_parameter(name))
    return result


def gradient(model, batch, temperature):
    weights = [model.get_parameter(name) for name in networks.prunable(model)]
    return torch.autograd.grad(loss_of(model, batch, temperature), weights)


def numeric_grasp(model, batch, temperature=200, step=1e-4):
    """-w (H g), H g from the difference of the gradients a little along g and against it."""
    names = networks.prunable(model)
    weights = [model.get_parameter(name) for name in names]
    g = gradient(model, batch, temperature)
    step /= torch.cat([v.flatten() for v in g]).norm()
    sides = []
    for sign in (1, -2):
        with torch.no_grad():
            for w, v in zip(weights, g, strict=True):
                w.add_(sign * step * v)
        sides.append(gradient(model, batch, temperature))
    with torch.no_grad():
        for w, v in zip(weights, g, strict=True):
            w.add_(step * v)
    return {
        name: -w.detach() * (up - down) / (2 * step)
        for name, w, up, down in zip(names, weights, *sides, strict=True)
    }


def assert_close(found, expected, rtol):
    assert list(found) == list(expected)
    scale = max(float(v.abs().max()) for v in expected.values())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=rtol, atol=rtol * scale)


def flat(tensors):
    return torch.cat([t.flatten() for t in tensors.values()])


# ---------------------------------------------------------------------------------------- SNIP


def test_snip_is_the_weight_times_its_gradient(net, batch):
    expected = {
        name: (net.get_parameter(name).detach() * g).abs()
        for name, g in numeric_gradient(net, batch).items()
    }
    assert_close(scores.score(net, "snip", batch), expected, 1e-6)


def test_snip_over_several_batches_is_weighted_by_examples(net):
    """300 examples: batches of 256 and 44, |w g| of each, then the mean over examples."""
    stream = torch.Generator().manual_seed(2)
    inputs = torch.randn(300, 2, 5, 5, generator=stream, dtype=torch.float64)
    targets = torch.randint(0, 4, (300,), generator=stream)
    names = networks.prunable(net)
    expected = dict.fromkeys(names, 0.0)
    for part in (slice(0, 256), slice(256, 300)):
        for name, g in zip(names, gradient(net, (inputs[part], targets[part]), 1), strict=True):
            size = len(targets[part])
            expected[name] = expected[name] + size / 300 * (net.get_parameter(name) * g).abs()
    expected = {name: value.detach() for name, value in expected.items()}
    assert_close(scores.score(net, "snip", (inputs, targets)), expected, 1e-12)


def test_iterative_snip_does_not_revive_pruned_weights(net, batch, registry):
    """Fault: every iteration ranks all weights anew. Each mask must lie within the one before."""
    seen = []

    @scores.register("watched", iterations=6)
    def watched(model, batch):
        seen.append(flat({n: model.get_parameter(n) for n in networks.prunable(model)}) != 0)
        return scores.snip(model, batch)

    last = flat(masks.prune(net, "watched", 0.8, batch))
    for earlier, later in itertools.pairwise([*seen, last]):
        assert not (later & ~earlier).any()
    assert torch.equal(last, flat(masks.prune(net, "iterative_snip", 0.8, batch, iterations=6)))
    assert scores.get("iterative_snip").iterations == 100


def test_iterative_snip_scores_in_double_precision(batch):
    """From a network and a batch in single precision, the scores that both have in double."""
    torch.manual_seed(9)
    model, (inputs, targets) = SmallNet(), batch
    single = (inputs.float(), targets)
    found = scores.score(model, "iterative_snip", single)
    double = (single[0].double(), targets)
    expected = scores.score(SmallNet.double(copy.deepcopy(model)), "snip", double)
    for name, value in expected.items():
        assert found[name].dtype == torch.float64
        assert torch.equal(found[name], value)
    assert scores.score(model, "snip", single)["fc.weight"].dtype == torch.float32


# --------------------------------------------------------------------------------------- GraSP


def test_grasp_is_minus_the_weight_times_the_hessian_gradient_product(net, batch):
    found = scores.score(net, "grasp", batch)
    assert_close(found, numeric_grasp(net, batch), 1e-5)
    assert (flat(found) < 0).any()
    assert (flat(found) > 0).any()


def test_grasp_needs_the_temperature_of_200(net, batch):
    """Without it the scores are in another order, not just on another scale."""
    found = flat(scores.score(net, "grasp", batch)).argsort()
    assert not torch.equal(found, flat(numeric_grasp(net, batch, temperature=1)).argsort())
    assert torch.equal(found, flat(numeric_grasp(net, batch, temperature=200)).argsort())


def test_grasp_over_several_batches_is_the_signed_mean(net):
    stream = torch.Generator().manual_seed(3)
    inputs = torch.randn(300, 2, 5, 5, generator=stream, dtype=torch.float64)
    targets = torch.randint(0, 4, (300,), generator=stream)
    parts = [numeric_grasp(net, (inputs[s], targets[s])) for s in (slice(256), slice(256, 300))]
    expected = {name: (256 * parts[0][name] + 44 * parts[1][name]) / 300 for name in parts[0]}
    assert_close(scores.score(net, "grasp", (inputs, targets)), expected, 1e-5)


def test_grasp_gradient_and_hessian_product_come_from_one_forward_pass(net, batch):
    """Fault: the batch is augmented anew for the second one. The input differs on every call."""
    calls = []

    def augment(module, arguments):
        stream = torch.Generator().manual_seed(len(calls))
        calls.append(1)
        x = arguments[0]
        return x + torch.randn(x.shape, generator=stream, dtype=x.dtype)

    inputs, targets = batch
    stream = torch.Generator().manual_seed(0)
    first = torch.randn(inputs.shape, generator=stream, dtype=inputs.dtype)
    expected = numeric_grasp(net, (inputs + first, targets))
    net.register_forward_pre_hook(augment)
    assert_close(scores.score(net, "grasp", batch), expected, 1e-5)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("method", "invert", "key"),
    [
        ("grasp", False, lambda z: -z),  # the highest are pruned
        ("grasp", True, lambda z: z),
        ("grasp_magnitude", False, torch.abs),
        ("grasp_magnitude", True, lambda z: -z.abs()),
        ("snip", False, torch.abs),
        ("snip", True, lambda z: -z.abs()),
    ],
)
def test_which_end_is_pruned(net, batch, method, invert, key):
    """Fault: absolute values that silently turn GraSP into its magnitude variant."""
    if method == "snip":
        z = flat(numeric_gradient(net, batch)) * flat(
            {n: net.get_parameter(n).detach() for n in networks.prunable(net)}
        )
    else:
        z = flat(numeric_grasp(net, batch))
    pruned = key(z).argsort()[:33]  # half of the 66
    expected = torch.ones(66, dtype=torch.bool)
    expected[pruned] = False
    assert torch.equal(flat(masks.prune(net, method, 0.5, batch, invert=invert)), expected)


@pytest.mark.parametrize("method", ["snip", "grasp"])
def test_batch_norm_is_in_training_mode(net, batch, method):
    """Fault: running statistics in place of the batch's. They must not matter, nor the mode."""
    found = scores.score(net, method, batch)
    net.eval()
    net.norm.running_mean.fill_(17.0)
    net.norm.running_var.fill_(0.01)
    again = scores.score(net, method, batch)
    for name, value in found.items():
        assert torch.equal(again[name], value)


# ------------------------------------------------------------------------------------- SynFlow


def mlp(sizes, scale=1.0):
    layers = [nn.Flatten()]
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs, bias=False), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    for name in networks.prunable(model):
        nn.init.normal_(model.get_parameter(name), std=scale)
    model.input_shape = (1, 1, sizes[0])
    return model


def test_synflow_sums_the_paths_through_a_weight():
    """Appendix D.5: z of a weight is the sum over the paths through it of their products; the
    scores of every layer sum to the path norm R."""
    torch.manual_seed(4)
    sizes = (3, 4, 3, 2)
    model = mlp(sizes)
    names = networks.prunable(model)
    weights = [model.get_parameter(n).detach().double().abs() for n in names]
    expected = [torch.zeros_like(w) for w in weights]
    norm = 0.0
    for path in itertools.product(*(range(size) for size in sizes)):
        edges = [(after, before) for before, after in itertools.pairwise(path)]
        product = 1.0
        for w, edge in zip(weights, edges, strict=True):
            product *= float(w[edge])
        norm += product
        for e, edge in zip(expected, edges, strict=True):
            e[edge] += product
    found = scores.score(model, "synflow")
    assert_close(found, dict(zip(names, expected, strict=True)), 1e-12)
    assert [float(z.sum()) for z in found.values()] == pytest.approx([norm] * 3, rel=1e-12)


def test_synflow_conserves_flow_layer_by_layer():
    """VGG-11 without biases: the scores of each layer sum to R, the output on ones of |w|."""
    model = networks.build("vgg11", seed=0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                p.zero_()
    found = scores.score(model, "synflow")
    with torch.no_grad():
        for p in model.parameters():
            p.abs_()
        output = model.double().eval()(torch.ones(1, 3, 32, 32, dtype=torch.float64)).sum()
    sums = [float(z.sum()) for z in found.values()]
    assert sums == pytest.approx([float(output)] * 9, rel=1e-9)


def test_synflow_does_not_overflow_in_a_deep_network():
    torch.manual_seed(5)
    model = mlp((10, *[40] * 40, 10), scale=10.0)
    with torch.no_grad():
        x = torch.ones(1, 10)
        for name in networks.prunable(model):
            x = x @ model.get_parameter(name).abs().t()
    assert torch.isinf(x).all()  # float32 does overflow here
    found = scores.score(model, "synflow")
    assert all(z.dtype == torch.float64 for z in found.values())
    sums = torch.tensor([float(z.sum()) for z in found.values()], dtype=torch.float64)
    assert sums[0] > 1e60
    torch.testing.assert_close(sums, sums[:1].expand(41), rtol=1e-6, atol=0.0)


def test_synflow_takes_absolute_values_of_every_parameter_but_not_of_statistics():
    """By hand, from input 1: 2 + .5 = 2.5; batch norm in evaluation mode
    (2.5 - .5) / sqrt(3 + 1) * 3 + .25 = 3.25; output 5 * 3.25 + 1.
    z = 2 * (1/2 * 3 * 5) = 15 and 5 * 3.25 = 16.25."""
    conv, norm, fc = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=1.0), nn.Linear(1, 1)
    values = (
        (conv.weight, -2), (conv.bias, -0.5), (norm.weight, -3), (norm.bias, -0.25),
        (norm.running_mean, 0.5), (norm.running_var, 3), (fc.weight, -5), (fc.bias, -1),
    )  # fmt: skip
    with torch.no_grad():
        for tensor, value in values:
            tensor.fill_(value)
    model = nn.Sequential(conv, norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), fc)
    model.input_shape = (1, 3, 2)
    model.train()
    found = scores.score(model, "synflow")
    assert found["0.weight"].item() == pytest.approx(15, rel=1e-12)
    assert found["5.weight"].item() == pytest.approx(16.25, rel=1e-12)


@pytest.mark.parametrize("network", ["lenet", "resnet20"])
def test_synflow_looks_at_ones_in_the_shape_of_the_data(network):
    model = networks.build(network)
    seen = []
    model.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    scores.score(model, "synflow")
    shape = {"lenet": (1, 1, 28, 28), "resnet20": (1, 3, 32, 32)}[network]
    assert len(seen) == 1
    assert torch.equal(seen[0], torch.ones(shape, dtype=torch.float64))


def test_synflow_iterates_a_hundred_times_and_prunes_the_lowest():
    method = scores.get("synflow")
    assert (method.iterations, method.prunes, method.needs_data) == (100, "lowest", False)


def test_synflow_without_a_shape_says_what_to_set():
    with pytest.raises(BadValueError, match=r"model\.input_shape"):
        scores.score(nn.Sequential(nn.Linear(2, 2)), "synflow")


# --------------------------------------------------------------------------- the simple methods


def test_magnitude(net):
    found = scores.score(net, "magnitude")
    for name in ("conv.weight", "fc.weight"):
        expected = np.abs(net.get_parameter(name).detach().numpy())
        assert np.array_equal(found[name].numpy(), expected)


def test_random_is_uniform_and_a_function_of_the_seed():
    model = networks.build("lenet_8x8")
    found = flat(scores.score(model, "random", seed=0)).numpy()
    assert len(found) == 64 * 300 + 300 * 100 + 100 * 10
    # Kolmogorov-Smirnov distance to the uniform distribution; 1.95 / sqrt(n) is the 0.1 % level
    grid = np.arange(1, len(found) + 1) / len(found)
    assert np.abs(np.sort(found) - grid).max() < 1.95 / np.sqrt(len(found))
    assert np.array_equal(flat(scores.score(model, "random", seed=0)).numpy(), found)
    other = flat(scores.score(model, "random", seed=1)).numpy()
    assert abs(np.corrcoef(found, other)[0, 1]) < 0.02
    assert np.array_equal(  # and of nothing else: not of the weights
        flat(scores.score(networks.build("lenet_8x8", seed=7), "random", seed=0)).numpy(), found
    )


# ------------------------------------------------------------------- what every method promises


@pytest.mark.parametrize("method", BUILT_IN)
def test_autocast_around_the_call_changes_nothing(batch, method):
    torch.manual_seed(6)
    model, data = SmallNet(), (batch[0].float(), batch[1])
    expected = scores.score(model, method, data)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = scores.score(model, method, data)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


def test_short_products_are_off_while_scoring_and_restored(net, registry):
    seen = []

    @scores.register("watching", needs_data=False)
    def watching(model, batch):
        seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32,
                     torch.is_autocast_enabled("cpu"), torch.is_grad_enabled()))  # fmt: skip
        return scores.magnitude(model)

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            scores.score(net, "watching")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == [("highest", False, False, True)]


@pytest.mark.parametrize("method", BUILT_IN)
def test_the_model_comes_back_untouched(batch, method):
    torch.manual_seed(7)
    model, data = SmallNet(), (batch[0].float(), batch[1])
    model.train()
    model.norm.eval()
    model.fc.weight.grad = torch.full_like(model.fc.weight, 3.0)
    model.conv.weight.requires_grad_(False)
    state = {name: value.clone() for name, value in model.state_dict().items()}

    scores.score(model, method, data)
    masks.prune(model, method, 0.5, data, iterations=2)

    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert (model.training, model.conv.training, model.norm.training) == (True, True, False)
    assert (model.fc.weight.grad == 3).all()
    assert model.conv.weight.grad is None
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True, True, True]


@pytest.mark.parametrize("method", BUILT_IN)
def test_frozen_weights_are_scored_like_any(batch, method):
    torch.manual_seed(8)
    model, data = SmallNet(), (batch[0].float(), batch[1])
    expected = scores.score(model, method, data)
    model.requires_grad_(False)
    found = scores.score(model, method, data)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def overlap(mask, other):
    """The share of the weights that one mask keeps which the other keeps too."""
    return int((flat(mask) & flat(other)).sum()) / masks.kept(mask)


def disturbed(model, batch):
    """The same network with relative noise of 1e-7 on its weights, the same batch permuted."""
    noisy, stream = copy.deepcopy(model), torch.Generator().manual_seed(1)
    for name in networks.prunable(noisy):
        w = noisy.get_parameter(name).data
        w.mul_(1 + 1e-7 * torch.randn(w.shape, generator=stream))
    order = torch.randperm(len(batch[0]), generator=stream)
    return noisy, (batch[0][order], batch[1][order])


@pytest.mark.parametrize("method", ["random", "magnitude", "snip", "grasp", "grasp_magnitude"])
def test_rounding_leaves_one_shot_masks_as_they_are(method):
    """Thousands of SNIP's and GraSP's scores on LeNet are exactly zero, where a unit is dead; who
    of them goes must not hang on rounding, nor on the order of the batch. Not quite equal: of two
    scores that differ by less than the noise, at the threshold, either may go; at most three here
    do, of 50,200."""
    model, batch = networks.build("lenet_8x8"), datasets.scoring_batch("lenet_digits")
    noisy, permuted = disturbed(model, batch)
    for sparsity in (0.2, 0.488, 0.737856, 0.982):
        mask = masks.prune(model, method, sparsity, batch)
        for other in (
            masks.prune(noisy, method, sparsity, batch),
            masks.prune(model, method, sparsity, permuted),
        ):
            assert int((flat(mask) & ~flat(other)).sum()) <= 3


def test_rounding_leaves_synflow_nearly_as_it_is():
    """Each of its hundred iterations scores what the one before left. Iterative SNIP shares less
    than a third; nine tenths is far from that, and from a tie or two."""
    model = networks.build("lenet_8x8")
    noisy, _ = disturbed(model, datasets.scoring_batch("lenet_digits"))
    for sparsity in (0.737856, 0.982):
        found = [masks.prune(m, "synflow", sparsity) for m in (model, noisy)]
        assert overlap(*found) > 0.9


# ------------------------------------------------------------------------------------ registry


def test_a_users_method_is_usable_wherever_a_name_is(net, batch, registry):
    @scores.register("position", prunes="highest")
    def position(model, batch, seed):
        assert batch[0].shape == (12, 2, 5, 5)
        sizes = {n: model.get_parameter(n).shape for n in networks.prunable(model)}
        return {n: torch.arange(s.numel()).view(s) + seed for n, s in sizes.items()}

    found = scores.score(net, "position", batch, seed=5)
    assert found["fc.weight"].tolist() == [[5, 6, 7], [8, 9, 10], [11, 12, 13], [14, 15, 16]]
    mask = masks.prune(net, "position", 0.5, batch)  # the highest 33 lie in the convolution
    assert mask["conv.weight"].flatten().tolist() == [True] * 21 + [False] * 33
    assert mask["fc.weight"].all()
    recorded = Run("lenet_digits", "smoke", "position", 0.5).method
    assert re.fullmatch("position_[0-9a-f]{8}", recorded)
    assert scores.get(recorded) is scores.get("position")


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda z: {"conv.weight": z["conv.weight"]}, "fc.weight"),
        (lambda z: z | {"conv.bias": torch.zeros(3)}, "conv.bias"),
        (lambda z: z | {"fc.weight": torch.zeros(3, 4)}, r"shape \(3, 4\).* return it in that"),
        (lambda z: z | {"fc.weight": z["fc.weight"] * float("nan")}, "fc.weight.* not finite"),
        (lambda z: z | {"fc.weight": z["fc.weight"] / 0}, "fc.weight.* not finite, 12 of 12: "),
        (lambda z: z | {"fc.weight": 1.0}, "scored fc.weight with float, expected a tensor"),
        (lambda z: z | {"fc.weight": z["fc.weight"] * 1j}, "fc.weight with complex numbers"),
        (lambda z: list(z.values()), "returned list, expected a dict"),
        (lambda z: None, "returned NoneType, expected a dict"),
    ],
)
def test_bad_scores_get_one_sentence(net, registry, returned, words):
    @scores.register("bad", needs_data=False)
    def bad(model, batch):
        return returned(scores.magnitude(model))

    for call in (scores.score, lambda *arguments: masks.prune(*arguments, sparsity=0.5)):
        with pytest.raises(BadValueError, match=words) as error:
            call(net, "bad")
        assert "'bad'" in str(error.value)
        assert "\n" not in str(error.value)


def test_an_unknown_method_lists_the_names(net):
    for call in (scores.score, scores.get, masks.prune):
        arguments = {scores.score: (net, "smip"), scores.get: ("smip",)}
        with pytest.raises(UnknownNameError, match="unknown method 'smip'") as error:
            call(*arguments.get(call, (net, "smip", 0.5)))
        assert all(name in str(error.value) for name in BUILT_IN)
        assert isinstance(error.value, KeyError)
        assert isinstance(error.value, PrunelibError)


@pytest.mark.parametrize("method", SIGNED_BY_DATA)
def test_a_missing_batch_is_named(net, method):
    with pytest.raises(BadValueError, match=f"{method!r} needs a scoring batch.*scoring_batch"):
        scores.score(net, method)


@pytest.mark.parametrize("name", ["dense", "", "two words", "two\nlines", 3])
def test_names_that_cannot_be_recorded_are_refused(registry, name):
    with pytest.raises(BadValueError, match=re.escape(repr(name))):
        scores.register(name)


def test_the_end_that_is_pruned_must_be_known():
    with pytest.raises(BadValueError, match=r"'smallest'.*'lowest' or 'highest'"):
        scores.register("x", prunes="smallest")


@pytest.mark.parametrize("iterations", [0, -1, 2.5, "3", True])
def test_a_number_of_iterations_must_be_a_whole_one(registry, iterations):
    with pytest.raises(BadValueError, match=f"iterations={iterations!r}"):
        scores.register("x", iterations=iterations)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_papers_methods_cannot_be_replaced(registry, name):
    with pytest.raises(BadValueError, match=f"{name!r} is one of the paper's.*another name"):
        scores.register(name)


def test_a_name_of_ones_own_can_be_registered_again(net, registry):
    for factor in (1, 2):

        @scores.register("again", needs_data=False)
        def again(model, batch, factor=factor):
            return {n: z * factor for n, z in scores.magnitude(model).items()}

    found = scores.score(net, "again")["fc.weight"]
    assert torch.equal(found, 2 * net.fc.weight.detach().abs())


def test_draws_from_the_global_generator_can_be_repeated(net, registry):
    """Fault: a method that forgets its seed, whose masks nobody can make again."""

    @scores.register("unseeded", needs_data=False)
    def unseeded(model, batch):
        return {n: torch.rand_like(model.get_parameter(n)) for n in networks.prunable(model)}

    torch.manual_seed(1)
    first, left = scores.score(net, "unseeded", seed=0)["fc.weight"], torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(left, torch.rand(1))  # the caller's draws are not moved
    assert torch.equal(scores.score(net, "unseeded", seed=0)["fc.weight"], first)
    assert not torch.equal(scores.score(net, "unseeded", seed=1)["fc.weight"], first)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int64, torch.bool])
def test_whole_numbers_and_truth_values_are_ranked_as_numbers(net, registry, kind):
    """Fault: turning the sign of bytes, which makes 1 the highest of all."""

    @scores.register("first_half", prunes="highest", needs_data=False)
    def first_half(model, batch):
        sizes = {n: model.get_parameter(n).shape for n in networks.prunable(model)}
        return {n: (torch.arange(s.numel()) < s.numel() // 2).view(s).to(kind)
                for n, s in sizes.items()}  # fmt: skip

    mask = masks.prune(net, "first_half", 0.5)
    assert mask["fc.weight"].flatten().tolist() == [False] * 6 + [True] * 6
