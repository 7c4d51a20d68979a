"""What is drawn along training: accuracy against the iteration at which a network is pruned
(Figures 6 and 10), and the weights that remain at each step (Figure 1)."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from prunelib import settings
from prunelib.grids import FIGURES
from prunelib.pages import style
from prunelib.pages.axes import GREY, WIDTH, count, legend, line, noted, panels, unpruned


def steps(data: pd.DataFrame, title: str, figure: int, setting: str, profile: str) -> Figure:
    """Figures 6 and 10: test accuracy against the iteration at which the network is pruned.

    The first steps are drawn apart from each other and the last ones too: the axis is linear up to
    the first step behind 0 and logarithmic from there. Vertical lines are the drops of the learning
    rate.

    Args:
        data: as `accuracy_data` returns it for such a figure.
        figure: whose panels are drawn. setting, profile: whose schedule the axis shows.
    """
    names, schedule = list(FIGURES[figure].panels), settings.schedule(setting, profile)
    title = noted(
        title, "bands: one standard deviation; vertical lines: drops of the learning rate"
    )
    size, shape = (WIDTH, 4.6), (1, len(names))
    with panels(title, size, shape, sharex=True, sharey=True) as (fig, axes):
        for axis, panel in zip(axes[0], names, strict=True):
            rows = data[data["panel"] == panel]
            unpruned(axis, data, rows[rows["line"] == "Unpruned"])
            for curve in FIGURES[figure].panels[panel]:
                look = style.look(figure, curve)
                points = rows[rows["line"] == look.label]
                if len(points):
                    label = f"{look.label} ({count(data, look.label)})"
                    line(axis, points["step"], points["accuracy"], points, look, label)
            for drop in schedule.drops:
                axis.axvline(drop, color=GREY, linewidth=0.8, linestyle=(0, (4, 4)))
            _step_axis(axis, settings.steps(setting, profile), schedule.iterations)
            axis.set_title(style.panel_title(figure, panel) if panel else "")
            axis.set_xlabel("Iteration of pruning" if panel else "Iteration at which it is pruned")
        axes[0, 0].set_ylabel("Test accuracy (%)")
        legend(fig)
    return fig


def introduction(data: pd.DataFrame, title: str) -> Figure:
    """Figure 1: the weights remaining at each step, from `introduction.remaining`.

    What is achieved in retrospect is dashed, the other lines are not.
    """
    looks = {look.label: look for look in style.METHODS.values()}
    with panels(title, (WIDTH, 4.6)) as (fig, axes):
        axis = axes[0, 0]
        for name, points in data.groupby("line", sort=False):
            look, first = looks[name], points.iloc[0]
            pruned = f"{first['sparsity']:.1f} % pruned" if first["sparsity"] else "no sparsity"
            drawn = {"color": look.colour, "linestyle": "--" if first["retroactive"] else "-"}
            label = f"{name}: {pruned} ({count(points)})"
            axis.step(points["step"], points["remaining"], where="post", label=label, **drawn)
            axis.plot(*points[["step", "remaining"]].iloc[-1], look.marker, color=look.colour)
        axis.set(xlabel="Step of training (iterations)", ylim=(0, 104), xlim=(0, None))
        axis.set_ylabel("Weights remaining (%)")
        legend(fig)
    return fig


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
