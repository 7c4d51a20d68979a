"""One visual language: how every method and ablation looks, the same in every figure; what
settings, data and layers are called in front of people; matplotlib's settings, and the templates of
HTML.

The lines of one figure differ in colour, in lightness, so that they can be told apart in grey and
by colour-blind readers too, in marker and in dash.
"""

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

import jinja2
import pandas as pd

from prunelib import provenance, scores, settings
from prunelib.grids import FIGURES
from prunelib.runs import Curve


class Look(NamedTuple):
    """How a line is drawn: what its legend says, and matplotlib's colour, marker and line style."""

    label: str
    colour: str
    marker: str
    dash: str | tuple


RC = {
    "figure.facecolor": "white", "savefig.facecolor": "white", "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.color": "#e4e4e4", "grid.linewidth": 0.6,
    "font.size": 9, "axes.titlesize": 10, "axes.axisbelow": True, "legend.frameon": False,
    "legend.handlelength": 3.5, "lines.linewidth": 1.6, "lines.markersize": 5.5,
    "svg.hashsalt": "prunelib", "figure.dpi": 100,
}  # fmt: skip
TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("prunelib.pages", "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)

UNPRUNED = {
    "he": Look("Unpruned", "#000000", "", "-"),
    "fixed_variance": Look("Unpruned, fixed-variance init", "#f28cb8", "", (0, (1, 1))),
}
METHODS = {
    "magnitude after training": Look("Magnitude after training", "#022667", "o", "-"),
    "magnitude": Look("Magnitude", "#0a6e5e", "s", "--"),
    "snip": Look("SNIP", "#d64600", "^", "-."),
    "grasp": Look("GraSP", "#c36beb", "v", (0, (3, 1, 1, 1, 1, 1))),
    "synflow": Look("SynFlow", "#d6bb0f", "D", (0, (5, 1))),
    "random": Look("Random", "#9ea7aa", "X", ":"),
    "lottery ticket rewinding": Look("Lottery ticket rewinding", "#1f2fd8", "P", (0, (1, 1))),
    "gradual": Look("Gradual magnitude", "#c15c2b", "^", "-."),
    "iterative_snip": Look("Iterative SNIP", "#7a1f4a", "P", "--"),
    "grasp invert": Look("GraSP, inverted", "#19277e", "^", ":"),
    "grasp_magnitude": Look("GraSP by magnitude", "#4a2bc8", "P", (0, (6, 1, 1, 1))),
    "synflow shuffle": Look("SynFlow, shuffled", "#5e3104", "d", (0, (2, 1))),
    # Later ones, to be told apart from each other, random and magnitude after training.
    "erk": Look("ERK", "#189dd2", "<", "--"),
    "smart_ratios": Look("Smart ratios", "#b4c242", ">", "-."),
    "igq": Look("IGQ", "#3ae998", "d", (0, (5, 1))),
    "synflow_l2": Look("SynFlow-L2", "#ae7244", "*", (0, (3, 1, 1, 1))),
    "force": Look("FORCE", "#31617b", "h", (0, (1, 1))),
    "phew": Look("PHEW", "#7751e5", "p", (0, (6, 1, 1, 1))),
    "prospr": Look("ProsPr", "#3400ef", "8", (0, (3, 1, 1, 1, 1, 1))),
    "ntk_sap": Look("NTK-SAP", "#403b1a", "P", (0, (2, 1))),
}
# Of methods outside the paper, in the order in which they were registered; then again from the
# first.
SPARE = (
    ("#b8004e", "h", "-"), ("#007d8a", "<", "--"), ("#6b6f00", ">", "-."), ("#8a4fd0", "p", ":"),
    ("#ff8a3d", "*", (0, (5, 1))), ("#2f8f2f", "H", (0, (3, 1, 1, 1))),
    ("#5a6b8c", "8", (0, (1, 1))), ("#e0569b", "d", (0, (6, 1, 1, 1))),
)  # fmt: skip
VARIANTS = {
    "none": Look("Unmodified", "#022667", "o", "-"),
    "shuffle": Look("Shuffled", "#c25a00", "s", "--"),
    "reinit": Look("Reinitialised", "#0a6e5e", "^", "-."),
    "invert": Look("Inverted", "#4595e6", "<", ":"),
    "fixed_variance": Look("Fixed-variance init", "#f28cb8", "D", (0, (5, 1))),
}
# The lines that show what is lost, not what a method can do: limits of axes are not theirs.
CONTROLS = {METHODS["random"].label, VARIANTS["invert"].label, METHODS["grasp invert"].label}

# What figures and tables are about, in the order of the paper; numbers are figures, as in the
# ledger.
SUBJECTS = {
    "1": "Weights that remain while training",
    "2": "What each method was compared with",
    "3": "Accuracy of the methods when they prune at initialisation",
    "4": "Ablations of the methods at initialisation",
    "5": "Neurons that lose their weights",
    "6": "Accuracy when pruning later in training",
    "Table 1": "Networks of the SNIP paper",
    "Table 2": "SNIP, as reported and as replicated",
    "Table 3": "SNIP on the networks of the GraSP paper, as reported and as replicated",
    "Table 4": "Networks of the GraSP paper",
    "Table 5": "GraSP, as reported and as replicated",
    "Table 6": "Networks of the SynFlow paper",
    "Table 7": "Unpruned networks of the SynFlow paper",
    "7": "SynFlow at extreme sparsities",
    "8": "Accuracy of the baselines",
    "9": "Ablations after training",
    "10": "Ablations when pruning later in training",
    "11": "SNIP in one shot and in a hundred iterations",
    "12": "Ablations of iterative SNIP",
    "13": "Three variants of GraSP",
    "14": "The best variants at initialisation",
    "15": "Sparsity of each layer",
    "16": "Effective weights, shuffled over unmodified",
}
NAMED = {  # figures that have no number in the paper
    "weights": "Unpruned weights",
    "Y": "Later methods, shuffled and drawn anew",
    "Y-collapse": "Neuron collapse of later methods",
}
NETWORKS = {
    "lenet": "LeNet-300-100", "lenet_8x8": "LeNet-300-100", "resnet8_8x8": "ResNet-8",
    "resnet20": "ResNet-20", "resnet18": "ResNet-18", "modified_resnet18": "Modified ResNet-18",
    "modified_resnet18_10": "Modified ResNet-18", "resnet50": "ResNet-50",
    "vgg11": "VGG-11", "vgg16": "VGG-16", "vgg19": "VGG-19", "vgg2_16": "VGG2-16",
    "wrn_14_8": "WRN-14-8", "wrn_14_10": "WRN-14-10", "wrn_20_8": "WRN-20-8",
    "wrn_32_2": "WRN-32-2",
}  # fmt: skip
DATASETS = {
    "mnist": "MNIST", "cifar10": "CIFAR-10", "cifar10-jpeg": "CIFAR-10 as JPEG",
    "tinyimagenet": "TinyImageNet", "modified_tinyimagenet": "TinyImageNet",
    "imagenet": "ImageNet", "digits": "digits", "shifted_digits": "digits",
}  # fmt: skip


def title(setting: str) -> str:
    """The name of a setting for people, as "ResNet-20 on CIFAR-10"."""
    about = settings.get(setting)
    network = NETWORKS.get(about.network, provenance.label(about.network))
    name = f"{network} on {dataset(about.dataset)}"
    if setting.endswith("_tanaka"):
        name += " (recipe of Tanaka et al.)"
    return f"{name} (the miniature)" if "miniature" in about.appears else name


def dataset(name: str) -> str:
    """The name of a data set, or of a variant of it, for people."""
    return DATASETS.get(name, provenance.label(name))


def layers(names: Sequence[str]) -> list[tuple[str, str, str]]:
    """What the paper calls the prunable layers of a network.

    Args:
        names: of the layers in the network's state dict, all of them, from input to output.

    Returns:
        a (stage, block, layer) a name: ("stage 2", "block 1", "shortcut"); stage and block are
        empty outside of residual blocks. A new stage begins at a block with a shortcut of its own.
    """
    block = re.compile(r"(?:layer(\d+)|blocks)\.(\d+)\.(?:conv(\d)|(shortcut|downsample))")
    found = [block.match(name) for name in names]
    firsts = [0, *(int(m[2]) for m in found if m and m[4] and not m[1])]
    inner = iter(range(1, len(names)))
    places = []
    for place, match in enumerate(found):
        if match:
            index = int(match[2])
            stage = match[1] or sum(first <= index for first in firsts)
            start = 0 if match[1] else max(first for first in firsts if first <= index)
            own = f"conv {match[3]}" if match[3] else "shortcut"
            places.append((f"stage {stage}", f"block {index - start + 1}", own))
        elif place == len(names) - 1:
            places.append(("", "", "output"))
        elif any(found):
            places.append(("", "", "input"))
        else:
            kind = "conv" if names[place].startswith("features") else "layer"
            places.append(("", "", f"{kind} {next(inner)}"))
    return places


def layer_labels(names: Sequence[str]) -> list[str]:
    """The names of `layers`, each in one: "stage 2 block 1 shortcut"."""
    return [" ".join(filter(None, place)) for place in layers(names)]


def compares_methods(figure: int) -> bool:
    """Whether the lines of a figure are methods; otherwise its panels are, and lines variants."""
    return list(FIGURES[figure].panels) == [""]


def method(key: str) -> Look:
    """How a method is drawn, also one outside the paper.

    Args:
        key: of `METHODS`; or a method's name, with its ablation behind it, if it has one.
    """
    if key in METHODS:
        return METHODS[key]
    name, _, ablation = key.partition(" ")
    words = provenance.label(name) + (f", {VARIANTS[ablation].label.lower()}" if ablation else "")
    others = [other for other in scores.METHODS if other not in METHODS]
    place = others.index(name) if name in others else len(others)
    return Look(words, *SPARE[place % len(SPARE)])


def ordered(keys: Collection[str]) -> list[str]:
    """Keys as `method` takes them in the order of legends: the paper's, then others."""
    first = [key for key in METHODS if key in keys]
    return first + [key for key in dict.fromkeys(keys) if key not in METHODS]


def look(figure: int, curve: Curve) -> Look:
    """How a curve is drawn in a figure: as its method, or as its ablation or initialisation."""
    if curve.method == "dense":
        return UNPRUNED[curve.init]
    if not compares_methods(figure):
        return VARIANTS[curve.init if curve.init != "he" else curve.ablation]
    if curve.prune_at == "end":
        after = curve.weights_from == "end"
        return METHODS["magnitude after training" if after else "lottery ticket rewinding"]
    return method(" ".join([curve.method, curve.ablation]).removesuffix(" none"))


def is_unpruned(lines: pd.Series) -> pd.Series:
    """Which of the lines of a figure, by their names, are unpruned networks'."""
    return lines.isin([look.label for look in UNPRUNED.values()])


def label(figure: int, curve: Curve) -> str:
    """The name of a curve in a figure."""
    return look(figure, curve).label


def panel_title(figure: int, panel: str) -> str:
    """What a panel shows: a method, and whether it prunes the trained network."""
    if not panel:
        return ""
    title = method(panel).label
    late = FIGURES[figure].panels[panel][0].prune_at == "end" and "after training" not in title
    return f"{title} after training" if late else title


def curve_in_words(curve: Curve) -> str:
    """A curve as people say it: "shuffled SNIP", "magnitude after training rewound to iteration
    21"."""
    words = [] if curve.ablation == "none" else [VARIANTS[curve.ablation].label.lower()]
    label = UNPRUNED["he"].label if curve.method == "dense" else method(curve.method).label
    plain = label[1:].partition(" ")[0].islower()  # "Magnitude", and not "SNIP" or "SynFlow"
    words.append(label[0].lower() + label[1:] if plain else label)
    if curve.prune_at == "end":
        words.append("after training")
    elif curve.prune_at != 0:
        words.append(f"at iteration {curve.prune_at}")
    if curve.weights_from != curve.prune_at:
        words.append(f"rewound to iteration {curve.weights_from}")
    if curve.init != "he":
        words.append(f"with {VARIANTS[curve.init].label.lower()}")
    return " ".join(words)


def in_words(part: str) -> str:
    """The label of a claim's part with its curves and settings as people say them.

    Args:
        part: as the ledger has it, "snip+shuffle against snip at 93.1 %".
    """

    def word(found):
        token = found[0]
        if token in settings.SETTINGS:
            return title(token)
        known = re.match(r"\w+", token)[0] in {"unpruned", *scores.UNSCORED, *scores.METHODS}
        return curve_in_words(Curve.parse(token)) if known else token

    return re.sub(r"\b\w[\w+@/~]*", word, part)


def with_interval(effect: float, low: float, high: float) -> str:
    """An effect in percentage points and its interval, as "-0.4 (-0.8 to +0.1)": to a tenth, or to
    as many digits as show on which side of zero each end lies."""
    digits, ends = 1, [end for end in (low, high) if abs(end) > 1e-6]
    while digits < 4 and not all(round(end, digits) for end in ends):
        digits += 1
    effect, low, high = (f"{value:+z.{digits}f}" for value in (effect, low, high))
    return f"{effect} ({low} to {high})"


def percentages(values: Collection[float]) -> str:
    """Shares in [0, 1] as people read them: "73.8, 93.1"; "" if there are none."""
    return ", ".join(f"{100 * value:.1f}" for value in values)
