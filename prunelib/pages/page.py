"""Page: what every notebook does with its parameters: check them, plan, train, read, draw, and say
what evidence there is. Which records a figure rests on, and how it is drawn, stands in `FORMS`."""

import ast
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from prunelib import engine, grids, scores, settings
from prunelib.engine import measuring
from prunelib.errors import BadValueError, UnknownNameError, check_name
from prunelib.findings import curves
from prunelib.pages import draw, pending
from prunelib.pages.evidence import Evidence
from prunelib.paths import data_root
from prunelib.results.store import END, MASK, START, TRAINED, Kind, Store
from prunelib.runs import EARLY_METHODS, Run

PARAMETERS = ("setting", "profile", "replicates", "train")


@dataclass(frozen=True)
class Form:
    """What a figure rests on and how it is made, each a function of its Page.

    `kinds` are the records behind it, `runs` those of which it takes them, `data` the numbers that
    it shows; `draw` takes these and a title, which ends with what `scope` says.
    """

    kinds: tuple[Kind, ...]
    runs: Callable[["Page"], list[Run]]
    data: Callable[["Page"], pd.DataFrame]
    draw: Callable[["Page", pd.DataFrame, str], Figure]
    scope: Callable[["Page"], str]


def _masks(data, drawing, levels=lambda page: (page.level,), scope=" at {:.1f} % sparsity"):
    return Form(
        (MASK,),
        lambda p: grids.mask_runs(p.setting, methods(p.setting), levels(p), p.replicates),
        data,
        lambda p, numbers, title: drawing(numbers, title),
        lambda p: scope.format(100 * p.sparsity),
    )


_ACCURACY = Form(
    (TRAINED,),
    lambda p: grids.figure_runs(p.figure, p.setting, p.profile, p.replicates),
    lambda p: pending.accuracy_data(p.figure, p.table(), p.setting, p.profile, p.replicates),
    lambda p, data, title: draw.accuracy(data, title, p.figure, p.setting, p.profile),
    lambda p: f", profile {p.profile}",
)
FORMS = {
    # Those that show accuracy against the sparsities 1 - 0.8^k.
    **{f: _ACCURACY for f, grid in grids.FIGURES.items() if grid.along == "sparsity" and f != 1},
    5: _masks(lambda p: curves.collapse_data(p.table(), p.sparsity), draw.collapse),
    15: _masks(lambda p: curves.layer_data(p.table(), p.setting, p.sparsity), draw.layers),
    16: _masks(lambda p: curves.ratio_data(p.table()), draw.ratio, lambda p: None, scope=""),
    "weights": Form(
        (START, END),
        lambda p: grids.weight_runs(p.setting, p.profile, replicates=p.replicates),
        lambda p: curves.weight_data(
            {"before training": p.table(START), "after training": p.table(END)}
        ),
        lambda p, data, title: draw.weights(data, title),
        lambda p: f", profile {p.profile}",
    ),
}


def methods(setting: str) -> tuple[str, ...]:
    """The methods whose masks are compared: those without data where ImageNet is not at hand."""
    found = (*EARLY_METHODS, "random")
    needs_imagenet = settings.get(setting).dataset == "imagenet"
    if needs_imagenet and not (data_root() / "imagenet").is_dir():
        return tuple(m for m in found if not scores.get(m).needs_data)
    return found


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
        _enter_notebook()
        for name, value in (("setting", setting), ("profile", profile)):
            if not isinstance(value, str):
                raise BadValueError(f"notebook parameter {name}={value!r}: give a name, a text")
        settings.get(setting)
        settings.get_profile(profile)
        if isinstance(replicates, bool) or not isinstance(replicates, int) or replicates < 0:
            raise BadValueError(
                f"notebook parameter replicates={replicates!r}: give a whole number, 0 for the "
                "profile's own"
            )
        if not isinstance(train, bool):
            raise BadValueError(f"notebook parameter train={train!r}: choose True or False")
        self.form = FORMS[check_name("figure", figure, FORMS)] if figure is not None else _ACCURACY
        self.setting, self.profile, self.figure = setting, profile, figure
        self.replicates, self.may_train = replicates or None, train
        self.stores = {kind.suffix: Store(kind=kind) for kind in self.form.kinds}
        self.level, self.source = settings.matching_level(setting)
        self.sparsity = settings.sparsity(self.level)

    @property
    def store(self) -> Store:
        """The store of the figure's records, of its first kind."""
        return self.stores[self.form.kinds[0].suffix]

    @property
    def runs(self) -> list[Run]:
        """The Runs that the figure needs."""
        return self.form.runs(self)

    def evidence(self, kind: Kind | None = None) -> Evidence:
        """What there is of the figure's records, of one kind of `form.kinds`; the first if None."""
        return Evidence.read(self.runs, self.stores[kind.suffix] if kind else self.store)

    def table(self, kind: Kind | None = None) -> pd.DataFrame:
        """The records of the figure's Runs, and no others: one row a record."""
        return self.evidence(kind).table

    def plan(self) -> None:
        """Print what the figure needs, what the store has, and how long the rest will take."""
        for store in self.stores.values():
            plan = engine.plan if store.kind == TRAINED else measuring.plan
            print(plan(self.runs, store))

    def train(self) -> None:
        """Train or make what is missing, if the parameters say so; print what was done."""
        for kind, store in zip(self.form.kinds, self.stores.values(), strict=True):
            evidence = self.evidence(kind)
            if not evidence.missing:
                print(f"No {evidence.noun} are missing.")
            elif not self.may_train:
                left = f"{len(evidence.missing)} {evidence.noun}"
                print(f"train=False: {left} are left out of what follows.")
            else:
                made = (
                    engine.train(self.runs, store)
                    if kind == TRAINED
                    else measuring.measure(self.runs, store.root, kind=kind)
                )
                print(f"{made} {evidence.noun} are new.")

    def data(self) -> pd.DataFrame:
        """The numbers that the figure shows.

        Raises:
            BadValueError: there are none, as nothing of it was run.
        """
        data = self.form.data(self)
        if data.empty:
            about = f"--setting {self.setting} --profile {self.profile}"
            command = f", or 'prunelib run --figure {self.figure} {about}'"
            raise BadValueError(
                f"{self.name} of {self.setting}, profile {self.runs[0].profile}: no run of it is "
                "in the store; set train=True in the notebook"
                + (command if self.form is _ACCURACY else "")
            )
        return data

    @property
    def name(self) -> str:
        """What the figure is called."""
        return "unpruned weights" if self.figure == "weights" else f"figure {self.figure}"

    def accuracies(self) -> pd.DataFrame:
        """Print the unpruned network's mean test accuracy; return those of the figure's lines.

        Returns:
            data frame: a row a line, a column a sparsity, all in percent.
        """
        data = self.data()
        unpruned = data[data["line"] == "Unpruned"]["accuracy"]
        print("Unpruned:", f"{unpruned.iloc[0]:.1f} %" if len(unpruned) else "not run")
        lines = data[data["line"] != "Unpruned"]
        keys = ["panel", "line"] if lines["panel"].any() else ["line"]
        table = lines.pivot(index=keys, columns="sparsity", values="accuracy").round(1)
        return table.loc[lines.set_index(keys).index.unique()]

    def draw(self) -> Figure:
        """Draw the figure, save it with its provenance, print what it rests on and a digest."""
        data = self.data()
        found = [self.evidence(kind) for kind in self.form.kinds]
        on = pending.variant(self.setting, pd.concat([evidence.table for evidence in found]))
        title = f"{self.name.capitalize()}: {self.setting}{on}{self.form.scope(self)}"
        fig = self.form.draw(self, data, title)
        draw.save(fig, self.file, data, {e.noun: e.provenance for e in found})
        print(*found, f"Digest of the numbers drawn: {draw.digest(data)}", sep="\n")
        return fig

    @property
    def file(self) -> str:
        """The name of the figure's files; masks do not depend on the profile."""
        name = "weights" if self.figure == "weights" else f"figure-{self.figure:02d}"
        return f"{name}-{self.setting}" + ("" if MASK in self.form.kinds else f"-{self.profile}")

    def others(self) -> list["Page"]:
        """Pages of the same figure for the other settings of which the store holds records."""
        profile = self.runs[0].profile
        return [
            Page(name, profile, train=False, figure=self.figure)
            for name in settings.SETTINGS
            if name != self.setting and self.store.path(name, profile).exists()
        ]


def _enter_notebook() -> None:
    """In a notebook, refuse injected parameters that it does not have, and show texts whole.

    papermill only warns of such parameters. It puts what it is given into a cell that begins with
    "# Parameters".
    """
    cells = getattr(sys.modules["__main__"], "In", None)
    if cells is None:
        return
    pd.set_option("display.max_colwidth", None)  # claims are whole sentences
    for source in cells:
        if source.startswith("# Parameters\n"):
            for node in ast.parse(source).body:
                for target in getattr(node, "targets", []):
                    if target.id not in PARAMETERS:
                        raise UnknownNameError("notebook parameter", target.id, PARAMETERS)
