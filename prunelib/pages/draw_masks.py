"""Figures of what masks and their weights show, without accuracy: neuron collapse (5), layers (15),
the ratio of effective weights (16), how far unpruned weights move, and what they are.

Each figure takes the numbers that `findings.curves` computes, a title, whose second line says what
they rest on, and how many replicates were asked for: a line of fewer says so in the legend. What
the paper prints of the setting is drawn as open markers.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prunelib import settings
from prunelib.analysis import Samples, distances
from prunelib.findings import curves, statistics
from prunelib.pages import style
from prunelib.pages.axes import (
    GREY,
    TINT,
    WIDTH,
    count,
    legend,
    line,
    noted,
    panels,
    printed,
    sparsity_axis,
    width,
)
from prunelib.pages.style import VARIANTS

_PRINTED = "Printed in the paper"
_ZOOM = (0.99, 1.05)  # the ratios that Figure 16 shows


def collapse(data: pd.DataFrame, title: str, asked: int, setting: str) -> Figure:
    """Figure 5: the share of neurons with sparsity of at least s %, from `curves.collapse_data`.

    Beside it those pruned entirely, with what the paper prints of the setting. SynFlow's shuffled
    masks are drawn too, the other methods unmodified.
    """
    chosen = data[(data["ablation"] == "none") | (data["method"] == "synflow")]
    title = noted(title, "bands and whiskers: one standard deviation")
    with panels(title, (WIDTH, 4.6), (1, 2), width_ratios=[2, 1]) as (fig, ((axis, last),)):
        places = {}
        for key, rows in chosen.groupby(["method", "ablation"], sort=False):
            name = " ".join(key).removesuffix(" none")
            places[name] = len(places)
            label = f"{style.method(name).label} ({count(rows, asked)})"
            line(axis, rows["threshold"], rows["share"], rows, style.method(name), label)
            look, final = style.method(name), rows.iloc[-1]
            last.errorbar(
                final["share"], places[name], xerr=final["std"], fmt=look.marker, color=look.colour
            )
        run = set(places)
        for row in _published(setting, "percent_neurons_pruned").itertuples():
            y = places.setdefault(row.method, len(places)) + 0.3
            look = style.method(row.method)
            if row.bound:  # no value, but what it is less than
                about = {"fontsize": 8, "color": look.colour, "va": "center"}
                last.annotate(f"< {row.value:g}", (row.value, y), **about)
            else:
                printed(last, row.value, y, look, _PRINTED)
        axis.set(xlabel="s: at least this share of a neuron's incoming weights is pruned (%)")
        axis.set(ylabel="Neurons (%)")
        last.set(title="Pruned entirely: s = 100 %", xlabel="Neurons (%)")
        names = [style.method(key).label + ("" if key in run else ",\nnot run") for key in places]
        last.set_yticks(range(len(names)), names)
        last.set_ylim(len(names) - 0.4, -0.6)  # the first on top
        last.set_xlim(min(-0.03 * last.get_xlim()[1], -0.1), None)
        legend(fig)
    return fig


def layers(data: pd.DataFrame, title: str, asked: int, setting: str) -> Figure:
    """Figure 15: the sparsity of each layer, from `curves.layer_data`.

    Layers are named as in the paper's text. A thin line joins a method's convolutions along the
    network; shortcuts, the first layer and the output stand alone.
    """
    names = style.layers(list(data["layer"].unique()))
    joined = [name[2].startswith("conv") for name in names]
    overall = 100 * settings.highest_matching(setting)
    groups = dict(list(data.groupby("method", sort=False)))
    title = noted(title, "whiskers: one standard deviation")
    with panels(title, (WIDTH, 5.2)) as (fig, ((axis,),)):
        axis.axhline(overall, color="black", linewidth=1, label=f"The network: {overall:.1f} %")
        apart = min(0.1, 3 / len(names) ** 2)
        for place, method in enumerate(style.ordered(groups)):
            rows, look = groups[method], style.method(method)
            shift = apart * (place - (len(groups) - 1) / 2)
            places = pd.Series(range(len(rows)), index=rows.index) + shift
            label = f"{look.label} ({count(rows, asked)})"
            _spread(axis, places, rows["sparsity"], rows["std"], look, label)
            axis.plot(
                places[joined], rows["sparsity"][joined], color=look.colour, linestyle=look.dash,
                linewidth=0.7,
            )  # fmt: skip
        axis.set(ylabel="Weights of the layer that are pruned (%)", ylim=(-3, 103))
        _layer_axis(axis, names)
        legend(fig)
    return fig


def _layer_axis(axis: Axes, names: list[tuple[str, str, str]]) -> None:
    """Names of layers below an axis, blocks and stages below them, and lines between those."""
    axis.set_xlim(-0.6, len(names) - 0.4)
    axis.grid(visible=False, axis="x")
    turned = {"rotation": 90, "fontsize": 8} if len(names) > 12 else {}
    axis.set_xticks(range(len(names)), [name[2] for name in names], **turned)
    at = {"xycoords": axis.get_xaxis_transform(), "textcoords": "offset points", "ha": "center"}
    for level, below in ((1, 51), (0, 63)):
        keys = pd.Series([name[: level + 1] for name in names])
        for key, group in keys.groupby(keys, sort=False):
            if key[level]:
                first, last = group.index[0], group.index[-1]
                down = below if turned else below - 24
                axis.annotate(key[level], ((first + last) / 2, 0), (0, -down), fontsize=7.5, **at)
                for edge in (first - 0.5, last + 0.5):
                    axis.axvline(edge, color="#b0b0b0", linewidth=0.3 if level else 0.8, zorder=1)


def ratio(data: pd.DataFrame, title: str, asked: int, setting: str) -> Figure:
    """Figure 16: effective weights, shuffled over unmodified, from `curves.ratio_data`.

    The axis shows what there is of the paper's range, 0.99 to 1.05; where there is more, a second
    one shows everything. Whiskers are standard deviations, of methods side by side.
    """
    theirs, most = _published(setting, "effective_parameter_ratio"), curves.RECONNECTED
    both = not pd.concat([data["ratio"], theirs["value"]]).between(*_ZOOM).all()
    std = data["std"].fillna(0)
    values = pd.concat([data["ratio"] - std, data["ratio"] + std, theirs["value"]])
    low, high = max(values.min() - 0.001, _ZOOM[0]), min(max(values.max(), most) + 0.001, _ZOOM[1])
    level = settings.highest_matching(setting)
    known = settings.get(setting).matching is not None
    where = "Highest matching sparsity" if known else f"{100 * level:.1f} % sparsity"
    matching = 100 * (1 - level)
    ticks = settings.sparsities(setting, "paper")
    groups = dict(list(data.groupby("method", sort=False)))
    title = noted(title, "of masks that leave any effective weight")
    title = noted(title, "whiskers: one standard deviation")
    with panels(title, (WIDTH, 4.8), (1, 1 + both), width_ratios=[1, 2][not both :]) as (fig, axes):
        for axis in axes[0]:
            for place, (method, rows) in enumerate(groups.items()):
                look, few = style.method(method), len(rows) < len(ticks)
                lacks = f", {len(rows)} of {len(ticks)} sparsities" if few else ""
                label = f"{look.label} ({count(rows, asked)}{lacks})"
                # A line has gaps where nothing was run, or no unmodified weight is effective.
                along = rows.set_index("sparsity").reindex(ticks)
                x = 100 * (1 - along.index) * 1.012 ** (place - (len(groups) - 1) / 2)
                _spread(axis, x, along["ratio"], along["std"], look, label, look.dash)
            for row in theirs.itertuples():
                x, look = 100 * (1 - row.sparsity), style.method(row.method)
                printed(axis, x, row.value, look, _PRINTED)
                if row.method not in groups:
                    label = f"{look.label} (not run)"
                    axis.plot([], [], look.marker, color=look.colour, mfc="none", label=label)
            sparsity_axis(axis, ticks, width(axis))
            axis.axvline(matching, color=GREY, linewidth=1, label=where)
            if len(theirs):
                bound = f"The paper's bound at the highest matching sparsity, {most}"
                axis.plot(matching, most, "_", color="black", ms=16, mew=2, label=bound, zorder=4)
        axes[0, -1].set_ylim(low, high)
        axes[0, 0].set_ylabel("Effective weights: shuffled / unmodified")
        if both:
            axes[0, 0].set_title("All ratios")
            axes[0, 0].axhspan(low, high, color=TINT, zorder=0)
            axes[0, 1].set_title("Enlarged: the tinted part")
            axes[0, 1].set_facecolor(TINT)
        legend(fig)
    return fig


def weights(data: pd.DataFrame, title: str, asked: int) -> Figure:
    """How far the unpruned weights move under each ablation, from `curves.weight_data`.

    A column of panels a sparsity, a row before and one after training; bars are means over
    replicates of the Kolmogorov-Smirnov distance, their whiskers standard deviations. Lines show
    what chance moves, which is random pruning's distance, and, before training, the most that a
    claim of immunity allows, `curves.MOVED` above it.
    """
    whens, sparsities = data["when"].unique(), data["sparsity"].unique()
    shape, size = (len(whens), len(sparsities)), (WIDTH, 1.4 + 2.4 * len(whens))
    title = noted(title, "whiskers: one standard deviation")
    drawn = data.assign(name=data["ablation"].mask(data["method"] == "random", "random"))
    counts = {name: _counted(rows, asked) for name, rows in drawn.groupby("name")}
    methods = style.ordered(set(data["method"]) - {"random"})
    with panels(title, size, shape, sharex=True, sharey=True) as (fig, axes):
        for row, when in zip(axes, whens, strict=True):
            for axis, sparsity in zip(row, sparsities, strict=True):
                own = data[(data["when"] == when) & (data["sparsity"] == sparsity)]
                _bars(axis, own, methods, counts, limited=when == "before training")
            row[0].set_ylabel(f"Kolmogorov-Smirnov distance\n{when}")
        for axis, sparsity in zip(axes[0], sparsities, strict=True):
            axis.set_title(f"{100 * sparsity:.1f} % sparsity")
        legend(fig)
    return fig


def _counted(rows: pd.DataFrame, asked: int) -> str:
    """How many replicates are behind the distances of the unpruned weights; a bar that is missing
    has none."""
    bars = rows.groupby(["when", "sparsity", "method"])["replicate"].nunique()
    return count(bars.unstack("method", fill_value=0).stack().to_frame("n"), asked)


def _bars(
    axis: Axes, rows: pd.DataFrame, methods: list[str], counts: dict[str, str], limited: bool
) -> None:
    """The distances of one sparsity, a pair of bars a method, what chance moves, and what a claim
    allows.

    Args:
        counts: how many replicates are behind shuffling, reinitialising and random pruning.
        limited: whether there is a claim about these distances, as there is before training.
    """
    for shift, ablation in ((-0.2, "shuffle"), (0.2, "reinit")):
        look = VARIANTS[ablation]
        groups = rows[rows["ablation"] == ablation].groupby("method")["ks"]
        means, stds = groups.mean().reindex(methods), groups.std().reindex(methods)
        places = [place + shift for place in range(len(methods))]
        label = f"{look.label} ({counts.get(ablation, 'not run')})"
        axis.bar(places, means, 0.4, yerr=stds, color=look.colour, label=label)
    chance, most = rows[rows["method"] == "random"]["ks"].mean(), curves.MOVED
    lines = {f"Chance: random pruning ({counts.get('random', 'not run')})": (chance, ":")}
    if limited:
        lines[f"Limit of the claim: chance + {most}"] = (chance + most, "--")
    for label, (value, dash) in lines.items():
        axis.axhline(value, color="black", linewidth=1.2, linestyle=dash, label=label)
    for place in [place for place, m in enumerate(methods) if m not in set(rows["method"])]:
        about = {"color": GREY, "fontsize": 8, "rotation": 90, "ha": "center", "va": "bottom"}
        axis.text(place, 0.02, "not run", about, transform=axis.get_xaxis_transform())
    names = [style.method(method).label.replace(" ", "\n") for method in methods]
    axis.set_xticks(range(len(methods)), names, fontsize=6.5)


def histograms(
    samples: Mapping[str, Mapping[str, Samples]], layers: Sequence[str], title: str
) -> Figure:
    """The unpruned weights themselves: a column of panels a method, a row all layers together and
    each of them; densities of the unmodified, shuffled and reinitialised network.

    Args:
        samples: by method and ablation, "none" first, what `analysis.unpruned` gives.
        layers: names of the rows.
    """
    shape, size = (len(layers), len(samples)), (WIDTH, 1.2 + 1.2 * len(layers))
    with panels(title, size, shape, sharex="row") as (fig, axes):
        for row, (name, line) in enumerate(zip(layers, axes, strict=True)):
            own = {method: {a: s[row] for a, s in of.items()} for method, of in samples.items()}
            every = np.concatenate([x for of in own.values() for x in of.values()])
            bins = np.linspace(-1, 1, 61) * np.quantile(np.abs(every), 0.999)
            for axis, (method, of) in zip(line, own.items(), strict=True):
                for ablation, values in of.items():
                    look = VARIANTS[ablation]
                    about = {"label": look.label, "color": look.colour, "linestyle": look.dash}
                    axis.hist(values, bins, density=True, histtype="step", **about)
                moved = distances([of["none"]], [of["shuffle"]])["ks"][0]
                axis.set_title(f"KS {moved:.2f}", fontsize=7.5, loc="right", pad=2)
                axis.set_yticks([])
                axis.tick_params(labelsize=7)
                if row == 0:
                    words = style.method(method).label.replace(" after", "\nafter")
                    axis.annotate(words, (0.5, 1.25), xycoords="axes fraction", ha="center")
            line[0].set_ylabel(name)
        legend(fig)
    return fig


def _spread(axis: Axes, x, y, std, look: style.Look, label: str = "", dash="") -> None:
    """Markers of a method, with whiskers of one standard deviation."""
    axis.errorbar(x, y, std, linestyle="", ecolor=(look.colour, 0.6), elinewidth=0.9)
    marker = {"marker": look.marker, "markeredgecolor": "white", "markeredgewidth": 0.3}
    axis.plot(x, y, color=look.colour, linestyle=dash, label=label, **marker)


def _published(setting: str, quantity: str) -> pd.DataFrame:
    """Of a quantity that the paper prints of masks: method, a key of `style.METHODS`, sparsity,
    value, and whether that is a bound, as of "<1"."""
    about = settings.get(setting)
    where = {"network": about.network, "dataset": about.dataset, "quantity": quantity}
    found = statistics.published("frankle2021_before_training", **where)
    said = found["value"].astype(str)
    values, method = said.str.removeprefix("<").astype(float), found["method"].str.replace("+", " ")
    return found.assign(value=values, bound=said.str.startswith("<"), method=method)
