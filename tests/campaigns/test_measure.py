"""Masks that are read and weights that are compared, against the same made by hand."""

import pytest
import torch

from campaigns.common import GROUP, flip, go_on, run, states, train, unfinished
from prunelib import analysis, datasets, engine, masks, networks, settings, training
from prunelib.engine import campaign
from prunelib.grids import mask_runs, weight_runs
from prunelib.results.records import END, MASK, START
from prunelib.results.store import Store

SPARSITY = settings.sparsity(6)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Masks of the digits' LeNet at 73.8 %, two replicates, made by two workers."""
    root = tmp_path_factory.mktemp("store")
    runs = mask_runs("lenet_digits", levels=(6,), replicates=2)
    runs = [one for one in runs if not one.parent]
    made = engine.measure(runs, Store(root, MASK), workers=2, progress=False)
    return root, runs, made


def test_every_mask_is_made_once(digits):
    root, runs, made = digits
    assert made == len(runs) == 2 * 5 * 2
    assert engine.measure(runs, Store(root, MASK), progress=False) == 0
    assert len(Store(root, MASK).table()) == made
    assert Store(root).table().empty  # records of trainings are another table


def test_records_agree_with_masks_made_by_hand(digits):
    root, runs, _ = digits
    found = Store(root, MASK).records("lenet_digits", "paper")
    model = networks.build("lenet_8x8", seed=1)
    for one in runs:
        if one.replicate == 1:
            batch = datasets.scoring_batch("lenet_digits", 1)
            mask = masks.prune(model, one.method, one.sparsity, batch, seed=1)
            if one.ablation == "shuffle":
                mask = masks.shuffle(mask, 1)
            record = found[one]
            assert record.kept_weights == 50200 - round(0.737856 * 50200)
            assert record.layers == tuple(int(m.sum()) for m in mask.values())
            rows = torch.cat([m.sum(1) for m in list(mask.values())[:-1]])
            assert record.collapse[0] == 400
            assert record.collapse[-1] == int((rows == 0).sum())
            assert list(record.collapse) == sorted(record.collapse, reverse=True)
            assert record.effective_weights <= record.kept_weights
            needs_data = one.method in ("snip", "grasp")
            assert (record.dataset != "none") == needs_data


def test_masks_of_trained_networks_train_these_first_and_record_no_training(tmp_path):
    """The state that a campaign has left is used; a damaged one is made again."""
    late = [run(prune_at="end", weights_from="end", sparsity=s) for s in (0.5, 0.9)]
    found = []
    for how in ("alone", "with the state", "with a damaged one"):
        store = Store(tmp_path / how)
        if how != "alone":
            train([run(prune_at="end", weights_from="end")], store)
            (path,) = states(store)
            if how == "with a damaged one":
                flip(path, "tensor")
        before = len(store.table())
        assert engine.measure(late, Store(store.root, MASK), 1, progress=False) == 2
        assert len(store.table()) == before
        masks_found = Store(store.root, MASK).table().drop(columns="seconds")
        found.append(masks_found.to_csv())
    assert len(set(found)) == 1


# -------------------------------------------------------------------- weights, before and after


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Records of weights at 73.8 %, ten iterations of training in fp32, two replicates."""
    root = tmp_path_factory.mktemp("weights")
    runs = weight_runs("lenet_digits", "smoke", levels=(6,), replicates=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(campaign, "default_precision", {"cpu": "fp32"}.__getitem__)
        for kind, workers in ((START, 1), (END, 2)):
            made = engine.measure(runs, Store(root, kind), workers, progress=False)
            assert made == len(runs) == 2 * 6 * 3
            assert engine.measure(runs, Store(root, kind), workers, progress=False) == 0
    assert Store(root).missing(runs) == runs  # trained for their weights, not for their accuracy
    return root


def first(root, kind, method, ablation, prune_at=0, replicate=0):
    about = (method, ablation, prune_at, replicate)
    (record,) = (
        record
        for run, record in Store(root, kind).records("lenet_digits", "smoke").items()
        if (run.method, run.ablation, run.prune_at, run.replicate) == about
    )
    return record


def test_weights_before_training_by_hand(weights):
    """Magnitude at initialisation: the mask keeps what exceeds a threshold; shuffled, or of other
    weights, it keeps anything. The digits' LeNet has three layers."""
    model = networks.build("lenet_8x8", 0)
    mask = masks.prune(model, "magnitude", SPARSITY)
    kept = {n: model.get_parameter(n).detach()[m].double() for n, m in mask.items()}
    found = first(weights, START, "magnitude", "none")
    assert found.ks == found.wasserstein == (0,) * 4
    assert found.std[1:] == pytest.approx([float(k.std()) for k in kept.values()], rel=1e-5)
    assert found.std[0] == pytest.approx(float(torch.cat(list(kept.values())).std()), rel=1e-5)
    other = networks.build("lenet_8x8", 0, stream="reinit")
    pairs = {"shuffle": (model, masks.shuffle(mask, 0)), "reinit": (other, mask)}
    for ablation, (network, own) in pairs.items():
        found = first(weights, START, "magnitude", ablation)
        for k, name in enumerate(mask, 1):
            left = network.get_parameter(name).detach()[own[name]]
            expected = analysis.distances([kept[name].numpy()], [left.double().numpy()])
            assert found.ks[k] == pytest.approx(expected["ks"][0], rel=1e-5)
            assert found.wasserstein[k] == pytest.approx(expected["wasserstein"][0], rel=1e-5)


@pytest.mark.parametrize("replicate", [0, 1])
def test_weights_after_training_are_those_the_plain_loop_trains(weights, replicate):
    """To so many digits that another replicate's order of data, or an iteration less, would show:
    they move standard deviations by 4e-5 and 1e-3 of themselves, means by 1e-3."""
    schedule = settings.schedule("lenet_digits", "smoke")
    model = networks.build("lenet_8x8", replicate)
    mask = masks.shuffle(masks.prune(model, "synflow", SPARSITY, seed=replicate), replicate)
    training.train(model, datasets.load("digits"), schedule, replicate, mask)
    expected = analysis.moments(analysis.unpruned(model.state_dict(), mask))
    found = first(weights, END, "synflow", "shuffle", replicate=replicate)
    assert found.std == pytest.approx(expected["std"], rel=1e-5)
    assert found.mean == pytest.approx(expected["mean"], rel=2e-4, abs=1e-8)


def test_magnitude_after_training_starts_from_trained_weights(weights):
    started = first(weights, START, "magnitude", "none", "end")
    assert started.std != pytest.approx(first(weights, START, "magnitude", "none").std)


def test_groups_in_training_are_left_alone(tmp_path):
    """That their masks are recorded says nothing of whether they have been trained."""
    store = Store(tmp_path)
    go_on(store, 5)
    assert engine.measure(GROUP[1:3], Store(store.root, MASK), 1, progress=False) == 2
    assert len(unfinished(store)) == 1
    recorded, advances = go_on(store)
    assert (recorded, advances[0]) == (4, 5 * 4)


def test_where_weights_are_from(weights):
    """Those after training rest on its data and precision, those before it on what scores took."""
    end, start = (first(weights, kind, "magnitude", "none") for kind in (END, START))
    assert end.dataset.startswith("digits@")
    assert end.precision == "fp32"  # as the campaign was told
    assert (start.dataset, start.precision) == ("none", "fp32")
    assert first(weights, START, "snip", "none").dataset.startswith("digits@")
