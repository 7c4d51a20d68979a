"""The kinds of check that the papers' claims need: from a claim and results to its parts.

A *difference* or *equivalence* compares curves, a *value* holds one against a printed number or a
bound, an *order* compares neighbours in a list, a *trend* is a fitted line, a *crossing* a place
along the curves, a *count* an exact number: a fact, or, where something is said of all networks,
the largest value that any of them has. Each becomes a tree of effects and what they may be, which
`decisions.decide` turns into a verdict.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from prunelib import settings
from prunelib.errors import BadValueError
from prunelib.findings.claims import Claim
from prunelib.findings.decisions import Part, Parts, p_value
from prunelib.findings.facts import recorded
from prunelib.findings.measures import Results
from prunelib.findings.samples import Samples
from prunelib.findings.statistics import Effect, combined, exact, less_printed
from prunelib.grids import TABLES, WEIGHT_LEVELS
from prunelib.results.records import END, MASK, START, TRAINED
from prunelib.runs import DENSE, Curve

NEAREST = 0.06  # a printed sparsity, in percent with one decimal, and its point of the grid


def grid(claim: Claim, setting: str, profile: str) -> list[float]:
    """The points along the curves of a claim: sparsities, or the steps of Figures 6 and 10."""
    if claim.along_steps:
        schedule = settings.schedule(setting, profile)
        return list(map(schedule.iteration, settings.steps(setting, profile)))
    kind = claim.measured.kind
    if kind in (START, END):
        return [settings.sparsity(k) for k in WEIGHT_LEVELS if k <= settings.get(setting).highest]
    if kind == MASK:
        profile = "paper"
    if claim.figure == "7":  # the one along 1 - 0.5^k
        return list(settings.halvings(profile))
    return list(settings.sparsities(setting, profile))


def points(claim: Claim, setting: str, profile: str) -> list[float]:
    """Those points of the grid that the claim speaks of.

    Raises:
        BadValueError: its column "over" has another form than CONTRIBUTING.md says.
    """
    found, over = grid(claim, setting, profile), claim.over
    if claim.along_steps:
        last = found[-1]
        return _between(found, over.removeprefix("steps").strip() or "…", lambda p: p / last)
    matching = settings.highest_matching(setting)
    # Where none is known, 93.1 % stands in to read masks at, but no accuracy is known to match.
    if settings.get(setting).matching is None and claim.measured.kind == TRAINED:
        matching = math.nan  # no sparsity is at most that, or above it
    named = {
        "": [0.0],  # the unpruned network
        "any": found,
        "matching": [s for s in found if s <= matching],
        "extreme": [s for s in found if s > matching],
        "lower": found[: len(found) // 2],
        "higher": found[len(found) // 2 :],
        "highest": found[-1:],
        "highest matching": [matching] if matching in found else [],
        "next": [s for s in found if s > matching][:2],
    }
    return named[over] if over in named else _between(found, over, lambda p: round(100 * p, 1))


def _between(found, over, unit):
    if over == "end":
        return found[-1:]
    low, dots, high = over.partition("…")
    try:
        if dots:
            bounds = float(low or "-inf"), float(high or "inf")
            if bounds[0] > bounds[1]:
                raise ValueError
            return [p for p in found if bounds[0] <= unit(p) <= bounds[1]]
        near = [p for p in found if abs(unit(p) - float(low)) < NEAREST]
        return near[:1] or [float(low) / 100]
    except ValueError:
        raise BadValueError(f"points {over!r} are no name, number or range a…b") from None


def replicates(claim: Claim, setting: str, profile: str = "paper") -> int:
    """How many replicates what a claim is about has of a setting at a profile: the number of its
    table where it stands in one that is trained, else that of the setting's figures."""
    word, _, number = claim.figure.partition(" ")
    if word == "Table" and int(number) in TABLES:
        return TABLES[int(number)].count(setting, profile)
    return settings.replicates(setting, profile)


def build(
    claim: Claim, results: Results, setting: str, profile: str, pooled: bool = True
) -> Part | Parts:
    """The parts of a claim, held against what there is of a setting at a profile; if not `pooled`,
    with each curve's own spread where curves share one."""
    if claim.fact:
        value = recorded.value(claim.fact, setting)
        return Part(setting, exact(value - (claim.printed or 0.0)), claim.region)
    samples = results.samples(claim.measure, setting, profile, claim.along_steps)
    samples = samples if pooled else samples.apart()

    def place(curve: Curve) -> Curve:
        """With the setting's rewinding step as a number; "k" stays, as points are steps then."""
        fixed = "k" not in (curve.prune_at, curve.weights_from)
        return curve.at(setting, profile) if fixed else curve

    subject, reference = (tuple(map(place, lines)) for lines in (claim.subject, claim.reference))
    make = {"crossing": _crossing, "trend": _trend, "order": _order}.get(claim.kind, _pairs)
    where = points(claim, setting, profile)
    claim = replace(claim, subject=subject, reference=reference)
    return make(claim, samples, where, (setting, profile))


def together(claim: Claim, built: Sequence[Part | Parts]) -> Part | Parts:
    """One claim about several settings, of its parts for each of them."""
    if len(built) == 1:
        return built[0]
    if claim.across != "minus":  # most of the methods on most networks are most of both together
        parts = [b.parts if isinstance(b, Parts) and b.how == claim.across else (b,) for b in built]
        return Parts(claim.across, tuple(itertools.chain(*parts)))
    ours, theirs = (part.effect for part in built)
    spread = combined((effect.error**2, effect.freedom) for effect in (ours, theirs))
    effect = Effect(ours.mean - theirs.mean, *spread, min(ours.n, theirs.n))
    return replace(built[0], label=f"{claim.settings[0]} minus {claim.settings[1]}", effect=effect)


def _pairs(claim, samples, where, at):
    """Each subject against each reference, or alone.

    What must hold at every point, or at some, is said of a subject and all its references: that a
    method is the best somewhere, it is at one and the same sparsity.
    """
    made = []
    for subject in claim.subject:
        others = _others(claim, subject)
        if claim.each == "mean" or len(where) < 2:
            made += [_compared(claim, samples, subject, r, where, at) for r in others]
            continue
        at_each = [
            [_compared(claim, samples, subject, r, [point], at) for r in others] for point in where
        ]
        # where both networks guess, nothing can be seen
        telling = [p for p in at_each if not all(math.isinf(part.effect.error) for part in p)]
        both = tuple(_one(claim.parts, parts) for parts in telling or at_each if parts)
        made += [Parts(claim.each, both)] if both else []
    return _one(claim.parts, made)


def _one(how, parts):
    return parts[0] if len(parts) == 1 else Parts(how, tuple(parts))


def _others(claim, subject) -> list[Curve | None]:
    """What a subject is compared with, None for nothing; not with itself, which rewinding is where
    a network is rewound to its initialisation, as LeNet."""
    return [r for r in claim.reference or (None,) if r != subject]


def _against(subject, reference):
    return str(subject) if reference is None else f"{subject} against {reference}"


def _order(claim, samples, where, at):
    """Each subject against the next, at each point or in the mean."""
    points = [where] if claim.each == "mean" else [[point] for point in where]
    made = [
        _one("all", [_compared(claim, samples, *pair, own, at) for own in points])
        for pair in itertools.pairwise(claim.subject)
    ]
    return _one("all", made)


def _compared(claim, samples: Samples, subject, reference, where, at) -> Part:
    """One curve minus another, or alone, in the mean over some points.

    Networks of two initialisations are compared by what pruning costs: of their accuracies the
    unpruned networks' own difference is taken off.
    """
    label = _against(subject, reference)
    if len(where) == 1:
        label += f" at {_spelled(where[0], claim)}"
    if claim.kind == "count":
        return Part(label, _largest(claim, samples, subject, where, at), claim.region)
    inits = [curve.init for curve in (subject, reference) if curve is not None]
    less = None
    if claim.measure == "accuracy" and len(set(inits)) > 1:
        less = tuple(replace(DENSE, init=init) for init in inits)
    if ablation := claim.measured.ablation:  # what it changes: ablated less unmodified
        pairs = [(replace(c, ablation=ablation), c) for c in (subject, reference) if c is not None]
        (subject, reference), less = pairs[0], pairs[1] if pairs[1:] else None
    difference = samples.difference(subject, reference, where, less)
    if difference.left_out:
        left = ", ".join(_spelled(point, claim) for point in difference.left_out)
        label += f", without {left}" if difference.each else ""
        label += ", where a network guesses"
    each = {_spelled(point, claim): value for point, value in difference.each.items()}
    effect = difference.effect
    if claim.printed is not None:  # which was drawn as ours was
        effect = less_printed(effect, claim.printed, replicates(claim, at[0]))
    return Part(label, effect, claim.region, each=each)


def _largest(claim, samples, subject, where, at) -> Effect:
    """The largest value of any replicate. One network shows that some have enough, or too much.
    That none has too much takes two replicates, as an interval does; that none has enough takes
    them all."""
    largest = samples.largest(subject, where)
    low, high = claim.region.ends
    inside = p_value(largest, claim.region) == 0
    needed = replicates(claim, *at)  # below what is claimed, which another one may reach
    if inside:
        needed = 1 if math.isinf(high) else 2
    elif math.isfinite(high) and largest.mean >= low:
        needed = 1
    return largest if largest.n >= needed else replace(largest, error=math.nan)


def _trend(claim, samples, where, at):
    """The change of a fitted line from the first to the last point."""
    count, centre = len(where), (len(where) - 1) / 2
    spread = sum((i - centre) ** 2 for i in range(count)) or 1.0
    weights = {p: (i - centre) / spread * (count - 1) for i, p in enumerate(where)}
    made = [
        Part(f"trend of {_against(*pair)}", samples.contrast(*pair, weights).effect, claim.region)
        for pair in ((s, r) for s in claim.subject for r in _others(claim, s))
    ]
    return _one(claim.parts, made)


def _crossing(claim, samples, where, at):
    """That the region holds up to the printed point, one point of the grid either way.

    It holds in the mean over the three points before the printed one, or at the first if that is
    the printed one; and it does not at the printed one or at one of the two after it, unless the
    grid ends before. (To ask it of each point before, by an interval of its own, would leave
    undecided what is true: five replicates do not tell a quarter of a point at ten places at once.)
    """
    unit: Callable[[float], float] = (lambda p: p) if claim.along_steps else (lambda p: 100 * p)
    if not where:
        return Parts("all", ())
    printed = min(range(len(where)), key=lambda i: abs(unit(where[i]) - claim.printed))
    made = []
    for pair in itertools.product(claim.subject, claim.reference):

        def part(points, holds, pair=pair):
            effect = samples.difference(*pair, points).effect
            ends = " to ".join(_spelled(p, claim) for p in sorted({points[0], points[-1]}))
            return Part(f"{_against(*pair)} at {ends}", effect, claim.region, holds)

        first = abs(unit(where[0]) - claim.printed) < NEAREST
        before = where[:1] if first else where[max(printed - 3, 0) : printed]
        both = [part(before, True)] if before else []
        if printed + 2 < len(where):
            after = tuple(part([p], False) for p in where[printed : printed + 3])
            both.append(Parts("some", after))
        made.append(Parts("all", tuple(both)))
    return _one(claim.parts, made)


def _spelled(point, claim):
    return f"iteration {point}" if claim.along_steps else f"{100 * point:.1f} %"
