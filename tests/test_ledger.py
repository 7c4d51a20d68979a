"""The ledger: every kind of check on made-up results whose truth is known, and its rows."""

import math

import numpy as np
import pandas as pd
import pytest

from prunelib import settings
from prunelib.findings import kinds, ledger
from prunelib.findings.decisions import decide
from prunelib.findings.samples import Samples

SETTING, PROFILE = "resnet8_digits", "paper"
LEVELS = settings.sparsities(SETTING, PROFILE)
CURVES = ("random", "magnitude", "snip", "grasp", "synflow", "magnitude@end", "snip+shuffle")
ROW = {
    "id": "0.01", "section": "4", "place": "made up", "claim": "made up", "settings": SETTING,
    "across": "each", "general": "no", "kind": "difference", "measure": "accuracy",
    "subject": "snip", "reference": "random", "parts": "all", "over": "any", "each": "mean",
    "region": "higher", "bound": "0.5", "upper": "", "printed": "", "reason": "", "figure": "3",
}  # fmt: skip


def claim(**values):
    return ledger.parse(ROW | {name: str(value) for name, value in values.items()})


class MadeUp:
    """Results of which the truth is known: `truth` is a dict from curve to accuracies in percent,
    one for all sparsities or one a sparsity; each network scatters about it."""

    def __init__(self, stream, truth, spread=0.3, replicates=5, guess=20.0, levels=LEVELS):
        places, values = [LEVELS.index(level) for level in levels], {}
        for curve in CURVES:
            means = np.broadcast_to(truth.get(curve, 90.0), len(LEVELS))[places]
            drawn = means + spread * stream.normal(size=(replicates, len(levels)))
            values[curve] = pd.DataFrame(drawn, columns=list(levels))
        level = 90 + spread * stream.normal(size=(replicates, 1))
        values["unpruned"] = pd.DataFrame(level.repeat(len(levels), 1), columns=list(levels))
        self._samples = Samples(values, guess)

    def samples(self, *_):
        return self._samples


def said(stream, row, truth, **how):
    return decide(kinds.build(row, MadeUp(stream, truth, **how), SETTING, PROFILE)).verdict


FALLING = 90 - np.maximum(0, np.arange(len(LEVELS)) - 8.0)  # from the tenth sparsity on
CASES = {
    "difference": (claim(), {"snip": 92}, {"snip": 90.2}, {"snip": 85}),
    "at every sparsity": (claim(each="all"), {"snip": 92}, {"snip": FALLING + 2}, {"snip": 88}),
    "at some sparsity": (
        claim(each="some"),
        {"snip": np.where(np.arange(len(LEVELS)) == 4, 92.0, 90.0)},
        {"snip": 89.5},
        {"snip": 88},
    ),
    "equivalence": (
        claim(kind="equivalence", region="same"),
        {"snip": 90.1},
        {"snip": 91.0},
        {"snip": 85},
    ),
    "all methods": (
        claim(subject="snip grasp synflow"),
        dict.fromkeys(("snip", "grasp", "synflow"), 92),
        {"snip": 92, "grasp": 92, "synflow": 90.1},
        {"snip": 92, "grasp": 92, "synflow": 80},
    ),
    "some method": (
        claim(subject="snip grasp synflow", parts="some"),
        {"snip": 90, "grasp": 92, "synflow": 80},
        dict.fromkeys(("snip", "grasp", "synflow"), 90.0),
        dict.fromkeys(("snip", "grasp", "synflow"), 85.0),
    ),
    "value": (
        claim(kind="value", reference="", region="same", bound=1, printed=90),
        {"snip": 90.2},
        {"snip": 92},
        {"snip": 70},
    ),
    "order": (
        claim(kind="order", subject="synflow snip grasp", reference=""),
        {"synflow": 93, "snip": 91.5, "grasp": 90},
        {"synflow": 93, "snip": 93.2, "grasp": 90},
        {"synflow": 80, "snip": 91, "grasp": 90},
    ),
    "trend": (
        claim(kind="trend", reference=""),
        {"snip": 85 + np.arange(len(LEVELS)) / 4},
        {"snip": 85 - np.arange(len(LEVELS)) / 10},
        {"snip": 85 - np.arange(len(LEVELS))},
    ),
    "crossing": (
        claim(kind="crossing", region="not lower", printed=86.6),  # the ninth of the grid
        {"snip": FALLING},
        {"snip": np.append(FALLING[4:], [70] * 4)},  # four sparsities too early
        {"snip": np.full(len(LEVELS), 80.0)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_what_is_true_and_what_is_false_by_little_or_much(kind):
    row, true, little, much = CASES[kind]
    stream = np.random.default_rng(1)
    assert said(stream, row, true) == "supported"
    assert said(stream, row, little) == "not supported"
    assert said(stream, row, much) == "not supported"


@pytest.mark.parametrize("kind", CASES)
def test_noise_is_undecided_and_one_replicate_not_run(kind):
    row, true, *_ = CASES[kind]
    stream = np.random.default_rng(2)
    assert said(stream, row, true, spread=30.0, guess=-math.inf) == "undecided"
    assert said(stream, row, true, replicates=1) == "not run"


def test_collapsed_networks_say_nothing():
    """Where both guess there is no difference to see; the rest decides."""
    fallen = np.where(np.arange(len(LEVELS)) < 12, 92.0, 10.0)
    low = np.where(np.arange(len(LEVELS)) < 12, 90.0, 10.0)
    stream, truth = np.random.default_rng(3), {"snip": fallen, "random": low}
    for each in ("mean", "all", "some"):
        assert said(stream, claim(each=each), truth) == "supported"
    assert said(stream, claim(over="98.2"), truth) == "undecided"


# On the bound of what each claim allows: it is true or false by as little as can be, so that either
# verdict would be wrong. A crossing has two bounds, one where it is a grid point too late, and one
# where it is just not.
FEW = "67.2…93.1"  # eight sparsities, the fifth of them printed
EDGES = {
    "difference": (claim(over=FEW), {"snip": 90.5}),
    "at every sparsity": (claim(over=FEW, each="all"), {"snip": 90.5}),
    "at some sparsity": (claim(over=FEW, each="some"), {"snip": 90.5}),
    "equivalence": (claim(over=FEW, kind="equivalence", region="same"), {"snip": 90.5}),
    "all methods": (
        claim(over=FEW, subject="snip grasp synflow"),
        {"snip": 95, "grasp": 95, "synflow": 90.5},
    ),
    "some method": (
        claim(over=FEW, subject="snip grasp synflow", parts="some"),
        dict.fromkeys(("snip", "grasp", "synflow"), 90.5),
    ),
    "value": (
        claim(over=FEW, kind="value", reference="", region="same", bound=1, printed=90),
        {"snip": 91},
    ),
    "order": (
        claim(over=FEW, kind="order", subject="synflow snip grasp", reference=""),
        {"synflow": 93, "snip": 90.5, "grasp": 90},
    ),
    "trend": (
        claim(over=FEW, kind="trend", reference=""),
        {"snip": 85 + 0.5 * np.arange(len(LEVELS)) / 7},
    ),
    "late crossing": (
        claim(over=FEW, kind="crossing", region="not lower", printed=86.6),
        {"snip": np.where(np.arange(len(LEVELS)) < 11, 90.0, 80.0) - 0.5},
    ),
    "crossing": (
        claim(over=FEW, kind="crossing", region="not lower", printed=86.6),
        {"snip": np.where(np.arange(len(LEVELS)) < 10, 90.0, 89.5)},
    ),
}
IMPOSSIBLE = {"late crossing": "not supported", "crossing": "supported"}  # which would be right


def test_false_verdicts_are_as_rare_as_promised():
    """A thousand made-up ledgers in which every claim lies on its bound: neither "supported" nor
    "not supported" is said of more than one in twenty, but for the chance of a thousand draws."""
    stream, ledgers = np.random.default_rng(4), 1000
    limit = ledgers * 0.05 + 3 * (ledgers * 0.05 * 0.95) ** 0.5
    for kind, (row, truth) in EDGES.items():
        levels = LEVELS[4:12]
        found = [said(stream, row, truth, levels=levels) for _ in range(ledgers)]
        for verdict in ("supported", "not supported"):
            assert found.count(verdict) <= limit or IMPOSSIBLE.get(kind) == verdict, kind
