"""What is said of the step of pruning, against made-up results whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from conftest import trained

from prunelib import settings
from prunelib.findings import steps
from prunelib.findings.measures import Results
from prunelib.findings.samples import Samples
from prunelib.results.store import Store
from prunelib.runs import DENSE, EARLY_METHODS, REWOUND, Curve

ABOUT = ("resnet8_digits", "paper")
SPARSITY = settings.sparsity(9)
LAST = 840


@pytest.fixture
def results(tmp_path):
    """Makes a folder of results from functions of the step, each of the accuracy of a method and
    ablation; three replicates that scatter by a fiftieth of a point."""

    def make(truths, dense=0.98, tickets=0.97, steps=None):
        stream = np.random.default_rng(0)
        made = [(DENSE.run(*ABOUT, 0.0, r), dense + 0.0002 * stream.normal()) for r in range(3)]
        made += [
            (REWOUND.run(*ABOUT, SPARSITY, r), tickets + 0.0002 * stream.normal()) for r in range(3)
        ]
        for (method, ablation), truth in truths.items():
            for step in steps or settings.steps(*ABOUT):
                curve = Curve(method, ablation, "k", "k")
                accuracy = truth(LAST if step == "end" else step)
                for r in range(3):
                    run = curve.run(*ABOUT, SPARSITY, r, step)
                    made.append((run, accuracy + 0.0002 * stream.normal()))
        Store(tmp_path).add(trained(run, round(accuracy, 6)) for run, accuracy in made)
        return Results(tmp_path)

    return make


def rising(step):
    """From 95 to 97 %, a point at 210 and at 420 iterations each."""
    return 0.95 + 0.01 * (step >= 210) + 0.01 * (step >= 420)


def test_from_which_step_on_a_method_is_as_accurate_as_lottery_tickets(results):
    found = steps.onsets(results({("magnitude", "none"): rising}), *ABOUT)
    row = found.loc["as accurate as lottery ticket rewinding to its step", "magnitude"]
    assert row.to_dict() == {"not before": 315, "from": 420, "share": "50 %", "paper": ""}


def test_from_which_step_on_an_ablation_lowers_accuracy(results):
    truths = {("snip", "none"): rising, ("snip", "shuffle"): lambda step: 0.95}
    found = steps.onsets(results(truths), *ABOUT)
    assert found.loc["shuffling lowers accuracy", "snip"]["from"] == 210
    assert found.loc["shuffling lowers accuracy", "snip"]["share"] == "25 %"
    assert set(found.loc["reinitialising lowers accuracy"]["from"]) == {"—"}


def test_a_difference_that_does_not_stay_has_not_come(results):
    """Above lottery tickets at one step in the middle, and never again."""
    found = results({("magnitude", "none"): lambda step: 0.98 if step == 210 else 0.95})
    onsets = steps.onsets(found, *ABOUT)
    row = onsets.loc["as accurate as lottery ticket rewinding to its step", "magnitude"]
    assert (row["not before"], row["from"]) == (LAST, "—")


def test_steps_that_were_not_run_may_hide_anything(results):
    """Only the first and the last steps were run: what is so at both may not be so between."""
    truths = {("snip", "none"): lambda step: 0.97, ("snip", "shuffle"): lambda step: 0.95}
    first = results(truths, steps=[0])
    assert steps.onsets(first, *ABOUT).loc["shuffling lowers accuracy", "snip"]["from"] == "—"
    both = results(truths, steps=["end"])
    assert steps.onsets(both, *ABOUT).loc["shuffling lowers accuracy", "snip"]["from"] == LAST


def test_nothing_was_run(results):
    found = steps.onsets(results({}), *ABOUT)
    assert len(found) == 3 * len(EARLY_METHODS)
    assert set(found["from"]) == {"—"}


def test_printed_steps_stand_beside_ours(results):
    """Section 6 and F.2, of VGG-16; of the other methods nothing is printed."""
    found = steps.onsets(results({}), "vgg16_cifar10", "paper")["paper"]
    assert found.xs("magnitude", level="method").tolist() == [26_000, 10_000, 10_000]
    assert set(found.drop("magnitude", level="method")) == {""}


def test_what_is_left_open_says_neither_not_yet_nor_from_here_on():
    """Clearly below, then undecided, then as accurate."""
    steps_, stream = (0, 4, 8), np.random.default_rng(0)
    means = {"a": (90.0, 97.0, 97.0), "b": (97.0, 97.25, 97.0)}
    values = {
        name: pd.DataFrame(np.array(own) + 0.05 * stream.normal(size=(5, 3)), columns=list(steps_))
        for name, own in means.items()
    }
    curves = {name: Curve(method) for name, method in (("a", "snip"), ("b", "grasp"))}
    samples = Samples({curves[name]: own for name, own in values.items()})
    found = steps.first(samples, curves["a"], curves["b"], steps.AS_ACCURATE, steps_)
    assert found == (0, 8)
