"""What the engine keeps and records against the plain loop, which is written from the paper alone:
an error that two campaigns share shows here."""

import pytest
import torch
from safetensors.torch import load

from campaigns.common import dense, run, train
from prunelib import analysis, datasets, masks, networks, settings, training
from prunelib.engine import campaign
from prunelib.engine.starts import Starts
from prunelib.results.records import MASK
from prunelib.results.store import Store
from prunelib.runs import Run

SCHEDULE = settings.schedule("lenet_digits", "smoke")


def assert_like(record, outcome, **more):
    """A record says what a plain training gave."""
    for name in ("test_accuracy", "test_loss", "train_loss"):
        assert getattr(record, name) == pytest.approx(getattr(outcome, name), rel=1e-4, abs=1e-6)
    for name, value in more.items():
        assert getattr(record, name) == value


@pytest.mark.parametrize("replicate", [0, 2])
def test_states_and_records_are_those_of_the_plain_loop(store, replicate):
    """A network and its state after three iterations; pruned there, and trained from there."""
    whole = dense(replicate=replicate)
    late = run(prune_at=3, weights_from=3, replicate=replicate)
    assert train([whole, late], store) == 2
    data, model = datasets.load("digits"), networks.build("lenet_8x8", replicate)
    plain = training.train(model, data, SCHEDULE, replicate, keep={3})
    folder = campaign.make_job([late], store, "cpu", "fp32").checkpoints()
    kept = load(folder.read(whole, 3))
    assert kept.keys() == plain.states[3].keys()
    for name, value in plain.states[3].items():
        torch.testing.assert_close(kept[name], value, rtol=1e-4, atol=1e-6)
    records = store.records("lenet_digits", "smoke")
    about = {"dataset": f"digits@{data.fingerprint}", "precision": "fp32"}
    assert_like(records[whole], plain, kept_weights=50_200, **about)
    model.load_state_dict(plain.states[3])
    mask = masks.prune(model, "magnitude", 0.5)
    assert_like(records[late], training.train(model, data, SCHEDULE, replicate, mask), **about)


def test_gradual_pruning_is_that_of_the_plain_loop(store):
    gradual = run("gradual", 0.8, replicate=1)
    assert train([gradual], store) == 1
    model = networks.build("lenet_8x8", 1)
    plain = training.train(model, datasets.load("digits"), SCHEDULE, 1, gradual=0.8)
    (record,) = store.records("lenet_digits", "smoke").values()
    assert_like(record, plain, kept_weights=50_200 - round(0.8 * 50_200))


def test_precision_is_what_is_recorded(store, tmp_path):
    """Products in bf16 have three digits: the losses tell."""
    short = Store(tmp_path / "short")
    for where, precision in ((store, "fp32"), (short, "bf16")):
        assert train([dense()], where, precision=precision) == 1
    (full,), (half,) = (s.records("lenet_digits", "smoke").values() for s in (store, short))
    assert (full.precision, half.precision) == ("fp32", "bf16")
    assert half.train_loss == pytest.approx(full.train_loss, rel=0.05)
    assert half.train_loss != pytest.approx(full.train_loss, rel=1e-5)


def test_a_committed_record_is_made_again():
    """The whole schedule, of a replicate with an order of its own: whatever is drawn is still drawn
    as it was."""
    record = Store().records("lenet_digits", "paper")[Run("lenet_digits", "paper", replicate=1)]
    model, schedule = networks.build("lenet_8x8", 1), settings.schedule("lenet_digits", "paper")
    plain = training.train(model, datasets.load("digits"), schedule, 1)
    assert plain.test_accuracy == pytest.approx(record.test_accuracy, abs=0.003)  # an image or two
    assert plain.test_loss == pytest.approx(record.test_loss, rel=2e-3)
    assert plain.train_loss == pytest.approx(record.train_loss, rel=2e-3)


@pytest.mark.parametrize("ablation", ["none", "shuffle"])
@pytest.mark.parametrize("method", ["magnitude", "snip", "random", "synflow"])
@pytest.mark.parametrize("replicate", [1, 2])
def test_committed_masks_are_made_again(method, ablation, replicate):
    """At the highest sparsity, where shuffling cuts paths and collapses neurons that the mask
    itself does not."""
    sparsity = settings.sparsity(18)
    again = Run("lenet_digits", "paper", method, sparsity, ablation, replicate=replicate)
    record = Store(kind=MASK).records("lenet_digits", "paper")[again]
    found = analysis.read(*Starts({}).start(again))
    assert (
        found.items()
        >= {
            name: getattr(record, name)
            for name in ("kept_weights", "effective_weights", "layers", "collapse")
        }.items()
    )
