"""The page of results, from a store made by hand."""

import pytest
from conftest import mask, trained

from prunelib import settings
from prunelib.errors import StoreError
from prunelib.findings import claims, ledger
from prunelib.findings.measures import Results
from prunelib.grids import figure_runs, table_runs
from prunelib.pages import front, report
from prunelib.paths import results_root
from prunelib.results.records import MASK
from prunelib.results.store import Store
from prunelib.runs import AFTER, DENSE, EARLY_METHODS, Curve, Run


@pytest.fixture
def store(tmp_path):
    """Figure 3 of ResNet-20 at "quick": the first replicate whole, of the second five runs; one
    network diverged. Of VGG-16 the unpruned network alone."""
    runs = figure_runs(3, "resnet20_cifar10", "quick", 2)
    made = Store(tmp_path)
    origin = {"precision": "bf16", "dataset": "cifar10-jpeg@0"}
    made.add(trained(run, **origin) for run in runs[: 37 + 5])
    diverged = table_runs(7, "vgg16_cifar10", "quick", 1)[0]
    made.add([trained(diverged, train_loss=float("nan"))])
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
    figures = left.reset_index().groupby("setting")["for"].agg(set)
    modified = {f"Figure {n}" for n in (3, 4, 7, 8, 9, 13)} | {"Table 7"}  # Appendix L and D
    assert figures["modified_resnet18_tinyimagenet"] == modified
    assert figures["lenet_mnist"] == {f"Figure {n}" for n in (3, 4, 8, 9, 11, 13)}  # Appendix K
    assert figures["resnet50_imagenet"] >= {"Figure 1", "Table 3"}
    assert not figures["resnet50_imagenet"] & {"Figure 6", "Figure 10"}  # about three networks
    assert not figures["resnet50_imagenet"] & {"Figure 9", "Figure 12"}  # their captions
    assert left.xs("Figure 1").index.tolist() == ["resnet50_imagenet"]


def test_how_much_of_which_method_was_read_off(tmp_path):
    """SNIP at two sparsities, three replicates at one of them, and FORCE at one."""
    there = [("snip", 6, r) for r in range(3)] + [("snip", 9, 0), ("force", 6, 0), ("force", 6, 1)]
    Store(tmp_path, MASK).add(
        mask(Run("resnet8_digits", "paper", method, settings.sparsity(k), replicate=r))
        for method, k, r in there
    )
    (row,) = report.read_off(tmp_path).to_dict("records")
    assert (row["count"], row["methods"], row["sparsities"]) == (6, "force (1), snip", 2)
    assert row["replicates"] == "1 to 3"


def test_what_differs_is_counted_by_what_it_rests_on(tmp_path):
    """SNIP ten points below random pruning, ResNet-20 at quick, two replicates that differ by a
    tenth of a point."""
    accuracies = {"snip": 0.8, "random": 0.9}
    store = Store(tmp_path)
    store.add(
        trained(run, accuracies[run.method] + 0.001 * run.replicate)
        for run in figure_runs(3, "resnet20_cifar10", "quick", 2)
        if run.method in accuracies
    )
    page = report.text(store)
    lower = page.split("### The paper's networks at a lower profile")[1].split("###")[0]
    assert "0 agrees" not in lower
    (row,) = [line for line in lower.splitlines() if "SNIP at initialisation is more" in line]
    assert "| resnet20_cifar10 | quick " in row
    assert "SNIP against random" in row
    assert "-10 " in row


def test_a_page_of_nothing(tmp_path):
    """Exact numbers need no results."""
    page = report.text(Store(tmp_path))
    assert "### The miniature, resnet8_digits: no verdict" in page
    assert page.endswith("None: every training ended with a finite loss.\n")


def test_masks_and_weights_are_listed_with_their_data():
    root = results_root()
    listed = report.read_off(root).set_index(["records", "setting"])
    assert listed.loc[("masks", "vgg16_cifar10"), "data"].startswith("cifar10-jpeg@")
    assert listed.loc[("masks", "resnet50_imagenet"), "data"] == "none"
    with open(root / "vgg16_cifar10" / "paper-masks.csv") as file:
        assert listed.loc[("masks", "vgg16_cifar10"), "count"] == len(file.readlines()) - 1


def test_the_highest_matching_sparsity_beside_the_papers(store):
    table = report.matching(store).set_index("method")
    row = table.loc["Magnitude after training"]
    assert (row["ours (%)"], row["paper (%)"], row["replicates"]) == ("98.2", "73.8", 1)


def test_a_matching_sparsity_says_how_many_were_run(store):
    """SNIP at the last two of six sparsities, three points below the unpruned network."""
    runs = figure_runs(3, "resnet20_cifar10", "quick", 1)
    other = Store(store.root / "other")
    other.add([trained(runs[0]), *[trained(r, 0.87) for r in runs if r.method == "snip"][-2:]])
    row = report.matching(other).set_index("method").loc["SNIP"]
    assert (row["ours (%)"], row["sparsities run"]) == ("< 96.5", "2 of 6")


def test_the_page_names_what_diverged_and_what_is_missing(store):
    """Of ResNet-20 there is Figure 3 at a lower profile only, of VGG-16 one network of it."""
    store.add([trained(figure_runs(3, "vgg16_cifar10", "paper", 1)[1])])
    page = report.text(store)
    assert "| vgg16_cifar10 | quick" in page.split("## Runs that diverged")[1]
    begun, rest = page.split("## What was not begun")
    assert "| Figure 3" in begun
    assert "| Figure 3" in rest  # of other settings
    line = next(line for line in rest.splitlines() if line.startswith("| Figure 3"))
    assert "resnet20_cifar10" in line
    assert "vgg16_cifar10" not in line


def test_highlights_name_what_was_run_and_where_a_claim_does_not_hold(tmp_path):
    """Two replicates, of which shuffling takes ten points, at the last sparsity twelve."""
    store = Store(tmp_path)
    for curve, accuracy in ((Curve("snip"), 0.9), (Curve("snip", "shuffle"), 0.8)):
        for sparsity in (levels := settings.sparsities("resnet8_digits", "paper")):
            made = [curve.run("resnet8_digits", "paper", sparsity, r) for r in range(2)]
            drop = 0.02 if curve.ablation == "shuffle" and sparsity == levels[-1] else 0
            store.add(trained(run, accuracy - drop + run.replicate / 1000) for run in made)
    chosen = [c for c in claims.every() if c.id in front.HIGHLIGHTS]
    rows = front.highlights(ledger.entries(Results(tmp_path), chosen)).split("\n")
    assert len(rows) == 2 + len(front.HIGHLIGHTS)
    (snip,) = [row for row in rows if row.startswith("| SNIP at initialisation maintains")]
    assert "**differs**: ResNet-8 on digits (the miniature) (2; -10.11 points, -10." in snip
    assert "; -12.0 at 98.2 % … -10.0 at 20.0 %) |" in snip
    assert "notebooks/05_ablations.ipynb" in snip
    assert sum("| not run |" in row for row in rows) == len(front.HIGHLIGHTS) - 1
    for setting in ("resnet20_cifar10", "lenet_mnist"):  # of which the former alone is named
        about = (setting, "quick", settings.highest_matching(setting))
        for replicate in range(2):
            made = [Curve(method).run(*about, replicate) for method in EARLY_METHODS]
            store.add(trained(run, 0.8) for run in made)
            store.add([trained(DENSE.run(setting, "quick", 0.0, replicate), 0.9)])
    rows = front.highlights(ledger.entries(Results(tmp_path), chosen)).split("\n")
    (none,) = [row for row in rows if row.startswith("| At the highest sparsity at which magn")]
    assert "| **agrees**: ResNet-20 on CIFAR-10 by profile `quick` (2; -10 points, -10 to" in none
    assert "LeNet" not in none


def test_what_ablations_change_is_told_of_matching_sparsities_and_of_those_beyond(tmp_path):
    """Of the miniature, whose ninth sparsity is its highest matching one: shuffling takes 0.1
    points from SNIP up to it, 2 beyond, and 3 from SynFlow beyond; new weights nothing, and of
    SynFlow 0.4 up to it and 1 beyond. Claims 1.14 and 1.16 allow 0.3 points; the mark lies 0.2
    below the unpruned network."""
    changes = {
        ("snip", "shuffle"): (0.001, 0.02),
        ("synflow", "shuffle"): (0.0, 0.03),
        ("synflow", "reinit"): (0.004, 0.01),
    }
    levels = settings.sparsities("resnet8_digits", "paper")
    made = [
        (Curve(method, ablation).run("resnet8_digits", "paper", s, r), place >= 9)
        for method in EARLY_METHODS
        for ablation in ("none", "shuffle", "reinit")
        for place, s in enumerate(levels)
        for r in range(2)
    ]
    assert front.in_two_parts(Results(tmp_path)) == ""
    Store(tmp_path).add(
        trained(run, 0.9 - changes.get((run.method, run.ablation), (0.0, 0.0))[beyond])
        for run, beyond in made
    )
    level = settings.highest_matching("resnet8_digits")
    for curve, sparsity, accuracy in ((DENSE, 0.0, 0.95), (AFTER, level, 0.948)):
        runs = (curve.run("resnet8_digits", "paper", sparsity, r) for r in range(2))
        Store(tmp_path).add(trained(run, accuracy) for run in runs)
    said = front.in_two_parts(Results(tmp_path))
    assert "shown to cost at most 0.3 points for 4 of the 4 methods, and more for 0;" in said
    assert "by at most 0.3 points for 3 of the 4 methods, and more for 1. Beyond" in said
    assert "the mark, lies -0.2 (-0.2 to -0.2) from the unpruned network at 86.6 %." in said
    assert said.startswith("**On ResNet-8 on digits (the miniature), up to 86.6 % sparsity, ")
    assert "percentage points, is SNIP's -0.1 (-0.1 to -0.1) when its mask is shuffled" in said
    assert "and SynFlow's -0.4 (-0.4 to -0.4) when its weights are drawn anew.**" in said
    assert "Beyond it the lowest are SynFlow's -3.0 (-3.0 to -3.0) and SynFlow's" in said


def test_the_papers_networks_at_the_matching_sparsity_are_a_table(tmp_path):
    """ResNet-20 at 73.8 %: one unpruned network, two of SNIP (80 and 82 %), one shuffled."""
    about, sparsity = ("resnet20_cifar10", "quick"), settings.sparsity(6)
    store, snip = Store(tmp_path), Curve("snip")
    store.add([trained(DENSE.run(*about, 0.0, 0), 0.85)])
    store.add([trained(snip.run(*about, settings.sparsity(9), 0), 0.5)])
    assert front.on_paper_networks(Results(tmp_path)) == ""
    store.add([trained(Curve("snip", "shuffle").run(*about, sparsity, 0), 0.83)])
    assert front.on_paper_networks(Results(tmp_path)) == ""  # nothing to compare it with
    store.add([trained(snip.run(*about, sparsity, 0), 0.8)])
    assert "; one replicate, which gives no verdict; " in front.on_paper_networks(Results(tmp_path))
    store.add([trained(snip.run(*about, sparsity, 1), 0.82)])
    said, _, table = front.on_paper_networks(Results(tmp_path)).partition("\n\n")
    assert said.startswith("**On ResNet-20 on CIFAR-10 at 73.8 % sparsity**, the highest at which")
    assert "(by profile `quick` (the schedule scaled to a tenth of its iterations); 1 to 2 " in said
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.split("\n")]
    assert cells[0] == ["", "Unmodified", "Shuffled"]
    assert cells[2:] == [["Unpruned", "85.0", ""], ["SNIP", "81.0 ± 1.4", "83.0"]]
    # Less two unpruned networks of 85 and 86 % SNIP has -4.5; two shuffled ones are 2.5 above it.
    store.add([trained(DENSE.run(*about, 0.0, 1), 0.86)])
    store.add([trained(Curve("snip", "shuffle").run(*about, sparsity, 1), 0.84)])
    last = front.on_paper_networks(Results(tmp_path)).split("\n\n")[-1]
    assert last.startswith(
        "In percentage points, with intervals of 95 %. Against the unpruned network: SNIP -4.5 ("
    )
    assert "). Shuffled against unmodified: SNIP +2.5 (" in last


def test_a_readme_without_marks_is_refused(tmp_path):
    with pytest.raises(StoreError, match="has not both of the marks"):
        front.with_highlights("# A readme", Store(tmp_path))
