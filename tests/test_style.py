"""The visual language: colours that can be told apart, and names for people."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from prunelib import networks, settings
from prunelib.grids import FIGURES
from prunelib.pages import style
from prunelib.runs import EARLY_METHODS
from prunelib.scores import METHODS

# Linear RGB to XYZ (IEC 61966-2-1), and linear RGB as dichromats see it (Machado et al., 2009,
# severity 1).
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
VISION = {
    "normal": np.eye(3),
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}
LATER = "prunelib.later."
DISTANCE, LIGHTNESS = 25, 7  # the bounds: CIELAB units; a difference of 2.3 is just noticeable


def lab(colour, vision="normal"):
    """A colour in CIELAB, D65, as a kind of vision has it."""
    encoded = np.array(to_rgb(colour))
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(VISION[vision]) @ linear, 0, 1)
    ratio = XYZ @ seen / XYZ.sum(axis=1)
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def lines_of_figures():
    """The looks that appear together: a tuple a panel."""
    for figure, grid in FIGURES.items():
        for panel in grid.panels.values():
            yield style.UNPRUNED["he"], *dict.fromkeys(style.look(figure, curve) for curve in panel)
    masks = (*EARLY_METHODS, "random")
    yield tuple(style.METHODS[name] for name in (*masks, "synflow shuffle"))  # Figure 5
    yield tuple(style.METHODS[name] for name in (*masks, "magnitude after training"))  # Figure 15
    later = [name for name, m in METHODS.items() if m.function.__module__.startswith(LATER)]
    assert len(later) == 8
    yield tuple(style.METHODS[name] for name in (*later, "random", "magnitude after training"))


def test_lab_is_the_standards():
    assert lab("#ffffff") == pytest.approx([100, 0, 0], abs=0.1)
    assert lab("#ff0000") == pytest.approx([53.2, 80.1, 67.2], abs=0.1)
    assert lab("#00ff00", "deuteranopia")[1] == pytest.approx(lab("#808080")[1], abs=10)


@pytest.mark.parametrize("vision", VISION)
def test_lines_of_one_figure_differ_in_colour_whoever_sees_them(vision):
    for looks in lines_of_figures():
        for one, other in combinations(looks, 2):
            apart = np.linalg.norm(lab(one.colour, vision) - lab(other.colour, vision))
            assert apart >= DISTANCE, (one.label, other.label)


def test_lines_of_one_figure_differ_in_grey():
    for looks in lines_of_figures():
        for one, other in combinations(looks, 2):
            assert abs(lab(one.colour)[0] - lab(other.colour)[0]) >= LIGHTNESS, (one, other)


def test_lines_of_one_figure_differ_in_marker_and_dash():
    for looks in lines_of_figures():
        marked = [look for look in looks if look != style.UNPRUNED["he"]]
        if style.VARIANTS["fixed_variance"] in looks:  # of whose colour the unpruned network is
            assert style.UNPRUNED["fixed_variance"].dash not in {look.dash for look in looks}
        for part in ("label", "marker", "dash"):
            assert len({str(getattr(look, part)) for look in marked}) == len(marked)


def test_every_setting_has_a_title_of_its_own():
    titles = [style.title(setting) for setting in settings.SETTINGS]
    assert len(set(titles)) == len(titles)
    assert set(style.NETWORKS) == set(networks.NETWORKS)


@pytest.mark.parametrize(
    ("setting", "title"),
    [
        ("lenet_mnist", "LeNet-300-100 on MNIST"),
        ("resnet20_cifar10", "ResNet-20 on CIFAR-10"),
        ("resnet8_digits", "ResNet-8 on digits (the miniature)"),
        ("modified_resnet18_tinyimagenet", "Modified ResNet-18 on TinyImageNet"),
        ("modified_resnet18_cifar10_tanaka",
         "Modified ResNet-18 on CIFAR-10 (recipe of Tanaka et al.)"),
    ],
)  # fmt: skip
def test_titles(setting, title):
    assert style.title(setting) == title


def test_variants_of_data_are_named_and_unknown_ones_name_themselves():
    assert style.dataset("cifar10-jpeg") == "CIFAR-10 as JPEG"
    assert style.dataset("mine") == "mine"


@pytest.mark.parametrize("network", networks.NETWORKS)
def test_every_layer_of_a_network_has_a_name_of_its_own(network):
    names = style.layers(
        [name.removesuffix(".weight") for name in networks.prunable(networks.build(network))]
    )
    assert len(set(names)) == len(names)
    assert names[-1] == ("", "", "output")


def test_layers_of_residual_networks_have_stage_and_block():
    """The CIFAR ResNets count blocks throughout; torchvision's start again at each stage."""
    cifar = ["conv", "blocks.0.conv1", "blocks.1.conv2", "blocks.2.conv1", "blocks.2.shortcut.0",
             "blocks.3.conv1", "blocks.4.shortcut.0", "fc"]  # fmt: skip
    assert style.layers(cifar) == [
        ("", "", "input"),
        ("stage 1", "block 1", "conv 1"),
        ("stage 1", "block 2", "conv 2"),
        ("stage 2", "block 1", "conv 1"),
        ("stage 2", "block 1", "shortcut"),
        ("stage 2", "block 2", "conv 1"),
        ("stage 3", "block 1", "shortcut"),
        ("", "", "output"),
    ]
    others = ["conv1", "layer1.0.conv3", "layer1.0.downsample.0", "layer4.2.conv1", "fc"]
    assert style.layers(others)[1:4] == [
        ("stage 1", "block 1", "conv 3"),
        ("stage 1", "block 1", "shortcut"),
        ("stage 4", "block 3", "conv 1"),
    ]


def test_an_interval_shows_on_which_side_of_zero_it_ends():
    assert style.with_interval(-0.404, -0.76, -0.049) == "-0.40 (-0.76 to -0.05)"
    assert style.with_interval(-0.4, -0.8, -0.004) == "-0.400 (-0.800 to -0.004)"
    assert style.with_interval(0.2, -0.25, 0.64) == "+0.2 (-0.2 to +0.6)"
    assert style.with_interval(0.0, 0.0, 0.0) == "+0.0 (+0.0 to +0.0)"


def test_layers_without_blocks_are_numbered():
    found = style.layers(["features.0", "features.3", "classifier.0"])
    assert [name for _, _, name in found] == ["conv 1", "conv 2", "output"]
    found = style.layers(["layers.0", "layers.1", "layers.2"])
    assert [name for _, _, name in found] == ["layer 1", "layer 2", "output"]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("snip+shuffle against snip at 93.1 %", "shuffled SNIP against SNIP at 93.1 %"),
        ("magnitude@end/21", "magnitude after training rewound to iteration 21"),
        ("magnitude@end against unpruned", "magnitude after training against unpruned"),
        ("iterative_snip+reinit@k", "reinitialised iterative SNIP at iteration k"),
        ("random~fixed_variance", "random with fixed-variance init"),
        (
            "lenet_mnist minus resnet20_cifar10",
            "LeNet-300-100 on MNIST minus ResNet-20 on CIFAR-10",
        ),
        ("trend of grasp, where a network guesses", "trend of GraSP, where a network guesses"),
        ("", ""),
    ],
)
def test_parts_of_claims_in_words(part, words):
    assert style.in_words(part) == words
