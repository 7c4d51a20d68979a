"""Where a Run's mask and first weights are from."""

import numpy as np
import pytest
import torch
from safetensors.torch import load

from campaigns.common import LAYERS, dense, run, same, states, train
from prunelib import datasets, masks, networks, runs, scores
from prunelib.engine.starts import Starts
from prunelib.errors import PrunelibError
from prunelib.results.store import Store


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    """The maker of starts for two dense networks, one for all that follows, as it keeps masks; and
    their states, read here by safetensors itself."""
    store = Store(tmp_path_factory.mktemp("parents"))
    inits, found = ("he", "fixed_variance"), {}
    train(
        [
            run(prune_at=at, weights_from=start, init=init)
            for init in inits
            for at, start in ((3, 3), ("end", "end"))
        ],
        store,
    )
    for path in states(store):
        init, _, step, _ = path.stem.split("-")
        found[init, int(step) if step.isdigit() else step] = load(path.read_bytes())
    assert found.keys() == {(init, step) for init in inits for step in (3, "end")}
    starts = Starts({(dense(init=init), step): tensors for (init, step), tensors in found.items()})
    for init in inits:
        found[init, 0] = networks.build("lenet_8x8", 0, init).state_dict()
    return starts, found


def largest(state, sparsity=0.5):
    """The mask of the largest magnitudes over all layers, by numpy."""
    values = np.concatenate([np.abs(state[n].numpy()).ravel() for n in LAYERS])
    cut = np.sort(values)[round(sparsity * len(values))]
    return {n: torch.from_numpy(np.abs(state[n].numpy()) >= cut) for n in LAYERS}


@pytest.mark.parametrize("init", ["he", "fixed_variance"])
@pytest.mark.parametrize(
    ("prune_at", "weights_from"),
    [(0, 0), (3, 3), ("end", "end"), ("end", 0), ("end", 3), (0, "end")],
)
def test_the_weights_scored_and_the_weights_trained(parents, init, prune_at, weights_from):
    """Fault: scores of other weights than those of `prune_at`, training of others than those of
    `weights_from`."""
    starts, found = parents
    assert len({float(found[init, s]["layers.1.weight"].sum()) for s in (0, 3, "end")}) == 3
    model, mask = starts.start(run(prune_at=prune_at, weights_from=weights_from, init=init))
    assert same(mask, largest(found[init, prune_at]))
    assert same(model.state_dict(), found[init, weights_from])


def test_a_dense_run_starts_whole(parents):
    starts, found = parents
    model, mask = starts.start(dense(init="fixed_variance"))
    assert same(model.state_dict(), found["fixed_variance", 0])
    assert all(m.all() for m in mask.values())


@pytest.mark.parametrize("step", [0, "end"])
def test_shuffling_keeps_the_weights_and_moves_the_mask(parents, step):
    starts, found = parents
    _, plain = starts.start(run(prune_at=step, weights_from=step))
    model, mask = starts.start(run(ablation="shuffle", prune_at=step, weights_from=step))
    assert same(model.state_dict(), found["he", step])
    for name in LAYERS:
        assert mask[name].sum() == plain[name].sum() == largest(found["he", step])[name].sum()
        assert (mask[name] != plain[name]).float().mean() > 0.2
    _, again = starts.start(run(prune_at=step, weights_from=step))
    assert same(again, plain)  # what is shared is not shuffled along


@pytest.mark.parametrize("init", ["he", "fixed_variance"])
def test_reinitialising_keeps_the_mask_and_draws_the_weights_anew(parents, init):
    starts, found = parents
    for step in (0, "end"):
        reinit = run(ablation="reinit", prune_at=step, weights_from=step, init=init)
        model, mask = starts.start(reinit)
        assert same(mask, largest(found[init, step]))
        for name in LAYERS:
            old, new = found[init, 0][name].flatten(), model.get_parameter(name).detach().flatten()
            assert abs(float(torch.corrcoef(torch.stack([old, new]))[0, 1])) < 0.15
            assert float(new.std() / old.std()) == pytest.approx(1, abs=0.15)  # of the same scheme
    other, _ = starts.start(run(sparsity=0.9, ablation="reinit", replicate=1, init=init))
    assert not torch.equal(other.layers[0].weight, model.layers[0].weight)


def test_inverting_prunes_the_largest(parents):
    starts, found = parents
    _, mask = starts.start(run(ablation="invert"))
    assert same(mask, {n: ~m for n, m in largest(found["he", 0]).items()})


def test_scores_of_data_come_from_the_scoring_batch_of_the_replicate():
    for replicate in (0, 1):
        _, mask = Starts({}).start(run("snip", replicate=replicate))
        x, y = datasets.scoring_batch("lenet_digits", replicate)
        model = networks.build("lenet_8x8", replicate)
        logits = model(x)
        loss = (logits.exp().sum(1).log() - logits[torch.arange(100), y]).mean()
        weights = [model.get_parameter(n) for n in LAYERS]
        products = [
            w.detach() * g for w, g in zip(weights, torch.autograd.grad(loss, weights), strict=True)
        ]
        expected = largest(dict(zip(LAYERS, products, strict=True)))
        for name in LAYERS:
            assert (mask[name] == expected[name]).float().mean() > 0.999  # rounding aside


@pytest.mark.parametrize(
    ("method", "ablation"),
    [
        ("random", "none"),
        ("random", "invert"),
        ("grasp", "invert"),
        ("synflow", "invert"),
        ("iterative_snip", "none"),
        ("ntk_sap", "invert"),
        ("erk", "none"),
        ("force", "none"),
        ("prospr", "none"),
    ],
)
def test_masks_are_those_of_the_replicate_however_they_are_made(method, ablation):
    """Ranked once for all sparsities, iterated, or given whole: by the plain call of the library,
    with the replicate's network, batch and draws."""
    _, mask = Starts({}).start(run(method, ablation=ablation, replicate=2))
    model, batch = networks.build("lenet_8x8", 2), datasets.scoring_batch("lenet_digits", 2)
    if method == "prospr":
        batch = datasets.training_batches("lenet_digits", 2, 4)
    inverted = ablation == "invert"
    assert same(mask, masks.prune(model, method, 0.5, batch, invert=inverted, seed=2))
    if method in ("random", "erk", "ntk_sap"):  # which draw
        assert not same(mask, masks.prune(model, method, 0.5, batch, invert=inverted, seed=0))


@pytest.mark.parametrize(("method", "count"), [("snip", 0), ("prospr", 4)])
def test_a_method_is_given_the_data_of_its_replicate(method, count):
    found = scores.data(method, "lenet_digits", 2)
    if count:
        expected = datasets.training_batches("lenet_digits", 2, count)
    else:
        found, expected = [found], [datasets.scoring_batch("lenet_digits", 2)]
    for (inputs, targets), (x, y) in zip(found, expected, strict=True):
        assert torch.equal(inputs, x)
        assert torch.equal(targets, y)


def test_a_state_that_is_not_there_is_named():
    with pytest.raises(PrunelibError, match="replicate 1, at step end is not there"):
        Starts({}).start(run(prune_at="end", weights_from="end", replicate=1))


def test_an_ablation_without_code_is_told_and_never_trained_as_none(monkeypatch):
    monkeypatch.setattr(runs, "ABLATIONS", (*runs.ABLATIONS, "sort"))
    with pytest.raises(PrunelibError, match="ablation 'sort' has no code"):
        Starts({}).start(run("magnitude", ablation="sort"))
