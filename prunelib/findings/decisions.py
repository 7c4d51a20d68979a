"""Decisions: one verdict on a claim, which may have parts.

One rule is behind all of them: a claim about an effect is supported where the whole interval of the
effect lies inside of what is allowed, not supported where all of it lies outside, undecided where
it does neither, and not run where there are too few results for an interval. An interval lies
inside, or outside, exactly where a p value is at most 0.05. A region narrower than the interval can
be missed by chance on either side, so that "outside" takes a longer interval there, of up to 95 %.

A claim about all methods, or at every sparsity, is a conjunction of its parts; one about some of
them a disjunction. Both are decided from the parts' p values: where one of several parts is enough,
its interval is longer by as much as the level is divided.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from scipy import optimize, special, stats

from prunelib.findings.statistics import DIGITS, Effect, Region

LEVEL = 0.05  # of every verdict
DECIDED = ("supported", "not supported")


@dataclass(frozen=True)
class Part:
    """That an effect lies in a region, or, if not `holds`, that it lies outside of it.

    `each` has what the effect is the mean of, by the words for its points.
    """

    label: str
    effect: Effect
    region: Region
    holds: bool = True
    each: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """A conjunction ("all"), a disjunction ("some"), or that more than half of the parts are true
    ("most")."""

    how: str
    parts: tuple["Part | Parts", ...]


@dataclass(frozen=True)
class Decision:
    """A verdict, the p value behind it and the part that decided it.

    `p` is the one of being supported or of being not supported, whichever is smaller: the smaller
    it is, the surer the verdict. NaN where the claim was not run. `interval` is the one of the
    part's effect that decides: it lies inside of the region, or outside, just where the verdict
    says so. Both ends are NaN where there is no part.
    """

    verdict: str
    p: float
    part: Part | None
    interval: tuple[float, float] = (math.nan, math.nan)


class _Test(NamedTuple):
    """Of a claim being true, or false: its p value, the part that decides it, and at what level."""

    p: float
    part: Part | None
    level: float

    def decision(self, verdict: str, true: bool, p: float | None = None) -> Decision:
        ends = interval(self.part.effect, self.part.region, self.part.holds == true, self.level)
        return Decision(verdict, self.p if p is None else p, self.part, ends)


def decide(claim: Part | Parts) -> Decision:
    """The verdict on a claim.

    A conjunction is supported where every part is, each at the full level, as an
    intersection-union test may (Berger, 1982); one part refutes it, at a level divided by their
    number (Holm's first step). A disjunction is the other way round, and "most" between the two:
    that k of n parts hold has the p value (n - k + 1) times the k-th smallest of theirs (Benjamini
    and Heller, 2008). It is "not run" where parts are missing that could still decide it.
    """
    true, false = _test(claim, True), _test(claim, False)
    if true.p <= LEVEL:
        return true.decision("supported", True)
    if false.p <= LEVEL:
        return false.decision("not supported", False)
    if any(math.isnan(part.effect.error) for part in _leaves(claim)) or true.part is None:
        return Decision("not run", math.nan, None)
    low, high = true.part.region.ends
    speaks_for = (low <= true.part.effect.mean <= high) == true.part.holds
    nearer = true if speaks_for else false
    return nearer.decision("undecided", speaks_for, min(true.p, false.p))


def p_value(effect: Effect, region: Region, inside: bool = True) -> float:
    """The p value of an effect lying inside of a region, or outside of it.

    One-sided at half the level for a direction, two one-sided tests at the full level for
    equivalence, so that it is at most 0.05 where the interval of `Region.confidence` says so. To
    lie outside of a region with two ends adds the chance of being as far beyond the other one. An
    exact number has 0 or 1; NaN counts as 1.
    """
    low, high = region.ends
    strict = region.word in ("higher", "lower")
    if effect.error == 0:
        mean, low, high = (round(end, DIGITS) for end in (effect.mean, low, high))
        within = low < mean < high if strict else low <= mean <= high
        return 0.0 if within == inside else 1.0
    if not math.isfinite(effect.error):
        return 1.0
    to_low, to_high = ((effect.mean - low) / effect.error, (high - effect.mean) / effect.error)
    sides = 2 if region.confidence == 0.95 else 1
    if inside:
        return min(1.0, sides * float(_tail(min(to_low, to_high), effect.freedom)))
    beyond = [_tail(-t, effect.freedom) for t in (to_low, to_high)]
    two_ends = math.isfinite(low) and math.isfinite(high)
    # An effect on an end is found outside by chance beyond either of them.
    found = min(beyond) + _tail(max(to_low, to_high), effect.freedom) if two_ends else min(beyond)
    return min(1.0, sides * float(found))


def interval(
    effect: Effect, region: Region, inside: bool = True, level: float = LEVEL
) -> tuple[float, float]:
    """The interval of an effect that lies inside of a region, or outside of it, just where
    `p_value` is at most `level`. Both ends are NaN where there are too few results."""
    if effect.error == 0 or not math.isfinite(effect.error):
        return effect.interval()
    low, high = region.ends
    sides = 2 if region.confidence == 0.95 else 1
    reach = stats.t.isf(level / sides, effect.freedom)
    if not inside and math.isfinite(low) and math.isfinite(high):
        width, most = (high - low) / effect.error, stats.t.isf(level / 2, effect.freedom)

        def excess(t):  # the p value of an effect as far beyond the nearer end, above the level
            return _tail(t, effect.freedom) + _tail(t + width, effect.freedom) - level

        reach = optimize.brentq(excess, 0, most) if excess(most) < 0 else most
    half = float(reach) * effect.error
    return effect.mean - half, effect.mean + half


def _tail(t, freedom):
    """The share of Student's distribution above t, without what `stats.t.sf` checks first."""
    return special.ndtr(-t) if math.isinf(freedom) else special.stdtr(freedom, -t)


def _test(claim, true):
    """Of a claim being true, or not."""
    if isinstance(claim, Part):
        return _Test(p_value(claim.effect, claim.region, claim.holds == true), claim, LEVEL)
    if not claim.parts:
        return _Test(1.0, None, LEVEL)
    found = sorted((_test(part, true) for part in claim.parts), key=lambda test: test.p)
    count = len(found)
    enough = {"all": count, "some": 1, "most": count // 2 + 1}[claim.how]
    needed = enough if true else count - enough + 1  # so many true, or false, parts decide
    p, part, level = found[needed - 1]
    tests = count - needed + 1
    return _Test(min(1.0, tests * p), part, level / tests)


def _leaves(claim) -> Iterator[Part]:
    if isinstance(claim, Part):
        yield claim
    else:
        for part in claim.parts:
            yield from _leaves(part)


def replicates(claim: Part | Parts) -> int:
    """The smallest number of replicates that a part rests on."""
    return min((part.effect.n for part in _leaves(claim)), default=0)


def with_margin(claim: Part | Parts, factor: float) -> Part | Parts:
    """The same claim with its margins times a factor; bounds that are no margins stay."""
    if isinstance(claim, Parts):
        return replace(claim, parts=tuple(with_margin(part, factor) for part in claim.parts))
    return replace(claim, region=claim.region.scaled(factor))


def false_discoveries(p_values: Sequence[float]) -> list[bool]:
    """Which verdicts stand when all are looked at together and `LEVEL` is the share of false ones
    to expect among those that stand (Benjamini and Hochberg, 1995).

    Args:
        p_values: of a ledger; NaN where there is none.
    """
    known = [i for i, p in enumerate(p_values) if not math.isnan(p)]
    stands = [False] * len(p_values)
    if known:
        adjusted = stats.false_discovery_control([p_values[i] for i in known])
        for i, p in zip(known, adjusted, strict=True):
            stands[i] = bool(p <= LEVEL)
    return stands
