"""One function a kind of figure: accuracy (Figures 3 to 14), neuron collapse (5), layers (15), the
ratio of effective weights (16), and how far unpruned weights move. Each takes the numbers that
`findings.curves` computes and returns a matplotlib Figure; what to save beside it is in `save`."""

import contextlib
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from prunelib import settings
from prunelib.errors import BadValueError
from prunelib.grids import FIGURES
from prunelib.pages.style import METHODS, RC, VARIANTS, compares_methods, panel_title
from prunelib.paths import figures_root, write_atomically

TOP = 5  # percentage points shown by the enlarged axes
_GREY = "#555555"


def accuracy(data: pd.DataFrame, title: str, figure: int, setting: str, profile: str) -> Figure:
    """Test accuracy against sparsity: each panel of a figure whole, and its top again.

    Args:
        data: as `accuracy_data` returns it.
        figure: whose panels are drawn. setting, profile: whose sparsities the axes show.
    """
    panels = list(FIGURES[figure].panels)
    looks = (METHODS if compares_methods(figure) else VARIANTS).values()
    legend = {look.label: (look, f"{look.label} ({_n(data, look.label)})") for look in looks}
    alone = len(panels) == 1
    shape = (1, 2) if alone else (2, len(panels))
    size = (9.0, 4.3) if alone else (2.6 * len(panels), 6.2)
    with _axes(title, size, shape, sharey=False if alone else "row", sharex=True) as (fig, axes):
        for (whole, top), panel in zip(axes.reshape(2, -1).T, panels, strict=True):
            rows = data[data["panel"] == panel]
            for axis in (whole, top):
                _unpruned(axis, data, rows[rows["line"] == "Unpruned"])
                for line, points in rows[rows["line"] != "Unpruned"].groupby("line", sort=False):
                    _line(axis, points["remaining"], points["accuracy"], points, *legend[line])
                _sparsity_axis(axis, settings.sparsities(setting, profile))
            top.set_ylim(_top(data))
            whole.set_title(panel_title(figure, panel))
        if alone:
            top.set_title("The top, enlarged")
        named = [zip(*axis.get_legend_handles_labels(), strict=True) for axis in axes.flat]
        handles = {name: handle for pairs in named for handle, name in pairs}
        columns = 2 if len(panels) == 2 else 4
        fig.legend(handles.values(), handles, loc="outside lower center", fontsize=9, ncols=columns)
        for axis in axes[-1]:
            axis.set_xlabel("Sparsity (%), log scale")
        for axis in axes[:, 0]:
            axis.set_ylabel("Test accuracy (%)")
    return fig


def steps(data: pd.DataFrame, title: str, figure: int, setting: str, profile: str) -> Figure:
    """Figures 6 and 10: test accuracy against the iteration at which the network is pruned.

    The first steps are drawn apart from each other and the last ones too: the axis is linear up to
    the first step behind 0 and logarithmic from there. Vertical lines are the drops of the learning
    rate.

    Args:
        data: as `accuracy_data` returns it for such a figure.
        figure: whose panels are drawn. setting, profile: whose schedule the axis shows.
    """
    panels, schedule = list(FIGURES[figure].panels), settings.schedule(setting, profile)
    looks = (METHODS if compares_methods(figure) else VARIANTS).values()
    legend = {look.label: (look, f"{look.label} ({_n(data, look.label)})") for look in looks}
    size = (max(7.5, 3.0 * len(panels)), 4.6)
    with _axes(title, size, (1, len(panels)), sharex=True, sharey=True) as (fig, axes):
        for axis, panel in zip(axes[0], panels, strict=True):
            rows = data[data["panel"] == panel]
            _unpruned(axis, data, rows[rows["line"] == "Unpruned"])
            for line, points in rows[rows["line"] != "Unpruned"].groupby("line", sort=False):
                _line(axis, points["step"], points["accuracy"], points, *legend[line])
            for drop in schedule.drops:
                axis.axvline(drop, color=_GREY, linewidth=0.8, linestyle=(0, (4, 4)))
            _step_axis(axis, settings.steps(setting, profile), schedule.iterations)
            axis.set_title(panel_title(figure, panel) if panel else "")
            axis.set_xlabel("Iteration of pruning" if panel else "Iteration at which it is pruned")
        axes[0, 0].set_ylabel("Test accuracy (%)")
        named = [zip(*axis.get_legend_handles_labels(), strict=True) for axis in axes.flat]
        handles = {name: handle for pairs in named for handle, name in pairs}
        columns = 4 if len(panels) > 1 else 3
        fig.legend(handles.values(), handles, loc="outside lower center", fontsize=9, ncols=columns)
    return fig


def introduction(data: pd.DataFrame, title: str) -> Figure:
    """Figure 1: the weights remaining at each step, from `introduction.remaining`.

    What is achieved in retrospect is dashed, the other lines are not.
    """
    looks = {look.label: look for look in METHODS.values()}
    with _axis(title) as (fig, axis):
        for line, points in data.groupby("line", sort=False):
            look, first = looks[line], points.iloc[0]
            pruned = f"{first['sparsity']:.1f} % pruned" if first["sparsity"] else "no sparsity"
            style = {"color": look.colour, "linestyle": "--" if first["retroactive"] else "-"}
            label = f"{line}: {pruned} ({_n(points)})"
            axis.step(points["step"], points["remaining"], where="post", label=label, **style)
            axis.plot(*points[["step", "remaining"]].iloc[-1], look.marker, color=look.colour)
        axis.set(xlabel="Step of training (iterations)", ylim=(0, 104), xlim=(0, None))
        axis.set_ylabel("Weights remaining (%)")
    return fig


def collapse(data: pd.DataFrame, title: str) -> Figure:
    """Figure 5: the share of neurons with sparsity of at least s %, from `curves.collapse_data`.

    SynFlow's shuffled masks are drawn too, the other methods unmodified.
    """
    chosen = data[(data["ablation"] == "none") | (data["method"] == "synflow")]
    with _axis(title) as (fig, axis):
        for (method, ablation), rows in chosen.groupby(["method", "ablation"], sort=False):
            look = METHODS[method]
            if ablation == "shuffle":
                look = VARIANTS["shuffle"]._replace(label=f"{look.label}, shuffled")
            _line(axis, rows["threshold"], rows["share"], rows, look)
        axis.set_xlabel("s: at least this share of a neuron's incoming weights is pruned (%)")
        axis.set_ylabel("Neurons (%)")
    return fig


def layers(data: pd.DataFrame, title: str) -> Figure:
    """Figure 15: the sparsity of each layer, from `curves.layer_data`."""
    names = data["layer"].unique()
    with _axis(title, width=max(6.4, 0.3 * len(names))) as (fig, axis):
        for method, rows in data.groupby("method", sort=False):
            _line(axis, range(len(rows)), rows["sparsity"], rows, METHODS[method])
        axis.set_xticks(range(len(names)), names, rotation=90)
        axis.set_ylabel("Sparsity of the layer (%)")
    return fig


def ratio(data: pd.DataFrame, title: str) -> Figure:
    """Figure 16: effective weights, shuffled over unmodified, from `curves.ratio_data`.

    As in the paper the axis shows 0.99 to 1.05; values beyond are cut off.
    """
    with _axis(title) as (fig, axis):
        for method, rows in data.groupby("method", sort=False):
            _line(axis, 100 * (1 - rows["sparsity"]), rows["ratio"], rows, METHODS[method])
        _sparsity_axis(axis, sorted(data["sparsity"].unique()))
        axis.set(xlabel="Sparsity (%), log scale", ylim=(0.99, 1.05))
        axis.set_ylabel("Effective weights: shuffled / unmodified")
    return fig


def weights(data: pd.DataFrame, title: str) -> Figure:
    """How far the unpruned weights move under each ablation, from `curves.weight_data`.

    A column of panels a sparsity, a row before and one after training; bars are means over
    replicates of the Kolmogorov-Smirnov distance, their whiskers standard deviations.
    """
    whens, sparsities = data["when"].unique(), data["sparsity"].unique()
    methods = [m for m in METHODS if m in set(data["method"])]
    names = [METHODS[m].label.replace(" after", "\nafter") for m in methods]
    size = (3.4 * len(sparsities), 2.7 * len(whens))
    shape = (len(whens), len(sparsities))
    with _axes(title, size, shape, sharex=True, sharey=True) as (fig, axes):
        for row, when in zip(axes, whens, strict=True):
            for axis, sparsity in zip(row, sparsities, strict=True):
                rows = data[(data["when"] == when) & (data["sparsity"] == sparsity)]
                for shift, ablation in ((-0.2, "shuffle"), (0.2, "reinit")):
                    look = VARIANTS[ablation]
                    groups = rows[rows["ablation"] == ablation].groupby("method")["ks"]
                    means, stds = groups.mean().reindex(methods), groups.std().reindex(methods)
                    places = [place + shift for place in range(len(methods))]
                    axis.bar(places, means, 0.4, yerr=stds, color=look.colour, label=look.label)
                axis.set_title(f"{100 * sparsity:.1f} % sparsity")
                axis.set_xticks(range(len(methods)), names, rotation=60, ha="right")
                axis.set_axisbelow(True)
            row[0].set_ylabel(f"KS distance,\n{when} what is left")
        axes[0, 0].legend(fontsize=8)
    return fig


@contextlib.contextmanager
def _axes(title: str, size, shape=(1, 1), **shared) -> Iterator:
    """A Figure of this project's looks and its axes, a two-dimensional array."""
    with matplotlib.rc_context(RC):
        fig, axes = plt.subplots(
            *shape, figsize=size, squeeze=False, layout="constrained", **shared
        )
        fig.suptitle(title, fontsize=11)
        yield fig, axes
        plt.close(fig)  # a notebook shows what a cell returns; nothing else keeps the figure


@contextlib.contextmanager
def _axis(title: str, width=6.4) -> Iterator:
    """A Figure of one axis, which gets a legend."""
    with _axes(title, (width, 4.3)) as (fig, axes):
        yield fig, axes[0, 0]
        axes[0, 0].legend(fontsize=8)


def _line(axis, x, y, rows, look, label=None):
    label = label or f"{look.label} ({_n(rows)})"
    axis.plot(x, y, color=look.colour, marker=look.marker, linestyle=look.dash, label=label)
    low, high = y - rows["std"], y + rows["std"]
    axis.fill_between(x, low, high, color=look.colour, alpha=0.15, linewidth=0)


def _unpruned(axis, data, rows):
    """The unpruned network, if it was trained: a line, with a band of one standard deviation."""
    for mean, std in zip(rows["accuracy"], rows["std"], strict=True):
        axis.axhline(mean, color=_GREY, linewidth=1.2, label=f"Unpruned ({_n(data, 'Unpruned')})")
        axis.axhspan(mean - std, mean + std, color=_GREY, alpha=0.15, linewidth=0)


def _n(data, line=None):
    """How many replicates are behind the rows of data, or those of one of its lines."""
    counts = data["n"] if line is None else data["n"][data["line"] == line]
    low, high = counts.min(), counts.max()
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def _top(data: pd.DataFrame) -> tuple[float, float]:
    """Limits of an axis that shows the accuracies near that of the unpruned network."""
    dense = data[data["line"] == "Unpruned"]["accuracy"]
    best = data["accuracy"].max()
    low = (dense.iloc[0] if len(dense) else best) - TOP
    return max(low, data["accuracy"].min() - TOP / 10), best + TOP / 10


def _sparsity_axis(axis: Axes, ticks: Sequence[float]) -> None:
    """An axis of percent of weights remaining, descending on a log scale, labelled by sparsity."""
    axis.set_xscale("log")
    axis.set_xlim(110 * (1 - ticks[0]), 90 * (1 - ticks[-1]))
    ticks = ticks[1::3] if len(ticks) > 8 else ticks
    axis.xaxis.set_major_locator(FixedLocator([100 * (1 - s) for s in ticks]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticklabels([f"{100 * s:.1f}" for s in ticks])


def _step_axis(axis: Axes, steps: Sequence[int | str], last: int) -> None:
    """An axis of steps, with labels at as many of them as there is room for, and at both ends."""
    numbers = [last if step == "end" else step for step in steps]
    first = numbers[1]
    axis.set_xscale("symlog", linthresh=first, linscale=0.5)
    axis.set_xlim(-first / 4, 1.15 * last)
    shown = [0]
    for step in numbers[1:-1]:
        if step >= 2 * max(shown[-1], first / 2) and 1.6 * step < last:
            shown.append(step)
    names = [f"{step / 1000:g}K" if step >= 1000 else str(step) for step in shown]
    axis.xaxis.set_major_locator(FixedLocator([*shown, last]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticklabels([*names, "end"])


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
    with matplotlib.rc_context(RC):
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            buffer = io.BytesIO()
            fig.savefig(buffer, format=kind, dpi=150, metadata=metadata)
            write_atomically(root / f"{name}.{kind}", buffer.getvalue())
    write_atomically(root / f"{name}.csv", data.round(4).to_csv(index=False))
    provenance = provenance | {"digest": digest(data)}
    write_atomically(root / f"{name}.json", json.dumps(provenance, indent=1, sort_keys=True) + "\n")
    return root / f"{name}.png"
