"""Evidence: the records that a page wants, those that there are, and the sentence that says so.

Figures, notebooks and the page of results say what they rest on through this one class."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from prunelib import grids, settings
from prunelib.errors import BadValueError
from prunelib.findings.measures import other_data
from prunelib.pages.style import dataset, method
from prunelib.results.records import END, TRAINED, Kind, Record
from prunelib.results.store import Store
from prunelib.runs import Run

SOURCES = ("dataset", "engine", "precision", "device", "torch", "commit")


@dataclass(frozen=True)
class Evidence:
    """Records of one kind, of Runs of one setting and profile.

    `wanted` are the Runs that it takes, without repetition; `records` has those of them that the
    store holds.
    """

    kind: Kind
    wanted: tuple[Run, ...]
    records: Mapping[Run, Record]

    @classmethod
    def read(cls, runs: Iterable[Run], store: Store) -> "Evidence":
        """What a store holds of some Runs.

        Raises:
            BadValueError: there are no Runs.
            StoreError: a record is damaged.
        """
        wanted = dict.fromkeys(runs)
        if not wanted:
            raise BadValueError(
                "nothing is to be shown: the figure takes sparsities or replicates that the "
                "setting does not have; take another setting, or register it with a higher "
                "'highest'"
            )
        first = next(iter(wanted))
        held = store.records(first.setting, first.profile).items()
        return cls(store.kind, tuple(wanted), {run: rec for run, rec in held if run in wanted})

    @property
    def missing(self) -> list[Run]:
        """The Runs that have no record, in their order."""
        return [run for run in self.wanted if run not in self.records]

    @property
    def price(self) -> str:
        """How many records are missing, and what it takes to have them, in words."""
        runs = self.missing
        if self.kind not in (TRAINED, END):  # a mask takes no training, but of what it is read from
            runs = {run.parent for run in runs} - {None}
        first = self.wanted[0]
        pflop = grids.cost(first.setting, first.profile, len(runs))
        value, unit = (pflop, "PFLOP") if pflop >= 0.1 else (1000 * pflop, "TFLOP")
        takes = f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
        takes = f"take {takes} {unit} of training" if runs else "take no training"
        return f"{len(self.missing)} {self.kind.name}, which {takes}"

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """One row a record, with the columns of its kind."""
        return self.kind.table(self.records.values())

    def values(self, column: str) -> list[str]:
        """What the records have in a column, each value once, sorted; "none" left out."""
        return sorted(set(self.table[column]) - {"none"})

    @property
    def provenance(self) -> dict:
        """Where the numbers come from: counts, data, engine, precision, devices, commits."""
        about = {"setting": self.wanted[0].setting, "profile": self.wanted[0].profile}
        about |= {"records": len(self.records), "missing": len(self.missing)}
        columns = [name for name in SOURCES if name in self.kind.columns]
        return about | {name: self.values(name) for name in columns}

    def __str__(self) -> str:
        """One sentence: what there is of what is wanted, by which profile, on which data."""
        first = self.wanted[0]
        sentence = f"{first.setting}, profile {first.profile} "
        sentence += f"({settings.get_profile(first.profile).meaning}): "
        sentence += f"{len(self.records)} of {len(self.wanted)} {self.kind.name}"
        if self.missing:
            sentence += f", {len(self.missing)} not run"
        sentence += f"; data {', '.join(self.values('dataset')) or 'none'}"
        if "engine" in self.kind.columns and self.records:
            how = self.table[["engine", "precision"]].drop_duplicates().itertuples(index=False)
            sentence += "; trained " + ", ".join(sorted(f"{e} in {p}" for e, p in how))
        return f"{sentence}."


def basis(found: Sequence[Evidence], profile: str = "") -> str:
    """What a figure rests on, for the line below its title: the profile if it depends on one, how
    many replicates there are of those wanted, other data than the setting's, what is not run."""
    wanted = found[0].wanted
    count = len({run.replicate for run in wanted})
    there = len({run.replicate for each in found for run in each.records})
    parts = [f"profile {profile}"] if profile else []
    some = "up to " if there > 1 and any(each.missing for each in found) else ""
    some += f"{there} of " if there < count else ""
    parts.append(f"{some}{count} replicate{'' if count == 1 else 's'}")
    tables = pd.concat([evidence.table for evidence in found])
    if on := other_data(wanted[0].setting, tables):
        parts.append(", ".join(map(dataset, on.split(", "))))
    for each in found:
        if each.missing:
            what = each.kind.name
            what = f"comparisons of {what}" if what.startswith("weights") else what
            absent = ", ".join(_absent(each))
            named = f" ({absent})" if absent else ""
            parts.append(f"{len(each.missing)} of {len(each.wanted)} {what} not run{named}")
    said = "; ".join(parts)
    return said[0].upper() + said[1:]


def _absent(found: Evidence) -> list[str]:
    """The methods that are wanted and of which nothing is there."""
    there = set(map(_method, found.records))
    wanted = dict.fromkeys(map(_method, found.wanted))
    return [method(name).label for name in wanted if name not in there] if there else []


def _method(run):
    late = run.method == "magnitude" and run.prune_at == "end"
    return "magnitude after training" if late else run.method
