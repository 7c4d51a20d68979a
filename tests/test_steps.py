"""What is said of the step of pruning, against made-up results whose truth is known."""

import numpy as np
import pandas as pd
import pytest

from prunelib import settings
from prunelib.findings import steps
from prunelib.findings.claims import REGIONS
from prunelib.runs import DENSE, EARLY_METHODS, REWOUND, Curve

ABOUT = ("resnet8_digits", "paper")
SPARSITY = settings.sparsity(9)
LAST = 840


@pytest.fixture
def results(rows):
    """Makes a table from functions of the step, each of the accuracy of a method and ablation;
    three replicates that scatter by a fiftieth of a point."""

    def make(truths, dense=0.98, tickets=0.97):
        stream = np.random.default_rng(0)
        made = [(DENSE.run(*ABOUT, 0.0, r), dense + 0.0002 * stream.normal()) for r in range(3)]
        made += [
            (REWOUND.run(*ABOUT, SPARSITY, r), tickets + 0.0002 * stream.normal()) for r in range(3)
        ]
        for (method, ablation), truth in truths.items():
            for step in settings.steps(*ABOUT):
                curve = Curve(method, ablation, "k", "k")
                accuracy = truth(LAST if step == "end" else step)
                for r in range(3):
                    run = curve.run(*ABOUT, SPARSITY, r, step)
                    made.append((run, accuracy + 0.0002 * stream.normal()))
        return pd.DataFrame(rows(made)).assign(dataset="shifted_digits@0")

    return make


def rising(step):
    """From 95 to 97 %, a point at 210 and at 420 iterations each."""
    return 0.95 + 0.01 * (step >= 210) + 0.01 * (step >= 420)


def test_from_which_step_on_a_method_is_as_accurate_as_lottery_tickets(results):
    found = steps.onsets(results({("magnitude", "none"): rising}), *ABOUT)
    row = found.loc["as accurate as lottery ticket rewinding to its step", "magnitude"]
    assert row.to_dict() == {"not before": 315, "from": 420, "share": "50 %", "paper": ""}


def test_from_which_step_on_an_ablation_lowers_accuracy(results):
    table = results({("snip", "none"): rising, ("snip", "shuffle"): lambda step: 0.95})
    found = steps.onsets(table, *ABOUT)
    assert found.loc["shuffling lowers accuracy", "snip"]["from"] == 210
    assert found.loc["shuffling lowers accuracy", "snip"]["share"] == "25 %"
    assert set(found.loc["reinitialising lowers accuracy"]["from"]) == {"—"}


def test_a_difference_that_does_not_stay_has_not_come(results):
    """Above lottery tickets at one step in the middle, and never again."""
    table = results({("magnitude", "none"): lambda step: 0.98 if step == 210 else 0.95})
    along = steps.Steps(table, *ABOUT)

    def reached(step):
        return Curve("magnitude", "none", step, step), REWOUND

    assert along.first(reached, REGIONS["not lower"]) == (LAST, None)


def test_steps_that_were_not_run_may_hide_anything(results):
    """Only the first and the last steps were run: what is so at both may not be so between."""
    truths = {("snip", "none"): lambda step: 0.97, ("snip", "shuffle"): lambda step: 0.95}
    table = results(truths)
    table = table[table["prune_at"].isin([0, "end"])]
    found = steps.onsets(table, *ABOUT).loc["shuffling lowers accuracy", "snip"]
    assert found["from"] == LAST
    table = table[table["prune_at"] != "end"]
    assert steps.onsets(table, *ABOUT).loc["shuffling lowers accuracy", "snip"]["from"] == "—"


def test_claims_about_all_steps(results):
    """Magnitude reaches the unpruned network at 420 iterations, half of training; SNIP at 210,
    which is too early; random pruning is once a point better."""
    truths = {
        ("magnitude", "none"): lambda step: 0.98 if step >= 420 else 0.95,
        ("snip", "none"): lambda step: 0.98 if step >= 210 else 0.95,
        ("random", "none"): lambda step: 0.90,
    }
    found = steps.check(results(truths), *ABOUT).set_index("subject")
    assert found["verdict"].to_dict() == {
        "random": "agrees",
        "magnitude": "agrees",
        "snip": "differs",
        "synflow": "not run",
    }
    assert found.loc["random", "n"] == 3
    truths["random", "none"] = lambda step: 0.91 if step == 63 else 0.90
    assert steps.check(results(truths), *ABOUT)["verdict"].iloc[0] == "differs"


def test_nothing_was_run(results):
    empty = results({})[:0]
    assert set(steps.check(empty, *ABOUT)["verdict"]) == {"not run"}
    found = steps.onsets(empty, *ABOUT)
    assert len(found) == 3 * len(EARLY_METHODS)
    assert set(found["from"]) == {"—"}


def test_printed_steps_stand_beside_ours(results):
    """Section 6 and F.2, of VGG-16; of the other methods nothing is printed."""
    found = steps.onsets(results({})[:0], "vgg16_cifar10", "paper")["paper"]
    assert found.xs("magnitude", level="method").tolist() == [26_000, 10_000, 10_000]
    assert set(found.drop("magnitude", level="method")) == {""}
