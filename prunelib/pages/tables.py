"""TablePage: what the notebooks of Appendices B to D do with tables, as `Page` does with figures.

Its Runs are those of the paper's tables; a setting of which these have nothing, as the miniature,
has the tables' methods at the nearest of its own sparsities.
"""

from collections.abc import Sequence

import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure

from prunelib.findings import printed, reported
from prunelib.pages import draw, style
from prunelib.pages.axes import GREY, WIDTH, count, legend, noted, panels
from prunelib.pages.forms import Form
from prunelib.pages.page import Page
from prunelib.pages.shown import in_words
from prunelib.results.records import TRAINED
from prunelib.settings import SETTINGS

# Source: its label, colour, marker, and whether the marker is filled.
SOURCES = {
    "reported": ("Reported by the method's authors", "#6b6b6b", "s", False),
    "paper": ("Frankle et al. (2021)", "#022667", "o", True),
    "ours": ("Here", "#d64600", "D", True),
}
_FORM = Form(
    (TRAINED,),
    lambda p: reported.runs(p.tables, p.setting, p.profile, p.replicates),
    lambda p: reported.changes(p.tables, p.store, p.setting, p.profile),
    lambda p, data, title: dots(data, title),
)
_FIGURE_7 = Form(
    (TRAINED,),
    lambda p: list(
        dict.fromkeys(
            [
                *reported.runs(p.tables, p.setting, p.profile, p.replicates),
                *reported.figure_7_runs(p.setting, p.profile, p.replicates),
            ]
        )
    ),
    lambda p: reported.figure_7(p.store, p.setting, p.profile),
    lambda p, data, title: reported_lines(data, title),
)


class TablePage(Page):
    """The parameters of a notebook, and the records behind tables.

    Args:
        setting, profile, replicates, train: as of a `Page`.
        tables: numbers of `grids.TABLES`. Table 7, of unpruned networks, is drawn with Figure 7.
    """

    def __init__(
        self,
        setting: str,
        profile: str = "paper",
        replicates: int = 0,
        train: bool = True,
        tables: Sequence[int] = (),
    ):
        super().__init__(setting, profile, replicates, train)
        self.tables = tuple(tables)
        self.form = _FIGURE_7 if 7 in tables else _FORM
        self.name = f"table{'s' * (len(tables) > 1)} {' and '.join(map(str, tables))}"

    def answer(self, *sections: str) -> Markdown:
        """The ledger's verdicts on sections of the paper; then what there is of the tables, in
        sentences that are computed, and ours of the setting."""
        found = printed.summary(self.tables, self.store, self.profile)
        lines, records = [found], self.table()
        own = reported.runs(self.tables, self.setting, self.profile, self.replicates)
        points = dict.fromkeys((run.method, run.sparsity) for run in own)
        accuracies = [
            f"{_point(method, sparsity)}: {printed.ours(records, method, sparsity)}"
            for method, sparsity in points
        ]
        about = f"{style.title(self.setting)}, profile {self.profile}, accuracy in percent"
        lines.append(f"Trained here, {about}: {'; '.join(accuracies)}.")
        return Markdown("\n\n".join([super().answer(*sections).data, *lines]))

    def comparison(self, table: int) -> pd.DataFrame:
        """A table of the paper with ours beside it, see `printed.comparison`, units in its head."""
        found = printed.comparison(table, self.store, self.profile)
        percent = ("sparsity", "reported", "paper", "ours")
        return found.rename(columns={name: f"{name} (%)" for name in percent})

    def draw(self) -> Figure:
        """Draw what pruning changes, as reported, in the paper and here; save it with its
        provenance."""
        data = self.data()
        title = "Figure 7: pruning to extreme sparsities, as Tanaka et al. report it, and here"
        if 7 not in self.tables:
            method = "GraSP" if 5 in self.tables else "SNIP"
            title = f"{self.name.capitalize()}: what pruning by {method} changes"
        fig = self.form.draw(self, data, title)
        name = "-".join([*self.name.split(), self.setting, self.profile])
        draw.save(fig, name, data, {TRAINED.name: self.evidence().provenance})
        return in_words(fig)


def _point(method, sparsity):
    return f"{style.method(method).label} at {100 * sparsity:.1f} %" if sparsity else "unpruned"


def dots(data: pd.DataFrame, title: str) -> Figure:
    """A row a network and sparsity, a marker a source, at the change of accuracy from the unpruned
    network.

    Args:
        data: as `reported.changes` returns it.
    """
    names = data["name"].map(lambda name: style.title(name) if name in SETTINGS else name)
    data = data.assign(row=names + ", " + data["sparsity"].map("{:g} %".format))
    rows = list(dict.fromkeys(data["row"]))
    title = noted(title, "whiskers, of networks trained here: one standard deviation")
    with panels(title, (0.85 * WIDTH, 1.7 + 0.27 * len(rows))) as (fig, ((axis,),)):
        for source, own in data.groupby("source", sort=False):
            label, colour, marker, filled = SOURCES[source]
            axis.errorbar(
                own["change"], own["row"].map(rows.index), xerr=own["std"].fillna(0), label=label,
                fmt=marker, color=colour, markerfacecolor=colour if filled else "white",
                markersize=6, elinewidth=1.2,
            )  # fmt: skip
        axis.axvline(0, color="black", linewidth=1)
        axis.set_yticks(range(len(rows)), rows)
        axis.invert_yaxis()
        # Extreme sparsities of small networks lose tens of points, what is printed loses a few.
        axis.set_xscale("symlog", linthresh=2)
        axis.set_xticks(
            [-40, -20, -10, -5, -2, -1, 0], ["-40", "-20", "-10", "-5", "-2", "-1", "0"]
        )
        axis.set_xlim(1.2 * min(-2, (data["change"] - data["std"].fillna(0)).min()), 1)
        axis.set_xlabel(
            "Change of test accuracy from the unpruned network\n"
            "(percentage points, on a logarithmic scale below -2)"
        )
        legend(fig)
    return fig


def reported_lines(data: pd.DataFrame, title: str) -> Figure:
    """A panel a setting: test accuracy against the weights remaining; reported lines with open
    markers and dashes, ours with filled ones. A panel without ours says that it was not run.

    Args:
        data: as `reported.figure_7` returns it.
    """
    names = list(dict.fromkeys(data["setting"]))
    rows = -(-len(names) // 2)
    title = noted(title, "whiskers: one standard deviation")
    counts = {source: count(own) for source, own in data.groupby("source")}
    with panels(title, (WIDTH, 1.2 + 2.6 * rows), (rows, 2)) as (fig, axes):
        for axis, name in zip(axes.flat, names, strict=False):
            own = data[data["setting"] == name]
            for (method, source), points in own.groupby(["method", "source"]):
                look, ours = style.method(method), source == "ours"
                whose = "ours" if ours else "Tanaka et al."
                axis.errorbar(
                    points["remaining"], points["accuracy"], yerr=points["std"].fillna(0),
                    label=f"{look.label}, {whose} ({counts[source]})",
                    color=look.colour, marker=look.marker, elinewidth=0.8,
                    linestyle="-" if ours else "--",
                    markerfacecolor=look.colour if ours else "white",
                )  # fmt: skip
            if "ours" not in set(own["source"]):
                axis.text(0.05, 0.1, "ours: not run", color=GREY, transform=axis.transAxes)
            axis.set(xscale="log", xlim=(130, 0.07), title=style.title(name))
            axis.set_xticks([100, 10, 1, 0.1], ["100", "10", "1", "0.1"])
            axis.minorticks_off()
            axis.set(xlabel="Weights remaining (%), log axis", ylabel="Test accuracy (%)")
        for axis in axes.flat[len(names) :]:
            axis.axis("off")
        legend(fig)
    return fig
