"""Made-up accuracies whose truth is known: what is said of their differences."""

import math

import numpy as np
import pandas as pd
import pytest

from prunelib import scores
from prunelib.findings.decisions import Part, decide
from prunelib.findings.samples import Accuracies, Samples, guessing
from prunelib.findings.statistics import Region, effect
from prunelib.runs import AFTER, DENSE, EARLY_METHODS, Curve

SNIP, GRASP, RANDOM = Curve("snip"), Curve("grasp"), Curve("random")
OTHERS = [Curve(m, a) for m in EARLY_METHODS for a in ("shuffle", "reinit")]
SPARSITIES = (0.2, 0.36, 0.488)


def table(curves):
    """Results: `curves` is a dict from Curve to a dict from sparsity to accuracies, one a
    replicate, None where it was not run."""
    return pd.DataFrame(
        [
            vars(curve)
            | {"replicate": replicate, "sparsity": sparsity, "test_accuracy": accuracy}
            | {"precision": "bf16" if curve == SNIP and replicate else "fp32"}
            for curve, points in curves.items()
            for sparsity, accuracies in points.items()
            for replicate, accuracy in enumerate(accuracies)
            if accuracy is not None
        ]
    )


def verdict(found, region):
    return decide(Part("one", found, region)).verdict


def between(curves, sparsities=SPARSITIES, pair=(SNIP, GRASP), less=None):
    return Accuracies(table(curves), 0.1).difference(*pair, sparsities, less)


def noisy(stream, truth, spread=0.001, replicates=3):
    """Accuracies at all sparsities that scatter about a truth."""
    return {s: list(truth + spread * stream.normal(size=replicates)) for s in SPARSITIES}


def test_the_spread_is_pooled_by_hand():
    """Variances 0.0002 and 0.0008 with one degree of freedom each make 0.0005 with two; the
    difference of two means of two has the error (0.0005 (1/2 + 1/2))^0.5."""
    found = between({SNIP: {0.2: [0.90, 0.92]}, GRASP: {0.2: [0.80, 0.84]}}, (0.2,))
    assert found.effect.mean == pytest.approx(0.09)
    assert found.effect.error == pytest.approx(0.0005**0.5)
    assert found.effect.freedom == pytest.approx(2)
    assert found.effect.n == 2
    assert found.each == {0.2: pytest.approx(0.09)}


def test_a_third_curve_lends_its_spread():
    """A variance of 0.0005 with three degrees of freedom beside the two above: 0.0005 with five."""
    third = [0.9 + d * 0.0005**0.5 for d in (-(1.5**0.5), 0, 0, 1.5**0.5)]
    found = between(
        {
            SNIP: {0.2: [0.90, 0.92]},
            GRASP: {0.2: [0.80, 0.84]},
            RANDOM: {0.2: third},
        },
        (0.2,),
    )
    assert found.effect.error == pytest.approx(0.0005**0.5)
    assert found.effect.freedom == pytest.approx(5)


def test_the_unpruned_network_lends_no_spread_at_one_sparsity_either():
    """It stands there, but was not pruned to it. Beside it SNIP's variance alone: 0.0002 / 2 with
    one degree of freedom, and its own 0.0008 / 2 with one, by Satterthwaite 25 / 17."""
    found = between({SNIP: {0.2: [0.90, 0.92]}, DENSE: {0.0: [0.90, 0.94]}}, (0.2,), (SNIP, DENSE))
    assert found.effect.error == pytest.approx(0.0005**0.5)
    assert found.effect.freedom == pytest.approx(25 / 17)


def test_apart_each_curve_has_its_own_spread():
    """0.0001 and 0.0004 with one degree of freedom each: Satterthwaite's 25 / 17."""
    curves = {SNIP: {0.2: [0.90, 0.92]}, GRASP: {0.2: [0.80, 0.84]}}
    samples = Accuracies(table(curves), 0.1)
    assert samples.difference(SNIP, GRASP, (0.2,)).effect.freedom == pytest.approx(2)
    found = samples.apart().difference(SNIP, GRASP, (0.2,)).effect
    assert found.error == pytest.approx(0.0005**0.5)
    assert found.freedom == pytest.approx(25 / 17)


def test_an_erratic_curve_keeps_its_spread_to_itself():
    """One of ten curves falls apart in a replicate: others stay as precise as they are, and its
    own difference is as uncertain as its own two degrees of freedom make it."""
    stream = np.random.default_rng(1)
    steady = {curve: noisy(stream, 0.9) for curve in (SNIP, GRASP, *OTHERS)}
    erratic = steady | {RANDOM: {s: [0.9, 0.5, 0.7] for s in SPARSITIES}}
    without, found = between(steady).effect, between(erratic).effect
    assert found.error == pytest.approx(without.error)
    assert found.freedom == without.freedom == 2 * len(steady)
    own = between(erratic, pair=(RANDOM, SNIP)).effect
    assert own.error == pytest.approx((0.04 / 3) ** 0.5, rel=1e-2)
    assert own.freedom == pytest.approx(2, rel=1e-2)


@pytest.mark.parametrize("method", ["erk", "mine_0123abcd"])
def test_what_is_run_of_other_methods_changes_nothing_of_the_papers(method):
    """They take the pool's spread unless their own is out of the ordinary, and lend none."""
    stream, foreign = np.random.default_rng(6), Curve.parse(method)
    own = {curve: noisy(stream, 0.9) for curve in (SNIP, GRASP, *OTHERS)}
    for spread, freedom in ((0.001, 2 * len(own)), (0.05, 2)):
        both = own | {foreign: noisy(stream, 0.9, spread)}
        assert between(both) == between(own)
        found = between(both, pair=(foreign, SNIP)).effect
        assert found.freedom == pytest.approx(freedom, rel=1e-2)


def test_curves_that_guess_lend_no_spread():
    """A network that guesses has the same accuracy in every replicate."""
    stream = np.random.default_rng(5)
    steady = {curve: noisy(stream, 0.9) for curve in (SNIP, GRASP, *OTHERS[:4])}
    guessing = {curve: noisy(stream, 0.1) for curve in OTHERS[4:]}
    assert between(steady | guessing).effect == between(steady).effect


def test_ninety_five_in_a_hundred_intervals_hold_the_truth():
    """Simulated: eight curves of three replicates, the truth two tenths of a point below."""
    stream, hits, widths = np.random.default_rng(0), 0, []
    for _ in range(120):
        made = {curve: noisy(stream, 0.9) for curve in OTHERS[:6]}
        made |= {SNIP: noisy(stream, 0.898), GRASP: noisy(stream, 0.9)}
        found = between(made).effect
        low, high = found.interval()
        hits += low <= -0.002 <= high
        widths.append(high - low)
    assert 0.9 < hits / 120 < 0.99
    # of a known spread: two means over three replicates and three sparsities
    assert np.median(widths) == pytest.approx(2 * 1.96 * 0.001 * (2 / 9) ** 0.5, rel=0.15)


@pytest.mark.parametrize(
    ("below", "spread", "lower", "same"),
    [
        (0.05, 0.001, "supported", "not supported"),
        (0.003, 0.0005, "supported", "supported"),  # a difference, but a small one
        (0.0, 0.0005, "not supported", "supported"),
        (-0.02, 0.001, "not supported", "not supported"),
        (0.004, 0.02, "undecided", "undecided"),
    ],
)
def test_what_is_said_of_a_known_truth(below, spread, lower, same):
    stream = np.random.default_rng(2)
    made = {curve: noisy(stream, 0.9, spread) for curve in OTHERS}
    made |= {SNIP: noisy(stream, 0.9 - below, spread), GRASP: noisy(stream, 0.9, spread)}
    assert verdict(between(made).effect, Region("lower", 0.001)) == lower
    assert verdict(between(made).effect, Region("same", 0.005)) == same


def test_sparsities_where_a_network_guesses_are_left_out():
    """At 48.8 % one replicate of GraSP has 12 %, where guessing has 10: nothing but that sparsity
    would make a difference."""
    made = {
        SNIP: {0.2: [0.90, 0.91], 0.36: [0.90, 0.91], 0.488: [0.90, 0.91]},
        GRASP: {0.2: [0.91, 0.90], 0.36: [0.90, 0.91], 0.488: [0.12, 0.91]},
    }
    found = between(made)
    assert found.left_out == (0.488,)
    assert list(found.each) == [0.2, 0.36]
    assert found.effect.mean == pytest.approx(0)


def test_where_both_guess_nothing_can_be_said_and_where_one_always_does_it_can():
    guessing = {s: [0.1, 0.1, 0.11] for s in SPARSITIES}
    stream = np.random.default_rng(3)
    made = {GRASP: noisy(stream, 0.9), SNIP: guessing, RANDOM: guessing}
    both = between(made, pair=(SNIP, RANDOM))
    assert both.left_out == SPARSITIES
    assert verdict(both.effect, Region("lower", 0.001)) == "undecided"
    one = between(made)
    assert one.left_out == ()
    assert one.effect.mean == pytest.approx(-0.797, abs=0.002)
    assert verdict(one.effect, Region("lower", 0.001)) == "supported"


def test_too_few_replicates():
    one, two = {0.2: [0.9]}, {0.2: [0.9, 0.91]}
    for made in ({SNIP: one, GRASP: two}, {SNIP: two}, {SNIP: one, GRASP: one}):
        found = between(made)
        assert verdict(found.effect, Region("same", 0.005)) == "not run"
        assert found.each == {}
    assert between({SNIP: two, GRASP: two}, sparsities=(0.36,)).effect.n == 0
    empty = Accuracies(table({SNIP: two})[:0], 0.1).difference(SNIP, GRASP, SPARSITIES)
    assert math.isnan(empty.effect.error)


def test_replicates_that_lack_a_sparsity_do_not_count():
    """The third replicate was not run at 36 %, and 48.8 % has a single one of GraSP."""
    made = {
        SNIP: {0.2: [0.90, 0.92, 0.5], 0.36: [0.90, 0.92], 0.488: [0.5, 0.5]},
        GRASP: {0.2: [0.80, 0.84], 0.36: [0.80, 0.84], 0.488: [0.9]},
    }
    found = between(made, (0.2, 0.36))
    assert list(found.each) == [0.2, 0.36]
    assert found.effect.mean == pytest.approx(0.09)
    assert found.effect.n == 2


def test_what_was_run_and_has_nothing_to_tell_is_left_out():
    """Where there is no effective weight to shuffle, there is no ratio, and nothing is missing."""
    made = {
        SNIP: {0.2: [1.0, 1.1], 0.36: [1.0, 1.1], 0.488: [1.0, math.inf]},
        GRASP: {0.2: [1.2, 1.3], 0.36: [1.2, 1.3], 0.488: [math.inf, math.inf]},
    }
    values = {curve: pd.DataFrame(own) for curve, own in made.items()}
    found = Samples(values, pooled=False).difference(GRASP, SNIP, SPARSITIES)
    assert found.effect.mean == pytest.approx(0.2)
    assert found.left_out == (0.488,)
    for curve in (SNIP, GRASP):  # also where one of two replicates tells something
        alone = Samples(values, pooled=False).difference(curve, None, (0.488,))
        assert alone.left_out == (0.488,)
        assert (alone.effect.n, verdict(alone.effect, Region("same", 0.1))) == (2, "undecided")


def test_a_range_that_is_not_whole_yet_tells_nothing():
    """GraSP was run twice at the first of three sparsities, once at the second: its difference from
    SNIP there is not that over all three, however clear it is."""
    made = {
        SNIP: {0.2: [0.90, 0.91], 0.36: [0.90, 0.91], 0.488: [0.90, 0.91]},
        GRASP: {0.2: [0.50, 0.51], 0.36: [0.50]},
    }
    found = between(made)
    assert verdict(found.effect, Region("same", 0.005)) == "not run"
    assert (found.effect.n, found.each, found.left_out) == (0, {}, ())
    assert verdict(between(made, (0.2,)).effect, Region("same", 0.005)) == "not supported"


def test_steps_and_initialisations_are_curves_of_their_own():
    fixed = Curve("magnitude", init="fixed_variance")
    made = {
        AFTER: {0.2: [0.95, 0.96]},
        Curve("magnitude"): {0.2: [0.90, 0.91]},
        fixed: {0.2: [0.80, 0.81]},
    }
    for curve, more in ((AFTER, 0.05), (fixed, -0.10)):
        found = between(made, (0.2,), (curve, Curve("magnitude")))
        assert found.effect.mean == pytest.approx(more)


def test_all_sparsities_count_alike_however_well_they_are_known():
    """Ten times the spread at 36 %, where the difference is 0.5; at 20 % it is 0.1."""
    made = {
        SNIP: {0.2: [0.90, 0.91], 0.36: [0.80, 0.90]},
        GRASP: {0.2: [0.80, 0.81], 0.36: [0.30, 0.40]},
    }
    found = between(made, (0.2, 0.36))
    assert found.effect.mean == pytest.approx(0.3)
    # replicates move together at both sparsities: the deviations of 0.005 and 0.05 add up
    assert found.effect.error == pytest.approx(2**0.5 * (0.005 + 0.05) / 2)


def test_what_two_other_curves_differ_by_is_taken_off():
    """0.10 less 0.02. Each of the four has the variance 0.0002, and half of it is the error of its
    mean; the unpruned networks are the same at every sparsity."""
    fixed = Curve("magnitude", init="fixed_variance")
    made = {
        Curve("magnitude"): {0.2: [0.90, 0.92], 0.36: [0.90, 0.92]},
        fixed: {0.2: [0.80, 0.82], 0.36: [0.80, 0.82]},
        Curve("dense"): {0.0: [0.94, 0.96]},
        Curve("dense", init="fixed_variance"): {0.0: [0.92, 0.94]},
    }
    unpruned = (Curve("dense", init="fixed_variance"), Curve("dense"))
    found = between(made, (0.2, 0.36), (fixed, Curve("magnitude")), unpruned)
    assert found.effect.mean == pytest.approx(-0.10 + 0.02)
    assert found.each == {0.2: pytest.approx(-0.08), 0.36: pytest.approx(-0.08)}
    assert found.effect.error == pytest.approx((4 * 0.0002 / 2) ** 0.5)


UNPRUNED = {0.0: [0.94, 0.96]}  # a variance of 0.0002


def test_a_network_that_is_the_same_at_all_points_is_one_network():
    """Means over two sparsities have the variances 0.00005 and 0.0002, pooled 0.000125. That of the
    unpruned network, which is no mean, is its own, 0.0002."""
    made = {
        DENSE: UNPRUNED,
        SNIP: {0.2: [0.90, 0.92], 0.36: [0.91, 0.91]},
        GRASP: {0.2: [0.90, 0.92], 0.36: [0.91, 0.93]},
    }
    found = between(made, (0.2, 0.36), (Curve("dense"), SNIP))
    assert found.effect.mean == pytest.approx(0.95 - 0.91)
    assert found.effect.error == pytest.approx((0.0002 / 2 + 0.000125 / 2) ** 0.5)
    # Satterthwaite's: one degree of freedom of its own, two of the means
    assert found.effect.freedom == pytest.approx(1.625**2 / (1 + 0.625**2 / 2))


def test_what_does_not_move_lends_no_spread_to_a_trend():
    """Of two curves one is the same at both steps: the other's trend, the difference of its two
    points, has the variance 0.0008 of its own replicates and no other."""
    made = {
        DENSE: UNPRUNED,
        SNIP: {0.2: [0.90, 0.92], 0.36: [0.93, 0.99]},
    }
    samples = Accuracies(table(made), 0.1)
    for against in (None, Curve("dense")):
        found = samples.contrast(SNIP, against, {0.2: -1.0, 0.36: 1.0}).effect
        assert found.mean == pytest.approx(0.05)
        assert found.error == pytest.approx((0.0008 / 2) ** 0.5)
        assert found.freedom == pytest.approx(1)


def test_the_largest_of_any_network():
    made = {SNIP: {0.2: [0.90, 0.92], 0.36: [0.95]}}
    samples = Accuracies(table(made), 0.1)
    found = samples.largest(SNIP, [0.2, 0.36])
    assert (found.mean, found.error, found.n) == (0.95, 0, 1)
    assert math.isnan(samples.largest(SNIP, [0.2, 0.488]).error)


def test_paired_replicates_would_not_change_the_mean():
    """Of complete curves the mean is that of differences replicate by replicate."""
    stream = np.random.default_rng(4)
    made = {SNIP: noisy(stream, 0.9), GRASP: noisy(stream, 0.8)}
    paired = effect(np.mean([np.subtract(made[SNIP][s], made[GRASP][s]) for s in SPARSITIES], 0))
    assert between(made).effect.mean == pytest.approx(paired.mean)


def test_a_method_of_ones_own_is_compared_by_its_plain_name(registry):
    """Its records have the name with a digest."""
    scores.register("mine", needs_data=False)(lambda model, batch: {})
    mine = Curve("mine")
    assert mine.method.startswith("mine_")
    found = Accuracies(table({mine: {0.2: [0.90, 0.92]}, SNIP: {0.2: [0.80, 0.84]}}), chance=0.1)
    assert found.difference(Curve("mine"), SNIP, [0.2]).effect.mean == pytest.approx(0.09)
    assert found.contrast(Curve("mine"), None, {0.2: 1.0}).effect.mean == pytest.approx(0.91)
    assert found.count(Curve("mine"), 0.2) == 2
    assert found.count(GRASP, 0.2) == 0


@pytest.mark.parametrize(("share", "belongs"), [(0.531, True), (0.541, False)])
def test_the_largest_of_ten_spreads_by_cochrans_table(share, belongs):
    """ISO 5725-2 prints 0.536 as the critical share, at 1 %, of the largest variance in the sum of
    ten of three results each (and 0.445 at 5 %). Three values m - d, m, m + d have the variance
    d^2."""
    curves = [SNIP, GRASP, *OTHERS][:10]
    variances = dict.fromkeys(curves, 1e-6) | {curves[-1]: 9e-6 * share / (1 - share)}
    made = {c: {0.2: [0.9 - v**0.5, 0.9, 0.9 + v**0.5]} for c, v in variances.items()}
    assert between(made, (0.2,)).effect.freedom == pytest.approx(20 if belongs else 18)


@pytest.mark.parametrize(("lowest", "left_out"), [(0.2, (0.488,)), (0.2001, ())])
def test_twice_the_chance_is_still_a_guess(lowest, left_out):
    made = {
        SNIP: {0.2: [0.90, 0.91], 0.488: [0.90, 0.91]},
        GRASP: {0.2: [0.91, 0.90], 0.488: [lowest, 0.91]},
    }
    assert between(made, (0.2, 0.488)).left_out == left_out


@pytest.mark.parametrize(("classes", "highest"), [(2, 0.75), (3, 2 / 3), (10, 0.2), (1000, 0.002)])
def test_guessing_of_two_classes_is_no_certainty(classes, highest):
    assert guessing(1 / classes) == pytest.approx(highest)


def test_the_fewest_replicates_of_two_curves_count():
    found = between({SNIP: {0.2: [0.90, 0.92, 0.91]}, GRASP: {0.2: [0.80, 0.84]}}, (0.2,))
    assert found.effect.n == 2
