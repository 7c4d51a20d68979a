"""Claims: the statements of both papers that can be checked, as rows of claims.csv."""

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prunelib import grids, networks, scores, settings
from prunelib.errors import BadValueError, check_name
from prunelib.findings.facts import FACTS
from prunelib.findings.measures import Measure, measure
from prunelib.findings.statistics import Region
from prunelib.runs import ABLATIONS, Curve

FACT = "fact "  # before the name of a fact, in the column of measures
KINDS = ("difference", "equivalence", "value", "order", "crossing", "trend", "count")
GROUPS = {"main": grids.MAIN, "main3": grids.NO_IMAGENET}
COLUMNS = (
    "id", "section", "place", "claim", "settings", "across", "general", "kind", "measure",
    "subject", "reference", "parts", "over", "each", "region", "bound", "upper", "printed",
    "reason", "figure",
)  # fmt: skip
QUANTIFIERS = ("all", "some", "most")


@dataclass(frozen=True)
class Claim:
    """A statement that can be checked: a row of claims.csv.

    `settings` are those that it speaks of; `across` says whether each has a verdict, or all, some
    or most of them share one, or the first is compared with the second ("minus"); `general` that it
    makes sense of any network. The others say what is compared, where, and what may come out of it.

    Raises:
        PrunelibError: when made with a value that is not allowed.
    """

    id: str
    section: str
    place: str
    text: str
    settings: tuple[str, ...]
    across: str
    general: bool
    kind: str
    measure: str
    subject: tuple[Curve, ...]
    reference: tuple[Curve, ...]
    parts: str
    over: str
    each: str
    region: Region
    printed: float | None
    reason: str
    figure: str

    def __post_init__(self):
        for name in self.settings:
            settings.get(name)
        check_name("kind", self.kind, KINDS)
        check_name("across", self.across, ("each", "minus", *QUANTIFIERS))
        check_name("parts", self.parts, QUANTIFIERS)
        check_name("each", self.each, ("mean", *QUANTIFIERS))
        if self.fact:
            check_name("fact", self.fact, FACTS)
        elif not self.subject:
            raise BadValueError(f"claim {self.id} has no subject")
        else:
            measure(self.measure)
        for curve in (*self.subject, *self.reference):
            check_name("method", curve.method, (*scores.UNSCORED, *scores.METHODS))
            check_name("ablation", curve.ablation, ABLATIONS)
            check_name("init", curve.init, networks.INITS)
        if self.kind == "crossing" and (self.printed is None or not self.reference):
            raise BadValueError(f"claim {self.id}: a crossing has a reference and a printed level")

    @property
    def fact(self) -> str:
        """The name of the fact that it rests on; "" if it rests on records."""
        return self.measure.removeprefix(FACT) if self.measure.startswith(FACT) else ""

    @property
    def measured(self) -> Measure:
        """What is measured of records, where it rests on them."""
        return measure(self.measure)

    @property
    def along_steps(self) -> bool:
        """Whether its points are the steps of Figures 6 and 10."""
        return self.over.startswith("steps")

    def applies(self, setting: str) -> bool:
        """Whether its check can be shown on a setting, of which it need not speak."""
        if setting in self.settings:
            return True
        kin = all(settings.get(name).fully_connected for name in self.settings)
        return self.general or (kin and settings.get(setting).fully_connected)


def parse(row: Mapping[str, str]) -> Claim:
    """The claim in a row of claims.csv.

    Raises:
        BadValueError: a value that is not allowed; the sentence names the claim.
    """
    try:
        names = [n for name in row["settings"].split() for n in GROUPS.get(name, (name,))]
        bounds = [float(row[name]) for name in ("bound", "upper") if row[name]]
        return Claim(
            id=row["id"],
            section=row["section"],
            place=row["place"],
            text=row["claim"],
            settings=tuple(names),
            across=row["across"] or "each",
            general=check_name("general", row["general"] or "no", ("yes", "no")) == "yes",
            kind=row["kind"],
            measure=row["measure"],
            subject=tuple(map(Curve.parse, row["subject"].split())),
            reference=tuple(map(Curve.parse, row["reference"].split())),
            parts=row["parts"] or "all",
            over=row["over"],
            each=row["each"] or "mean",
            region=Region(row["region"], *bounds),
            printed=float(row["printed"]) if row["printed"] else None,
            reason=row["reason"],
            figure=row["figure"],
        )
    except (ValueError, LookupError, TypeError) as error:
        raise BadValueError(f"claim {row.get('id')!r} of claims.csv: {error}") from None


@functools.cache
def every() -> tuple[Claim, ...]:
    """The rows of claims.csv, in the order of the papers."""
    with open(Path(__file__).with_name("claims.csv"), newline="", encoding="utf-8") as file:
        return tuple(map(parse, csv.DictReader(file)))


def facts() -> list[tuple[str, str]]:
    """The (name of a fact, setting) that claims rest on."""
    return [(claim.fact, setting) for claim in every() if claim.fact for setting in claim.settings]
