"""The gallery of figures and the explorer's data: computed from records whose truth is known."""

import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from conftest import mask, trained

from prunelib.errors import UnknownNameError
from prunelib.findings.measures import Results
from prunelib.grids import FIGURES, TABLES
from prunelib.pages import draw, explorer, gallery, homes, style, verdicts
from prunelib.results.records import MASK
from prunelib.results.store import Store
from prunelib.runs import DENSE, Curve, Run

LENET = ("lenet_digits", "paper")


def entry(verdict, setting="resnet8_digits", spoken=False, p=0.01, rests_on="masks", id="4.01"):
    """What a sentence about an entry of the ledger is made of."""
    about = {"verdict": verdict, "setting": setting, "spoken": spoken, "p": p, "id": id}
    return SimpleNamespace(**about, rests_on=rests_on, claim=f"claim {id}")


@pytest.fixture
def results(tmp_path):
    """SNIP at two sparsities, shuffled at one, of an unpruned network; one mask of SNIP and its
    shuffled one."""
    Store(tmp_path).add(
        [
            trained(DENSE.run(*LENET, 0.0, 0), 0.96),
            trained(DENSE.run(*LENET, 0.0, 1), 0.98),
            trained(Curve("snip").run(*LENET, 0.2, 0), 0.9),
            trained(Curve("snip").run(*LENET, 0.2, 1), 0.92),
            trained(Curve("snip").run(*LENET, 0.488, 0), 0.8),
            trained(Curve("snip", "shuffle").run(*LENET, 0.488, 0), 0.7),
        ]
    )
    kept = {"layers": (4800, 15000, 100), "kept_weights": 19900}
    neurons = {"none": (200,) + 20 * (50,), "shuffle": (200,) + 20 * (20,)}
    Store(tmp_path, MASK).add(
        mask(Run(*LENET, "snip", 0.488, a), collapse=c, **kept) for a, c in neurons.items()
    )
    return Results(tmp_path)


def test_every_figure_and_table_has_a_tile():
    assert {int(key) for key in style.SUBJECTS if key.isdecimal()} == set(range(1, 17))
    assert set(style.SUBJECTS) == set(homes.HOMES)
    assert {f"Table {n}" for n in TABLES} <= set(style.SUBJECTS)


def test_a_finding_counts_what_the_claims_speak_of_and_names_the_clearest():
    entries = [
        entry("supported", "lenet_mnist", spoken=True, p=1e-9, id="K.01"),
        entry("not supported", "vgg16_cifar10", spoken=True, p=0.02, id="4.02"),
        entry("supported", "resnet20_cifar10", spoken=True, p=0.001, id="4.03"),
        entry("agrees", p=1e-12, id="4.04"),
        entry("undecided", "resnet20_cifar10", spoken=True, p=1e-12, id="4.05"),
        entry("not run", "resnet50_imagenet", spoken=True, p=None, id="4.06"),
    ]
    said = gallery.finding(entries)
    assert said.startswith("Of the paper's networks: 2 supported, 1 undecided, 1 not supported. ")
    assert said.endswith("ResNet-20 on CIFAR-10: claim 4.03 (4.03): supported.")


def test_a_finding_says_when_none_of_it_is_of_the_papers_networks():
    assert gallery.finding([entry("agrees"), entry("not run", spoken=True)]).startswith(
        "Of ResNet-8 on digits (the miniature): 1 agrees."
    )
    assert gallery.finding([entry("not run")]) == "Nothing of it can be said from what was run."
    assert gallery.finding([]) == "It makes no claim of its own."


def test_a_finding_says_when_nothing_that_was_trained_is_behind_it():
    exact = entry("supported", spoken=True, rests_on=verdicts.EXACT)
    said = gallery.finding([exact, entry("not run", spoken=True)])
    assert said.startswith(
        "Of ResNet-8 on digits (the miniature): 1 supported, by printed and exact numbers alone. "
    )
    said = gallery.finding([exact, entry("supported", spoken=True)])
    assert said.startswith("Of ResNet-8 on digits (the miniature): 2 supported. ")


def test_tiles_count_the_records_and_say_what_was_not_run(results):
    tiles = {tile.key: tile for tile in gallery.tiles(results, [])}
    shares = {setting: share for setting, share, _ in tiles["3"].states}
    assert shares["lenet_digits"] == "5 of 545 trained networks"
    assert set(FIGURES[3].paper) <= set(shares)
    assert shares["vgg16_cifar10"] == "not run"
    assert all(share == "not run" for _, share, _ in tiles["Table 7"].states)


def test_a_tile_shows_the_papers_recipe_before_a_lower_profile_and_lenet_last():
    drawings = {
        "lenet_mnist": "figure-03-lenet_mnist-paper",
        "resnet20_cifar10": "figure-03-resnet20_cifar10-quick",
        "resnet8_digits": "figure-03-resnet8_digits-paper",
    }
    shown = []
    while drawings:
        states = [(setting, "", name) for setting, name in drawings.items()]
        shown.append(gallery.Tile("3", "Figure 3", "", "", "", states).drawing)
        drawings = {setting: name for setting, name in drawings.items() if name != shown[-1]}
    assert [name.split("-")[2] for name in shown] == [
        "resnet8_digits", "resnet20_cifar10", "lenet_mnist",
    ]  # fmt: skip


def test_links_of_a_tile_lead_where_they_are_told(results):
    tile = gallery.Tile("3", "Figure 3", "Accuracy", "04_at_initialization", "1 < 2.")
    page = gallery.gallery([tile], "", "notebooks/", "claims.html?figure={}")
    assert 'href="notebooks/04_at_initialization.ipynb"' in page
    assert 'href="claims.html?figure=3"' in page
    assert "1 &lt; 2." in page


def test_committed_drawings_are_described_by_what_they_show():
    assert gallery.described("figure-03-resnet8_digits-paper") == (
        "Figure 3: accuracy of the methods when they prune at initialisation, "
        "ResNet-8 on digits (the miniature), profile paper"
    )
    assert gallery.described("figure-05-vgg16_cifar10").endswith(
        "VGG-16 on CIFAR-10, profile paper"
    )


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("figure-03-lenet_mnist-paper", "3"),
        ("table-5-resnet8_digits-paper", "Table 5"),
        ("table-7-resnet8_digits-paper", "7"),  # drawn with Figure 7
        ("weights-lenet_mnist-paper", ""),
        ("tables-2-and-3-resnet8_digits-paper", ""),
    ],
)
def test_a_drawing_leads_to_its_claims(name, key):
    assert gallery.claims_of(name) == key


def test_a_drawing_says_its_title_and_where_it_was_saved(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNELIB_FIGURES", str(tmp_path))
    fig, _ = plt.subplots()
    plt.close(fig)
    fig.suptitle("Figure 3: LeNet\n\n")
    assert draw.named(draw.described(fig)) == ""
    draw.save(fig, "figure-03-lenet", pd.DataFrame({"x": [1]}), {})
    assert draw.described(fig) == "Figure 3: LeNet (figures/figure-03-lenet)"
    assert draw.named(draw.described(fig)) == "figure-03-lenet"


def test_the_explorer_has_means_and_deviations_in_percent(results):
    rows = {
        (row["method"], row["ablation"], row["sparsity"]): row
        for row in explorer.accuracies(results, *LENET)
    }
    assert set(rows) == {
        ("Unpruned", "Unmodified", "0.0"),
        ("SNIP", "Unmodified", "20.0"),
        ("SNIP", "Unmodified", "48.8"),
        ("SNIP", "Shuffled", "48.8"),
    }
    row = rows["SNIP", "Unmodified", "20.0"]
    assert (row["accuracy"], row["low"], row["high"], row["n"]) == (91, 89.59, 92.41, 2)
    assert explorer.lowest(results, *LENET) == 82  # 15 points below 97


def test_the_explorer_reads_layers_and_neurons_off_masks(results):
    rows = {row["ablation"]: row for row in explorer.read_off(results, "lenet_digits")}
    assert {row["sparsity"] for row in rows.values()} == {"48.8"}
    assert rows["Unmodified"]["layers"] == [75.0, 50.0, 90.0]  # of 19200, 30000 and 1000
    assert rows["Shuffled"]["layers"] == rows["Unmodified"]["layers"]
    assert rows["Unmodified"]["collapse"] == [100.0] + 20 * [25.0]
    assert rows["Reinitialised"]["collapse"] == rows["Unmodified"]["collapse"]
    assert rows["Shuffled"]["collapse"] == [100.0] + 20 * [10.0]


def test_a_notebook_shows_the_explorer_without_a_kernel(results):
    shown = explorer.explore("lenet_digits", results=results)._repr_mimebundle_()
    spec = json.loads(json.dumps(shown[explorer.MIME]))
    assert {p["name"] for p in spec["params"]} == {"methods", "ablation", "sparsity", "lowest"}
    assert len(json.loads(spec["datasets"]["accuracy"])) == 4
    assert "not trained: Magnitude after training" in shown["text/plain"]
    flattened = spec["vconcat"][1]["transform"][0]
    assert json.loads(flattened["calculate"]) == ["layer 1", "layer 2", "output"]
    with pytest.raises(UnknownNameError):
        explorer.explore("lenet_mnst", results=results)


def test_where_it_cannot_be_drawn_the_explorer_lists_accuracies(results, tmp_path):
    """At the sparsity that is chosen at first, of those that were trained."""
    Store(tmp_path).add([trained(Curve("snip").run(*LENET, 0.892626, 0), 0.7)])
    Store(tmp_path).add([trained(Curve("snip", "shuffle").run(*LENET, 0.892626, 0), 0.6)])
    listed = explorer.explore("lenet_digits", results=Results(tmp_path))
    words = listed._repr_mimebundle_()["text/markdown"].splitlines()
    assert "at 89.3 % sparsity, in percent" in words[0]
    assert words[1:] == ["", "- SNIP: unmodified 70.0, shuffled 60.0"]
    nothing = explorer.explore("vgg16_cifar10", results=results)._repr_mimebundle_()
    assert "Nothing was trained of it" in nothing["text/markdown"]
