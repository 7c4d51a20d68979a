"""Ctrl-C, and SIGTERM as batch systems send it before they kill."""

import os
import signal
import time

import pytest

from campaigns.common import (
    assert_same,
    results,
    run,
    script,
    train,
    unfinished,
    wait_for,
)
from prunelib import engine, scores
from prunelib.errors import StoreError
from prunelib.results.records import MASK
from prunelib.results.store import Store

SENTENCE = "stopping: what is in training is checkpointed first; Ctrl-C again does not wait\n"
INTERRUPTED = (-signal.SIGINT, 1)  # of Python's own, and of one that has imported torchvision


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_in_training_is_checkpointed_first(store, registry, begun_at, number, workers):
    """A real campaign, in the third of ten iterations of a second; the next one goes on."""
    with script(store, workers, "slow") as process:
        wait_for(store, process, "iteration-2-*", workers)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal, to parent and workers
        else:
            process.send_signal(number)
        output, errors = process.communicate(timeout=60)  # pipes close when workers have ended
    assert process.returncode in (INTERRUPTED if number == signal.SIGINT else (143,))
    assert output == "started\n"
    assert errors.count(SENTENCE) == 1
    assert errors.count("Traceback") == (number == signal.SIGINT)  # the script's own, no worker's
    assert errors.endswith("KeyboardInterrupt\n" if number == signal.SIGINT else SENTENCE)
    assert len(unfinished(store)) == workers
    name = (store.root.parent / "recorded-as").read_text()  # with the digest of its source
    quick = scores.Method(name, lambda model, batch: scores.magnitude(model), needs_data=False)
    scores.METHODS[name] = quick
    own = [run(name, replicate=r) for r in range(5)]
    before = len(results(store))
    assert train(own, store) == 5 - before
    assert len([done for done in begun_at if 3 <= done < 10]) == workers
    other = Store(store.root.parent / "other")
    train(own, other)
    assert_same(results(store), results(other))
    assert not unfinished(store)


def test_a_second_interrupt_does_not_wait(store):
    """Scoring that never ends would be waited for, here for a thousand seconds."""
    with script(store, 2, "endless") as process:
        wait_for(store, process, "scoring-*", 2)
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr.readline() == SENTENCE
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode in INTERRUPTED
    assert output == "started\n"
    assert errors.count("Traceback") == 1


def test_a_second_interrupt_does_not_wait_for_the_worker_in_this_process(store, registry):
    heard = store.root.parent / "heard"  # a file, as a campaign works with a copy of a method

    @scores.register("interrupted", needs_data=False)
    def interrupted(model, batch):
        for number in (15, 2):
            os.kill(os.getpid(), number)
            time.sleep(0.01)
            with open(heard, "a") as file:
                file.write(f"{number} ")

    with pytest.raises(KeyboardInterrupt):
        train([run("interrupted")], store)
    assert heard.read_text() == "15 "


@pytest.mark.parametrize("measuring", [False, True])
def test_signals_are_what_they_were_after_an_error(store, monkeypatch, measuring):
    """Also while somebody holds the error, as a notebook does."""

    def fails(*arguments):
        raise StoreError("the disk is full")

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(engine.checkpoints.Folder, "write", fails)
    late = [run(prune_at="end", weights_from="end")]
    call = engine.measure if measuring else train
    with pytest.raises(StoreError) as error:
        call(late, Store(store.root, MASK) if measuring else store, workers=1, progress=False)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert str(error.value) == "the disk is full"
