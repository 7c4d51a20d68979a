"""The loss that training starts from, against a network in NumPy and the engine's own starts."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from prunelib import datasets, networks, settings
from prunelib.engine.starts import Starts
from prunelib.errors import DatasetError
from prunelib.findings import initial_loss
from prunelib.findings.initial_loss import GRADIENT, LEVELS, SCORED, TRAINING
from prunelib.paths import data_root
from prunelib.runs import Curve, Run


@pytest.fixture(scope="module")
def measured():
    found = initial_loss.measure("lenet_digits", replicates=1)
    return found.set_index(["curve", "sparsity"])


def test_the_unpruned_network_in_numpy(measured):
    """Forward and backward through two ReLUs by hand, in float64."""
    inputs, targets = datasets.scoring_batch("lenet_digits", 0)
    layers = networks.build("lenet_8x8", 0).layers
    w1, w2, w3 = (layer.weight.detach().double().numpy() for layer in layers)
    b1, b2, b3 = (layer.bias.detach().double().numpy() for layer in layers)
    x = inputs.flatten(1).double().numpy()
    h1 = np.maximum(x @ w1.T + b1, 0)
    h2 = np.maximum(h1 @ w2.T + b2, 0)
    p = np.exp(h2 @ w3.T + b3)
    p /= p.sum(1, keepdims=True)
    wanted = np.eye(10)[targets.numpy()]
    d3 = (p - wanted) / len(x)
    d2 = d3 @ w3 * (h2 > 0)
    d1 = d2 @ w2 * (h1 > 0)
    squares = sum((g**2).sum() for g in (d3.T @ h2, d2.T @ h1, d1.T @ x))
    for level in LEVELS:
        row = measured.loc["unpruned", round(100 * settings.sparsity(level), 1)]
        assert row[SCORED] == pytest.approx(-np.log((p * wanted).sum(1)).mean(), rel=1e-5)
        assert row[GRADIENT] == pytest.approx(squares**0.5, rel=1e-4)


@pytest.mark.parametrize("curve", [*initial_loss.METHODS, "grasp+shuffle", "grasp+reinit"])
def test_the_networks_are_those_that_the_runs_train(curve, measured):
    about = vars(Curve.parse(curve))
    images, labels = datasets.load("digits").train_examples(torch.arange(1297))
    for level in LEVELS:
        run = Run("lenet_digits", "paper", sparsity=settings.sparsity(level), **about)
        model, mask = Starts({}).start(run)
        for name, m in mask.items():
            model.get_parameter(name).data[~m] = 0
        row = measured.loc[curve, round(100 * run.sparsity, 1)]
        loss = F.cross_entropy(model(images), labels).item()
        assert row[TRAINING] == pytest.approx(loss, rel=1e-4)


def test_without_its_data_a_setting_is_as_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNELIB_DATA", str(tmp_path))
    found = initial_loss.table("lenet_mnist")
    assert list(found["replicate"].unique()) == list(range(initial_loss.REPLICATES))
    assert (found[found["curve"] == "unpruned"][SCORED] > np.log(10)).all()
    with pytest.raises(DatasetError, match="cifar10"):
        initial_loss.table("resnet20_cifar10")


@pytest.mark.skipif(not (data_root() / "MNIST").is_dir(), reason="needs MNIST")
def test_the_record_is_what_is_measured(monkeypatch, tmp_path):
    keys, numbers = ["curve", "sparsity"], [SCORED, TRAINING, GRADIENT]
    now = initial_loss.measure("lenet_mnist", replicates=1).set_index(keys)[numbers]
    monkeypatch.setenv("PRUNELIB_DATA", str(tmp_path))
    recorded = initial_loss.table("lenet_mnist").query("replicate == 0").set_index(keys)[numbers]
    assert np.allclose(now, recorded.loc[now.index], rtol=0.01)
