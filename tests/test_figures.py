import json
import xml.etree.ElementTree as ET

import pandas as pd
import pytest
from PIL import Image

from prunelib import settings
from prunelib.errors import BadValueError, UnknownNameError
from prunelib.findings import curves
from prunelib.grids import FIGURES, figure_runs
from prunelib.pages import draw
from prunelib.results.store import COLUMNS, Store
from prunelib.runs import DENSE, EARLY_METHODS, Curve


@pytest.fixture
def table(rows):
    made = [
        (run, 0.9 - 0.1 * run.sparsity - 0.01 * run.replicate)
        for run in figure_runs(3, "lenet_digits", "quick", 2)
    ]
    made.append((Curve("snip", "shuffle").run("lenet_digits", "quick", 0.488, 0), 0.1))
    return pd.DataFrame(rows(made), columns=list(COLUMNS))


def test_data_of_figure_3_are_means_and_deviations_in_percent(table):
    data = curves.accuracy_data(3, table, "lenet_digits", "quick", draw.label)
    assert len(data) == 1 + 6 * 6
    row = data[(data["line"] == "SNIP") & (data["sparsity"] == 48.8)].iloc[0]
    assert row["remaining"] == pytest.approx(51.2)
    assert row["accuracy"] == pytest.approx(100 * (0.9 - 0.0488 - 0.005))
    assert row["std"] == pytest.approx(100 * 0.01 / 2**0.5)
    assert row["n"] == 2


def test_replicates_beyond_those_asked_for_are_left_out(table):
    data = curves.accuracy_data(3, table, "lenet_digits", "quick", draw.label, replicates=1)
    assert set(data["n"]) == {1}


def test_rows_read_back_from_a_store_are_found(tmp_path, table):
    store = Store(tmp_path)
    store.add(table.to_dict("records"))
    again = curves.accuracy_data(3, store.table(), "lenet_digits", "quick", draw.label)
    pd.testing.assert_frame_equal(
        again, curves.accuracy_data(3, table, "lenet_digits", "quick", draw.label)
    )


def test_what_is_missing_is_said(table):
    some = table[table["method"] != "grasp"]
    sentence = draw.fidelity(3, some, "lenet_digits", "quick", 2)
    assert "62 of 74 runs, 12 not run" in sentence
    assert "digits@0" in sentence
    assert "a tenth of its iterations" in sentence
    assert draw.provenance(3, some, "lenet_digits", "quick", 2)["runs_missing"] == 12


def test_every_line_is_drawn_with_its_own_colour_marker_and_dash(table):
    data = curves.accuracy_data(3, table, "lenet_digits", "quick", draw.label)
    fig = draw.draw_accuracy(data, 3, "lenet_digits", "quick")
    whole = fig.axes[0]
    lines = [line for line in whole.get_lines() if len(line.get_xdata()) == 6]
    assert len(lines) == 6
    for look in ("get_color", "get_marker"):
        assert len({getattr(line, look)() for line in lines}) == 6
    left, right = whole.get_xlim()
    assert left > right  # from many weights to few
    assert "smoke" not in fig.get_suptitle()
    assert "profile quick" in fig.get_suptitle()


@pytest.mark.parametrize("figure", FIGURES)
def test_styles_of_one_figure_differ(figure):
    for panel in FIGURES[figure].panels.values():
        looks = [draw.style(figure, curve) for curve in panel]
        for part in range(4):
            assert len({str(look[part]) for look in looks}) == len(looks)


def test_nothing_to_draw_says_how_to_train():
    data = curves.accuracy_data(
        3, pd.DataFrame(columns=list(COLUMNS)), "lenet_digits", "paper", draw.label
    )
    with pytest.raises(BadValueError, match="prunelib run --figure 3"):
        draw.draw_accuracy(data, 3, "lenet_digits", "paper")


def test_saved_figures_are_complete_and_reproducible(tmp_path, monkeypatch, table):
    monkeypatch.setenv("PRUNELIB_FIGURES", str(tmp_path))
    data = curves.accuracy_data(3, table, "lenet_digits", "quick", draw.label)
    made = []
    for _ in range(2):
        fig = draw.draw_accuracy(data, 3, "lenet_digits", "quick")
        draw.save(fig, "figure-03", data, {"figure": 3})
        made.append({p.name: p.read_bytes() for p in tmp_path.iterdir()})
    assert made[0] == made[1]
    assert set(made[0]) == {f"figure-03.{kind}" for kind in ("png", "svg", "csv", "json")}
    assert Image.open(tmp_path / "figure-03.png").size[0] > 1000
    assert ET.fromstring(made[0]["figure-03.svg"]).tag.endswith("svg")
    assert json.loads(made[0]["figure-03.json"])["digest"] == draw.digest(data)
    assert len(pd.read_csv(tmp_path / "figure-03.csv")) == len(data)


def test_the_digest_follows_the_numbers(table):
    data = curves.accuracy_data(3, table, "lenet_digits", "quick", draw.label)
    changed = data.copy()
    changed.loc[5, "accuracy"] += 0.01
    assert draw.digest(changed) != draw.digest(data)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden"])
def test_figure_names_stay_in_their_folder(name, table):
    with pytest.raises(BadValueError, match="figure name"):
        draw.save(None, name, table, {})


def test_unknown_figure():
    with pytest.raises(UnknownNameError, match="unknown figure 99"):
        curves.accuracy_data(
            99, pd.DataFrame(columns=list(COLUMNS)), "lenet_digits", "paper", draw.label
        )


def test_the_unpruned_network_is_a_line_with_a_band(table):
    data = curves.accuracy_data(3, table, "lenet_digits", "quick", draw.label)
    dense = data[data["line"] == "Unpruned"]
    assert len(dense) == 1
    assert dense["accuracy"].iloc[0] == pytest.approx(89.5)
    assert DENSE.run("lenet_digits", "quick", 0.0, 0).sparsity == 0
    assert settings.sparsities("lenet_digits", "quick")[0] > 0


def test_figure_5_tells_shuffled_synflow_from_random():
    looks = [draw.METHOD_STYLE[m][1] for m in (*EARLY_METHODS, "random")]
    assert draw.VARIANT_STYLE["shuffle"][1] not in looks


def test_a_line_of_many_panels_is_named_once_and_the_legend_fits(table):
    """With two panels (Figure 12) and different numbers of replicates behind one name."""
    runs = figure_runs(12, "lenet_digits", "quick", 2)
    runs = [r for r in runs if r.replicate == 0 or r.method in ("dense", "snip")]
    made = pd.DataFrame([r.record() | dict.fromkeys(COLUMNS[9:], 0) | {"test_accuracy": 0.9}
                         for r in runs])  # fmt: skip
    data = curves.accuracy_data(12, made, "lenet_digits", "quick", draw.label)
    fig = draw.draw_accuracy(data, 12, "lenet_digits", "quick")
    fig.canvas.draw()
    (legend,) = fig.legends
    names = [text.get_text().split(" (")[0] for text in legend.get_texts()]
    assert sorted(names) == ["Reinitialised", "Shuffled", "Unmodified", "Unpruned"]
    assert "Unmodified (n = 1 to 2)" in [text.get_text() for text in legend.get_texts()]
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= fig.bbox.width


def test_a_title_names_another_dataset_than_the_settings():
    def on(setting, *names):
        return curves.variant(setting, pd.DataFrame({"dataset": names}))

    assert on("resnet20_cifar10", "cifar10-jpeg@1", "none") == " on cifar10-jpeg"
    assert on("resnet20_cifar10", "cifar10@1", "none") == ""
    assert on("modified_resnet18_tinyimagenet", "tinyimagenet@1") == ""


def test_the_enlarged_axis_is_never_the_larger():
    data = pd.DataFrame({"line": ["Unpruned", "SNIP", "SNIP"], "accuracy": [98.0, 97.8, 95.5]})
    assert draw._top(data) == pytest.approx((95.0, 98.5))
    assert draw._top(data.replace(95.5, 60.0)) == pytest.approx((93.0, 98.5))


def test_panels_say_that_the_trained_network_is_pruned():
    runs = figure_runs(9, "lenet_digits", "quick", 1)
    made = pd.DataFrame([r.record() | dict.fromkeys(COLUMNS[9:], 0) | {"test_accuracy": 0.9}
                         for r in runs])  # fmt: skip
    data = curves.accuracy_data(9, made, "lenet_digits", "quick", draw.label)
    fig = draw.draw_accuracy(data, 9, "lenet_digits", "quick")
    titles = [axis.get_title() for axis in fig.axes[:4]]
    assert titles == [f"{m} after training" for m in ("Magnitude", "SNIP", "GraSP", "SynFlow")]
