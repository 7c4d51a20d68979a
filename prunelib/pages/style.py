"""One visual language: the label, colour, marker and dash of every method and ablation, the same in
every figure, from a palette that colour-blind readers can tell apart; and matplotlib's settings."""

from typing import NamedTuple

import seaborn as sns

from prunelib.grids import FIGURES
from prunelib.runs import Curve


class Look(NamedTuple):
    """How a line is drawn: what its legend says, and matplotlib's colour, marker and line style."""

    label: str
    colour: str
    marker: str
    dash: str | tuple


_PALETTE = sns.color_palette("colorblind").as_hex()
RC = {
    "figure.facecolor": "white", "savefig.facecolor": "white", "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.6,
    "font.size": 9, "axes.titlesize": 10, "legend.frameon": False, "legend.handlelength": 3.5,
    "lines.linewidth": 1.5, "lines.markersize": 4.5, "svg.hashsalt": "prunelib", "figure.dpi": 100,
}  # fmt: skip

METHODS = {
    "magnitude after training": Look("Magnitude after training", _PALETTE[0], "o", "-"),
    "magnitude": Look("Magnitude", _PALETTE[2], "s", "--"),
    "snip": Look("SNIP", _PALETTE[3], "^", "-."),
    "grasp": Look("GraSP", _PALETTE[4], "v", (0, (3, 1, 1, 1, 1, 1))),
    "synflow": Look("SynFlow", _PALETTE[5], "D", (0, (5, 1))),
    "random": Look("Random", _PALETTE[9], "x", ":"),
    "lottery ticket rewinding": Look("Lottery ticket rewinding", "#222222", "P", (0, (1, 1))),
    "gradual": Look("Gradual magnitude", _PALETTE[3], "^", "-."),
    "iterative_snip": Look("Iterative SNIP", "#004d40", "P", "--"),
    "grasp invert": Look("GraSP, inverted", _PALETTE[3], "^", ":"),
    "grasp_magnitude": Look("GraSP by magnitude", "#5b2a86", "P", (0, (6, 1, 1, 1))),
    "synflow shuffle": Look("SynFlow, shuffled", _PALETTE[1], "d", (0, (5, 1))),
}
VARIANTS = {
    "none": Look("Unmodified", _PALETTE[0], "o", "-"),
    "shuffle": Look("Shuffled", _PALETTE[1], "s", "--"),
    "reinit": Look("Reinitialised", _PALETTE[2], "^", "-."),
    "invert": Look("Inverted", _PALETTE[3], "v", ":"),
    "fixed_variance": Look("Fixed-variance init", _PALETTE[4], "D", (0, (5, 1))),
}


def compares_methods(figure: int) -> bool:
    """Whether the lines of a figure are methods; otherwise its panels are, and lines variants."""
    return list(FIGURES[figure].panels) == [""]


def look(figure: int, curve: Curve) -> Look:
    """How a curve is drawn in a figure: as its method, or as its ablation or initialisation."""
    if not compares_methods(figure):
        return VARIANTS[curve.init if curve.init != "he" else curve.ablation]
    if curve.prune_at == "end":
        after = curve.weights_from == "end"
        return METHODS["magnitude after training" if after else "lottery ticket rewinding"]
    return METHODS[" ".join([curve.method, curve.ablation]).removesuffix(" none")]


def label(figure: int, curve: Curve) -> str:
    """The name of a curve in a figure."""
    return look(figure, curve).label


def panel_title(figure: int, panel: str) -> str:
    """What a panel shows: a method, and whether it prunes the trained network."""
    if not panel:
        return "All accuracies"
    title = METHODS[panel].label
    late = FIGURES[figure].panels[panel][0].prune_at == "end" and "after training" not in title
    return f"{title} after training" if late else title
