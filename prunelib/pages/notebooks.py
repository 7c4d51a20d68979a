"""What every notebook does: check its parameters, plan, train, read results; run and stamp them."""

import ast
import hashlib
import sys
from pathlib import Path

import nbformat
import pandas as pd
import papermill
from papermill.exceptions import PapermillExecutionError

from prunelib import engine, grids, settings
from prunelib.engine import measuring
from prunelib.errors import BadValueError, PrunelibError, UnknownNameError, check_name
from prunelib.findings import curves
from prunelib.pages import draw
from prunelib.paths import project_root, results_root
from prunelib.results.store import END, MASK, START, Store

PARAMETERS = ("setting", "profile", "replicates", "train")
TIMEOUT = 24 * 3600


class Page:
    """The parameters of a notebook and the results behind it, here trained networks.

    Args:
        setting, profile: names; see `prunelib.settings`.
        replicates: how many; 0 is the profile's number.
        train: whether to train what the store misses.
        figure: the figure the notebook draws, if it rests on training.
    """

    noun = "runs"

    def __init__(self, setting, profile, replicates=0, train=True, figure=None):
        _check_injected()
        pd.set_option("display.max_colwidth", None)  # claims are whole sentences
        settings.get(setting)
        settings.get_profile(profile)
        if isinstance(replicates, bool) or not isinstance(replicates, int) or replicates < 0:
            raise BadValueError(
                f"notebook parameter replicates={replicates!r}: give a whole number, 0 for the "
                "profile's own"
            )
        if not isinstance(train, bool):
            raise BadValueError(f"notebook parameter train={train!r}: choose True or False")
        self.setting, self.profile, self.figure = setting, profile, figure
        self.replicates, self.may_train = replicates or None, train
        self.store = Store()

    @property
    def runs(self):
        """The Runs that the figure needs."""
        return grids.figure_runs(self.figure, self.setting, self.profile, self.replicates)

    def plan(self):
        """Print what the figure needs, what the store has, and how long the rest will take."""
        print(engine.plan(self.runs, self.store))

    def train(self):
        """Train what is missing, if the parameters say so; print what was done."""
        missing = len(self.store.missing(self.runs))
        if not missing:
            print(f"No {self.noun} are missing.")
        elif not self.may_train:
            print(f"train=False: {missing} {self.noun} are left out of what follows.")
        else:
            print(f"{self._make()} {self.noun} are new.")

    def _make(self):
        return engine.train(self.runs, self.store)

    def table(self):
        """The results table of this setting and profile."""
        return self.store.table(self.setting, self.profile)

    def _table(self, store):
        """A store's records of the page's runs, and no others."""
        wanted = dict.fromkeys(self.runs)
        found = store.records(self.setting, self.runs[0].profile).items()
        rows = [run.record() | result for run, result in found if run in wanted]
        return pd.DataFrame(rows, columns=list(store.kind.columns))

    def data(self):
        """The numbers that the figure draws."""
        return curves.accuracy_data(
            self.figure, self.table(), self.setting, self.profile, draw.label, self.replicates
        )

    def lines(self):
        """(panel, curve, label) of every line of the figure."""
        return [
            (panel, curve, draw.label(self.figure, curve))
            for panel, lines in grids.FIGURES[self.figure].panels.items()
            for curve in lines
        ]

    def draw(self):
        """Draw the figure, save it with its provenance, print what it rests on and a digest."""
        table, data = self.table(), self.data()
        about = (self.figure, table, self.setting, self.profile, self.replicates)
        on = curves.variant(self.setting, self._table(self.store))
        fig = draw.draw_accuracy(data, self.figure, self.setting, self.profile, on)
        name = f"figure-{self.figure:02d}-{self.setting}-{self.profile}"
        draw.save(fig, name, data, draw.provenance(*about))
        print(draw.fidelity(*about))
        print(f"Digest of the numbers drawn: {draw.digest(data)}")
        return fig


class MaskPage(Page):
    """A page of a figure that is read off masks before any training: 5, 15 or 16."""

    noun = "masks"

    def __init__(self, setting, profile="paper", replicates=0, train=True, figure=None):
        super().__init__(setting, profile, replicates, train, figure)
        self.store = Store(kind=MASK)
        self.level, self.source = settings.matching_level(setting)
        self.sparsity = settings.sparsity(self.level)

    @property
    def runs(self):
        """The Runs whose masks the figure reads; Figure 16 has all sparsities."""
        levels = None if self.figure == 16 else (self.level,)
        chosen = measuring.methods(self.setting)
        return grids.mask_runs(self.setting, chosen, levels, self.replicates)

    def plan(self):
        """Print which masks the figure needs, which there are, how long the rest takes."""
        print(measuring.plan(self.runs, self.store))

    def _make(self):
        return measuring.measure(self.runs, self.store.root)

    def table(self):
        """The records of the figure's masks."""
        return self._table(self.store)

    def data(self):
        """The numbers that the figure draws."""
        if self.figure == 5:
            return curves.collapse_data(self.table(), self.sparsity)
        if self.figure == 15:
            return curves.layer_data(self.table(), self.setting, self.sparsity)
        return curves.ratio_data(self.table())

    def draw(self):
        """Draw the figure, save it with its provenance, print what it rests on and a digest."""
        data, table = self.data(), self.table()
        if data.empty:
            raise BadValueError(
                f"figure {self.figure} of {self.setting}: none of its masks is in the store; run "
                "this notebook with train=True"
            )
        drawing = {
            5: draw.draw_collapse, 15: draw.draw_layers, 16: draw.draw_ratio,
        }[self.figure]  # fmt: skip
        at = "" if self.figure == 16 else f" at {100 * self.sparsity:.1f} % sparsity"
        on = curves.variant(self.setting, table)
        fig = drawing(data, f"Figure {self.figure}: {self.setting}{on}{at}")
        about = {"figure": self.figure, "setting": self.setting, "masks": len(table)}
        about |= {n: sorted(set(table[n])) for n in ("dataset", "device", "torch", "commit")}
        draw.save(fig, f"figure-{self.figure:02d}-{self.setting}", data, about)
        print(curves.fidelity(self.runs, table))
        print(f"Digest of the numbers drawn: {draw.digest(data)}")
        return fig


class WeightPage(Page):
    """The page of the distributions of unpruned weights, before training and after it.

    Those after training are made only if `after` is True.
    """

    noun = "records of weights"

    def __init__(self, setting, profile="paper", replicates=0, train=True, after=True):
        super().__init__(setting, profile, replicates, train)
        self.after = after
        self.stores = {"before training": Store(kind=START)}
        if after:
            self.stores["after training"] = Store(kind=END)

    @property
    def runs(self):
        """The Runs whose weights are compared."""
        return grids.weight_runs(
            self.setting, self.profile, replicates=self.replicates, after=self.after
        )

    def plan(self):
        """Print how many records of weights are needed, and how many there are."""
        for when, store in self.stores.items():
            missing = len(store.missing(self.runs))
            print(f"{when}: {len(self.runs)} needed, {missing} to make.")

    def train(self):
        """Make what is missing, before training and after it, if the parameters say so."""
        for store in self.stores.values():
            self.store = store
            super().train()

    def _make(self):
        return measuring.measure(self.runs, self.store.root, kind=self.store.kind)

    def table(self, when="before training"):
        """The records of these runs' weights, "before training" or "after training"."""
        return self._table(self.stores[when])

    def data(self):
        """How far the unpruned weights move: see `curves.weight_data`."""
        return curves.weight_data({when: self.table(when) for when in self.stores})

    def draw(self):
        """Draw the distances, save the figure with its provenance, print a digest."""
        data = self.data()
        if data.empty:
            raise BadValueError(
                f"the weights of {self.setting} at profile {self.profile}: none is in the store; "
                "run this notebook with train=True"
            )
        tables = [self.table(when) for when in self.stores]
        on = curves.variant(self.setting, pd.concat(tables))
        fig = draw.draw_weights(data, f"{self.setting}{on}, profile {self.profile}")
        about = {"setting": self.setting, "profile": self.profile, "records": sum(map(len, tables))}
        for name in ("dataset", "device", "precision", "torch", "commit"):
            about[name] = sorted(set().union(*(table[name] for table in tables)))
        draw.save(fig, f"weights-{self.setting}-{self.profile}", data, about)
        print(f"Digest of the numbers drawn: {draw.digest(data)}")
        return fig


def _check_injected():
    """Refuse parameters that papermill injected and this notebook does not have.

    papermill only warns of them. It puts what it is given into a cell that begins with
    "# Parameters".
    """
    history = getattr(sys.modules["__main__"], "In", [])
    for source in history:
        if source.startswith("# Parameters\n"):
            for node in ast.parse(source).body:
                for target in getattr(node, "targets", []):
                    if target.id not in PARAMETERS:
                        raise UnknownNameError("notebook parameter", target.id, PARAMETERS)


def paths():
    """The notebooks of this project: dict from name to path."""
    found = sorted((project_root() / "notebooks").glob("[0-9A-Z]*.ipynb"))
    return {path.stem: path for path in found}


def find(name):
    """The path of a notebook by its name or the beginning of it, as "04" or "05_ablations"."""
    known = paths()
    matching = [n for n in known if n == name or n.startswith(f"{name}_")]
    if len(matching) != 1:
        raise UnknownNameError("notebook", name, known)
    return known[matching[0]]


def execute(path, output, parameters=None):
    """Execute a notebook with papermill.

    Args:
        path: the notebook; output: where the executed one goes, its folder is made.
        parameters: dict from name to value.

    Raises:
        UnknownNameError: a parameter that notebooks do not have.
        PrunelibError: a cell failed; the sentence is the cell's own where it is one of ours.
    """
    for name in parameters or {}:
        check_name("notebook parameter", name, PARAMETERS)
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            path, output, parameters or {}, progress_bar=sys.stderr.isatty(),
            execution_timeout=TIMEOUT, cwd=project_root(), kernel_name="python3",
            extra_arguments=["--log-level=ERROR"],
        )  # fmt: skip
    except PapermillExecutionError as error:
        raise PrunelibError(f"{path.name}, cell {error.exec_count}: {error.evalue}") from None


def refresh(path):
    """Execute a notebook in place with its default parameters, strip what varies, stamp it."""
    temporary = path.with_name(f".{path.name}")
    try:
        execute(path, temporary)
        notebook = nbformat.read(temporary, as_version=4)
    finally:
        temporary.unlink(missing_ok=True)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {k: v for k, v in cell.metadata.items() if k == "tags" and v}
    notebook.metadata["prunelib"] = stamp(notebook)
    nbformat.write(notebook, path)


def stamp(notebook):
    """Digests of what the outputs of a notebook depend on: its cells, the library, the results."""
    cells = "\0".join(cell.source for cell in notebook.cells)
    library = sorted(Path(__file__).parent.glob("**/*.py")) + sorted(
        Path(__file__).parent.glob("published/*.csv")
    )
    results = sorted(results_root().glob("*/*.csv"))
    return {
        "cells": _digest(cells.encode()),
        "library": _digest(*(path.read_bytes() for path in library)),
        "results": _digest(*(path.read_bytes() for path in results)),
    }


def _digest(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]
