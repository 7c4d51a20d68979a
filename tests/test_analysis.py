import pandas as pd
import pytest
import torch

from prunelib import analysis
from prunelib.errors import UnknownNameError
from prunelib.runs import AFTER, DENSE, Curve
from prunelib.store import COLUMNS

SNIP, RANDOM = Curve("snip"), Curve("random")


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
    return pd.DataFrame(rows(made), columns=list(COLUMNS))


def test_layerwise_by_hand():
    mask = {"a": torch.tensor([[True, False], [False, False]]), "b": torch.tensor([True, True])}
    assert analysis.layerwise(mask) == {"a": 0.75, "b": 0.0}


def test_mean_and_sample_deviation_over_replicates(table):
    row = analysis.over_replicates(table, SNIP).loc[0.488]
    assert row["mean"] == pytest.approx(0.89)
    assert row["std"] == pytest.approx(0.02 / 2**0.5)
    assert row["n"] == 2


def test_curves_do_not_mix_ablations_or_steps(table):
    assert analysis.over_replicates(table, Curve("snip", "shuffle")).empty
    assert analysis.over_replicates(table, AFTER).empty


def test_pairs_use_only_what_both_curves_have(table):
    found = analysis.paired_differences(table, SNIP, RANDOM, [0.2, 0.36])
    assert found.to_dict() == pytest.approx({0: 0.01, 1: 0.02})


@pytest.mark.parametrize(("tolerance", "highest"), [(0.003, 0.36), (0.02 + 1e-9, 0.5904)])
def test_matching_ends_at_the_first_sparsity_that_does_not(table, tolerance, highest):
    assert analysis.highest_matching(table[table.replicate < 2], SNIP, tolerance) == highest


def test_matching_without_results_is_unknown_and_with_bad_ones_zero(table):
    assert analysis.highest_matching(table, AFTER, 0.1) is None
    assert analysis.highest_matching(table, RANDOM, 0.001) == 0.0
    shown = analysis.matching_table(table, {"after": AFTER, "random": RANDOM}, (0.001,))
    assert shown["within 0.1 points"].to_dict() == {"after": "not run", "random": "0.0"}


def test_published_numbers_of_section_4():
    found = analysis.published(
        "frankle2021_matching", setting="vgg16_cifar10", ablation="none"
    ).set_index("method")["sparsity"]
    assert found["magnitude after training"] == 0.931
    assert found["snip"] == found["synflow"] == 0.59
    with pytest.raises(UnknownNameError, match="frankle2021_matching"):
        analysis.published("nothing")
