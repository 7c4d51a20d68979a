"""Measures: what the papers speak of, as numbers read off the records of a store.

A measure turns each record of one kind into a value. `Results` gives the samples of a measure for a
setting and profile, each computed once.
"""

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from prunelib import settings
from prunelib.errors import BadValueError
from prunelib.findings import quantities
from prunelib.findings.samples import Samples, by_curve, guessing
from prunelib.grids import FIGURES
from prunelib.results.records import END, MASK, START, TRAINED, Kind, Record
from prunelib.results.store import Store
from prunelib.runs import AFTER, DENSE, EARLY_METHODS, RANDOM, REWOUND, Curve, Run

# Of records, the setting's name and the records of its masks: one value a record.
Values = Callable[[pd.DataFrame, str, pd.DataFrame], pd.Series]


@dataclass(frozen=True)
class Measure:
    """What is measured: `values` of the records of a kind, by the name in claims.csv.

    `unit` is "%", "points" (percentage points), "layers" or "std" (standard deviations of the
    unmodified network's weights); empty for ratios and for distances in [0, 1].
    """

    name: str
    kind: Kind
    unit: str
    values: Values


_PLAIN: dict[str, tuple[Kind, str, Values]] = {
    "accuracy": (TRAINED, "%", lambda t, s, m: 100 * t["test_accuracy"]),
    "diverged": (TRAINED, "%", lambda t, s, m: 100.0 * ~np.isfinite(t["train_loss"].astype(float))),
    "deviation": (TRAINED, "points", lambda t, s, m: quantities.deviation(t)),
    "neurons": (MASK, "%", lambda t, s, m: quantities.neurons(t, s)),
    "neurons in emptied layers": (
        MASK,
        "%",
        lambda t, s, m: quantities.neurons_in_emptied_layers(t, s),
    ),
    "reconnected": (MASK, "", lambda t, s, m: quantities.reconnected(t, s)),
    "disconnected": (MASK, "points", lambda t, s, m: quantities.disconnected(t, s)),
    "rounds differently": (MASK, "%", lambda t, s, m: quantities.rounds_differently(t, s)),
    "cut": (MASK, "%", lambda t, s, m: 100.0 * (t["effective_weights"] == 0)),
    "unevenness": (MASK, "points", lambda t, s, m: quantities.pruned(t, s).std(axis=1)),
    "distance to variances": (
        MASK,
        "points",
        lambda t, s, m: quantities.distance_to_variances(t, s),
    ),
}
# Of names that say which layers, ablation or curve they are about: a pattern, the kind of records,
# the unit, and the values as a function of the pattern's groups.
_PATTERNS: tuple[tuple[str, Kind, str, Callable[..., Values]], ...] = (
    (
        r"(?:(highest|lowest) )?sparsity of (\w+)",
        MASK,
        "%",
        lambda how, name: lambda t, s, m: quantities.sparsity_of(t, s, name, how or "all"),
    ),
    (
        r"sparsity of (\w+) less (\w+)",
        MASK,
        "points",
        lambda name, other: (
            lambda t, s, m: quantities.sparsity_of(t, s, name) - quantities.sparsity_of(t, s, other)
        ),
    ),
    (
        r"kept of (\w+) over (\w+)",
        MASK,
        "",
        lambda name, other: lambda t, s, m: quantities.kept_over(t, s, name, other),
    ),
    (
        r"emptied (\w+)",
        MASK,
        "layers",
        lambda name: lambda t, s, m: quantities.emptied(t, s, name),
    ),
    (
        r"distance to (\S+)",
        MASK,
        "points",
        lambda curve: lambda t, s, m: quantities.distance_to(t, s, curve),
    ),
    (
        r"effect of (\w+)",
        TRAINED,
        "points",
        lambda ablation: lambda t, s, m: quantities.ablated(t, s, ablation),
    ),
    *(
        (
            rf"(excess )?({name}), {when} training(, zeros counted)?(, each layer|, mean layer)?",
            kind,
            unit,
            lambda excess, quantity, zeros, layer: (
                lambda t, s, m: quantities.moved(
                    t, s, m, quantity, (layer or "").lstrip(", "), bool(zeros), bool(excess)
                )
            ),
        )
        for when, kind in (("before", START), ("after", END))
        for name, unit in (("ks", ""), ("wasserstein", "std"), ("std", ""))
    ),
)


@functools.cache
def measure(name: str) -> Measure:
    """The measure of a name in claims.csv.

    Raises:
        BadValueError: there is none.
    """
    if name in _PLAIN:
        return Measure(name, *_PLAIN[name])
    for pattern, kind, unit, values in _PATTERNS:
        if found := re.fullmatch(pattern, name):
            return Measure(name, kind, unit, values(*found.groups()))
    raise BadValueError(f"measure {name!r} is none of findings/measures.py")


def variant(setting: str, table: pd.DataFrame) -> str:
    """Words for a title: " on X" where records rest on another dataset than the setting's."""
    # modified and shifted data are stored under the name of the data themselves
    own = re.sub("^(modified|shifted)_", "", settings.get(setting).dataset)
    others = sorted({name.split("@")[0] for name in table["dataset"].unique()} - {own, "none"})
    return f" on {', '.join(others)}" if others else ""


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
        return variant(setting, rows).removeprefix(" on "), tuple(precisions)

    def samples(self, name: str, setting: str, profile: str, steps: bool = False) -> Samples:
        """The values of a measure.

        Args:
            name: of the measure.
            steps: whether the points are the steps of Figures 6 and 10, at the highest matching
                sparsity, in place of sparsities.
        """
        setting, found = settings.recorded(setting), measure(name)
        table = self.table(found.kind, setting, profile)
        if steps:
            plain = self.samples(name, setting, profile)
            values = _along_steps(plain.values, setting, profile)
        else:
            masks = self.table(MASK, setting, profile)
            own = found.values(table, setting, masks) if len(table) else None
            values = {} if own is None else by_curve(table, own)
        accuracy = name == "accuracy"
        guess = 100 * guessing(1 / quantities.classes(setting)) if accuracy else -math.inf
        return Samples(values, guess, pooled=accuracy)


def _along_steps(values, setting, profile):
    """The same values with a column a step: curves of Figures 6 and 10, and, the same at every
    step, those that do not depend on it."""
    sparsity = settings.highest_matching(setting)
    last = settings.schedule(setting, profile).iterations
    lines = [c for f in (6, 10) for panel in FIGURES[f].panels.values() for c in panel]
    lines += [DENSE, AFTER, REWOUND, RANDOM, *(Curve(m) for m in EARLY_METHODS)]
    found = {}
    for line in dict.fromkeys(lines):
        columns = {}
        for step in settings.steps(setting, profile):
            own = values.get(str(line.at(setting, profile, step)), pd.DataFrame())
            if sparsity in own:
                columns[last if step == "end" else step] = own[sparsity]
        if columns:
            key = line if "k" in (line.prune_at, line.weights_from) else line.at(setting, profile)
            found[str(key)] = pd.DataFrame(columns)
    return found
