"""Accuracy as figures (3, 4, 6 to 14) and the weights remaining (1), from the numbers that
`findings` computes; the digest of numbers that are drawn; and what to save beside a Figure, `save`.

A title may have a second line, which says what the numbers rest on. What the paper prints is drawn
as open markers, where it prints anything for the setting.
"""

import hashlib
import io
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from prunelib import settings
from prunelib.errors import BadValueError
from prunelib.findings import curves
from prunelib.findings.introduction import WITHIN
from prunelib.grids import FIGURES
from prunelib.pages import style
from prunelib.pages.axes import (
    GREY,
    TINT,
    WIDTH,
    count,
    enlarged,
    legend,
    noted,
    printed,
    sparsity_axis,
    width,
)
from prunelib.pages.axes import line as _line
from prunelib.pages.axes import panels as _axes
from prunelib.pages.axes import unpruned as _unpruned
from prunelib.paths import figures_root, write_atomically

MOST = 5  # panels in a row
# What to know where the schedule is shortened.
TWICE = "at so short a schedule, pruning after training gains by training twice"


def accuracy(
    data: pd.DataFrame,
    title: str,
    figure: int,
    setting: str,
    profile: str,
    replicates: int | None = None,
) -> Figure:
    """Test accuracy against sparsity: near the unpruned network, and whole where there is more.

    Args:
        data: as `accuracy_data` returns it.
        figure: whose panels are drawn. setting, profile: whose sparsities the axes show.
        replicates: how many there should be; the profile's number by default. Lines that have
            fewer, or miss sparsities, say so in the legend.
    """
    grid = FIGURES[figure]
    names, ticks = list(grid.panels), [s for s, _ in grid.points(setting, profile)]
    asked = replicates or grid.count(setting, profile)
    labels = {line: counted(data, line, asked, len(ticks)) for line in data["line"].unique()}
    low, high = enlarged(data)
    both = data["accuracy"].min() < low - 0.3 * (high - low)
    low = low if both else min(low, data["accuracy"].min() - 0.05 * (high - low))
    shape, size, ratios = _layout(len(names), both)
    title = noted(title, "bands: one standard deviation")
    if (data["n"] == 1).any():
        title = noted(title, "no band where n = 1")
    if settings.get_profile(profile).scale < 1 and _pruned_late(data, figure):
        title = noted(title, TWICE)
    with _axes(title, size, shape, **ratios) as (fig, axes):
        columns = _columns(axes, len(names), both)
        for column, panel in zip(columns, names, strict=True):
            rows = data[data["panel"] == panel]
            for axis, lowest in zip(column, [-math.inf, low][not both :], strict=True):
                where = "remaining", [100 * (1 - s) for s in ticks]
                _lines(axis, figure, panel, rows, where, labels, lowest)
                sparsity_axis(axis, ticks, width(axis))
            if style.is_unpruned(rows["line"]).all():
                about = {"ha": "center", "va": "center", "color": GREY}
                column[-1].text(0.5, 0.5, "not run", about, transform=column[-1].transAxes)
            column[-1].set_ylim(low, high)
            _printed_marks(column[-1], figure, panel, setting)
        _name_axes(axes, _titles(data, figure, names), both)
        if both:
            for whole, top in columns:
                whole.axhspan(low, high, color=TINT, zorder=0)
                top.set_facecolor(TINT)
        legend(fig)
    return fig


def steps(
    data: pd.DataFrame,
    title: str,
    figure: int,
    setting: str,
    profile: str,
    replicates: int | None = None,
) -> Figure:
    """Figures 6 and 10: test accuracy against the iteration at which the network is pruned.

    The first steps are drawn apart from each other and the last ones too: the axis is linear up to
    the first step behind 0 and logarithmic from there. Vertical lines are the drops of the learning
    rate.

    Args:
        data: as `accuracy_data` returns it for such a figure.
        figure: whose panels are drawn. setting, profile: whose schedule the axis shows.
        replicates: as of `accuracy`.
    """
    grid, schedule = FIGURES[figure], settings.schedule(setting, profile)
    names, there = list(grid.panels), settings.steps(setting, profile)
    numbers = list(map(schedule.iteration, there))
    asked = replicates or grid.count(setting, profile)
    labels = {line: counted(data, line, asked, len(there)) for line in data["line"].unique()}
    shape, size, _ = _layout(len(names), False)
    scale = f"axis linear up to {there[1]:,}, then logarithmic to {schedule.iterations:,}"
    title = noted(noted(title, "bands: one standard deviation"), scale)
    with _axes(title, size, shape, sharex=True, sharey=True) as (fig, axes):
        for axis, panel in zip(axes[0], names, strict=True):
            rows = data[data["panel"] == panel]
            _lines(axis, figure, panel, rows, ("step", numbers), labels)
            for drop in schedule.drops:
                dash = {"color": GREY, "linewidth": 0.8, "linestyle": (0, (4, 4))}
                axis.axvline(drop, label="Drop of the learning rate", **dash)
            _step_axis(axis, numbers)
            axis.set_xlabel("Iteration of pruning" + ("" if panel else " (or rewinding)"))
        _name_axes(axes, _titles(data, figure, names), False)
        legend(fig)
    return fig


def _lines(axis, figure, panel, rows, where, labels, lowest=-math.inf):
    """The lines of a panel, the unpruned networks' too, against a column, with gaps at those of its
    values of which nothing was run; `labels` are those of the legend by the names of lines. Bands
    end where the mean is below the lowest accuracy that the axis shows, as there they would only
    hide the others."""
    _unpruned(axis, rows, labels)
    along, ticks = where
    for curve in FIGURES[figure].panels[panel]:
        look = style.look(figure, curve)
        points = rows[rows["line"] == look.label]
        if len(points):
            points = points.set_index(along).reindex(ticks).rename_axis(along).reset_index()
            seen = points.assign(std=points["std"].where(points["accuracy"] > lowest))
            _line(axis, points[along], points["accuracy"], seen, look, labels[look.label])


def _titles(data: pd.DataFrame, figure: int, names: list[str]) -> list[str]:
    """The titles of panels; where they rest on unlike numbers of replicates, with these."""
    pruned = data[~style.is_unpruned(data["line"])]
    counts = {panel: count(rows) for panel, rows in pruned.groupby("panel")}
    told = len(set(counts.values())) > 1
    return [
        style.panel_title(figure, panel)
        + (f" ({counts[panel]})" if told and panel in counts else "")
        for panel in names
    ]


def introduction(data: pd.DataFrame, title: str, asked: int) -> Figure:
    """Figure 1: the weights remaining at each step, from `introduction.remaining`.

    What is achieved in retrospect is dashed, the other lines are not. Lines that rest on fewer
    replicates than were asked for say so in the legend.
    """
    looks = {look.label: look for look in style.METHODS.values()}
    points = f"{100 * WITHIN:g} percentage point"
    title = noted(title, f"each at its highest sparsity within {points} of the unpruned network")
    title = noted(title, "dashed: achieved in retrospect")
    with _axes(title, (WIDTH, 4.6)) as (fig, ((axis,),)):
        for line, points in data.groupby("line", sort=False):
            look, first = looks[line], points.iloc[0]
            pruned = f"{first['sparsity']:.1f} % pruned" if first["sparsity"] else "no sparsity"
            drawn = {"color": look.colour, "linestyle": "--" if first["retroactive"] else "-"}
            label = f"{line}: {pruned} ({count(points, asked)})"
            axis.step(points["step"], points["remaining"], where="post", label=label, **drawn)
        axis.set(xlabel="Iteration of training", ylim=(0, 104), xlim=(0, None))
        axis.set_ylabel("Weights remaining (%)")
        legend(fig)
    return fig


def _step_axis(axis: Axes, numbers: Sequence[int]) -> None:
    """An axis of steps, with labels at as many of them as there is room for, and at both ends."""
    factor = 2 if width(axis) > 4 else 5  # between steps that are labelled
    first, last = numbers[1], numbers[-1]
    axis.set_xscale("symlog", linthresh=first, linscale=0.5)
    axis.set_xlim(-first / 4, 1.15 * last)
    shown = [0]
    for step in numbers[1:-1]:
        if step >= factor * max(shown[-1], first / factor) and 0.8 * factor * step < last:
            shown.append(step)
    names = [f"{step / 1000:.3g}K" if step >= 1000 else str(step) for step in shown]
    axis.xaxis.set_major_locator(FixedLocator([*shown, last]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticklabels([*names, "end"])


def _layout(panels: int, both: bool) -> tuple[tuple[int, int], tuple[float, float], dict]:
    """Rows and columns, inches, and ratios of the panels of accuracies: whole and enlarged ones
    side by side where there is one of each, otherwise in a row of each, twice so where there are
    too many panels for one."""
    if panels == 1:
        return (1, 1 + both), (WIDTH, 4.6), {"width_ratios": [1, 2][not both :]}
    rows = 1 + (panels > MOST)
    shared = {"sharey": "row", "height_ratios": rows * [1, 2][not both :]}
    height = 0.8 + (6.2 if both else 3.4) * [1, 1.5][rows - 1]
    return (rows * (1 + both), math.ceil(panels / rows)), (WIDTH, height), shared


def _columns(axes, panels, both):
    """The axes of each panel, an array of one or of two, the whole and the enlarged."""
    rows = 1 + (panels > MOST)
    return axes.reshape(rows, 1 + both, -1).transpose(0, 2, 1).reshape(-1, 1 + both)[:panels]


def _name_axes(axes, titles, both):
    """Name panels and the axes of accuracies."""
    for axis in axes[:, 0]:
        axis.set_ylabel("Test accuracy (%)")
    if both and len(titles) == 1:
        axes[0, 0].set_title("All accuracies")
        axes[0, 1].set_title("Enlarged: the tinted part")
        return
    narrow = axes.shape[1] > 4
    for column, title in zip(_columns(axes, len(titles), both), titles, strict=True):
        column[0].set_title(title.replace(" after", "\nafter") if narrow else title)
    if both:
        for whole, top in zip(axes[::2], axes[1::2], strict=True):
            whole[0].set_ylabel("Test accuracy (%),\nfull range")
            top[0].set_ylabel("Test accuracy (%),\nenlarged: the tinted part")
            for axis in whole:
                axis.set_xlabel("")
                axis.tick_params(labelbottom=False)


def _pruned_late(data, figure):
    """Whether lines are drawn of networks that were trained once before they were pruned."""
    drawn = set(zip(data["panel"], data["line"], strict=True))
    return any(
        curve.prune_at == "end" and (panel, style.label(figure, curve)) in drawn
        for panel, lines in FIGURES[figure].panels.items()
        for curve in lines
    )


def counted(data, line, asked, points):
    """The name of a line with its number of replicates, and what it lacks."""
    rows, along = data[data["line"] == line], "step" if "step" in data else "sparsity"
    there = rows.groupby("panel")[along].nunique().min()
    what = "steps" if along == "step" else "sparsities"
    few = there < points and not style.is_unpruned(rows["line"]).all()
    lacks = f", {there} of {points} {what}" if few else ""
    return f"{line} ({count(rows, asked)}{lacks})"


def _printed_marks(axis, figure, panel, setting):
    """The highest matching sparsities that the paper prints, on a vertical line each."""
    label = "Printed highest matching sparsity (along x only)"
    first, last = axis.get_xlim()
    for place, curve in enumerate(FIGURES[figure].panels[panel]):
        for sparsity in curves.printed_matching(setting, curve):
            x, where = 100 * (1 - sparsity), {"transform": axis.get_xaxis_transform()}
            where["clip_on"] = not first >= x >= last  # whole where it stands on the axis's end
            axis.axvline(x, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
            printed(axis, x, 0.04 + 0.06 * place, style.look(figure, curve), label, **where)


def digest(data: pd.DataFrame) -> str:
    """A digest of the numbers drawn, rounded to four digits behind the point."""
    return hashlib.sha256(data.round(4).to_csv(index=False).encode()).hexdigest()[:16]


def save(fig: Figure, name: str, data: pd.DataFrame, provenance: dict) -> Path:
    """Write figures/NAME.png, .svg, .csv (the numbers drawn) and .json (where they come from).

    Args:
        name: without a folder: letters, digits, "-", "_" and ".".
        data: the data frame that was drawn.
        provenance: what JSON can hold; the digest of the data is added.

    Returns:
        the path of the PNG.

    Raises:
        BadValueError: for another name. StoreError: nothing can be written there.
    """
    if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        raise BadValueError(f"figure name {name!r}: use letters, digits, '-', '_' and '.' only")
    root = figures_root()
    with matplotlib.rc_context(style.RC):
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            buffer = io.BytesIO()
            fig.savefig(buffer, format=kind, dpi=150, metadata=metadata)
            write_atomically(root / f"{name}.{kind}", buffer.getvalue())
    fig.set_label(name)
    write_atomically(root / f"{name}.csv", data.round(4).to_csv(index=False))
    provenance = provenance | {"digest": digest(data)}
    write_atomically(root / f"{name}.json", json.dumps(provenance, indent=1, sort_keys=True) + "\n")
    return root / f"{name}.png"


def described(fig: Figure) -> str:
    """What a figure says to those who do not see it: its title, and where `save` put it; of one
    that was not saved all that is written outside of its axes, the lines of its legend last."""
    if name := fig.get_label():
        return f"{fig.get_suptitle().strip()} (figures/{name})"
    legends = [text.get_text() for made in fig.legends for text in made.get_texts()]
    said = [text.get_text() for text in fig.texts] + ["; ".join(legends)]
    return ". ".join(" ".join(text.split()) for text in said if text.strip()) or repr(fig)


def named(description: str) -> str:
    """The name that a figure was saved under, from its description; "" if it was not saved."""
    found = re.search(r"\(figures/([\w.-]+)\)$", description)
    return found[1] if found else ""
