"""What the figures share: a titled Figure of this project's looks, lines with their bands, the
unpruned network, the axis of sparsities, the limits that enlarge what matters, and the legend."""

import contextlib
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from prunelib.pages.style import CONTROLS, RC, UNPRUNED, Look

WIDTH = 9.4  # inches: a notebook shows a figure about 900 pixels wide
GREY = "#666666"
TINT = "#f6f4ec"  # of what is enlarged
TITLE = 11.5  # points
LABEL = 0.36  # inches that the label of a sparsity takes
WINDOW = (2.5, 15.0)  # the fewest and the most percentage points that enlarged axes show


@contextlib.contextmanager
def panels(title: str, size: tuple[float, float], shape=(1, 1), **shared) -> Iterator:
    """A Figure of this project's looks and its axes, a two-dimensional array.

    Args:
        title: its first line is the title, what follows is set smaller, below.
        size: width and height in inches.
        shape: rows and columns. shared: what `matplotlib.pyplot.subplots` takes.
    """
    head, _, rest = title.partition("\n")
    heads = textwrap.wrap(head, round(9.3 * size[0]))
    lines = textwrap.wrap(rest, round(15 * size[0]))
    with matplotlib.rc_context(RC):
        fig, axes = plt.subplots(
            *shape, figsize=size, squeeze=False, layout="constrained", **shared
        )
        # The layout makes room for a title alone: its empty lines are for what stands below it.
        fig.suptitle("\n".join([*heads, *([""] * len(lines))]), fontsize=TITLE, weight="bold")
        below = (0.55 + 1.2 * len(heads)) * TITLE / 72
        place = fig.transFigure + ScaledTranslation(0, -below, fig.dpi_scale_trans)
        look = {"va": "top", "ha": "center", "fontsize": 9, "color": GREY, "linespacing": 1.3}
        fig.text(0.5, 1, "\n".join(lines), look, transform=place)
        yield fig, axes
        plt.close(fig)  # a notebook shows what a cell returns; nothing else keeps the figure


def noted(title: str, note: str) -> str:
    """A title whose second line ends in a note."""
    return f"{title}; {note}" if "\n" in title else f"{title}\n{note[0].upper()}{note[1:]}"


def line(axis: Axes, x, y: pd.Series, rows: pd.DataFrame, look: Look, label: str) -> None:
    """A line of means with a band of one standard deviation.

    Args:
        x, y: its points. rows: of the same length, with their std.
        label: of the legend.
    """
    control = look.label in CONTROLS
    axis.plot(
        x, y, color=look.colour, marker=look.marker, linestyle=look.dash, label=label,
        zorder=2.1 if control else 2.2, markeredgecolor="white", markeredgewidth=0.3,
    )  # fmt: skip
    band(axis, x, y, rows["std"], look.colour, 0.06 if control else 0.13)


def band(axis: Axes, x, y: pd.Series, std: pd.Series, colour: str, alpha: float) -> None:
    """One standard deviation around means that are percentages: what is below 0 or above 100 % is
    cut off."""
    low, high = (y - std).clip(lower=0), (y + std).clip(upper=100)
    axis.fill_between(x, low, high, color=colour, alpha=alpha, linewidth=0)


def unpruned(axis: Axes, rows: pd.DataFrame, labels: Mapping[str, str]) -> None:
    """The unpruned networks of each initialisation, of what was trained of them: a line, with a
    band of one standard deviation.

    Args:
        rows: of a panel. labels: of the legend, by the names of lines.
    """
    for look in UNPRUNED.values():
        own = rows[rows["line"] == look.label]
        drawn = {"color": look.colour, "linestyle": look.dash, "label": labels.get(look.label)}
        for mean, std in zip(own["accuracy"], own["std"], strict=True):
            axis.axhline(mean, linewidth=1, zorder=2, **drawn)
            low, high = max(mean - std, 0), min(mean + std, 100)
            axis.axhspan(low, high, color=look.colour, alpha=0.1, linewidth=0)


def printed(axis: Axes, x: float, y: float, look: Look, label: str, **where) -> None:
    """A value that the paper prints: an open marker, which hides nothing."""
    shape = {"linestyle": "", "markerfacecolor": "none", "markersize": 6.5}
    axis.plot([x], [y], marker=look.marker, color=look.colour, zorder=4, **shape, **where)
    axis.plot([], [], marker="o", color=GREY, label=label, **shape)


def count(rows: pd.DataFrame, asked: int = 0) -> str:
    """The replicates behind rows, as "n = 3" or "n = 2 to 3", with " of 5" behind it where more
    were asked for."""
    low, high = rows["n"].min(), rows["n"].max()
    there = f"n = {low}" if low == high else f"n = {low} to {high}"
    return f"{there} of {asked}" if low < asked else there


def enlarged(data: pd.DataFrame) -> tuple[float, float]:
    """Limits of axes on which accuracies near the unpruned network's can be told apart.

    Three quarters of the points lie within, or all of them where that takes no more than twice
    the room, but never less than `WINDOW` allows, nor more; controls (`style.CONTROLS`) do not
    count.
    """
    dense = data[data["line"] == UNPRUNED["he"].label]["accuracy"]
    counted = data[~data["line"].isin(CONTROLS)]["accuracy"]
    lines = counted if len(counted) else data["accuracy"]
    mark, best = dense.iloc[0] if len(dense) else lines.max(), lines.max()
    lost = (mark - lines).clip(lower=0)
    least, most = WINDOW
    room = min(max(lost.quantile(0.75), least), most)
    room = max(lost.max(), 1) if lost.max() <= 2 * room else room
    return mark - 1.06 * room, min(max(mark, best) + 0.12 * room, 100)


def sparsity_axis(axis: Axes, sparsities: Sequence[float], room: float) -> None:
    """An axis of percent of weights remaining, descending on a log scale, labelled by sparsity.

    Args:
        sparsities: in [0, 1), ascending.
        room: the width of the axis in inches; as many sparsities are labelled as fit.
    """
    axis.set_xscale("log")
    axis.set_xlim(108 * (1 - sparsities[0]), 92 * (1 - sparsities[-1]))
    every = math.ceil(len(sparsities) * LABEL / room)
    shown = sparsities[1::every] if every > 1 else sparsities
    axis.xaxis.set_major_locator(FixedLocator([100 * (1 - s) for s in shown]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticklabels([f"{100 * s:.1f}" for s in shown])
    axis.set_xlabel("Sparsity (%), log axis")


def width(axis: Axes) -> float:
    """About how many inches wide an axis will be, before the layout is computed."""
    return 1.12 * axis.get_position().width * axis.figure.get_figwidth()


def legend(fig: Figure) -> None:
    """One legend below all axes, each name once, in as many columns as there is room for."""
    named = [zip(*axis.get_legend_handles_labels(), strict=True) for axis in fig.axes]
    handles = {name: handle for pairs in named for handle, name in pairs}
    for most in range(min(len(handles), 4), 0, -1):
        columns = math.ceil(len(handles) / math.ceil(len(handles) / most))  # rows of like length
        made = fig.legend(
            handles.values(), handles, loc="outside lower center", fontsize=9, ncols=columns
        )
        fig.draw_without_rendering()
        if most == 1 or made.get_window_extent().width <= fig.bbox.width:
            return
        made.remove()
