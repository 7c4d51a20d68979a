"""The ledger: everything that the papers say and that can be checked, with a verdict.

`claims` has the rows of claims.csv. An `Entry` is one claim held against the results of one setting
and profile; `entries` makes them all. Only results by the paper's recipe, on the data and a network
of which the claim speaks, support it or do not; others agree with it or differ.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pydantic import BaseModel, Field, TypeAdapter

from prunelib import grids, settings
from prunelib.errors import BadValueError, UnknownNameError
from prunelib.findings import decisions, kinds
from prunelib.findings.claims import KINDS, Claim, every
from prunelib.findings.decisions import decide, with_margin
from prunelib.findings.measures import Results
from prunelib.findings.statistics import worded
from prunelib.results.records import MASK, START, TRAINED, Kind
from prunelib.runs import DENSE, Run

# LeNet with 64 inputs is another network than the one that Appendix K speaks of: what it differs
# in, and why, stands in K_lenet, and the ledger does not hold it to the paper's sentences.
UNLISTED = "lenet_digits"
EXACT = "exact numbers"  # what a fact rests on, in place of records


class Entry(BaseModel, frozen=True):
    """A claim held against the results of a setting and profile."""

    id: str = Field(description="of the claim")
    section: str = Field(description='of the paper, as "4" or "A"; "S" is Singh and Liu')
    place: str = Field(description="where in the section it stands")
    claim: str = Field(description="what is claimed, in the words of this project")
    kind: str = Field(description=f"of check, one of {', '.join(KINDS)}")
    measure: str = Field(description="what is measured")
    rests_on: str = Field(description="the records: of trained networks, masks, weights, or none")
    setting: str = Field(description="whose results these are; several if the claim is about them")
    profile: str = Field(description="by which they were computed")
    data: str = Field(description="the data they rest on, if other than the setting's; else empty")
    precision: str = Field(description="of the products, of trained networks; several if mixed")
    named: bool = Field(description="whether the claim speaks of the setting")
    spoken: bool = Field(
        description="whether it speaks of these results: by the paper's recipe, on its data"
    )
    replicates: int = Field(description="of the deciding part; the fewest of any if none")
    unit: str = Field(
        description='of effect, low, high and ends: "%", "points" (percentage points), "layers", '
        '"std" (standard deviations of weights), "times" (as dense as other layers); empty for '
        "other ratios, distances in [0, 1] and facts"
    )
    effect: float | None = Field(description="of the part that decides")
    low: float | None = Field(description="lower end of the interval that decides")
    high: float | None = Field(description="upper end of that interval")
    ends: str = Field(description="the smallest and the largest of what the effect is the mean of")
    allowed: str = Field(description="where the interval must lie for the claim to hold")
    reason: str = Field(description="why the margin is what it is")
    part: str = Field(description="the part that decides")
    verdict: str = Field(
        description="supported, not supported, undecided or not run; agrees or differs where the "
        "claim does not speak of these results"
    )
    half: str = Field(description="the verdict at half the margin; empty where there is none")
    twice: str = Field(description="the verdict at twice the margin")
    alone: str = Field(
        description="the verdict by each curve's own spread; empty where none is pooled"
    )
    short: bool = Field(
        description="whether the effect is in the direction that is claimed, but does not count"
    )
    p: float | None = Field(description="p value of the verdict, or of the nearer one")
    missing: int = Field(description="records that it takes and that are not there")
    pflop: float = Field(description="what training for them costs, in 10¹⁵ operations")
    figure: str = Field(description="the paper's figure or table that shows it")


ENTRIES = TypeAdapter(list[Entry])


def entry(claim: Claim, results: Results, names: Sequence[str], profile: str) -> Entry:
    """A claim held against the results of a setting, or of several that share a verdict.

    Args:
        names: the settings.
    """
    built = [kinds.build(claim, results, name, profile) for name in names]
    tree = kinds.together(claim, built)
    decision, is_fact = decide(tree), bool(claim.fact)
    absent = [] if is_fact else [missing(claim, results, name, profile) for name in names]
    data, precision = ("", "") if is_fact else _origin(claim, results, names, profile)
    recipe = profile == "paper" or is_fact
    named = set(names) <= set(claim.settings)
    theirs = all(settings.get(name).of_paper for name in names)  # no claim of a user's makes it so
    spoken = named and recipe and not data and theirs
    part, ends = decision.part, decision.interval
    shift = claim.printed if claim.printed is not None and claim.kind in ("value", "count") else 0.0
    half = twice = alone = ""
    if claim.region.has_margin and decision.verdict != "not run":
        half, twice = (worded(decide(with_margin(tree, f)).verdict, spoken) for f in (0.5, 2))
    if not is_fact and claim.measured.is_accuracy and decision.verdict != "not run":
        apart = [kinds.build(claim, results, name, profile, pooled=False) for name in names]
        alone = worded(decide(kinds.together(claim, apart)).verdict, spoken)
    return Entry(
        id=claim.id,
        section=claim.section,
        place=claim.place,
        claim=claim.text,
        kind=claim.kind,
        measure=claim.measure,
        rests_on=EXACT if is_fact else claim.measured.kind.name,
        setting=", ".join(names),
        profile=profile,
        data=data,
        precision=precision,
        named=named,
        spoken=spoken,
        replicates=part.effect.n if part else decisions.replicates(tree),
        unit="" if is_fact else _unit(claim),
        effect=_finite(part.effect.mean + shift if part else math.nan),
        low=_finite(ends[0] + shift),
        high=_finite(ends[1] + shift),
        ends=_ends(part.each if part else {}),
        allowed=allowed(claim),
        reason=claim.reason,
        part=part.label if part else "",
        verdict=worded(decision.verdict, spoken),
        half=half,
        twice=twice,
        alone=alone,
        short=decision.verdict == "not supported" and part.holds and _short(claim.region, ends),
        p=_finite(decision.p),
        missing=sum(len(runs) for each in absent for runs in each.values()),
        pflop=round(sum(map(_cost, absent)), 4),
        figure=claim.figure,
    )


def _unit(claim):
    """That of the measure; of what is compared, percentage points."""
    unit = claim.measured.unit
    compares = claim.reference or claim.across == "minus" or claim.kind in ("trend", "order")
    return "points" if unit == "%" and compares else unit


def _ends(each):
    """Accuracies in percent, or their differences: a tenth of a point is what they are good for."""
    if len(each) < 2:
        return ""
    ends = (min(each, key=each.get), max(each, key=each.get))
    return " … ".join(f"{each[where]:z.1f} at {where}" for where in ends)


def _short(region, ends):
    """Whether an interval lies on the side of zero that a region of one direction is on."""
    return (region.word == "higher" and ends[0] > 0) or (region.word == "lower" and ends[1] < 0)


def _finite(value):
    return round(value, 6) if math.isfinite(value) else None


def allowed(claim: Claim) -> str:
    """What an effect of a claim may be, in words."""
    region, printed = claim.region, claim.printed
    if claim.kind in ("value", "count") and printed is not None:
        if region.word == "same":
            return f"{printed:g} ± {region.bound:g}" if region.bound else f"{printed:g}"
        if region.word == "not higher":
            return f"at most {printed:g} + {region.bound:g}"
    if region.word == "between":
        return f"{region.bound:g} to {region.upper:g}"
    if region.word in ("at most", "at least"):
        return f"{region.word} {region.bound:g}"
    return f"{region.word} ({region.bound:g})"


def _reads(claim):
    return claim.measured.reads([*claim.subject, *claim.reference])


def missing(claim: Claim, results: Results, setting: str, profile: str) -> dict[Kind, list[Run]]:
    """The Runs that a claim takes of a setting at a profile and of which there is no record, by
    the kind of record."""
    where, read = kinds.points(claim, setting, profile), _reads(claim)
    points = tuple((sparsity, 0) for sparsity in where)
    if claim.along_steps:
        last = settings.schedule(setting, profile).iterations
        level = settings.highest_matching(setting)
        points = tuple((level, "end" if step == last else step) for step in where)
    inits = dict.fromkeys(curve.init for _, curve in read)
    if claim.measure == "accuracy" and len(inits) > 1:
        read += [(TRAINED, replace(DENSE, init=init)) for init in inits]
    count, absent = kinds.replicates(claim, setting, profile), {}
    for kind, curve in read:
        runs = results.missing(kind, setting, profile, curve, points, count)
        absent.setdefault(kind, {}).update(dict.fromkeys(runs))
    return {kind: list(runs) for kind, runs in absent.items() if runs}


def lacking(
    ids: Iterable[str], setting: str | None = None, profile: str = "paper"
) -> list[tuple[Kind, str, list[Run]]]:
    """The kind of record, setting and Runs that claims lack in results/, in their order.

    Args:
        ids: of claims. setting: only of this one; by default of each that a claim speaks of.
        profile: by which it is run.

    Raises:
        UnknownNameError: no claim of that id. BadValueError: it cannot be held against the setting.
    """
    known, results, lacks = {claim.id: claim for claim in every()}, Results(), {}
    for name in ids:
        if name not in known:
            near = [i for i in known if i.partition(".")[0] == name.partition(".")[0]]
            raise UnknownNameError("claim", name, near or [f"those of sections {_sections(known)}"])
        claim = known[name]
        if setting and not claim.applies(settings.get(setting).name):
            raise BadValueError(
                f"claim {name} does not make sense of {setting}: it speaks of "
                f"{', '.join(claim.settings)}"
            )
        if claim.fact:
            continue
        for each in [settings.get(setting).name] if setting else claim.settings:
            for kind, runs in missing(claim, results, each, profile).items():
                lacks.setdefault((kind, each), {}).update(dict.fromkeys(runs))
    return [(kind, each, list(runs)) for (kind, each), runs in lacks.items()]


def _sections(ids):
    return ", ".join(dict.fromkeys(i.partition(".")[0] for i in ids))


def _cost(absent):
    """What training for the Runs of `missing` costs; masks, and weights before training, cost the
    training of what they are read from."""
    runs = set()
    for kind, own in absent.items():
        runs |= {run.parent for run in own} - {None} if kind in (MASK, START) else set(own)
    counts = Counter((run.setting, run.profile) for run in runs)
    return sum(grids.cost(*pair, count) for pair, count in counts.items())


def _origin(claim, results, names, profile):
    """Other data than the settings' that the claim's curves rest on, and their precisions."""
    data, precisions, methods = set(), set(), {}
    for kind, curve in _reads(claim):
        methods.setdefault(kind, set()).add(curve.method)
    for name, (kind, used) in itertools.product(names, methods.items()):
        other, own = results.origins(kind, name, profile, frozenset(used))
        data.add(other)
        precisions |= set(own)
    return ", ".join(sorted(data - {""})), ", ".join(sorted(precisions))


def entries(
    results: Results | None = None,
    chosen: Iterable[Claim] | None = None,
    also: Sequence[tuple[str, str]] = (),
) -> list[Entry]:
    """The ledger.

    Each claim has an entry for each setting of which it speaks at profile "paper", "not run" where
    there is not enough; and one for each other setting or profile at which its check was run.

    Args:
        results: a folder's; results/ by default.
        chosen: claims; all by default.
        also: pairs of setting and profile to look at besides those that there are, but for
            `UNLISTED`.
    """
    results = results or Results()
    pairs = [p for p in results.pairs() if p[0] != UNLISTED or p in also]
    pairs += [p for p in also if p not in pairs]
    found = []
    for claim in every() if chosen is None else chosen:
        if claim.across == "each":
            spoken = [(name, "paper") for name in claim.settings]
            found += [entry(claim, results, [name], profile) for name, profile in spoken]
        else:
            spoken = [(name, profile) for name, profile in pairs if name in claim.settings]
            found.append(entry(claim, results, claim.settings, "paper"))
        for setting, profile in pairs:
            new = (setting, profile) not in spoken and claim.applies(setting)
            if new and _can(claim, results, setting, profile):
                own = entry(claim, results, [setting], profile)
                if own.verdict != "not run":
                    found.append(own)
    return found


def _can(claim, results, setting, profile):
    """Whether there is anything of a setting and profile to hold a claim against."""
    if claim.fact:
        return False
    kind = claim.measured.kind
    held = (setting, profile) in results.held(kind)
    return held and (kind != MASK or profile == "paper")
