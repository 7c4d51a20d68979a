import contextlib
import resource

import pytest
from torch import nn

from prunelib import datasets, grids, networks, own, provenance, scores, settings
from prunelib.results.records import Mask, Trained, Weights

_ORIGIN = {"device": "cpu", "dataset": "digits@0", "torch": "0", "commit": "unknown"}


def trained(run, accuracy=0.9, **changes):
    """The record of a trained network, with columns changed by name."""
    results = {
        "test_accuracy": accuracy,
        "test_loss": 0.1,
        "train_loss": 0.1,
        "kept_weights": 100,
        "epochs": 1.0,
        "seconds": 2.0,
        "engine": "plain",
        "precision": "fp32",
    }
    return Trained(run=run, **results | _ORIGIN | changes)


def mask(run, **changes):
    """The record of a mask of two layers, with columns changed by name."""
    results = {
        "kept_weights": 30,
        "effective_weights": 30,
        "layers": (10, 20),
        "collapse": (100,) + 20 * (0,),
        "seconds": 2.0,
    }
    return Mask(run=run, **results | _ORIGIN | changes)


def weights(run, **changes):
    """The record of the weights of two layers, with columns changed by name."""
    results = {
        "mean": (0.0, 0.1, -0.1),
        "std": (1.0, 1.1, 0.9),
        "kurtosis": (0.0, 0.5, -0.5),
        "wasserstein": (0.0, 0.0, 0.0),
        "ks": (0.0, 0.0, 0.0),
        "seconds": 2.0,
        "precision": "fp32",
    }
    return Weights(run=run, **results | _ORIGIN | changes)


@pytest.fixture
def registry():
    """What a test registers is forgotten after it."""
    tables = [scores.METHODS, settings.SETTINGS, networks.NETWORKS, datasets.LOADERS]
    tables += [provenance._newest, own._ran, grids.FIGURES]
    before, included = [dict(table) for table in tables], list(grids._own)
    yield
    for table, rows in zip(tables, before, strict=True):
        table.clear()
        table.update(rows)
    grids._own[:] = included


@pytest.fixture(autouse=True)
def own_folders(monkeypatch):
    """The project's own, whatever the shell of whoever runs the tests says."""
    for name in ("PRUNELIB_RESULTS", "PRUNELIB_FIGURES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def rows():
    """Makes rows of trained networks, for a table, of runs with given accuracies."""
    return lambda made: [trained(run, accuracy).row() for run, accuracy in made]


@pytest.fixture
def full_disk():
    """A context in which no file of this process, or of those it starts, grows beyond some bytes:
    writing one fails in the middle."""

    @contextlib.contextmanager
    def limit(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit


class SmallNet(nn.Module):
    """A convolution, batch norm and a linear layer, for images of any size."""

    def __init__(self, inputs, channels, classes):
        super().__init__()
        self.conv = nn.Conv2d(inputs, channels, 3, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        return self.fc(self.norm(self.conv(x)).relu().mean((2, 3)))
