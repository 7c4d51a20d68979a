"""Budgets: a call that ends in time, and the next one that goes on."""

import time

import pytest

from campaigns.common import run, train
from prunelib import scores
from prunelib.engine import campaign, executors
from prunelib.grids import figure_runs


@pytest.mark.timeout(300)
def test_a_call_with_a_budget_ends_in_time_and_the_next_one_goes_on(store):
    wanted = figure_runs(3, "lenet_digits", "coarse", 1)
    began = time.monotonic()
    first = train(wanted, store, minutes=0.05)
    assert time.monotonic() - began < 3 + 20
    assert len(store.missing(wanted)) == len(wanted) - first
    assert train(wanted, store, workers=2) == len(wanted) - first
    assert not store.missing(wanted)


def test_a_budget_is_in_minutes(store, monkeypatch):
    class SeenError(Exception):
        pass

    def seen(runs, store, device, precision, deadline, compact):
        raise SeenError(deadline)

    monkeypatch.setattr(campaign, "make_job", seen)
    began = time.time()
    with pytest.raises(SeenError) as caught:
        train([run()], store, minutes=3)
    assert began + 180 <= caught.value.args[0] <= time.time() + 180


def test_what_cannot_be_paused_is_ended(store, registry, monkeypatch):
    @scores.register("endless", needs_data=False)
    def endless(model, batch):
        time.sleep(3600)

    monkeypatch.setattr(executors, "GRACE", 1)
    began = time.monotonic()
    assert train([run("endless")], store, minutes=0.05) == 0
    assert time.monotonic() - began < 3 + 20
