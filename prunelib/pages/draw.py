"""Drawing in one visual language; saving with provenance."""

import contextlib
import hashlib
import io
import json

import matplotlib
import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.ticker import FixedLocator, NullLocator

from prunelib import settings
from prunelib.errors import BadValueError
from prunelib.findings.curves import rows_of
from prunelib.grids import FIGURES, figure_runs
from prunelib.paths import figures_root
from prunelib.results.store import write_atomically

TOP = 5  # percentage points shown by the enlarged axes
_PALETTE = sns.color_palette("colorblind").as_hex()
_RC = {
    "figure.facecolor": "white", "savefig.facecolor": "white", "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.6,
    "font.size": 9, "axes.titlesize": 10, "legend.frameon": False, "legend.handlelength": 3.5,
    "lines.linewidth": 1.5, "lines.markersize": 4.5, "svg.hashsalt": "prunelib", "figure.dpi": 100,
}  # fmt: skip

# label, colour, marker, dash: the same in every figure
METHOD_STYLE = {
    "magnitude after training": ("Magnitude after training", _PALETTE[0], "o", "-"),
    "magnitude": ("Magnitude", _PALETTE[2], "s", "--"),
    "snip": ("SNIP", _PALETTE[3], "^", "-."),
    "grasp": ("GraSP", _PALETTE[4], "v", (0, (3, 1, 1, 1, 1, 1))),
    "synflow": ("SynFlow", _PALETTE[5], "D", (0, (5, 1))),
    "random": ("Random", _PALETTE[9], "x", ":"),
    "lottery ticket rewinding": ("Lottery ticket rewinding", "#222222", "P", (0, (1, 1))),
    "gradual": ("Gradual magnitude", _PALETTE[3], "^", "-."),
    "iterative_snip": ("Iterative SNIP", "#004d40", "P", "--"),
    "grasp invert": ("GraSP, inverted", _PALETTE[3], "^", ":"),
    "grasp_magnitude": ("GraSP by magnitude", "#5b2a86", "P", (0, (6, 1, 1, 1))),
    "synflow shuffle": ("SynFlow, shuffled", _PALETTE[1], "d", (0, (5, 1))),
}
VARIANT_STYLE = {
    "none": ("Unmodified", _PALETTE[0], "o", "-"),
    "shuffle": ("Shuffled", _PALETTE[1], "s", "--"),
    "reinit": ("Reinitialised", _PALETTE[2], "^", "-."),
    "invert": ("Inverted", _PALETTE[3], "v", ":"),
    "fixed_variance": ("Fixed-variance init", _PALETTE[4], "D", (0, (5, 1))),
}


# Those that show accuracy against the sparsities 1 - 0.8^k.
DRAWN = tuple(f for f, grid in FIGURES.items() if grid.along == "sparsity" and f != 1)


def _compares_methods(figure):
    """Whether the lines of a figure are methods; otherwise its panels are, and lines variants."""
    return list(FIGURES[figure].panels) == [""]


def style(figure, curve):
    """Label, colour, marker and dash of a curve of a figure."""
    if not _compares_methods(figure):
        return VARIANT_STYLE[curve.init if curve.init != "he" else curve.ablation]
    if curve.prune_at == "end":
        after = curve.weights_from == "end"
        return METHOD_STYLE["magnitude after training" if after else "lottery ticket rewinding"]
    return METHOD_STYLE[" ".join([curve.method, curve.ablation]).removesuffix(" none")]


def label(figure, curve):
    """The name of a curve in a figure: its method, or its ablation or initialisation."""
    return style(figure, curve)[0]


def draw_accuracy(data, figure, setting, profile, on=""):
    """Draw accuracy against sparsity from `accuracy_data`: each panel whole, and its top again.

    Args:
        data: as `accuracy_data` returns it.
        on: as `variant` says it, for the title.

    Returns:
        a matplotlib Figure. Raises BadValueError where there is nothing to draw.
    """
    if data.empty:
        raise BadValueError(
            f"figure {figure} of {setting} at profile {profile}: no run of it is in the store; "
            f"train with 'prunelib run --figure {figure} --setting {setting} --profile {profile}'"
        )
    styles = METHOD_STYLE if _compares_methods(figure) else VARIANT_STYLE
    styles = {name: style for name, *style in styles.values()}
    panels = list(FIGURES[figure].panels)
    shape = (1, 2) if len(panels) == 1 else (2, len(panels))
    names = {line: f"{line} (n = {_span(rows['n'])})" for line, rows in data.groupby("line")}
    with matplotlib.rc_context(_RC):
        size = (9.0, 4.3) if len(panels) == 1 else (2.6 * len(panels), 6.2)
        fig, axes = plt.subplots(
            *shape, figsize=size, squeeze=False, layout="constrained",
            sharey="row" if len(panels) > 1 else False, sharex=True,
        )  # fmt: skip
        for (whole, top), panel in zip(axes.reshape(2, -1).T, panels, strict=True):
            rows = data[data["panel"] == panel]
            for axis in (whole, top):
                _panel(axis, rows, styles, names, setting, profile)
            top.set_ylim(_top(data))
            whole.set_title(_panel_title(figure, panel))
            if not panel:
                top.set_title("The top, enlarged")
        handles = {}
        for axis in axes.flat:
            for handle, name in zip(*axis.get_legend_handles_labels(), strict=True):
                handles.setdefault(name, handle)
        fig.legend(
            handles.values(),
            handles.keys(),
            loc="outside lower center",
            fontsize=9,
            ncols=2 if len(panels) == 2 else 4,
        )
        for axis in axes[-1]:
            axis.set_xlabel("Sparsity (%), log scale")
        for axis in axes[:, 0]:
            axis.set_ylabel("Test accuracy (%)")
        fig.suptitle(f"Figure {figure}: {setting}{on}, profile {profile}", fontsize=11)
    plt.close(fig)  # a notebook shows what a cell returns; nothing else keeps the figure
    return fig


def _panel_title(figure, panel):
    """What a panel shows: a method, and whether it prunes the trained network."""
    if not panel:
        return "All accuracies"
    title = METHOD_STYLE[panel][0]
    late = FIGURES[figure].panels[panel][0].prune_at == "end" and "after training" not in title
    return f"{title} after training" if late else title


def _top(data):
    """Limits of an axis that shows the accuracies near that of the unpruned network."""
    dense = data[data["line"] == "Unpruned"]["accuracy"]
    best = data["accuracy"].max()
    low = (dense.iloc[0] if len(dense) else best) - TOP
    return max(low, data["accuracy"].min() - TOP / 10), best + TOP / 10


def _panel(axis, data, styles, names, setting, profile):
    for line, rows in data.groupby("line", sort=False):
        name = names[line]
        if line == "Unpruned":
            mean, std = rows["accuracy"].iloc[0], rows["std"].iloc[0]
            axis.axhline(mean, color="#555555", linewidth=1.2, label=name)
            axis.axhspan(mean - std, mean + std, color="#555555", alpha=0.15, linewidth=0)
            continue
        _line(axis, rows["remaining"], rows["accuracy"], rows, (line, *styles[line]), name)
    _sparsity_axis(axis, settings.sparsities(setting, profile))


def _sparsity_axis(axis, ticks):
    """An axis of percent of weights remaining, descending on a log scale, labelled by sparsity."""
    axis.set_xscale("log")
    axis.set_xlim(110 * (1 - ticks[0]), 90 * (1 - ticks[-1]))
    ticks = ticks[1::3] if len(ticks) > 8 else ticks
    axis.xaxis.set_major_locator(FixedLocator([100 * (1 - s) for s in ticks]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticklabels([f"{100 * s:.1f}" for s in ticks])


def _span(counts):
    low, high = counts.min(), counts.max()
    return str(low) if low == high else f"{low} to {high}"


def draw_collapse(data, title):
    """Figure 5: the share of neurons with sparsity of at least s %, from `curves.collapse_data`.

    SynFlow's shuffled masks are drawn too; the other methods unmodified. Returns a Figure.
    """
    chosen = data[(data["ablation"] == "none") | (data["method"] == "synflow")]
    with _axes(title) as (fig, axis):
        for (method, ablation), rows in chosen.groupby(["method", "ablation"], sort=False):
            look = METHOD_STYLE[method]
            if ablation == "shuffle":
                look = (f"{look[0]}, shuffled", *VARIANT_STYLE["shuffle"][1:])
            _line(axis, rows["threshold"], rows["share"], rows, look)
        axis.set_xlabel("s: at least this share of a neuron's incoming weights is pruned (%)")
        axis.set_ylabel("Neurons (%)")
        axis.legend(fontsize=8)
    return fig


def draw_layers(data, title):
    """Figure 15: the sparsity of each layer, from `curves.layer_data`. Returns a Figure."""
    with _axes(title, width=max(6.4, 0.3 * data["layer"].nunique())) as (fig, axis):
        for method, rows in data.groupby("method", sort=False):
            _line(axis, range(len(rows)), rows["sparsity"], rows, METHOD_STYLE[method])
        axis.set_xticks(range(data["layer"].nunique()), data["layer"].unique(), rotation=90)
        axis.set_ylabel("Sparsity of the layer (%)")
        axis.legend(fontsize=8)
    return fig


def draw_ratio(data, title):
    """Figure 16: effective weights, shuffled over unmodified, from `curves.ratio_data`.

    As in the paper the axis shows 0.99 to 1.05; values beyond are cut off. Returns a Figure.
    """
    with _axes(title) as (fig, axis):
        for method, rows in data.groupby("method", sort=False):
            _line(axis, 100 * (1 - rows["sparsity"]), rows["ratio"], rows, METHOD_STYLE[method])
        _sparsity_axis(axis, sorted(data["sparsity"].unique()))
        axis.set_xlabel("Sparsity (%), log scale")
        axis.set_ylabel("Effective weights: shuffled / unmodified")
        axis.set_ylim(0.99, 1.05)
        axis.legend(fontsize=8)
    return fig


def draw_weights(data, title):
    """How far the unpruned weights move under each ablation, from `curves.weight_data`.

    A column of panels a sparsity, a row before and one after training; bars are means over
    replicates of the Kolmogorov-Smirnov distance, their whiskers standard deviations. Returns a
    Figure.
    """
    whens, sparsities = data["when"].unique(), data["sparsity"].unique()
    methods = [m for m in METHOD_STYLE if m in set(data["method"])]
    with matplotlib.rc_context(_RC):
        fig, axes = plt.subplots(
            len(whens), len(sparsities), figsize=(3.4 * len(sparsities), 2.7 * len(whens)),
            squeeze=False, sharex=True, sharey=True, layout="constrained",
        )  # fmt: skip
        for row, when in zip(axes, whens, strict=True):
            for axis, sparsity in zip(row, sparsities, strict=True):
                rows = data[(data["when"] == when) & (data["sparsity"] == sparsity)]
                for shift, ablation in ((-0.2, "shuffle"), (0.2, "reinit")):
                    name, colour, *_ = VARIANT_STYLE[ablation]
                    groups = rows[rows["ablation"] == ablation].groupby("method")["ks"]
                    means, stds = groups.mean().reindex(methods), groups.std().reindex(methods)
                    places = [place + shift for place in range(len(methods))]
                    axis.bar(places, means, 0.4, yerr=stds, color=colour, label=name)
                axis.set_title(f"{100 * sparsity:.1f} % sparsity")
                names = [METHOD_STYLE[m][0].replace(" after", "\nafter") for m in methods]
                axis.set_xticks(range(len(methods)), names, rotation=60, ha="right")
                axis.set_axisbelow(True)
            row[0].set_ylabel(f"KS distance,\n{when} what is left")
        axes[0, 0].legend(fontsize=8)
        fig.suptitle(f"Unpruned weights, distance from the unmodified: {title}", fontsize=11)
        plt.close(fig)
    return fig


@contextlib.contextmanager
def _axes(title, width=6.4):
    with matplotlib.rc_context(_RC):
        fig, axis = plt.subplots(figsize=(width, 4.3), layout="constrained")
        fig.suptitle(title, fontsize=11)
        yield fig, axis
        plt.close(fig)


def _line(axis, x, y, rows, look, label=None):
    name, colour, marker, dash = look
    label = label or f"{name} (n = {_span(rows['n'])})"
    axis.plot(x, y, color=colour, marker=marker, linestyle=dash, label=label)
    axis.fill_between(x, y - rows["std"], y + rows["std"], color=colour, alpha=0.15, linewidth=0)


def fidelity(figure, table, setting, profile, replicates=None):
    """One sentence: what evidence a figure rests on, and what was not run."""
    wanted = figure_runs(figure, setting, profile, replicates)
    rows = rows_of(wanted, table)
    meaning = settings.get_profile(profile).meaning
    data = ", ".join(sorted(set(rows["dataset"]))) or "none"
    how = ", ".join(
        sorted({f"{e} in {p}" for e, p in zip(rows["engine"], rows["precision"], strict=True)})
    )
    missing = len(wanted) - len(rows)
    return (
        f"{setting}, profile {profile} ({meaning}): {len(rows)} of {len(wanted)} runs"
        + (f", {missing} not run" if missing else "")
        + f"; data {data}"
        + (f"; trained {how}" if how else "")
        + "."
    )


def digest(data):
    """A digest of the numbers drawn, rounded to four digits behind the point."""
    return hashlib.sha256(data.round(4).to_csv(index=False).encode()).hexdigest()[:16]


def save(fig, name, data, provenance):
    """Write figures/NAME.png, .svg, .csv (the numbers drawn) and .json (where they come from).

    Args:
        fig: a matplotlib Figure.
        name: without a folder: letters, digits, "-", "_" and ".".
        data: the data frame that was drawn.
        provenance: a dict that JSON can hold; the digest of the data is added.

    Returns:
        the path of the PNG.
    """
    if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        raise BadValueError(f"figure name {name!r}: use letters, digits, '-', '_' and '.' only")
    root = figures_root()
    root.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_RC):
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            buffer = io.BytesIO()
            fig.savefig(buffer, format=kind, dpi=150, metadata=metadata)
            write_atomically(root / f"{name}.{kind}", buffer.getvalue())
    write_atomically(root / f"{name}.csv", data.round(4).to_csv(index=False))
    provenance = provenance | {"digest": digest(data)}
    write_atomically(root / f"{name}.json", json.dumps(provenance, indent=1, sort_keys=True) + "\n")
    return root / f"{name}.png"


def provenance(figure, table, setting, profile, replicates=None):
    """Where a figure's numbers come from: runs, data, engine, precision, devices, commits."""
    wanted = figure_runs(figure, setting, profile, replicates)
    rows = rows_of(wanted, table)
    sources = ("dataset", "engine", "precision", "device", "torch", "commit")
    return {
        "figure": figure,
        "setting": setting,
        "profile": profile,
        "runs": len(rows),
        "runs_missing": len(wanted) - len(rows),
    } | {name: sorted(set(rows[name])) for name in sources}
