"""Campaigns that train masked networks without their dead channels."""

import pytest

from campaigns.common import train
from prunelib.engine import campaign, groups, jobs, tasks, wide
from prunelib.results.records import TRAINED
from prunelib.results.store import Store
from prunelib.runs import Run


def conv(method="snip", sparsity=0.9, **fields):
    return Run("resnet8_digits", "smoke", method, sparsity, **fields)


RUNS = [
    conv("dense", 0.0), conv("snip", 0.945), conv("synflow", 0.893), conv("gradual", 0.8),
    conv("magnitude", 0.945, ablation="reinit"),
]  # fmt: skip


@pytest.fixture
def apart(monkeypatch):
    """Networks of the miniature side by side, as larger ones are."""
    monkeypatch.setattr(wide, "SMALL", 0)


@pytest.mark.usefixtures("apart")
def test_small_networks_are_recorded_as_the_large_ones(tmp_path):
    """The same accuracies, losses to rounding, and the weights that the large masks keep."""
    found, expected = Store(tmp_path / "compact"), Store(tmp_path / "whole")
    assert train(RUNS, found, compact=True) == train(RUNS, expected) == len(RUNS)
    pair = [store.records("resnet8_digits", "smoke") for store in (found, expected)]
    for run in RUNS:
        one, other = (records[run] for records in pair)
        assert one.engine == ("several" if run.method in ("dense", "gradual") else "compact")
        assert other.engine == "several"
        assert one.kept_weights == other.kept_weights
        assert one.test_loss == pytest.approx(other.test_loss, rel=0.02)
        assert one.test_accuracy == pytest.approx(other.test_accuracy, abs=0.01)


def test_stacked_networks_stay_as_they_are(tmp_path):
    store = Store(tmp_path)
    train(RUNS[:2], store, compact=True)
    assert set(store.table()["engine"]) == {"stacked"}


def carry_out(store, compact, pause=None):
    """Carry out what is missing of RUNS as one worker does, told to stop after `pause` iterations;
    returns the iterations that were behind it at the beginning."""
    job, told = campaign.make_job(RUNS, store, "cpu", "fp32", compact=compact), []
    begun = job.checkpoints().begun({("resnet8_digits", "smoke")}, store.missing)
    stock = groups.Stock(TRAINED, lambda setting: 32, 1, begun=begun)
    (task,) = groups.first(store.missing(RUNS), stock)

    def advance(count):
        told.append(count)
        if pause and sum(told) >= len(RUNS) * pause:
            jobs.stop(job.name)

    store.add(tasks.carry_out(task, job, advance=advance).records)
    return told[0] / len(RUNS)


@pytest.mark.usefixtures("apart")
def test_a_group_of_small_networks_goes_on_where_it_paused(tmp_path):
    """To the same last digit; without compaction it begins again, as its networks are others."""
    whole, halves = Store(tmp_path / "whole"), Store(tmp_path / "halves")
    assert carry_out(whole, compact=True) == 0
    assert carry_out(halves, compact=True, pause=4) == 0
    assert carry_out(halves, compact=False, pause=2) == 0
    halves = Store(tmp_path / "other")
    assert carry_out(halves, compact=True, pause=4) == 0
    assert carry_out(halves, compact=True) == 4
    one, other = (s.table().drop(columns="seconds") for s in (whole, halves))
    assert one.equals(other)
