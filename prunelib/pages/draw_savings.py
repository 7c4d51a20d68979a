"""The figure of what pruning before training could save: multiplications and time, by method."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from prunelib import settings
from prunelib.pages import style
from prunelib.pages.axes import GREY, WIDTH, legend, noted, panels, sparsity_axis, width
from prunelib.pages.style import METHODS


def savings(data: pd.DataFrame, title: str) -> Figure:
    """What is left to multiply, of the unpruned network's 1, from `findings.savings.table`.

    A column of panels a setting. Above what channels leave, which a smaller dense network
    multiplies, with the time that an iteration of it took; below the bound, weight by weight.

    Args:
        data: rows of one or more settings.
    """
    names = list(data["setting"].unique())
    title = noted(title, "replicate 0; training as it is usually done multiplies everything: 1")
    size = (WIDTH, 5.6)
    with panels(title, size, (2, len(names)), sharey=True, sharex="col") as (fig, axes):
        for column, name in zip(axes.T, names, strict=True):
            own = data[data["setting"] == name]
            ticks = sorted((own["sparsity"] / 100).unique())
            for axis, kind in zip(column, ("compact", "kept"), strict=True):
                axis.axhline(1, color="black", linewidth=1, label="Masked, as usual")
                matching = 100 * (1 - settings.highest_matching(name))
                axis.axvline(matching, color=GREY, linewidth=1, label="Highest matching sparsity")
                for method in (m for m in METHODS if m in set(own["method"])):
                    rows = own[own["method"] == method].sort_values("sparsity")
                    _line(axis, rows, kind, METHODS[method])
                axis.set_yscale("log")
                axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
                sparsity_axis(axis, ticks, width(axis))
            column[0].set(title=style.NETWORKS[settings.get(name).network], xlabel="")
        axes[0, 0].set_ylabel("Share left, whole channels")
        axes[1, 0].set_ylabel("Share left, single weights")
        legend(fig)
    return fig


def _line(axis, rows, kind, look):
    x = 100 - rows["sparsity"]
    axis.plot(
        x, rows[kind], color=look.colour, marker=look.marker, linestyle=look.dash,
        label=look.label, markeredgecolor="white", markeredgewidth=0.3,
    )  # fmt: skip
    if kind == "compact" and rows["time"].notna().any():
        shape = {"linestyle": "", "markerfacecolor": "white", "markersize": 6.5, "zorder": 4}
        axis.plot(x, rows["time"], marker=look.marker, color=look.colour, **shape)
        axis.plot([], [], marker="o", color=GREY, label="Time of an iteration, measured", **shape)
