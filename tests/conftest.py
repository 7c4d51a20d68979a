import contextlib
import resource

import pytest
from torch import nn


@pytest.fixture
def rows():
    """Makes records of runs with given accuracies, as the engine would write them."""

    def make(runs_and_accuracies):
        return [
            run.record()
            | {
                "test_accuracy": accuracy, "test_loss": 0.1, "train_loss": 0.1,
                "kept_weights": 100, "epochs": 1.0, "seconds": 2.0, "engine": "plain",
                "precision": "fp32", "device": "cpu", "dataset": "digits@0", "torch": "0",
                "commit": "unknown",
            }
            for run, accuracy in runs_and_accuracies
        ]  # fmt: skip

    return make


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
