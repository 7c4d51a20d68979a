"""Verdicts on claims with parts: by hand, against the one rule, and how often they are wrong."""

import math

import numpy as np
import pytest
from scipy import stats

from prunelib.findings import decisions
from prunelib.findings.decisions import Part, Parts, decide, p_value
from prunelib.findings.statistics import Effect, Region, effect, exact

HIGHER, SAME = Region("higher", 1), Region("same", 1)
TRUE, FALSE = Part("true", exact(2), HIGHER), Part("false", exact(0), HIGHER)
OPEN = Part("open", Effect(1.5, 1, 8, 5), HIGHER)
MISSING = Part("missing", effect([2.0]), HIGHER)


def by_interval(found, region):
    """The one rule, as it is said: the interval lies inside of the region, outside, or neither."""
    said = {"inside": "supported", "outside": "not supported", "neither": "undecided"}
    return said[lies(found.interval(region.confidence), region)]


def test_p_values_say_what_the_interval_says():
    """For every kind of region and a thousand random effects, 0.05 is where the verdict turns."""
    stream = np.random.default_rng(0)
    regions = [Region(w, 1) for w in ("higher", "lower", "same", "not lower", "at most")]
    for region in (*regions, Region("between", -1, 2)):
        for _ in range(200):
            found = Effect(stream.normal(scale=2), stream.uniform(0.1, 1), stream.integers(1, 9), 3)
            said = by_interval(found, region)
            verdict = decide(Part("one", found, region)).verdict
            assert (p_value(found, region) <= 0.05) == (said == "supported")
            assert (verdict == "supported") == (said == "supported")
            beyond = p_value(found, region, inside=False)
            assert (beyond <= 0.05) == (verdict == "not supported")
            bottom, top = region.ends
            if math.isinf(top - bottom):
                assert verdict == said
            elif verdict != said:  # between the intervals of 90 and of 95 %
                low, high = found.interval(0.95)
                assert (verdict, said) == ("undecided", "not supported")
                assert low <= top
                assert high >= bottom
                far = (max(bottom - found.mean, found.mean - top) + top - bottom) / found.error
                assert beyond < 0.05 + stats.t.sf(far, found.freedom) + 1e-9


def lies(ends, region):
    """Where an interval lies, of a region: inside, outside, or neither."""
    (low, high), (bottom, top) = ends, region.ends
    if bottom <= low and high <= top:
        return "inside"
    return "outside" if high < bottom or top < low else "neither"


def test_the_interval_that_decides_lies_where_the_verdict_says():
    """Of one part, and where one of several is enough, which takes a longer interval."""
    stream = np.random.default_rng(1)
    regions = [Region(w, 1) for w in ("higher", "lower", "same", "not higher", "at least")]
    wanted = {"supported": "inside", "not supported": "outside", "undecided": "neither"}
    for region in (*regions, Region("between", -1, 2)):
        for how, count in (("all", 1), ("all", 4), ("some", 4), ("most", 4)):
            for _ in range(50):
                parts = tuple(
                    Part("", Effect(m, stream.uniform(0.1, 1), 5, 3), region)
                    for m in stream.normal(scale=3) + stream.normal(scale=0.5, size=count)
                )
                found = decide(Parts(how, parts))
                assert lies(found.interval, region) == wanted[found.verdict]


def test_the_interval_that_decides_by_hand():
    """Mean 3, error 1, 4 degrees of freedom. A tenth of the level, where one of ten refutes; and
    outside of a point, which can be missed on both sides, 95 % in place of 90 %."""
    found = Effect(3, 1, 4, 5)
    reach = stats.t.isf(0.05 / 2 / 10, 4)
    said = decide(Parts("all", (Part("one", found, Region("lower", 0)),) * 10))
    assert said.interval == pytest.approx((3 - reach, 3 + reach))
    assert decisions.interval(found, SAME) == pytest.approx(found.interval(0.9))
    point = decisions.interval(found, Region("same", 0), inside=False)
    assert point == pytest.approx(found.interval(0.95))
    wide = decisions.interval(found, Region("same", 100), inside=False)
    assert wide == pytest.approx(found.interval(0.9))
    assert decisions.interval(exact(2), SAME) == (2, 2)
    assert all(map(math.isnan, decide(Parts("all", (MISSING,))).interval))


def test_p_values_by_hand():
    """Mean 3, error 1, 4 degrees of freedom: 2 above the bound of 1, twice the tail of t."""
    found = Effect(3, 1, 4, 5)
    assert p_value(found, HIGHER) == pytest.approx(2 * stats.t.sf(2, 4))
    # outside of -1 … 1: 2 above the one end, 4 above the other
    assert p_value(found, SAME, inside=False) == pytest.approx(stats.t.sf(2, 4) + stats.t.sf(4, 4))
    nothing = Region("same", 0)
    assert p_value(found, nothing, inside=False) == pytest.approx(2 * stats.t.sf(3, 4))
    # inside of -1 … 1 from 0: both one-sided tests at the same distance
    assert p_value(Effect(0, 0.5, 4, 5), SAME) == pytest.approx(stats.t.sf(2, 4))
    assert p_value(exact(1), HIGHER) == 1  # the bound itself is not higher
    assert p_value(exact(1), SAME) == 0
    assert p_value(effect([1.0]), SAME) == p_value(Effect(math.nan, math.inf, 0, 5), SAME) == 1


@pytest.mark.parametrize(
    ("how", "parts", "said", "by"),
    [
        ("all", (TRUE, TRUE), "supported", "true"),
        ("all", (TRUE, FALSE), "not supported", "false"),
        ("all", (TRUE, OPEN), "undecided", "open"),
        ("all", (TRUE, MISSING), "not run", None),
        ("all", (FALSE, MISSING), "not supported", "false"),  # what is missing cannot save it
        ("some", (TRUE, FALSE), "supported", "true"),
        ("some", (FALSE, FALSE), "not supported", "false"),
        ("some", (FALSE, OPEN), "undecided", "open"),
        ("some", (FALSE, MISSING), "not run", None),
        ("some", (TRUE, MISSING), "supported", "true"),
        ("all", (), "not run", None),
    ],
)
def test_conjunctions_and_disjunctions(how, parts, said, by):
    found = decide(Parts(how, parts))
    assert found.verdict == said
    assert (found.part.label if found.part else None) == by


def test_nested_parts():
    """Every method beats random somewhere: all of some."""
    somewhere = Parts("some", (TRUE, FALSE))
    assert decide(Parts("all", (somewhere, somewhere))).verdict == "supported"
    assert decide(Parts("all", (somewhere, Parts("some", (FALSE,))))).verdict == "not supported"
    nowhere = Part("nowhere", exact(0), HIGHER, holds=False)
    assert decide(Parts("all", (TRUE, nowhere))).verdict == "supported"


def test_looking_at_many_parts_is_paid_for():
    """One of ten parts refutes a conjunction only at a tenth of the level."""
    found = Effect(0, 1 / stats.t.isf(0.01 / 2, 8), 8, 5)  # p = 0.01 of not being higher than 1
    alone = Part("alone", found, HIGHER)
    assert p_value(found, HIGHER, inside=False) == pytest.approx(0.01)
    assert decide(Parts("all", (alone,) * 4 + (TRUE,))).p == pytest.approx(0.05)
    assert decide(Parts("all", (alone,) + (TRUE,) * 9)).verdict != "not supported"
    assert decide(Parts("all", (alone,) + (TRUE,) * 3)).verdict == "not supported"


def test_margins_scale_where_there_is_one():
    claim = Parts("all", (Part("", exact(0.8), SAME), Part("", exact(0.8), Region("at most", 1))))
    assert decide(claim).verdict == "supported"
    assert decide(decisions.with_margin(claim, 0.5)).verdict == "not supported"
    assert decide(decisions.with_margin(claim, 2)).verdict == "supported"


def test_verdicts_that_stand_among_many():
    """A thousand made-up ledgers of forty claims, half of them about nothing: of the verdicts that
    stand, at most one in twenty is false."""
    stream, shares, power = np.random.default_rng(3), [], []
    for _ in range(1000):
        truth = np.repeat([0.0, 2.0], 20)
        z = stream.normal(truth + 1, 0.6)  # of not being higher than 1, where the truth is 1
        p_values = [p_value(Effect(m, 0.6, math.inf, 5), HIGHER) for m in z]
        stands = np.array(decisions.false_discoveries([*p_values, math.nan]))[:-1]
        shares.append(stands[:20].sum() / max(1, stands.sum()))
        power.append(stands[20:].mean())
    assert np.mean(shares) < 0.05
    assert np.mean(power) > 0.8
    assert decisions.false_discoveries([math.nan]) == [False]


@pytest.mark.parametrize(
    ("true", "count", "said"),
    [
        (1, 2, "not supported"),
        (2, 3, "supported"),
        (2, 4, "not supported"),
        (3, 4, "supported"),
        (2, 5, "not supported"),
        (3, 5, "supported"),
    ],
)
def test_most_are_more_than_half(true, count, said):
    parts = (TRUE,) * true + (FALSE,) * (count - true)
    assert decide(Parts("most", parts)).verdict == said


def test_false_discoveries_by_hand():
    """Benjamini and Hochberg: the k-th smallest of m p values against k/m of the level. Of the
    first list four lie below 0.01, 0.02, 0.03 and 0.04; of the second, which has one below 0.05,
    none is below its own share."""
    found = decisions.false_discoveries([0.2, 0.036, 0.009, math.nan, 0.027, 0.018])
    assert found == [False, True, True, False, True, True]
    assert decisions.false_discoveries([0.03, 0.2, 0.3]) == [False, False, False]


def test_the_fewest_replicates_of_any_part():
    nested = Parts("some", (Part("", Effect(1, 1, 2, 4), SAME), Part("", Effect(1, 1, 2, 3), SAME)))
    assert decisions.replicates(Parts("all", (Part("", Effect(1, 1, 2, 5), SAME), nested))) == 3
    assert decisions.replicates(Parts("all", ())) == 0
