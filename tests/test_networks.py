"""Networks against published sizes, and their initialisation against its formulas."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from prunelib import networks
from prunelib.errors import UnknownNameError

# parameters, prunable weights, prunable tensors. ResNet-18 and -50: torchvision's 11,689,512 and
# 25,557,032 parameters, for ResNet-18 with 200 instead of 1000 classes; the rest by hand.
SIZES = {
    "lenet": (266_610, 266_200, 3),
    "resnet8_8x8": (19_464 + 2 * 168 + 10, 72 + 1152 + 3584 + 14_336 + 320, 10),
    "lenet_8x8": (64 * 300 + 300 * 100 + 1000 + 410, 64 * 300 + 300 * 100 + 1000, 3),
    "resnet20": (272_474, 270_896, 22),
    "vgg11": (9_231_114, 9_222_848, 9),
    "vgg16": (14_728_266, 14_715_584, 14),
    "vgg19": (20_040_522, 20_024_000, 17),
    "vgg2_16": (14_728_266 + 513 * 512, 14_715_584 + 512 * 512, 15),
    "wrn_32_2": (1_860_522, 1_855_584, 34),
    "wrn_14_8": (11_093_130, 11_084_160, 16),
    "wrn_14_10": (17_327_530, 17_316_320, 16),
    "wrn_20_8": (17_289_866, 17_277_312, 22),
    "resnet18": (11_689_512 - 800 * 513, 11_269_312, 21),
    "modified_resnet18": (11_689_512 - 800 * 513 - 40 * 192, 11_261_632, 21),
    "modified_resnet18_10": (11_689_512 - 990 * 513 - 40 * 192, 11_261_632 - 190 * 512, 21),
    "resnet50": (25_557_032, 25_502_912, 54),
}
CLASSES = {"resnet18": 200, "modified_resnet18": 200, "resnet50": 1000}


@pytest.fixture(scope="module", params=SIZES)
def built(request):
    """Every network once, with its name."""
    return request.param, networks.build(request.param, seed=0)


def layers(model):
    return [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def batch_norms(model):
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


def test_every_network_is_tested():
    assert set(SIZES) == set(networks.NETWORKS)


def test_sizes(built):
    name, model = built
    parameters = dict(model.named_parameters())
    prunable = networks.prunable(model)
    assert (
        sum(p.numel() for p in parameters.values()),
        sum(parameters[n].numel() for n in prunable),
        len(prunable),
    ) == SIZES[name]


def test_output_shape(built):
    name, model = built
    assert model.input_shape == networks.NETWORKS[name][1]
    model.eval()
    with torch.no_grad():
        logits = model(torch.randn(2, *model.input_shape, generator=torch.manual_seed(0)))
    assert logits.shape == (2, CLASSES.get(name, 10))
    assert logits.isfinite().all()


def test_weights_are_he_normal_by_fan_in(built):
    _, model = built
    for layer in layers(model):
        fan_in = layer.weight[0].numel()
        z = layer.weight.detach().double() / math.sqrt(2 / fan_in)  # N(0, 1) if all is well
        assert abs(float(z.mean())) < 5 / math.sqrt(z.numel())
        assert abs(float(z.std()) - 1) < 5 / math.sqrt(2 * z.numel())
        kurtosis = float((z**4).mean() / (z**2).mean() ** 2)
        assert abs(kurtosis - 3) < 6 * math.sqrt(24 / z.numel())


def test_batch_norm_starts_with_gamma_uniform_and_beta_zero(built):
    _, model = built
    norms = batch_norms(model)
    assert all((norm.bias == 0).all() for norm in norms)
    for norm in norms:
        assert norm.weight.min() >= 0
        assert norm.weight.max() <= 1
    if norms:
        gamma = torch.cat([norm.weight.detach() for norm in norms]).double()
        error = 5 / math.sqrt(len(gamma))
        assert abs(float(gamma.mean()) - 1 / 2) < error * math.sqrt(1 / 12)
        assert abs(float((gamma**2).mean()) - 1 / 3) < error * math.sqrt(4 / 45)


def test_biases_keep_the_default(built):
    """PyTorch draws them uniformly within 1 / sqrt(fan-in)."""
    _, model = built
    for layer in layers(model):
        if layer.bias is not None:
            bound = 1 / math.sqrt(layer.weight[0].numel())
            assert layer.bias.abs().max() <= bound
            assert layer.bias.max() > bound / 4
            assert layer.bias.min() < -bound / 4


def test_prunable_are_the_weights_of_convolutions_and_linear_layers(built):
    _, model = built
    parameters = dict(model.named_parameters())
    prunable = networks.prunable(model)
    assert len(set(prunable)) == len(prunable)
    # Weights of convolutions and linear layers have 4 and 2 dimensions, all others have 1.
    assert prunable == [name for name, p in parameters.items() if p.dim() > 1]


def test_names_of_prunable_weights_in_order():
    assert networks.prunable(networks.build("lenet")) == [f"layers.{i}.weight" for i in range(3)]
    resnet20 = ["conv.weight"]
    for block in range(9):
        resnet20 += [f"blocks.{block}.conv1.weight", f"blocks.{block}.conv2.weight"]
        if block in (3, 6):
            resnet20.append(f"blocks.{block}.shortcut.0.weight")
    assert networks.prunable(networks.build("resnet20")) == [*resnet20, "fc.weight"]
    resnet18 = ["conv1.weight"]
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            at = f"layer{stage}.{block}"
            resnet18 += [f"{at}.conv1.weight", f"{at}.conv2.weight"]
            if stage > 1 and block == 0:
                resnet18.append(f"{at}.downsample.0.weight")
    assert networks.prunable(networks.build("resnet18")) == [*resnet18, "fc.weight"]


def test_prunable_of_a_bare_layer():
    assert networks.prunable(nn.Linear(2, 3)) == ["weight"]


def test_fixed_variance_is_one_normal_distribution_in_every_layer():
    """The authors' standard deviation of 0.1, in networks with batch norm."""
    model = networks.build("resnet20", init="fixed_variance")
    for layer in layers(model):
        z, n = layer.weight.detach() / 0.1, layer.weight.numel()
        assert abs(float(z.mean())) < 5 / math.sqrt(n)
        assert abs(float(z.std()) - 1) < 5 / math.sqrt(2 * n)
    gamma = torch.cat([norm.weight.detach() for norm in batch_norms(model)])
    assert 0.45 < float(gamma.mean()) < 0.55


def test_fixed_variance_of_lenet_has_one_scale_that_keeps_the_product():
    """Three layers with one deviation; its cube is the product of their He deviations."""
    he = math.sqrt(2 / 784) * math.sqrt(2 / 300) * math.sqrt(2 / 100)
    model = networks.build("lenet", init="fixed_variance")
    for layer in layers(model):
        n = layer.weight.numel()
        error = 5 / math.sqrt(2 * n)
        assert abs(float(layer.weight.detach().std()) / he ** (1 / 3) - 1) < error


def same(a, b):
    return {n: torch.equal(v, b.state_dict()[n]) for n, v in a.state_dict().items()}


@pytest.mark.parametrize("network", ["lenet", "resnet20", "vgg11"])
def test_a_network_is_a_function_of_seed_and_stream(network):
    first = networks.build(network, seed=1)
    torch.manual_seed(12345)
    assert all(same(first, networks.build(network, seed=1)).values())
    for other in (networks.build(network, seed=2), networks.build(network, 1, stream="reinit")):
        drawn = [n for n, p in other.named_parameters() if p.abs().sum() > 0]  # all but beta
        equal = same(first, other)
        assert drawn
        assert not any(equal[n] for n in drawn)


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    networks.build("resnet20", seed=0)
    networks.build("lenet", seed=0, init="fixed_variance")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("network", "plan", "linear"),
    [
        ("vgg11", "64 M 128 M 256 256 M 512 512 M 512 512 A", 1),
        ("vgg16", "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 A", 1),
        ("vgg19", "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 A", 1),
        ("vgg2_16", "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 A", 2),
    ],
)
def test_vgg_layers(network, plan, linear):
    model = networks.build(network)
    seen = []
    modules = [m for m in model.modules() if not list(m.children())]
    for i, module in enumerate(modules):
        if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            assert module.kernel_size == 2
            seen.append("M" if isinstance(module, nn.MaxPool2d) else "A")
        elif isinstance(module, nn.Conv2d):
            assert module.kernel_size == (3, 3)
            assert module.bias is not None
            assert isinstance(modules[i + 1], nn.BatchNorm2d)
            assert isinstance(modules[i + 2], nn.ReLU)
            seen.append(str(module.out_channels))
    assert " ".join(seen) == plan
    assert sum(isinstance(m, nn.Linear) for m in modules) == linear


@pytest.mark.parametrize(
    ("network", "blocks", "width"),
    [("resnet20", 3, 16), ("wrn_32_2", 5, 32), ("wrn_14_8", 2, 128), ("wrn_20_8", 3, 128)],
)
def test_cifar_resnets_project_only_where_the_shape_changes(network, blocks, width):
    model = networks.build(network)
    projected = [i for i, block in enumerate(model.blocks) if len(block.shortcut)]
    assert projected == [blocks, 2 * blocks]
    assert len(model.blocks) == 3 * blocks
    for i, block in enumerate(model.blocks):
        assert block.conv2.out_channels == width * 2 ** (i // blocks)
        assert block.conv1.bias is None
        assert block.conv2.bias is None
    for i in projected:
        conv, norm = model.blocks[i].shortcut
        assert (conv.kernel_size, conv.stride, conv.bias) == ((1, 1), (2, 2), None)
        assert isinstance(norm, nn.BatchNorm2d)
        assert model.blocks[i].conv1.stride == (2, 2)


def test_resnet20_computes_what_he_et_al_describe():
    """Against the same network written out with functions, batch norm before each ReLU."""
    model = networks.build("resnet20").double().eval()
    for norm in batch_norms(model):  # statistics and shifts that make a misplaced norm show
        norm.running_mean.normal_(generator=torch.manual_seed(0))
        norm.running_var.uniform_(0.5, 2)
        norm.bias.data.normal_()
    state = model.state_dict()

    def conv(x, name, stride=1):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def norm(x, name):
        mean, var, gamma, beta = (
            state[f"{name}.{part}"][None, :, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return gamma * (x - mean) / (var + 1e-5).sqrt() + beta

    inputs = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    x = norm(conv(inputs, "conv"), "bn").clamp(min=0)
    for i in range(9):
        at, stride = f"blocks.{i}", 2 if i in (3, 6) else 1
        y = norm(conv(x, f"{at}.conv1", stride), f"{at}.bn1").clamp(min=0)
        y = norm(conv(y, f"{at}.conv2"), f"{at}.bn2")
        if i in (3, 6):
            x = norm(conv(x, f"{at}.shortcut.0", stride), f"{at}.shortcut.1")
        x = (x + y).clamp(min=0)
    assert x.shape == (2, 64, 8, 8)
    expected = x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]
    with torch.no_grad():
        torch.testing.assert_close(model(inputs), expected)


def test_lenet_computes_three_layers_with_relu_between():
    model = networks.build("lenet").double()
    (a, b, c), (p, q, r) = zip(*[(m.weight, m.bias) for m in layers(model)], strict=True)
    x = torch.randn(5, 1, 28, 28, dtype=torch.float64, generator=torch.manual_seed(0))
    hidden = (x.reshape(5, 784) @ a.T + p).clamp(min=0)
    expected = (hidden @ b.T + q).clamp(min=0) @ c.T + r
    torch.testing.assert_close(model(x), expected)


def test_modified_resnet18_keeps_the_resolution_of_its_stem():
    model = networks.build("modified_resnet18")
    stem = model.conv1
    assert (stem.kernel_size, stem.stride, stem.padding) == ((3, 3), (1, 1), (1, 1))
    assert stem.bias is None
    assert not any(isinstance(m, nn.MaxPool2d) for m in model.modules())
    sizes = {}
    for name in ("layer1", "layer4"):
        getattr(model, name).register_forward_hook(
            lambda _, __, output, name=name: sizes.update({name: tuple(output.shape[1:])})
        )
    model(torch.zeros(2, 3, 64, 64))
    assert sizes == {"layer1": (64, 64, 64), "layer4": (512, 8, 8)}


def test_resnet18_has_the_stem_of_imagenet():
    model = networks.build("resnet18")
    assert (model.conv1.kernel_size, model.conv1.stride) == ((7, 7), (2, 2))
    assert sum(isinstance(m, nn.MaxPool2d) for m in model.modules()) == 1


def test_flops_of_lenet_by_hand():
    """Two operations a weight forward; backward as many for the weights' gradients, and again for
    those of the activations, which the first layer does not need."""
    first, others = 784 * 300, 300 * 100 + 100 * 10
    assert networks.flops("lenet") == 2 * (2 * first + 3 * others)


def test_flops_of_resnet20_by_formula():
    """Two operations for every weight and output position of a convolution: 32 x 32 positions in
    the stem and the first stage, then 16 x 16 and 8 x 8."""
    stem = 3 * 3 * 3 * 16 * 32**2
    others = 6 * 9 * 16 * 16 * 32**2 + 64 * 10
    for inputs, outputs, side in ((16, 32, 16), (32, 64, 8)):
        others += (9 + 1) * inputs * outputs * side**2  # first convolution, projection
        others += 5 * 9 * outputs * outputs * side**2
    assert networks.flops("resnet20") == 2 * (2 * stem + 3 * others)


def test_flops_of_resnet50_are_near_the_published():
    """He et al. (2016) give 3.8 billion multiply-adds forward; torchvision, which strides in the
    3x3 convolution, 4.09. Training takes three times that."""
    assert networks.flops("resnet50") / 6 == pytest.approx(4.09e9, rel=0.02)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: networks.build("resnet21"), networks.NETWORKS),
        (lambda: networks.flops("resnet21"), networks.NETWORKS),
        (lambda: networks.build("lenet", init="resnet21"), networks.INITS),
    ],
)
def test_unknown_name_lists_the_names(call, names):
    with pytest.raises(UnknownNameError, match="'resnet21'") as caught:
        call()
    assert all(name in str(caught.value) for name in names)


def test_an_initialisation_that_there_is_not_is_refused():
    with pytest.raises(UnknownNameError, match="'xavier'"):
        networks.initialise(networks.build("lenet_8x8"), "xavier")
