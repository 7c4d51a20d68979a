"""Page: what every notebook does with its parameters: check them, plan, train, read, draw, and say
what evidence there is. Which records a figure rests on, and how it is drawn, `forms` says."""

import functools
import math
import re
import sys
from collections.abc import Sequence

import pandas as pd
from IPython import get_ipython
from IPython.display import Markdown, display
from matplotlib.figure import Figure

from prunelib import engine, grids, settings
from prunelib.errors import BadValueError, check_name
from prunelib.findings import ablations, claims, curves, ledger, statistics
from prunelib.findings.measures import Results
from prunelib.pages import draw, shown, style, verdicts
from prunelib.pages.evidence import Evidence, basis
from prunelib.pages.forms import ACCURACY, FORMS, readable
from prunelib.results.records import MASK, TRAINED, Kind
from prunelib.results.store import Store
from prunelib.runs import Run

PARAMETERS = ("setting", "profile", "replicates", "train")
JUDGED = ("file", "method")  # what X_your_method has beside them


class Page:
    """The parameters of a notebook, and the records behind its figure.

    Args:
        setting, profile: names; see `prunelib.settings`. Masks have the profile "paper" always.
        replicates: how many; 0 is the profile's number.
        train: whether to train, or make, what the store misses.
        figure: one of `FORMS`; None where a notebook draws none.

    Raises:
        UnknownNameError, BadValueError: for a parameter that is not allowed.
    """

    def __init__(
        self,
        setting: str,
        profile: str = "paper",
        replicates: int = 0,
        train: bool = True,
        figure: int | str | None = None,
    ):
        enter_notebook()
        whole = type(replicates) is int and replicates >= 0
        for name, value, fits, allowed in (
            ("setting", setting, isinstance(setting, str), "a name"),
            ("profile", profile, isinstance(profile, str), "a name"),
            ("replicates", replicates, whole, "a whole number, 0 for the profile's own"),
            ("train", train, isinstance(train, bool), "True or False"),
        ):
            if not fits:
                raise BadValueError(f"notebook parameter {name}={value!r}: give {allowed}")
        settings.get(setting)
        settings.get_profile(profile)
        self.form = FORMS[check_name("figure", figure, FORMS)] if figure is not None else ACCURACY
        self.setting, self.profile, self.figure = setting, profile, figure
        self.replicates, self.may_train = replicates or None, train
        self.name = style.NAMED.get(figure, f"Figure {figure}")
        self.stores = {kind: Store(kind=kind) for kind in self.form.kinds}
        self.sparsity = settings.highest_matching(setting)

    @property
    def store(self) -> Store:
        """The store of the figure's records, of its first kind."""
        return self.stores[self.form.kinds[0]]

    @property
    def runs(self) -> list[Run]:
        """The Runs that the figure needs."""
        return self.form.runs(self)

    @property
    def asked(self) -> int:
        """How many replicates the figure needs."""
        return len({run.replicate for run in self.runs})

    def evidence(self, kind: Kind | None = None) -> Evidence:
        """What there is of the figure's records, of one kind of `form.kinds`; the first if None."""
        return Evidence.read(self.runs, self.stores[kind] if kind else self.store)

    def table(self, kind: Kind | None = None) -> pd.DataFrame:
        """The records of the figure's Runs, and no others: one row a record."""
        return self.evidence(kind).table

    def coverage(self) -> None:
        """Print what the figure rests on, what it would take to have the rest (time on this machine
        where it may be trained, operations where not), and a digest of the numbers drawn."""
        for kind, store in self.stores.items():
            found = self.evidence(kind)
            print(found)
            if found.missing:
                price = f"Not run, and left out above: {found.price}."
                print(engine.plan(self.runs, store) if self.may_train else price)
        if left := self._without_data():
            print(f"Not read: {', '.join(left)}, which need ImageNet; it is not at hand.")
        if self._at:
            level = settings.matching_level(self.setting)[1]
            print(f"at {100 * self.sparsity:.1f} % sparsity: {level}")
        if len(data := self.form.data(self)):
            print(f"Digest of the numbers drawn: {draw.digest(data)}")

    def _without_data(self):
        """The methods of a figure of masks whose data are not at hand."""
        if MASK not in self.stores:
            return []
        there = readable(self.setting, self.form.of)
        return [style.method(m).label for m in self.form.of or grids.compared() if m not in there]

    def train(self) -> None:
        """Train or make what is missing, if the parameters say so; print what that takes and what
        was done. What is left out otherwise `coverage` says, behind the answer."""
        for kind, store in self.stores.items():
            left = len(store.missing(self.runs))
            if left and self.may_train:
                print(engine.plan(self.runs, store), flush=True)
                make = engine.train if kind == TRAINED else engine.measure
                made = make(self.runs, store)
                print(f"{made} {kind.name} are new.")
            elif not left:
                print(f"No {kind.name} are missing.")

    def data(self) -> pd.DataFrame:
        """The numbers that the figure shows; empty where nothing of it was run."""
        return self.form.data(self)

    def accuracy_data(self) -> pd.DataFrame:
        """The accuracies of the figure's lines, see `curves.accuracy_data`."""
        about = (self.figure, self.table(), self.setting, self.profile)
        return curves.accuracy_data(*about, style.label, self.replicates)

    def accuracies(self) -> pd.DataFrame | None:
        """Print the mean test accuracy of the unpruned network, of each initialisation that the
        figure has; return those of the figure's lines.

        Returns:
            data frame: a row a line, a column a sparsity, all in percent, or a column a step; ""
            where a line was not run. None where nothing was, which is then printed.
        """
        if self._not_run():
            return None
        data = self.accuracy_data()
        unpruned = style.is_unpruned(data["line"])
        lines, found = data[~unpruned], data[unpruned].set_index("line")["accuracy"]
        for name in dict.fromkeys(["Unpruned", *found.index]):
            print(f"{name}:", f"{found[[name]].iloc[0]:.1f} %" if name in found else "not run")
        keys = ["panel", "line"] if lines["panel"].any() else ["line"]
        along, named = ("step", "iteration") if "step" in lines else ("sparsity", "sparsity (%)")
        table = lines.pivot(index=keys, columns=along, values="accuracy").round(1)
        table = table.rename_axis(columns=named)
        return table.loc[lines.set_index(keys).index.unique()].astype(object).fillna("")

    def _not_run(self) -> bool:
        """Whether the store has too little to show anything but unpruned networks; says so."""
        if self._has_pruned() and not self.data().empty:
            return False
        name = f"{self.name} of {self.setting}, profile {self.runs[0].profile}"
        costs = " and ".join(self.evidence(kind).price for kind in self.form.kinds)
        print(f"{name}, not run: {costs}; with train=True this notebook makes them.")
        return True

    def _has_pruned(self) -> bool:
        """Whether the store has any record of the figure but those of unpruned networks."""
        return any(r.method != "dense" for k in self.form.kinds for r in self.evidence(k).records)

    def changes(self) -> pd.DataFrame | None:
        """What each ablation of the figure changes in mean test accuracy, up to the highest
        matching sparsity and beyond it, in percentage points with its 95 % interval, "" where there
        is nothing to compare; None where nothing was run, which is then printed."""
        if self._not_run():
            return None
        panels = grids.FIGURES[self.figure].panels
        found = {style.panel_title(self.figure, name): own for name, own in panels.items()}
        samples = self.results.samples("accuracy", self.setting, self.profile)
        table = ablations.changes(samples, self.setting, self.profile, found)
        said = [
            style.with_interval(effect, low, high) if math.isfinite(low) else ""
            for effect, low, high in table.itertuples(index=False)
        ]
        wide = pd.Series(said, table.index).unstack(["ablation", "part"], fill_value="")
        ordered = wide.loc[list(found), table.index.droplevel("panel").unique()]
        ordered = ordered.rename_axis(None).rename_axis([None, None], axis="columns")
        return ordered.rename(columns={a: style.VARIANTS[a].label for a in style.VARIANTS}, level=0)

    def matching(self) -> pd.DataFrame | None:
        """The highest sparsity in percent at which each line of the figure matches the unpruned
        network: a column a criterion, then what the paper prints. None where nothing was run, which
        is then printed."""
        if self._not_run():
            return None
        lines = {}
        for panel, own in grids.FIGURES[self.figure].panels.items():
            title = f"{style.panel_title(self.figure, panel)}, " if panel else ""
            for curve in own:
                at = curve.at(self.setting, self.profile)
                lines[title + style.label(self.figure, curve)] = at
        found = statistics.matching_table(self.table(), lines)
        return found.assign(
            paper=[
                style.percentages(curves.printed_matching(self.setting, c)) for c in lines.values()
            ]
        )

    def against_published(self, quantity: str) -> pd.DataFrame:
        """Our values of a quantity beside those that the paper prints, for every setting of which
        the store holds records: see `curves.against_published`."""
        pages = {page.setting: page for page in (self, *self.others())}
        found = [curves.against_published(p.table(), n).assign(setting=n) for n, p in pages.items()]
        table = pd.concat([t for t in found if len(t)] or found[:1], ignore_index=True)
        chosen = table[table["quantity"] == quantity].drop(columns="quantity")
        return chosen.set_index("setting").reset_index()

    def claims(self, *sections: str | int, where: str = "here") -> pd.DataFrame | None:
        """The claims of sections of the paper with their verdicts, see `verdicts.table`, those that
        were not run last; None where there are none, which is then printed.

        Args:
            sections: as in claims.csv, "4" or "J", or the id of a claim; a number is a figure,
                wherever it is spoken of.
            where: "here" for the verdicts of this setting, "everywhere" for the other settings'
                too, "elsewhere" for only theirs, of what was run.

        Raises:
            UnknownNameError: for another word.
        """
        check_name("where", where, ("here", "everywhere", "elsewhere"))
        found = self._entries(sections)
        own = [e for e in found if verdicts.here(e, self.setting, self.profile)]
        if where == "here":
            found = own
        elif where == "elsewhere":
            found = [e for e in found if e not in own and e.verdict != "not run"]
        if not found:
            nothing = verdicts.nothing(self.setting, self.profile)
            nothing = "nothing of it was run elsewhere" if where == "elsewhere" else nothing
            print(f"{nothing[0].upper()}{nothing[1:]}.")
            return None
        table = verdicts.table(sorted(found, key=lambda e: e.verdict == "not run"))
        return table.drop(columns=["setting", "profile"]) if where == "here" else table

    def answer(self, *sections: str | int) -> Markdown:
        """What was found here, computed from the ledger's verdicts on sections of the paper: for
        this setting claim by claim, for the others in counts."""
        return verdicts.answer(self._entries(sections), self.setting, self.profile)

    def _entries(self, sections):
        figures = {str(number) for number in sections if isinstance(number, int)}
        chosen = [
            c for c in claims.every() if {c.section, c.id} & set(sections) or c.figure in figures
        ]
        return ledger.entries(self.results, chosen, [(self.setting, self.profile)])

    @functools.cached_property
    def results(self) -> Results:
        """The records of every kind, for the ledger, as they are when first asked for."""
        return Results(self.store.root)

    def draw(self) -> Figure | None:
        """Draw the figure and save it with its provenance; None where nothing was run, which is
        then printed."""
        if self._not_run():
            return None
        data = self.data()
        evidence = [self.evidence(kind) for kind in self.form.kinds]
        profile = "" if MASK in self.form.kinds else self.profile  # masks do not depend on it
        title = f"{self.name}: {style.title(self.setting)}{self._at}"
        subject = style.SUBJECTS.get(str(self.figure), "")
        said = f"{subject}. {basis(evidence, profile)}" if subject else basis(evidence, profile)
        if left := self._without_data():
            said += f"; {', '.join(left)} not read, for lack of ImageNet"
        fig = self.form.draw(self, data, f"{title}\n{said}")
        number = f"{self.figure:02d}" if isinstance(self.figure, int) else self.figure
        name = number if number == "weights" else f"figure-{number}"
        name = "-".join(filter(None, (name, self.setting, profile)))
        draw.save(fig, name, data, {each.kind.name: each.provenance for each in evidence})
        return shown.in_words(fig)

    @property
    def _at(self):
        """The sparsity, if all the figure's Runs share one."""
        levels = {run.sparsity for run in self.runs} - {0.0}
        if levels != {self.sparsity}:
            return ""
        known = settings.get(self.setting).matching is not None
        about = "its highest matching sparsity, " if known else "a sparsity of "
        return f" at {about}{100 * self.sparsity:.1f} %"

    def on_paper_networks(self) -> None:
        """Draw the figure, show its accuracies and print what it rests on, of the paper's networks
        but LeNet and this page's own: each by its `Results.nearest_profile`. Where there is none,
        that is printed."""
        found = {
            name: self.results.nearest_profile(name)
            for name in settings.papers_convolutional()
            if name != self.setting
        }
        for name, profile in found.items():
            if profile:
                page = Page(name, profile, train=False, figure=self.figure)
                display(page.draw())
                display(page.accuracies())
                page.coverage()
        if not any(found.values()):
            print("No other convolutional network of the paper was trained to its highest matching")
            print("sparsity here.")

    def others(self) -> list["Page"]:
        """Pages of the same figure for the other settings of which the store holds records of
        it."""
        profile = self.runs[0].profile
        pages = [
            Page(name, profile, train=False, figure=self.figure)
            for name in settings.SETTINGS
            if name != self.setting and self.store.path(name, profile).exists()
        ]
        return [page for page in pages if page._has_pruned()]


def enter_notebook(names: Sequence[str] = PARAMETERS) -> None:
    """In a notebook, refuse injected parameters that it does not have, show texts whole, and fold
    long tables.

    papermill only warns of such parameters. It puts what it is given into a cell that begins with
    "# Parameters".
    """
    cells = getattr(sys.modules["__main__"], "In", None)
    if cells is not None:
        pd.set_option("display.max_colwidth", None)  # claims are whole sentences
        shown.in_notebook(get_ipython())
        injected = "".join(source for source in cells if source.startswith("# Parameters\n"))
        for name in re.findall(r"^(\w+) = ", injected, re.MULTILINE):
            check_name("notebook parameter", name, names)
