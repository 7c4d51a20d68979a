"""Measures: what the papers speak of, as numbers read off the records of a store.

A measure turns each record of one kind into a value. `Results` gives the samples of a measure for a
setting and profile, each computed once.
"""

import functools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from prunelib import settings
from prunelib.errors import BadValueError
from prunelib.findings import quantities
from prunelib.findings.samples import Samples, by_curve, guessing
from prunelib.grids import FIGURES
from prunelib.results.records import END, MASK, START, TRAINED, Kind, Record
from prunelib.results.store import Store
from prunelib.runs import AFTER, DENSE, EARLY_METHODS, RANDOM, REWOUND, Curve, Run


@dataclass(frozen=True)
class Measure:
    """What is measured: a function of `quantities`, by a name in claims.csv.

    `unit` is "%", "points" (percentage points), "layers", "std" (standard deviations of the
    unmodified network's weights) or "times" (as dense as other layers); empty for other ratios and
    for distances in [0, 1]. `about` is what the
    name says beside the measure: of which layers, ablation or curve.
    """

    name: str
    kind: Kind
    unit: str
    function: Callable[..., pd.Series]
    about: dict[str, str]

    @property
    def is_accuracy(self) -> bool:
        """Whether its values are accuracies: those of curves share their spread."""
        return self.function == quantities.accuracy

    @property
    def ablation(self) -> str:
        """The ablation whose effect on accuracy this is: a difference of two curves, of which the
        values are the accuracies; "" if it is another measure."""
        return self.about.get("ablation", "")

    def values(self, table: pd.DataFrame, setting: str, masks: pd.DataFrame) -> pd.Series:
        """One value a record of a table.

        Args:
            table: records of `kind`. masks: those of the setting's masks, which only measures of
                weights read.
        """
        weights = {"masks": masks} if self.kind in (START, END) else {}
        about = {name: value for name, value in self.about.items() if name != "ablation"}
        return self.function(table, setting, **weights, **about)

    def reads(self, lines: Sequence[Curve]) -> list[tuple[Kind, Curve]]:
        """The records that it takes to measure these curves, their own and those of what they are
        compared with: pairs of kind and curve."""
        about, read = self.about, list(lines)
        if self.function == quantities.reconnected:
            read += [replace(c, ablation="shuffle") for c in read]
        if self.ablation:
            read += [replace(c, ablation=self.ablation) for c in read]
        if "curve" in about:
            read.append(Curve.parse(about["curve"]))
        if "excess" in about:  # over what random pruning moves by the same ablation
            read += [replace(RANDOM, ablation=c.ablation) for c in read]
        if self.kind not in (START, END):
            return [(self.kind, c) for c in dict.fromkeys(read)]
        plain = [replace(c, ablation="none") for c in read]
        # by the masks' own numbers
        counted = "zeros" in about or about.get("layer") == "mean layer"
        both = [*((self.kind, c) for c in (*read, *plain)), *((MASK, c) for c in plain if counted)]
        return list(dict.fromkeys(both))


def _moved(quantity, when):
    return (
        rf"(?P<excess>excess )?(?P<quantity>{quantity}), {when} training"
        "(?P<zeros>, zeros counted)?(, (?P<layer>each layer|mean layer))?"
    )


# Of each measure its name in claims.csv, a pattern whose groups are arguments of the function; what
# it reads; its unit. The first that fits.
MEASURES: tuple[tuple[str, Kind, str, Callable[..., pd.Series]], ...] = (
    ("accuracy", TRAINED, "%", quantities.accuracy),
    ("diverged", TRAINED, "%", quantities.diverged),
    ("deviation", TRAINED, "points", quantities.deviation),
    (r"effect of (?P<ablation>\w+)", TRAINED, "points", quantities.accuracy),
    ("neurons", MASK, "%", quantities.neurons),
    ("neurons in emptied layers", MASK, "%", quantities.neurons_in_emptied_layers),
    ("reconnected", MASK, "", quantities.reconnected),
    ("disconnected", MASK, "points", quantities.disconnected),
    ("rounds differently", MASK, "%", quantities.rounds_differently),
    ("cut", MASK, "%", quantities.cut),
    ("unevenness", MASK, "points", quantities.unevenness),
    ("distance to variances", MASK, "points", quantities.distance_to_variances),
    (r"distance to (?P<curve>\S+)", MASK, "points", quantities.distance_to),
    (r"sparsity of (?P<name>\w+)", MASK, "%", quantities.sparsity_of),
    (r"sparsity of (?P<name>\w+) less (?P<other>\w+)", MASK, "points", quantities.sparsity_less),
    (r"kept of (?P<name>\w+) over (?P<other>\w+)", MASK, "times", quantities.kept_over),
    (r"emptied (?P<name>\w+)", MASK, "layers", quantities.emptied),
    (_moved("ks|std", "before"), START, "", quantities.moved),
    (_moved("wasserstein", "before"), START, "std", quantities.moved),
    (_moved("ks|std", "after"), END, "", quantities.moved),
    (_moved("wasserstein", "after"), END, "std", quantities.moved),
)


@functools.cache
def measure(name: str) -> Measure:
    """The measure of a name in claims.csv.

    Raises:
        BadValueError: there is none.
    """
    for pattern, kind, unit, function in MEASURES:
        if found := re.fullmatch(pattern, name):
            about = {key: value for key, value in found.groupdict().items() if value}
            return Measure(name, kind, unit, function, about)
    raise BadValueError(f"measure {name!r} is none of findings/measures.py")


def other_data(setting: str, table: pd.DataFrame) -> str:
    """The data that records rest on, where they are other than the setting's; else ""."""
    # modified and shifted data are stored under the name of the data themselves
    own = re.sub("^(modified|shifted)_", "", settings.get(setting).dataset)
    others = sorted({name.split("@")[0] for name in table["dataset"].unique()} - {own, "none"})
    return ", ".join(others)


class Results:
    """The samples of every measure in a results folder.

    Args:
        root: of the stores; results/ by default.
    """

    def __init__(self, root: Path | str | None = None):
        self.stores = {kind: Store(root, kind) for kind in (TRAINED, MASK, START, END)}
        # Everything is read and computed once; the caches go with the object.
        for name in ("held", "records", "table", "missing", "origins", "samples"):
            setattr(self, name, functools.cache(getattr(self, name)))

    def held(self, kind: Kind) -> frozenset[tuple[str, str]]:
        """Setting and profile of all files of a kind, as they were when first asked for."""
        return frozenset(self.stores[kind].pairs())

    def pairs(self) -> list[tuple[str, str]]:
        """Setting and profile of everything in the stores, above profile "smoke"."""
        found = {pair for kind in self.stores for pair in self.held(kind)}
        known = list(settings.SETTINGS)
        return sorted(
            (p for p in found if p[0] in known and p[1] != "smoke"),
            key=lambda pair: (known.index(pair[0]), pair[1]),
        )

    def nearest_profile(self, setting: str) -> str | None:
        """The profile nearest to the paper's recipe by which a setting's unpruned network was
        trained, and one pruned to its highest matching sparsity; None if there is none."""
        wanted = {0.0, settings.highest_matching(setting)}
        held = (
            (name, set(self.table(TRAINED, setting, name)["sparsity"]))
            for name in settings.NEAREST_FIRST
        )
        return next((name for name, there in held if wanted <= there), None)

    def records(self, kind: Kind, setting: str, profile: str) -> dict[Run, Record]:
        """The records of a kind, by their Runs; those of masks have the profile "paper" always."""
        if kind == MASK and profile != "paper":
            return self.records(kind, setting, "paper")
        return self.stores[kind].records(setting, profile)

    def table(self, kind: Kind, setting: str, profile: str) -> pd.DataFrame:
        """The same as a data frame, one row a record."""
        return kind.table(self.records(kind, setting, profile).values())

    def missing(
        self,
        kind: Kind,
        setting: str,
        profile: str,
        curve: Curve,
        points: tuple[tuple[float, int | str], ...],
        replicates: int,
    ) -> list[Run]:
        """The Runs of a curve of which there is no record.

        Args:
            points: pairs of sparsity and step; the unpruned network has one only.
            replicates: how many there should be.
        """
        setting, profile = settings.recorded(setting), "paper" if kind == MASK else profile
        points = ((0.0, 0),) if curve.method == "dense" else points
        held = self.records(kind, setting, profile)
        wanted = [
            curve.run(setting, profile, sparsity, replicate, step)
            for sparsity, step in points
            for replicate in range(replicates)
        ]
        return [run for run in dict.fromkeys(wanted) if run not in held]

    def origins(
        self, kind: Kind, setting: str, profile: str, methods: frozenset[str]
    ) -> tuple[str, tuple[str, ...]]:
        """Of the records of some methods: other data than the setting's, "" if there are none, and
        the precisions that networks were trained in."""
        table = self.table(kind, setting, profile)
        rows = table[table["method"].isin(methods)]
        precisions = sorted(set(rows["precision"])) if kind == TRAINED else ()
        return other_data(setting, rows), tuple(precisions)

    def samples(self, name: str, setting: str, profile: str, steps: bool = False) -> Samples:
        """The values of a measure.

        Args:
            name: of the measure.
            steps: whether the points are the steps of Figures 6 and 10, at the highest matching
                sparsity, in place of sparsities.
        """
        setting, measured = settings.recorded(setting), measure(name)
        table = self.table(measured.kind, setting, profile)
        if steps:
            plain = self.samples(name, setting, profile)
            values = _along_steps(plain.values, setting, profile)
        else:
            masks = self.table(MASK, setting, profile)
            computed = measured.values(table, setting, masks) if len(table) else None
            values = {} if computed is None else by_curve(table, computed)
        accuracy = measured.is_accuracy
        guess = 100 * guessing(1 / quantities.classes(setting)) if accuracy else -math.inf
        return Samples(values, guess, pooled=accuracy)


def _along_steps(values, setting, profile):
    """The same values with a column a step: curves of Figures 6 and 10, and, the same at every
    step, those that do not depend on it."""
    sparsity = settings.highest_matching(setting)
    schedule = settings.schedule(setting, profile)
    lines = [c for f in (6, 10) for panel in FIGURES[f].panels.values() for c in panel]
    lines += [DENSE, AFTER, REWOUND, RANDOM, *(Curve(m) for m in EARLY_METHODS)]
    found = {}
    for line in dict.fromkeys(lines):
        columns = {}
        for step in settings.steps(setting, profile):
            own = values.get(line.at(setting, profile, step), pd.DataFrame())
            if sparsity in own:
                columns[schedule.iteration(step)] = own[sparsity]
        if columns:
            key = line if "k" in (line.prune_at, line.weights_from) else line.at(setting, profile)
            found[key] = pd.DataFrame(columns)
    return found
