"""The page of results, from a store made by hand."""

import pytest

from prunelib import report
from prunelib.runs import figure_runs, table_runs
from prunelib.store import Store


def record(run, accuracy=0.9, loss=0.1):
    return run.record() | {
        "test_accuracy": accuracy, "test_loss": 0.1, "train_loss": loss, "kept_weights": 10,
        "epochs": 1, "seconds": 1, "engine": "several", "precision": "bf16", "device": "cpu",
        "dataset": "cifar10-jpeg@0", "torch": "2", "commit": "0",
    }  # fmt: skip


@pytest.fixture
def store(tmp_path):
    """Figure 3 of ResNet-20 at "quick": the first replicate whole, of the second five runs; one
    network diverged. Of VGG-16 the unpruned network alone."""
    runs = figure_runs(3, "resnet20_cifar10", "quick", 2)
    made = Store(tmp_path)
    made.add(record(run) for run in runs[: 37 + 5])
    made.add([record(table_runs(7, "vgg16_cifar10", "quick", 1)[0], loss=float("nan"))])
    return made


def test_coverage(store):
    table = report.coverage(store).set_index(["for", "setting", "profile"])
    row = table.loc[("Figure 3", "resnet20_cifar10", "quick")]
    assert (row["runs needed"], row["in the store"], row["replicates complete"]) == (111, 42, 1)
    assert (row["precision"], row["data"], row["hardware"]) == ("bf16", "cifar10-jpeg@0", "cpu")
    # 69 runs of 6256 batches of 128 images, of 3 * 2 * 40.8 million operations or a little less
    assert row["missing (PFLOP)"] == pytest.approx(69 * 6256 * 128 * 6 * 40.8e6 / 1e15, rel=0.02)
    assert "vgg16_cifar10" not in table.reset_index()["setting"].tolist()
    eleven = table.loc[("Figure 11", "resnet20_cifar10", "quick")]
    assert eleven["in the store"] == 2 + 6 + (5 - 1 - 4)  # both unpruned, SNIP of the first


def test_what_is_not_run_names_the_settings_of_the_paper():
    left = report.not_run().set_index(["for", "setting"])
    assert left.loc[("Figure 3", "resnet20_cifar10"), "runs"] == 545
    assert left.loc[("Table 3", "vgg19_cifar10"), "runs"] == 5 * 4
    assert ("Figure 3", "wrn_14_8_cifar10") not in left.index
    assert ("Figure 7", "modified_resnet18_cifar10") in left.index


def test_the_highest_matching_sparsity_beside_the_papers(store):
    table = report.matching(store).set_index("method")
    row = table.loc["Magnitude after training"]
    assert (row["ours (%)"], row["paper (%)"], row["replicates"]) == ("98.2", "73.8", 1)


def test_the_page_names_what_diverged_and_what_is_missing(store):
    page = report.text(store)
    assert "| vgg16_cifar10 | quick" in page.split("## Runs that diverged")[1]
    begun, rest = page.split("## What was not begun")
    assert "| Figure 3" in begun
    assert "| Figure 3" in rest  # of other settings
    assert "resnet20_cifar10" not in next(
        line for line in rest.splitlines() if line.startswith("| Figure 3")
    )  # fmt: skip
