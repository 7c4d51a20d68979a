import pytest
import torch

from prunelib import analysis, datasets, masks, networks, settings, training
from prunelib.engine import measuring
from prunelib.grids import mask_runs, weight_runs
from prunelib.results.store import END, MASK, START, Store


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Masks of the digits' LeNet at 73.8 %, two replicates, made by the engine's workers."""
    root = tmp_path_factory.mktemp("store")
    runs = mask_runs("lenet_digits", levels=(6,), replicates=2)
    made = measuring.measure(runs, root, workers=2, progress=False)
    return root, runs, made


def test_every_mask_is_made_once(digits):
    root, runs, made = digits
    assert made == len(runs) == 2 * 5 * 2
    assert measuring.measure(runs, root, progress=False) == 0
    assert len(Store(root, MASK).table()) == made
    assert Store(root).table().empty  # records of trainings are another table


def test_records_agree_with_masks_made_by_hand(digits):
    root, runs, _ = digits
    found = Store(root, MASK).records("lenet_digits", "paper")
    model = networks.build("lenet_8x8", seed=1)
    for run in runs:
        if run.replicate == 1:
            batch = datasets.scoring_batch("lenet_digits", 1)
            mask = masks.prune(model, run.method, run.sparsity, batch, seed=1)
            if run.ablation == "shuffle":
                mask = masks.shuffle(mask, 1)
            assert found[run]["kept_weights"] == 50200 - round(0.737856 * 50200)
            assert found[run]["layers"].split() == [str(int(m.sum())) for m in mask.values()]
            rows = torch.cat([m.sum(1) for m in list(mask.values())[:-1]])
            collapse = [int(c) for c in found[run]["collapse"].split()]
            assert collapse[0] == 400
            assert collapse[-1] == int((rows == 0).sum())
            assert collapse == sorted(collapse, reverse=True)
            assert found[run]["effective_weights"] <= found[run]["kept_weights"]
    assert {row["dataset"] == "none" for run, row in found.items() if run.method == "synflow"} == {
        True
    }


def test_what_masks_to_make():
    runs = mask_runs("resnet50_imagenet", methods=("magnitude", "synflow"), replicates=1)
    assert len(runs) == 2 * 13 * 2  # up to 94.5 %, unmodified and shuffled
    assert max(run.sparsity for run in runs) == settings.sparsity(13)


@pytest.mark.parametrize(
    ("method", "ablation", "printed"),
    [("synflow", "none", 31), ("synflow", "shuffle", 1), ("magnitude", "none", 0)],
)
def test_neuron_collapse_of_resnet20_is_the_papers(method, ablation, printed):
    """Section 5: the share of channels at 73.8 %, within two percentage points; made here."""
    model = networks.build("resnet20", seed=0)
    mask = masks.prune(model, method, settings.sparsity(6))
    if ablation == "shuffle":
        mask = masks.shuffle(mask, seed=0)
    assert 100 * analysis.neuron_collapse(mask) == pytest.approx(printed, abs=2)


# ------------------------------------------------------------------- weights, before and after


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Records of weights at 73.8 %, ten iterations of training, one replicate."""
    root = tmp_path_factory.mktemp("weights")
    runs = weight_runs("lenet_digits", "smoke", levels=(6,), replicates=1)
    for kind in (START, END):
        assert measuring.measure(runs, root, 2, progress=False, kind=kind) == len(runs) == 6 * 3
        assert measuring.measure(runs, root, 2, progress=False, kind=kind) == 0
    assert Store(root).missing(runs) == runs  # trained for their weights, not for their accuracy
    return root


def first(root, kind, method, ablation, prune_at=0):
    table = Store(root, kind).table()
    rows = table[(table["method"] == method) & (table["ablation"] == ablation)]
    (row,) = rows[rows["prune_at"] == prune_at].to_dict("records")
    return {
        name: [float(word) for word in row[name].split()]
        for name in ("mean", "std", "kurtosis", "wasserstein", "ks")
    }


def test_weights_before_training_by_hand(weights):
    """Magnitude at initialisation: the mask keeps what exceeds a threshold; shuffled, or of other
    weights, it keeps anything. The digits' LeNet has three layers."""
    model = networks.build("lenet_8x8", 0)
    mask = masks.prune(model, "magnitude", settings.sparsity(6))
    kept = {n: model.get_parameter(n).detach()[m].double() for n, m in mask.items()}
    found = first(weights, START, "magnitude", "none")
    assert found["ks"] == found["wasserstein"] == [0] * 4
    assert found["std"][1:] == pytest.approx([float(k.std()) for k in kept.values()], rel=1e-5)
    assert found["std"][0] == pytest.approx(float(torch.cat(list(kept.values())).std()), rel=1e-5)
    other = networks.build("lenet_8x8", 0, stream="reinit")
    pairs = {"shuffle": (model, masks.shuffle(mask, 0)), "reinit": (other, mask)}
    for ablation, (network, own) in pairs.items():
        found = first(weights, START, "magnitude", ablation)
        for k, name in enumerate(mask, 1):
            left = network.get_parameter(name).detach()[own[name]]
            expected = analysis.distances([kept[name].numpy()], [left.double().numpy()])
            assert found["ks"][k] == pytest.approx(expected["ks"][0], rel=1e-5)
            assert found["wasserstein"][k] == pytest.approx(expected["wasserstein"][0], rel=1e-5)


def test_weights_after_training_are_those_the_plain_loop_trains(weights):
    schedule = settings.schedule("lenet_digits", "smoke")
    model = networks.build("lenet_8x8", 0)
    mask = masks.shuffle(masks.prune(model, "synflow", settings.sparsity(6)), 0)
    training.train(model, datasets.load("digits"), schedule, 0, mask)
    expected = analysis.moments(analysis.unpruned(model.state_dict(), mask))
    found = first(weights, END, "synflow", "shuffle")
    assert found["std"] == pytest.approx(expected["std"], rel=1e-2)  # bf16 where it is native
    before = first(weights, START, "synflow", "shuffle")
    assert found["std"] != pytest.approx(before["std"], rel=1e-3)


def test_magnitude_after_training_starts_from_trained_weights(weights):
    started = first(weights, START, "magnitude", "none", "end")
    assert started["std"] != pytest.approx(first(weights, START, "magnitude", "none")["std"])
