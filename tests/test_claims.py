"""The claims, held against made-up results whose truth is known and against recorded ones."""

import numpy as np
import pandas as pd
import pytest
import torch

from prunelib import settings
from prunelib.findings import claims, statistics
from prunelib.results.records import MASK
from prunelib.results.store import Store
from prunelib.runs import AFTER, DENSE, EARLY_METHODS, Curve, Run

SNIP, SYNFLOW, GRASP, RANDOM = (Curve(m) for m in ("snip", "synflow", "grasp", "random"))
SHUFFLED = {m: Curve(m, "shuffle") for m in EARLY_METHODS}
DIGITS, MNIST = ("lenet_digits", "quick"), ("lenet_mnist", "paper")


@pytest.fixture
def results(rows):
    """Makes a table from a dict from Curve to its accuracy, a number or a function of the
    sparsity; three replicates that scatter by a twentieth of a point."""

    def make(truths, setting, profile, replicates=3, data=None, spread=0.0005):
        stream = np.random.default_rng(0)
        made = []
        for curve, truth in truths.items():
            for sparsity in (0.0,) if curve == DENSE else settings.sparsities(setting, profile):
                for replicate in range(replicates):
                    mean = truth(sparsity) if callable(truth) else truth
                    accuracy = mean + spread * stream.normal()
                    made.append((curve.run(setting, profile, sparsity, replicate), accuracy))
        data = data or settings.get(setting).dataset
        return pd.DataFrame(rows(made)).assign(dataset=f"{data}@0")

    return make


def held(table, setting, profile, section, text, subject):
    """The one row about a claim and its subject."""
    checked = claims.check(table, setting, profile, section)
    found = checked["claim"].str.startswith(text) & (checked["subject"] == subject)
    (row,) = checked[found].to_dict("records")
    return row


def verdicts(row):
    return row["matching: verdict"], row["extreme: verdict"]


@pytest.fixture
def truths():
    """Random pruning five points below; SNIP alike to magnitude after training but for three
    points beyond 90 %."""
    return {
        DENSE: 0.95,
        AFTER: lambda s: 0.95 if s < 0.9 else 0.90,
        SNIP: lambda s: 0.9485 if s < 0.9 else 0.93,
        RANDOM: 0.88,
        SYNFLOW: 0.948,
        SHUFFLED["synflow"]: 0.92,
    }


def test_claims_of_section_4(results, truths):
    table = results(truths, *MNIST)
    random = held(table, *MNIST, "4", "early methods outperform random", "snip")
    assert verdicts(random) == ("supported", "supported")
    assert random["n"] == 3
    after = held(table, *MNIST, "4", "there is little distinction", "snip")
    assert verdicts(after) == ("supported", "not supported")
    assert float(after["matching: points"]) == pytest.approx(-0.15, abs=0.03)
    assert float(after["extreme: points"]) == pytest.approx(3, abs=0.03)
    assert after["extreme: left out"] == ""
    low, high = map(float, after["extreme: interval"].split(" … "))
    assert 2.9 < low < high < 3.1
    assert all(2.8 < float(end) < 3.2 for end in after["extreme: at each"].split(" … "))
    grasp = held(table, *MNIST, "4", "early methods outperform random", "grasp")
    assert verdicts(grasp) == ("not run", "not run")
    assert grasp["matching: points"] == grasp["matching: interval"] == ""


def test_a_claim_may_differ_between_matching_and_extreme_sparsities(results, truths):
    """Shuffled SNIP on LeNet: the same up to 89.3 %, lower beyond; SynFlow beyond: no claim."""
    truths[SHUFFLED["snip"]] = lambda s: 0.9485 if s < 0.9 else 0.90
    table = results(truths, *MNIST)
    snip = held(table, *MNIST, "5", "shuffling lowers accuracy only at higher", "snip")
    assert verdicts(snip) == ("supported", "supported")
    synflow = held(table, *MNIST, "5", "shuffling does not affect accuracy at lower", "synflow")
    assert verdicts(synflow) == ("not supported", "no claim")


def test_one_replicate_is_not_run_and_noise_is_undecided(results, truths):
    one = held(results(truths, *MNIST, replicates=1), *MNIST, "4", "early methods out", "snip")
    assert verdicts(one) == ("not run", "not run")
    alike = {Curve("magnitude"): 0.95, SHUFFLED["magnitude"]: 0.95}
    noisy = held(
        results(alike, *MNIST, spread=0.02), *MNIST, "5", "shuffling does not", "magnitude"
    )
    assert verdicts(noisy) == ("not run", "undecided")  # no sparsity is known to match
    quiet = held(results(alike, *MNIST), *MNIST, "5", "shuffling does not", "magnitude")
    assert verdicts(quiet) == ("not run", "supported")


def test_a_smaller_difference_than_counts_is_no_direction(results, truths):
    """A twentieth of a point below is known to be below, and is neither "lower" nor, the other
    way round, "higher"."""
    truths |= {Curve("magnitude"): 0.9480, Curve("magnitude", "invert"): 0.9475, RANDOM: 0.9475}
    table = results(truths, *MNIST, spread=0.0001)
    row = held(table, *MNIST, "5", "inverting lowers accuracy", "magnitude")
    assert row["matching: interval"].startswith("-0.0")
    assert verdicts(row) == ("not supported", "not supported")
    row = held(table, *MNIST, "4", "early methods outperform random", "magnitude")
    assert row["matching: interval"].startswith("+0.0")
    assert verdicts(row) == ("not supported", "not supported")


def test_one_erratic_sparsity_does_not_hide_a_direction(results, truths):
    """At the highest sparsity random pruning falls apart in two replicates of three; at every
    other one it is five points below."""
    table = results(truths, *MNIST)
    last = (table["method"] == "random") & (table["sparsity"] == settings.sparsity(18))
    table.loc[last, "test_accuracy"] = [0.88, 0.5, 0.3]
    row = held(table, *MNIST, "4", "early methods outperform random", "snip")
    assert row["extreme: verdict"] == "supported"
    assert float(row["extreme: points"]) == pytest.approx(5, abs=0.1)


def test_sparsities_at_which_a_network_guesses_are_counted(results, truths):
    """SNIP collapses beyond 96 %: four of the eight extreme sparsities, and four decide."""
    truths[SNIP] = lambda s: 0.93 if s < 0.96 else 0.1
    row = held(results(truths, *MNIST), *MNIST, "4", "early methods outperform random", "snip")
    assert (row["matching: left out"], row["extreme: left out"]) == ("", "4 of 8")
    assert float(row["extreme: points"]) == pytest.approx(5, abs=0.05)
    assert row["extreme: verdict"] == "supported"


def test_what_the_paper_does_not_speak_of_agrees_or_differs(results, truths):
    """The miniature, another profile and other data; the truth is the same in all."""
    for where, data in ((DIGITS, None), (("lenet_mnist", "quick"), None), (MNIST, "fashion")):
        table = results(truths, *where, data=data)
        random = held(table, *where, "4", "early methods outperform random", "snip")
        assert verdicts(random) == ("agrees", "agrees")
        after = held(table, *where, "4", "there is little distinction", "snip")
        assert verdicts(after) == ("agrees", "differs")
    # VGG-19 is a network of Appendix C, which Section 4 does not speak of
    own = pd.DataFrame({"dataset": ["cifar10@0"]})
    assert not claims.speaks("vgg19_cifar10", "paper", own)
    assert claims.speaks("vgg16_cifar10", "paper", own)
    assert not claims.speaks("vgg16_cifar10", "paper", own.assign(dataset="cifar10-jpeg@0"))
    assert claims.speaks("lenet_mnist", "paper", own.assign(dataset="none"), figure=11)
    assert not claims.speaks("lenet_mnist", "paper", own.assign(dataset="none"), figure=6)


def test_matching_sparsity_is_the_papers_where_printed_else_ours(results, truths):
    table = results(truths, *DIGITS)
    assert claims.matching_sparsity(table, "vgg16_cifar10")[0] == settings.sparsity(12)
    found, source = claims.matching_sparsity(table, "lenet_digits")
    assert found == settings.sparsity(9)
    assert "our results" in source


def test_lenet_is_held_to_its_own_appendix(results):
    table = results({DENSE: 0.9}, *MNIST)
    lenet = claims.check(table, "lenet_mnist", "paper", "4")
    others = claims.check(table, "vgg16_cifar10", "paper", "4")
    assert "early methods stay below magnitude after training" in set(others["claim"])
    assert "early methods stay below magnitude after training" not in set(lenet["claim"])
    alike = lenet[lenet["claim"].str.startswith("all methods perform similarly")]
    assert len(alike) == len(set(alike["subject"])) == 6  # pairs of four methods, each once
    assert not others["claim"].str.contains("K.1", regex=False).any()


@pytest.mark.parametrize(
    ("setting", "claimed"),
    [
        ("lenet_mnist", "inverting GraSP lowers accuracy (K.2)"),
        ("vgg16_cifar10", "inverting GraSP does not change accuracy"),
    ],
)
def test_inverted_grasp_is_claimed_differently_for_lenet(results, setting, claimed):
    texts = claims.check(results({DENSE: 0.9}, *MNIST), setting, "paper", "5")["claim"]
    assert [t for t in texts if "GraSP" in t] == [claimed]


def test_every_section_has_claims_and_every_expectation_a_region():
    assert {claim.section for claim in claims.CLAIMS} == set(claims.SECTIONS)
    said = {expected for claim in claims.CLAIMS for expected in claim.expected}
    assert said - {None} == set(claims.REGIONS)
    assert not [claim for claim in claims.CLAIMS if claim.expected == (None, None)]
    assert len(set(claims.CLAIMS)) == len(claims.CLAIMS)


@pytest.mark.parametrize("setting", ["resnet20_cifar10", "resnet8_digits", "lenet_mnist"])
def test_claims_compare_two_curves_of_which_runs_can_be_made(setting):
    for claim in claims.CLAIMS:
        assert set(claim.settings) <= settings.SETTINGS.keys()
        pair = [curve.at(setting, "paper") for curve in (claim.curve, claim.against)]
        assert claim.about(setting) <= (pair[0] != pair[1])
        for curve in pair:
            assert curve.run(setting, "paper", 0.2, 0).method == curve.method


def test_a_row_of_the_table_is_a_claim():
    """The words and numbers of a line of claims.csv, typed in here."""
    text = "early in training lottery ticket rewinding is more accurate"
    (claim,) = [c for c in claims.CLAIMS if (c.text, c.subject) == (text, "than snip")]
    rewound = Curve("magnitude", prune_at="end", weights_from="rewind")
    early = Curve("snip", prune_at="rewind", weights_from="rewind")
    assert (claim.section, claim.curve, claim.against) == ("6", rewound, early)
    assert (claim.expected, claim.lenet, claim.settings) == (("higher", "higher"), False, ())


def test_claims_about_a_network_are_held_to_that_network_alone(results):
    """F.1 speaks of ResNet-20, VGG-16 and ResNet-18 one by one, L of modified ResNet-18."""
    empty = results({DENSE: 0.9}, *MNIST)[:0]

    def said(setting, section):
        found = claims.check(empty, setting, "paper", section)
        return set(found["claim"]) if len(found) else set()

    improves = "shuffling improves SynFlow"
    assert improves in said("resnet20_cifar10", "F.1")
    assert improves not in said("vgg16_cifar10", "F.1")
    assert improves not in said("resnet8_digits", "F.1")
    assert len(said("modified_resnet18_tinyimagenet", "L")) == 9
    assert said("resnet18_tinyimagenet", "L") == said("lenet_mnist", "L") == set()


def test_claims_about_steps_rest_on_the_one_sparsity_of_their_figure(rows):
    """On the convolutional miniature that is 86.6 %: SNIP gains two points by pruning at the end,
    and loses ten at another sparsity, of which the claim does not speak."""
    late = Curve("snip", prune_at="end", weights_from="end")
    truths = {(SNIP, 9): 0.95, (late, 9): 0.97, (SNIP, 6): 0.95, (late, 6): 0.85}
    table = pd.DataFrame(
        rows(
            (curve.run("resnet8_digits", "paper", settings.sparsity(k), r), truth + 0.0005 * r)
            for (curve, k), truth in truths.items()
            for r in range(3)
        )
    ).assign(dataset="shifted_digits@0")
    about = ("resnet8_digits", "paper", "6", "magnitude, SNIP and SynFlow improve", "snip")
    row = held(table, *about)
    assert row["matching: points"] == "+2.00"
    assert verdicts(row) == ("agrees", "no claim")


# --------------------------------------------------------- layers, connections, distributions


def masks(setting, kept, effective=((100, 100),), replicates=3):
    """Records of masks at 73.8 %: `kept` is a dict from method to the kept weights of each layer,
    `effective` those of the unmodified and the shuffled mask, one pair a method."""
    pairs = dict(
        zip(kept, effective * len(kept) if len(effective) == 1 else effective, strict=True)
    )
    level, _ = settings.matching_level(setting)
    return pd.DataFrame(
        [
            Run(setting, "paper", method, settings.sparsity(level), ablation, replicate=r).record()
            | {
                "layers": layers,
                "kept_weights": sum(layers),
                "dataset": "none",
                "effective_weights": pairs[method][place] + r * (method == "snip"),
            }
            for method, layers in kept.items()
            for place, ablation in enumerate(("none", "shuffle"))
            for r in range(replicates)
        ]
    )


def test_output_layers_that_are_spared():
    """LeNet on the digits at 93.1 %, 6.87 % of weights kept: 200 of the 1,000 in the output layer
    are three times as many, 70 as many, 40 fewer."""
    kept = {
        "magnitude": (1319, 2061, 70),
        "snip": (1200, 2050, 200),
        "grasp": (1300, 2110, 40),
        "synflow": (1200, 2050, 200),
    }
    found = claims.layers(masks("lenet_digits", kept), "lenet_digits", settings.sparsity(12))
    assert dict(zip(found["subject"], found["verdict"], strict=True)) == {
        "magnitude": "differs",
        "snip": "agrees",
        "grasp": "differs",
        "synflow": "agrees",
        "all": "differs",
    }
    assert found["ratio"].iloc[1] == "2.91"  # 0.2 / 0.068719
    spared = {"snip": kept["snip"], "synflow": kept["synflow"]}
    found = claims.layers(masks("lenet_digits", spared), "lenet_digits", settings.sparsity(12))
    assert found.set_index("subject").loc["grasp", "verdict"] == "not run"
    assert found["verdict"].iloc[-1] == "not run"


def test_shortcuts_of_recorded_masks_are_pruned_more_heavily_than_their_blocks():
    table = Store(kind=MASK).table("resnet20_cifar10")
    found = claims.layers(table, "resnet20_cifar10", settings.sparsity(6))
    rows = found[found["claim"].str.contains("shortcuts")]
    assert list(rows["subject"]) == ["blocks.3.shortcut.0", "blocks.6.shortcut.0", "all"]
    assert set(rows["verdict"]) == {"agrees"}  # its CIFAR-10 is a variant
    each = table[
        (table["method"] == "synflow")
        & (table["ablation"] == "none")
        & (table["sparsity"] == settings.sparsity(6))
    ]["layers"]
    # by hand: the fourth block's two convolutions and its shortcut are the eighth to tenth layer
    ratios = [(c[9] / 512) / min(c[7] / 4608, c[8] / 9216) for c in each]
    assert rows["ratio"].iloc[0] == f"{np.mean(ratios):.2f}"


def test_shuffling_reconnects_at_most_as_many_weights_as_printed():
    """Ratios of 1.001 are within the bound and 1.1 beyond it, and the claim is about all."""
    kept = dict.fromkeys(EARLY_METHODS, (1,) * 22)
    close, far = (100000, 100100), (1000, 1100)
    table = masks("resnet20_cifar10", kept, (close,) * 4)
    found = claims.effective_ratio(table, "resnet20_cifar10").set_index("subject")
    assert set(found["verdict"]) == {"supported"}
    assert found.loc["snip", "ratio"] == "1.0010"
    table = masks("resnet20_cifar10", kept, (close, far, close, close))
    found = claims.effective_ratio(table, "resnet20_cifar10").set_index("subject")["verdict"]
    assert (found["snip"], found["grasp"]) == ("not supported", "supported")
    assert found["all"] == "not supported"
    elsewhere = masks("lenet_mnist", dict.fromkeys(EARLY_METHODS, (1, 1, 1)), (far,) * 4)
    found = claims.effective_ratio(elsewhere, "lenet_mnist")
    assert set(found["verdict"]) == {"differs"}  # Appendix M does not print LeNet's
    one = masks("resnet20_cifar10", kept, (close,) * 4, replicates=1)
    assert set(claims.effective_ratio(one, "resnet20_cifar10")["verdict"]) == {"not run"}


def test_immunity_is_an_excess_over_chance():
    """Chance moves 0.02; magnitude 0.3 more, SNIP 0.01 more, and GraSP once 0 and once 0.1."""
    excess = {"magnitude": (0.3, 0.31, 0.3), "snip": (0.01, 0.012, 0.011), "grasp": (0, 0.1, 0.1)}
    rows = [
        ("before training", 0.5, method, "shuffle", replicate, chance + more)
        for method, values in ({"random": (0, 0, 0)} | excess).items()
        for replicate, (chance, more) in enumerate(zip((0.02, 0.03, 0.01), values, strict=True))
    ]
    columns = ["when", "sparsity", "method", "ablation", "replicate", "ks"]
    data = pd.DataFrame(rows, columns=columns)
    found = claims.immunity(data, spoken=True).set_index("method")
    assert dict(found["verdict"]) == {
        "magnitude": "not supported",
        "snip": "supported",
        "grasp": "undecided",
    }
    assert found.loc["magnitude", "excess"] == pytest.approx(0.91 / 3)
    assert set(found["n"]) == {3}
    assert claims.immunity(data, spoken=False)["verdict"].iloc[0] == "differs"
    alone = claims.immunity(data[::3], spoken=True)
    assert set(alone["verdict"]) == {"not run"}


def test_a_mask_that_prunes_every_layer_alike():
    half = torch.arange(100) % 2 == 0
    assert claims.prunes_evenly({"a": half, "b": half}, 0.5) == "supported"
    assert claims.prunes_evenly({"a": half, "b": half}, 0.52) == "supported"
    assert claims.prunes_evenly({"a": half, "b": half[:99]}, 0.53) == "not supported"


def test_scores_that_add_up_to_the_path_norm():
    scores = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0 + 1e-9])}
    drops = {"highest": 2.0, "median": 1.0, "lowest": 0.5}
    adds_up, smallest = "scores add up to the path norm in every layer", "the highest-scoring"
    found = claims.path_norm(scores, 3.0, drops)
    assert found[adds_up] == "supported"
    assert next(v for k, v in found.items() if k.startswith(smallest)) == "not supported"
    found = claims.path_norm(scores | {"b": torch.tensor([3.1])}, 3.0, drops | {"highest": 0.5})
    assert found[adds_up] == "not supported"
    assert next(v for k, v in found.items() if k.startswith(smallest)) == "supported"


def test_nothing_but_the_words_of_the_rule(results, truths):
    allowed = {*statistics.VERDICTS, *statistics.ELSEWHERE.values(), "no claim"}
    for where in (DIGITS, MNIST):
        for section in claims.SECTIONS:
            checked = claims.check(results(truths, *where), *where, section)
            assert set(checked.filter(like="verdict").to_numpy().flat) <= allowed


def test_verdicts_are_counted_claim_by_claim():
    found = pd.DataFrame(
        {
            "claim": ["b", "a", "b", "b"],
            "subject": ["snip", "snip", "grasp", "all"],
            "matching: verdict": ["agrees", "no claim", "differs", "differs"],
            "extreme: verdict": ["agrees", "agrees", "undecided", "differs"],
        }
    )
    counted = claims.counts(found)
    assert list(counted.index) == ["b", "a"]
    assert counted.loc["b"].to_dict() == {"agrees": 2, "differs": 1, "undecided": 1}
    assert counted.loc["a"].to_dict() == {"agrees": 1, "differs": 0, "undecided": 0}
    assert claims.counts(found[:0]).empty


def test_claims_without_words_are_counted_together():
    counted = claims.counts(pd.DataFrame({"verdict": ["agrees", "differs", "agrees"]}))
    assert counted.sum().to_dict() == {"agrees": 2, "differs": 1}
