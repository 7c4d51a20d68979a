import pytest


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
