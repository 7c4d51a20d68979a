"""What the paper says of its networks and their first weights (Section 5, Appendices A, D.4 and J,
Tables 1, 4 and 6).

Each function takes a setting's name. What is counted is counted on the meta device, which knows
shapes and computes nothing.
"""

import functools
import itertools
import math

import torch
import torchvision
from scipy import optimize, stats
from torch import nn

from prunelib import networks, settings
from prunelib.errors import BadValueError
from prunelib.findings.facts.table import fact
from prunelib.networks import prunable

SHORTCUTS = ("shortcut", "downsample")  # in the names of layers


@functools.cache
def _meta(setting: str) -> nn.Module:
    """The network of a setting, of which only shapes are known."""
    return networks.outline(settings.get(setting).network)


@functools.cache
def drawn(setting: str) -> nn.Module:
    """The freshly initialised network of a setting; callers do not change it."""
    return networks.build(settings.get(setting).network, seed=0)


@functools.cache
def shapes(setting: str) -> dict[str, torch.Size]:
    """The shapes of the prunable weights of a setting's network, by name, in order."""
    model = _meta(setting)
    return {name: model.get_parameter(name).shape for name in prunable(model)}


def _layers(setting, kind):
    return [m for m in _meta(setting).modules() if isinstance(m, kind)]


def _shortcuts(setting):
    named_ = _meta(setting).named_modules()
    return [m for n, m in named_ if isinstance(m, nn.Conv2d) and any(s in n for s in SHORTCUTS)]


@fact
def layers_on_the_main_path(setting: str) -> float:
    """A.1: "ResNet with 20 layers", "with 18 and 50 layers"; those with weights to prune."""
    return float(len(shapes(setting)) - len(_shortcuts(setting)))


@fact
def hidden_linear_layers(setting: str) -> float:
    """A.1: LeNet-300-100 has "two hidden layers"."""
    return float(len(_layers(setting, nn.Linear)) - 1)


@fact
def linear_layers(setting: str) -> float:
    """Table 1: "with one fully-connected layer", "with two"."""
    return float(len(_layers(setting, nn.Linear)))


@fact
def units_of_the_first_hidden_layer(setting: str) -> float:
    """A.1: "The first hidden layer has 300 units"."""
    return float(_layers(setting, nn.Linear)[0].out_features)


@fact
def units_of_the_second_hidden_layer(setting: str) -> float:
    """A.1: "the second hidden layer has 100 units"."""
    return float(_layers(setting, nn.Linear)[1].out_features)


@fact
def channels_of_convolutions(setting: str) -> float:
    """A.1, VGG-16: the channels of all convolutions together."""
    return float(sum(m.out_channels for m in _layers(setting, nn.Conv2d)))


@fact
def layers_of_max_pooling(setting: str) -> float:
    """A.1: "the max-pooling layer that follows has been eliminated"."""
    return float(len(_layers(setting, nn.MaxPool2d)))


@fact
def layers_of_2x2_max_pooling(setting: str) -> float:
    """A.1, VGG-16: groups "followed by 2x2 max pooling"."""
    return float(sum(m.kernel_size == 2 for m in _layers(setting, nn.MaxPool2d)))


@fact
def convolutions_that_are_not_3x3(setting: str) -> float:
    """A.1, VGG-16: "Each channel uses 3x3 convolutional filters"."""
    return float(sum(m.kernel_size != (3, 3) for m in _layers(setting, nn.Conv2d)))


@fact
def side_of_the_first_filter(setting: str) -> float:
    """A.1: "the first convolution has filter size 3x3 (rather than 7x7)"."""
    return float(_layers(setting, nn.Conv2d)[0].kernel_size[0])


@fact
def stride_of_the_first_convolution(setting: str) -> float:
    """Table 6: "first conv is 3x3 stride 1"."""
    return float(_layers(setting, nn.Conv2d)[0].stride[0])


@fact
def convolutions_without_batch_norm(setting: str) -> float:
    """A.1: batch normalisation "prior to activations": convolutions that none follows."""
    _some(_layers(setting, nn.Conv2d), setting, "convolutions")
    kinds = _layers(setting, nn.Conv2d | nn.BatchNorm2d | nn.Linear)
    after = [*kinds[1:], None]
    return float(
        sum(
            isinstance(m, nn.Conv2d) and not isinstance(n, nn.BatchNorm2d)
            for m, n in zip(kinds, after, strict=True)
        )
    )


@fact
def relus_not_behind_batch_norm(setting: str) -> float:
    """A.1: "VGG-16 has batch normalization before each ReLU activation"."""
    leaves = [m for m in _meta(setting).modules() if not list(m.children())]
    pairs = itertools.pairwise(leaves)
    return float(
        sum(isinstance(b, nn.ReLU) and not isinstance(a, nn.BatchNorm2d) for a, b in pairs)
    )


@fact
def parameters_beyond_torchvision(setting: str) -> float:
    """A.1: "the TorchVision implementations"; parameters beyond those that TorchVision states of
    its network, but for the number of classes."""
    network = settings.get(setting).network
    stated = torchvision.models.get_model_weights(network).DEFAULT.meta["num_params"]
    classes, features = list(shapes(setting).values())[-1]
    own = sum(p.numel() for p in _meta(setting).parameters())
    return float(own - stated - (classes - 1000) * (features + 1))


@fact
def widening_factor(setting: str) -> float:
    """Table 4: "twice the standard width", which is 16 channels (He et al., 2016)."""
    return next(iter(shapes(setting).values()))[0] / 16


@fact
def classes(setting: str) -> float:
    """C.2: "one example per class (1000 in total covering all classes)"."""
    return float(list(shapes(setting).values())[-1][0])


@fact
def shortcuts_with_weights(setting: str) -> float:
    """J: of ResNet-50's "four downsample layers"."""
    return float(len(_shortcuts(setting)))


def _some(modules: list[nn.Module], setting: str, what: str) -> list[nn.Module]:
    """The modules; that none of no modules is wrong would say nothing."""
    if not modules:
        raise BadValueError(f"the network of {setting} has no {what}")
    return modules


@fact
def shortcuts_that_are_not_1x1(setting: str) -> float:
    """J: "the ResNets use 1x1 convolutions on their skip connections"."""
    found = _some(_shortcuts(setting), setting, "shortcuts with weights")
    return float(sum(m.kernel_size != (1, 1) for m in found))


@fact
def downsampling_blocks_without_a_convolution(setting: str) -> float:
    """J: they do so "when downsampling the activation maps"; blocks whose skip connection has no
    convolution although their maps become smaller. (ResNet-50 has one more, of an equal size.)"""
    blocks = [m for m in _meta(setting).modules() if any(hasattr(m, name) for name in SHORTCUTS)]
    count = 0
    for block in _some(blocks, setting, "blocks with skip connections"):
        layers = {n: m for n, m in block.named_modules() if isinstance(m, nn.Conv2d)}
        aside = [n for n in layers if n.startswith(SHORTCUTS)]
        smaller = any(m.stride != (1, 1) for n, m in layers.items() if n not in aside)
        count += smaller and not aside
    return float(count)


@fact
def output_weights_over_a_mean_layer(setting: str) -> float:
    """J: of the output layer, "there are so few connections"."""
    sizes = [shape.numel() for shape in shapes(setting).values()]
    return sizes[-1] * len(sizes) / sum(sizes)


@fact
def values_of_an_input(setting: str) -> float:
    """D.2: "an input that is 32x32x3"; "224x224x3"."""
    return float(math.prod(networks.NETWORKS[settings.get(setting).network][1]))


@fact
def side_of_an_input(setting: str) -> float:
    """A.2: "cropping to 64x64", "cropping to 224x224"."""
    return float(networks.NETWORKS[settings.get(setting).network][1][-1])


# Initialisation


@fact
def deviations_off_he(setting: str) -> float:
    """A.3, "Kaiming Normal": how many standard errors a layer's standard deviation is from
    sqrt(2 / fan-in) at most."""
    worst = 0.0
    for name in prunable(drawn(setting)):
        w = drawn(setting).get_parameter(name).detach()
        found = float(w.square().mean().sqrt()) / math.sqrt(2 / w[0].numel())
        worst = max(worst, abs(found - 1) * math.sqrt(2 * w.numel()))
    return worst


@fact
def kurtosis_of_the_weights(setting: str) -> float:
    """A.3, "Kaiming Normal": how many standard errors a layer's excess kurtosis is from 0."""
    model = drawn(setting)
    weights = [model.get_parameter(name).detach().flatten().numpy() for name in prunable(model)]
    return float(max(abs(stats.kurtosis(w)) * math.sqrt(len(w) / 24) for w in weights))


@fact
def gammas_off_uniform(setting: str) -> float:
    """D.4: gammas "uniformly between 0 and 1"; Kolmogorov and Smirnov's distance times the root
    of their number, below 1.63 in 99 draws of a hundred."""
    norms = [m for m in drawn(setting).modules() if isinstance(m, nn.BatchNorm2d)]
    values = torch.cat([m.weight for m in _some(norms, setting, "batch norm")]).detach().numpy()
    return float(stats.kstest(values, "uniform").statistic) * math.sqrt(len(values))


@fact
def range_of_default_gammas(setting: str) -> float:
    """D.4: that uniform gammas are PyTorch's default; the range of a thousand of them."""
    gammas = nn.BatchNorm2d(1000).weight.detach()
    return float(gammas.max() - gammas.min())


@fact
def kurtosis_of_default_weights(setting: str) -> float:
    """D.4: that normal weights are PyTorch's default; the excess kurtosis of 10,000 of them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return float(stats.kurtosis(nn.Linear(100, 100).weight.detach().flatten().numpy()))


def proportions_from_variances(setting: str, sparsity: float, fan: str = "in") -> dict[str, float]:
    """The layerwise sparsities of magnitude pruning that the variances of He initialisation give.

    One threshold t cuts every layer: the share P(|N(0, 2 / fan)| < t) of its weights is pruned,
    and t is such that these shares make up the sparsity (Section 5, "Magnitude pruning").

    Args:
        setting: a name.
        sparsity: of the network, in (0, 1).
        fan: "in", the incoming weights of a neuron, or "out", those that leave a channel.

    Returns:
        dict from layer to sparsity in [0, 1], in order.
    """
    sizes = {name: shape.numel() for name, shape in shapes(setting).items()}
    fans = {
        name: size // shape[0] if fan == "in" else size // shape[1]
        for (name, size), shape in zip(sizes.items(), shapes(setting).values(), strict=True)
    }

    def pruned(threshold):
        return {n: math.erf(threshold * math.sqrt(fans[n]) / 2) for n in sizes}

    def excess(threshold):
        shares = pruned(threshold)
        return sum(shares[n] * sizes[n] for n in sizes) / sum(sizes.values()) - sparsity

    return pruned(optimize.brentq(excess, 0.0, 10.0))


@fact
def proportions_from_the_fan_out(setting: str) -> float:
    """D.4: that fan-in or fan-out "could make a substantial difference"; how far the layerwise
    sparsities of magnitude pruning move in the mean, in percentage points."""
    sparsity = settings.highest_matching(setting)
    ins, outs = (proportions_from_variances(setting, sparsity, fan) for fan in ("in", "out"))
    return 100 * sum(abs(ins[name] - outs[name]) for name in ins) / len(ins)
