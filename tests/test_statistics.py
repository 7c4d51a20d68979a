import math

import numpy as np
import pandas as pd
import pytest

from prunelib.errors import BadValueError, UnknownNameError
from prunelib.findings import statistics
from prunelib.findings.decisions import Part, decide
from prunelib.findings.statistics import Effect, Region, effect, exact
from prunelib.runs import AFTER, DENSE, Curve

SNIP, RANDOM = Curve("snip"), Curve("random")
NORMAL = {0.9: 1.6448536, 0.95: 1.9599640}  # half widths, in standard errors, of a known spread


def verdict(found, region):
    return decide(Part("one", found, region)).verdict


def known(region, low, high):
    """An effect whose interval, at the region's confidence, is (low, high)."""
    error = (high - low) / 2 / NORMAL[region.confidence]
    return Effect((low + high) / 2, error, math.inf, 5)


# ------------------------------------------------------------------------------ the one rule


@pytest.mark.parametrize(
    ("region", "inside", "outside", "across"),
    [
        (Region("higher", 1), (1.1, 9), (-3, 0.9), (0.5, 3)),
        (Region("lower", 1), (-9, -1.1), (-0.9, 3), (-3, -0.5)),
        (Region("same", 1), (-0.9, 0.9), (1.1, 2), (0, 1.1)),
        (Region("same", 1), (0.1, 0.2), (-3, -1.1), (-2, 2)),
        (Region("not lower", 1), (-0.9, 9), (-9, -1.1), (-2, 9)),
        (Region("not higher", 1), (-9, 0.9), (1.1, 9), (-9, 2)),
        (Region("at most", 1.5), (-9, 1.4), (1.6, 2), (1.4, 1.6)),
        (Region("at least", 1.5), (1.6, 2), (-9, 1.4), (1.4, 1.6)),
        (Region("between", 2, 3), (2.1, 2.9), (0, 1.9), (1, 2.5)),
        (Region("between", 2, 3), (2.5, 2.6), (3.1, 4), (1, 4)),
    ],
)
def test_the_interval_must_lie_inside_or_outside(region, inside, outside, across):
    assert verdict(known(region, *inside), region) == "supported"
    assert verdict(known(region, *outside), region) == "not supported"
    assert verdict(known(region, *across), region) == "undecided"


@pytest.mark.parametrize(
    "region",
    [Region(word, 1) for word in ("higher", "lower", "same", "not lower", "at most", "at least")],
)
def test_too_few_results_are_not_run_and_results_that_say_nothing_undecided(region):
    assert verdict(effect([]), region) == verdict(effect([7.0]), region) == "not run"
    assert verdict(effect([7.0, math.nan]), region) == "not run"
    assert verdict(Effect(math.nan, math.inf, 0, 5), region) == "undecided"


def test_rounding_does_not_decide():
    """0.1 + 0.2 is above 0.3 and 0.3 - 0.2 below 0.1; a millionth is a difference."""
    assert verdict(exact(0.1 + 0.2), Region("at most", 0.3)) == "supported"
    assert verdict(exact(0.3 - 0.2), Region("at least", 0.1)) == "supported"
    assert verdict(exact(4.9999999), Region("at least", 5)) == "supported"
    assert verdict(exact(5.0000001), Region("higher", 5)) == "not supported"
    assert verdict(exact(-5.0000001), Region("lower", 5)) == "not supported"
    assert verdict(exact(0.5000001), Region("same", 0.5)) == "supported"
    assert verdict(exact(5.000002), Region("at most", 5)) == "not supported"
    assert verdict(exact(5.000002), Region("higher", 5)) == "supported"


def test_an_interval_by_hand():
    """Mean 1.0022, standard error 0.0002 / 3^0.5, t of 0.975 with two degrees of freedom 4.303."""
    found = effect([1.0020, 1.0022, 1.0024, math.nan])
    assert (found.n, found.freedom) == (3, 2)
    half = 4.302653 * 0.0002 / 3**0.5
    assert found.interval() == pytest.approx((1.0022 - half, 1.0022 + half), abs=1e-9)
    assert verdict(found, Region("at most", 1.0028)) == "supported"
    assert verdict(found, Region("at most", 1.0026)) == "undecided"
    assert verdict(found, Region("at most", 1.0016)) == "not supported"


def test_equivalence_takes_the_interval_of_two_one_sided_tests():
    """Half widths of -1, 0, 1: 2.920 / 3^0.5 = 1.686 at 90 %, 4.303 / 3^0.5 = 2.484 at 95 %."""
    found = effect([-1, 0, 1])
    assert verdict(found, Region("same", 1.7)) == "supported"
    assert verdict(found, Region("same", 1.6)) == "undecided"
    assert verdict(found, Region("not lower", 1.7)) == "undecided"
    assert verdict(found, Region("not lower", 2.5)) == "supported"
    assert found.interval(Region("same", 1).confidence) == pytest.approx((-1.686, 1.686), abs=5e-4)


@pytest.mark.parametrize(
    ("region", "truth"),
    [(Region("higher", 1), 1.0), (Region("same", 1), 1.0), (Region("not lower", 1), -1.0)],
)
def test_a_claim_that_just_fails_is_seldom_supported(region, truth):
    """Simulated: five replicates, an effect on the edge of the region; 2.5 or 5 % may pass."""
    stream = np.random.default_rng(0)
    found = [verdict(effect(truth + 0.3 * stream.normal(size=5)), region) for _ in range(800)]
    allowed = (1 - region.confidence) / (1 if region.word == "same" else 2)
    assert allowed / 2 < found.count("supported") / 800 < 1.7 * allowed
    clear = [verdict(effect(3 * truth + 0.3 * stream.normal(size=5)), region) for _ in range(50)]
    wanted = "supported" if region.word == "higher" else "not supported"
    assert clear.count(wanted) >= 48


def test_exact_numbers_need_no_replicates():
    assert verdict(exact(3), Region("between", 3, 3)) == "supported"
    assert verdict(exact(3.1), Region("between", 3, 3)) == "not supported"


def test_a_printed_mean_has_its_replicates_too():
    """1 … 5: standard deviation 2.5^0.5, so the error is (2.5 / 5 + 2.5 / 5)^0.5 = 1 against
    five replicates, (2.5 / 5 + 2.5 / 2)^0.5 against two."""
    ours = effect([1, 2, 3, 4, 5])
    found = statistics.less_printed(ours, 2.5, 5)
    assert (found.mean, found.error, found.freedom) == (pytest.approx(0.5), pytest.approx(1), 4)
    assert statistics.less_printed(ours, 2.5, 2).error == pytest.approx(1.75**0.5)
    alone = statistics.less_printed(effect([3.0]), 3.0, 5)
    assert verdict(alone, Region("same", 1)) == "not run"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (("higher", -1), "margin -1 is not at least 0"),
        (("same", math.nan), "margin nan is not at least 0"),
        (("between", 1), "'between' takes two bounds"),
        (("at most", 1, 2), "'between' takes two bounds"),
        (("between", 2, 1), "2 is above 1"),
    ],
)
def test_a_region_that_makes_no_sense_is_refused(values, sentence):
    with pytest.raises(BadValueError, match=sentence):
        Region(*values)


def test_an_unknown_region_is_named():
    with pytest.raises(UnknownNameError, match="larger"):
        Region("larger", 1)


def test_elsewhere_results_agree_or_differ():
    verdicts = ("supported", "undecided", "not supported", "not run")
    said = [statistics.worded(found, False) for found in verdicts]
    assert said == ["agrees", "undecided", "differs", "not run"]
    for found in verdicts:
        assert statistics.worded(found, True) == found


# ---------------------------------------------------------------------------- over replicates


@pytest.fixture
def table(rows):
    def run(curve, sparsity, replicate):
        return curve.run("lenet_digits", "paper", sparsity, replicate)

    made = []
    for replicate, dense in enumerate((0.90, 0.92)):
        made.append((run(DENSE, 0.0, replicate), dense))
        for sparsity, drop in ((0.2, 0.0), (0.36, 0.001), (0.488, 0.02), (0.5904, 0.0)):
            made.append((run(SNIP, sparsity, replicate), dense - drop))
        made.append((run(RANDOM, 0.2, replicate), dense - 0.01 * (replicate + 1)))
    made.append((run(SNIP, 0.2, 2), 0.5))
    return pd.DataFrame(rows(made))


def test_mean_and_sample_deviation_over_replicates(table):
    row = statistics.over_replicates(table, SNIP).loc[0.488]
    assert row["mean"] == pytest.approx(0.89)
    assert row["std"] == pytest.approx(0.02 / 2**0.5)
    assert row["n"] == 2


def test_curves_do_not_mix_ablations_or_steps(table):
    assert statistics.over_replicates(table, Curve("snip", "shuffle")).empty
    assert statistics.over_replicates(table, AFTER).empty


@pytest.mark.parametrize(("tolerance", "highest"), [(0.001, 0.36), (0.02, 0.5904), (0.0199, 0.36)])
def test_matching_ends_at_the_first_sparsity_that_does_not(table, tolerance, highest):
    assert statistics.highest_matching(table[table.replicate < 2], SNIP, tolerance) == highest


def test_what_matches_is_held_against_the_network_of_the_same_initialisation(rows):
    """0.90 is five points below one unpruned network and none below the other."""
    accuracies = {"he": 0.95, "fixed_variance": 0.90}
    made = [
        (Curve("dense", init=init).run("lenet_mnist", "paper", 0.0, 0), accuracy)
        for init, accuracy in accuracies.items()
    ]
    made += [
        (Curve("snip", init=init).run("lenet_mnist", "paper", 0.2, 0), 0.90) for init in accuracies
    ]
    table = pd.DataFrame(rows(made))
    assert statistics.highest_matching(table, Curve("snip", init="fixed_variance"), 0.001) == 0.2
    assert statistics.highest_matching(table, SNIP, 0.001) == 0.0


def test_rounding_does_not_decide_what_matches(rows):
    """0.8 - 0.1 is above 0.7 by a bit."""
    made = [(DENSE.run("lenet_digits", "paper", 0.0, 0), 0.8)]
    made.append((SNIP.run("lenet_digits", "paper", 0.2, 0), 0.7))
    assert statistics.highest_matching(pd.DataFrame(rows(made)), SNIP, 0.1) == 0.2


def test_matching_without_results_is_unknown_and_with_bad_ones_zero(table):
    assert statistics.highest_matching(table, AFTER, 0.1) is None
    assert statistics.highest_matching(table, RANDOM, 0.001) == 0.0
    shown = statistics.matching_table(table, {"after": AFTER, "random": RANDOM})
    assert shown["within 0.1 points"].to_dict() == {"after": "not run", "random": "< 20.0"}


def test_published_numbers_of_section_4():
    found = statistics.published(
        "frankle2021_matching", setting="vgg16_cifar10", ablation="none"
    ).set_index("method")["sparsity"]
    assert found["magnitude after training"] == 0.931
    assert found["snip"] == found["synflow"] == 0.59
    with pytest.raises(UnknownNameError, match="frankle2021_matching"):
        statistics.published("nothing")


@pytest.mark.parametrize(
    ("word", "confidence"),
    [
        ("higher", 0.95), ("lower", 0.95), ("not lower", 0.95), ("not higher", 0.95),
        ("at most", 0.95), ("at least", 0.95), ("same", 0.9), ("between", 0.9),
    ],
)  # fmt: skip
def test_equivalence_has_the_interval_of_two_one_sided_tests(word, confidence):
    assert Region(word, 0, 1 if word == "between" else None).confidence == confidence


def test_rows_of_a_curve_share_every_field():
    """Five curves that differ from the first in one field each, one row of each."""
    curves = [
        Curve("magnitude", prune_at="end", weights_from="end"),
        Curve("snip", prune_at="end", weights_from="end"),
        Curve("magnitude", "shuffle", prune_at="end", weights_from="end"),
        Curve("magnitude", prune_at=0, weights_from="end"),
        Curve("magnitude", prune_at="end", weights_from=0),
        Curve("magnitude", prune_at="end", weights_from="end", init="fixed_variance"),
    ]
    table = pd.DataFrame([vars(curve) for curve in curves])
    for place, curve in enumerate(curves):
        assert list(statistics.select(table, curve).index) == [place]


def test_errors_are_combined_by_hand():
    """Squares of 4 and 9 with two and three degrees of freedom: (4 + 9)^2 / (16 / 2 + 81 / 3); what
    is exact adds nothing."""
    error, freedom = statistics.combined([(4.0, 2), (9.0, 3), (0.0, math.inf)])
    assert (error, freedom) == pytest.approx((13**0.5, 169 / 35))
    assert statistics.combined([(0.0, 4)]) == (0.0, math.inf)
