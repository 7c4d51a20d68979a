"""Figures: what a page finds for them, what is drawn, and what is saved beside it."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
from conftest import mask, trained, weights
from matplotlib.colors import to_hex
from PIL import Image

from prunelib import networks, settings
from prunelib.errors import BadValueError, UnknownNameError
from prunelib.findings import claims, curves, measures
from prunelib.grids import figure_runs, mask_runs, weight_runs
from prunelib.pages import draw, style, verdicts
from prunelib.pages.evidence import Evidence, basis
from prunelib.pages.page import Page
from prunelib.results.records import END, MASK, START
from prunelib.results.store import Store
from prunelib.runs import DENSE, Curve

ABOUT = ("lenet_digits", "quick")


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    """The folder of results, empty; figures go beside it."""
    monkeypatch.setenv("PRUNELIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("PRUNELIB_FIGURES", str(tmp_path / "figures"))
    return tmp_path / "results"


@pytest.fixture
def data():
    """Of Figure 3, two replicates: 90 % less a tenth of the sparsity, and a point a replicate."""
    store = Store()
    runs = figure_runs(3, *ABOUT, 2)
    store.add(trained(r, 0.9 - 0.1 * r.sparsity - 0.01 * r.replicate) for r in runs)
    store.add([trained(Curve("snip", "shuffle").run(*ABOUT, 0.488, 0), 0.1)])
    return Page(*ABOUT, figure=3).data()


def accuracies(figure, runs):
    """What a figure shows of some Runs that are all 90 % accurate."""
    table = pd.DataFrame([trained(run, 0.9).row() for run in runs])
    return curves.accuracy_data(figure, table, *ABOUT, style.label)


def test_data_of_figure_3_are_means_and_deviations_in_percent(data):
    assert len(data) == 1 + 6 * 6
    row = data[(data["line"] == "SNIP") & (data["sparsity"] == 48.8)].iloc[0]
    assert row["remaining"] == pytest.approx(51.2)
    assert row["accuracy"] == pytest.approx(100 * (0.9 - 0.0488 - 0.005))
    assert row["std"] == pytest.approx(100 * 0.01 / 2**0.5)
    assert row["n"] == 2


def test_replicates_beyond_those_asked_for_are_left_out(data):
    assert set(Page(*ABOUT, replicates=1, figure=3).data()["n"]) == {1}


def test_a_table_of_accuracies_has_a_row_a_line(data, capsys):
    table = Page(*ABOUT, figure=3).accuracies()
    assert capsys.readouterr().out == "Unpruned: 89.5 %\n"
    assert list(table.index)[:2] == ["Magnitude after training", "Magnitude"]
    assert table.loc["SNIP", 48.8] == 84.6
    assert table.columns.name == "sparsity (%)"


def test_a_table_of_accuracies_is_empty_where_a_line_was_not_run():
    runs = [r for r in figure_runs(3, *ABOUT, 1) if (r.method, r.sparsity) != ("snip", 0.488)]
    Store().add(trained(run) for run in runs)
    table = Page(*ABOUT, figure=3).accuracies()
    assert (table.loc["SNIP", 48.8], table.loc["SNIP", 73.8]) == ("", 90.0)
    assert table.loc["GraSP", 48.8] == 90.0


def test_evidence_is_what_is_wanted_and_what_is_there(results):
    wanted = figure_runs(3, *ABOUT, 2)
    store = Store()
    store.add(trained(run, precision="bf16") for run in wanted[1:] if run.method != "grasp")
    found = Evidence.read(wanted, store)
    assert set(found.missing) == {wanted[0], *(run for run in wanted if run.method == "grasp")}
    assert len(found.table) == len(found.records) == 74 - 13
    assert str(found) == (
        "lenet_digits, profile quick (the schedule scaled to a tenth of its iterations): 61 of 74 "
        "trained networks, 13 not run; data digits@0; trained plain in bf16."
    )
    about = found.provenance
    assert (about["records"], about["missing"], about["precision"]) == (61, 13, ["bf16"])


def test_a_figure_says_what_it_rests_on(results):
    """Of two replicates one unpruned network is missing, and all twelve of GraSP."""
    wanted = figure_runs(3, *ABOUT, 2)
    store = Store()
    store.add(trained(run) for run in wanted[1:] if run.method != "grasp")
    found = Evidence.read(wanted, store)
    assert basis([found], "quick") == (
        "Profile quick; up to 2 replicates; 13 of 74 trained networks not run (GraSP)"
    )
    one = Evidence.read([run for run in wanted if run.replicate], store)
    lacking = replace(one, wanted=tuple(wanted))
    assert basis([lacking]).startswith("1 of 2 replicates; ")
    store.add(trained(run) for run in wanted)
    assert basis([Evidence.read(wanted, store)], "quick") == "Profile quick; 2 replicates"


def test_evidence_of_nothing(results):
    found = Evidence.read(mask_runs("lenet_digits", levels=(6,)), Store(kind=MASK))
    assert str(found).endswith("0 of 50 masks, 50 not run; data none.")


def test_a_page_of_masks_draws_them_and_says_what_they_are(results, capsys, tmp_path):
    store = Store(kind=MASK)
    store.add(mask(run, layers=(1, 2, 3)) for run in mask_runs("lenet_digits", levels=(12,)))
    page = Page("lenet_digits", "quick", figure=5)
    page.coverage()
    fig = page.draw()
    title = "Figure 5: LeNet-300-100 on digits at a sparsity of 93.1 %"
    assert fig.get_suptitle().strip() == title
    assert fig.texts[-1].get_text().startswith("Neurons that lose their weights. 5 replicates; ")
    said = capsys.readouterr().out
    assert "at 93.1 % sparsity: the paper prints no highest matching sparsity here" in said
    assert "50 of 50 masks; data digits@0" in said
    about = json.loads((tmp_path / "figures" / "figure-05-lenet_digits.json").read_text())
    assert about["masks"]["records"] == 50


def test_magnitude_after_training_is_a_line_of_its_own_in_figure_15(results):
    """Masks that keep 80 % of the first of LeNet's layers at initialisation, 60 % of it after."""
    model = networks.build("lenet_8x8")
    sizes = [model.get_parameter(name).numel() for name in networks.prunable(model)]
    runs = mask_runs("lenet_digits", levels=(12,), after=True)
    shares = {run: 0.6 if run.prune_at == "end" else 0.8 for run in runs}
    Store(kind=MASK).add(
        mask(run, layers=(round(share * sizes[0]), *sizes[1:])) for run, share in shares.items()
    )
    data = Page("lenet_digits", figure=15).data().set_index(["method", "layer"])
    assert data.loc[("magnitude", "layers.0"), "sparsity"] == pytest.approx(20)
    late = data.loc[("magnitude after training", "layers.0")]
    assert (late["sparsity"], late["n"]) == (pytest.approx(40), 5)


def test_a_page_of_weights_rests_on_both_kinds_of_records(results, capsys):
    runs = weight_runs("lenet_digits", "quick", replicates=1)
    Store(kind=START).add(weights(run, ks=(0.3, 0.1, 0.2)) for run in runs)
    Store(kind=END).add(weights(run, ks=(0.6, 0.1, 0.2)) for run in runs[:20])
    page = Page(*ABOUT, replicates=1, train=False, figure="weights")
    page.train()
    said = capsys.readouterr().out
    assert said == "No weights before training are missing.\n"  # `coverage` says what is
    found = page.data().groupby("when")["ks"].agg(["min", "max"])
    assert found.values.tolist() == [[0.6, 0.6], [0.3, 0.3]]
    page.coverage()
    said = capsys.readouterr().out
    assert f"20 of {len(runs)} weights after training" in said
    assert "Not run, and left out above: 34 weights after training, which take 0.05 TFLOP" in said


def test_the_answer_counts_the_verdicts_here_and_those_of_other_settings(results):
    """SNIP and the others lie alike: no method outperforms random pruning; of LeNet on MNIST there
    is one replicate, which reaches no verdict, and LeNet on the digits is listed nowhere else."""
    for setting, count in (("lenet_digits", 2), ("lenet_mnist", 1), ("resnet8_digits", 2)):
        for replicate in range(count):
            runs = [r for r in figure_runs(3, setting, "quick") if r.replicate == replicate]
            Store().add(trained(run, 0.9 + replicate / 1000) for run in runs)
    answer = Page("resnet8_digits", "quick", figure=3).answer("4").data
    first, *parts = answer.split("\n\n")
    title = "ResNet-8 on digits (the miniature)"
    assert first.startswith(f"**What was found here**, for {title}, profile quick: ")
    differs, *_, elsewhere = (
        "\n".join(parts).split(head)[1] for head in ("*Differs*:", "Elsewhere:")
    )
    assert "- SNIP at initialisation is more accurate than random pruning (4." in differs
    assert "- ResNet-20 on CIFAR-10: " in elsewhere  # not run, and the paper speaks of it
    assert "not run" in elsewhere
    assert "LeNet" not in answer


def test_of_a_long_answer_three_lines_a_verdict_are_shown_and_the_rest_is_folded():
    """Five claims of one setting, of which one agrees and four differ, and five other settings."""

    def entry(verdict, claim, setting="resnet20_cifar10"):
        about = {"id": "4.01", "verdict": verdict, "setting": setting, "profile": "paper"}
        return SimpleNamespace(claim=claim, rests_on=verdicts.EXACT, **about)

    own = [entry("differs", f"claim {k}") for k in range(5)] + [entry("agrees", "another")]
    names = [name for name in settings.SETTINGS if name != "resnet20_cifar10"][:5]
    elsewhere = [entry("agrees", "another", name) for name in names]
    answer = verdicts.answer([*own, *elsewhere], "resnet20_cifar10", "paper").data
    assert answer.startswith("**What was found here**, for ResNet-20 on CIFAR-10: 1 agrees, 5 dif")
    shown, *folded = answer.split("<details><summary>The other 2 of 5</summary>\n\n")
    assert len(folded) == 2
    assert shown.count("\n- ") == 1 + 3
    assert [part.split("</details>")[0].count("- ") for part in folded] == [2, 2]


def test_the_answer_where_no_claim_is_about_the_setting(results):
    """Appendix B is about wide networks; two of its claims on Table 3, whose numbers are the
    paper's own, do not hold as they are printed."""
    answer = Page("resnet8_digits", "paper", figure=3).answer("B").data
    first, head, bad, networks, *_ = answer.split("\n\n")
    assert first.startswith("**What was found**: ")
    assert first.endswith(
        "; no claim is about ResNet-8 on digits (the miniature), or nothing was run that decides "
        "one."
    )
    assert (head, networks) == ("*Not supported*:", "By network:")
    assert {"B.57", "B.61"} <= set(re.findall(r"\((B\.\d+)\)", bad))


def test_masks_of_which_there_is_only_a_part(results, capsys):
    """Figure 16 has a ratio only where the shuffled mask is there, too."""
    Store(kind=MASK).add([mask(mask_runs("lenet_digits", levels=(12,))[0])])
    page = Page("lenet_digits", figure=16)
    assert page.data().empty
    assert page.draw() is None
    assert "Figure 16 of lenet_digits, profile paper, not run: 899 masks" in capsys.readouterr().out


def test_other_settings_are_those_of_which_there_are_records(results):
    for setting in ("lenet_digits", "vgg16_cifar10"):
        Store(kind=MASK).add(mask(run) for run in mask_runs(setting, levels=(12,), replicates=1))
    assert [p.setting for p in Page("lenet_digits", figure=5).others()] == ["vgg16_cifar10"]
    assert Page("lenet_digits", figure=3).others() == []


def test_the_papers_networks_are_drawn_by_the_profile_nearest_to_its_recipe(capsys, monkeypatch):
    """VGG-16 by two profiles, ResNet-20 by a lower one, as it has one network of the other; of
    ResNet-18 the unpruned network alone, and LeNet, which is kept apart."""
    drawn = []

    def add(setting, profile, *curves):
        level = settings.highest_matching(setting)
        runs = [c.run(setting, profile, 0.0 if c == DENSE else level, 0) for c in curves]
        Store().add(trained(run) for run in runs)

    add("resnet20_cifar10", "quick", DENSE, Curve("snip"))
    add("resnet20_cifar10", "paper", Curve("snip"))
    for profile in ("quick", "paper"):
        add("vgg16_cifar10", profile, DENSE, Curve("snip"))
    add("lenet_mnist", "paper", DENSE, Curve("snip"))
    add("resnet18_tinyimagenet", "paper", DENSE)
    monkeypatch.setattr("prunelib.pages.page.display", lambda shown: drawn.append(shown))
    Page(*ABOUT, train=False, figure=3).on_paper_networks()
    figures = [made.get_label() for made in drawn[::2]]
    names = ["resnet20_cifar10-quick", "vgg16_cifar10-paper"]
    assert figures == [f"figure-03-{name}" for name in names]
    assert all(list(table.index) == ["SNIP"] for table in drawn[1::2])
    assert capsys.readouterr().out.count("Digest of the numbers drawn") == 2


def test_where_no_network_of_the_paper_was_trained_that_is_printed(capsys):
    Page("resnet20_cifar10", "quick", train=False, figure=4).on_paper_networks()
    assert capsys.readouterr().out.startswith("No other convolutional network of the paper")


def test_every_line_is_drawn_with_its_own_colour_marker_and_dash(data):
    fig = draw.accuracy(data, "Figure 3", 3, *ABOUT)
    whole = fig.axes[0]
    lines = [line for line in whole.get_lines() if len(line.get_xdata()) == 6]
    looks = {(to_hex(a.get_color()), a.get_marker(), a.get_linestyle()) for a in lines}
    assert len(lines) == 6
    assert len({colour for colour, *_ in looks}) == len({marker for _, marker, _ in looks}) == 6
    left, right = whole.get_xlim()
    assert left > right  # from many weights to few


@pytest.mark.parametrize(
    ("figure", "what"),
    [
        (1, "365 trained networks, which take 5.4 TFLOP of training"),
        (3, "545 trained networks, which take 8.1 TFLOP of training"),
        (5, "50 masks, which take no training"),
        (15, "55 masks, which take 0.074 TFLOP of training"),  # of five unpruned networks
    ],
)
def test_what_was_not_run_is_said_in_one_sentence(figure, what, capsys):
    """LeNet on the digits: 2 * 3 * 50,200 operations an image, 128 of them in each of 440
    iterations, are 17 GFLOP a network; less the gradient of the input."""
    page = Page("lenet_digits", "paper", train=False, figure=figure)
    assert page.data().empty
    assert page.draw() is None
    (said,) = capsys.readouterr().out.splitlines()
    about = f"Figure {figure} of lenet_digits, profile paper, not run: {what}"
    assert said == f"{about}; with train=True this notebook makes them."


def test_unpruned_networks_alone_show_nothing(capsys):
    """Nor do those of weights, of which there are two kinds."""
    Store().add([trained(figure_runs(6, *ABOUT, 1)[0])])
    page = Page(*ABOUT, train=False, figure=6)
    for part in (page.draw, page.accuracies, page.matching):
        assert part() is None
        assert "Figure 6 of lenet_digits, profile quick, not run: " in capsys.readouterr().out
    assert Page(*ABOUT, train=False, figure="weights").draw() is None
    said = capsys.readouterr().out
    assert "162 weights before training" in said
    assert "162 weights after training" in said


def test_claims_about_what_was_not_run(results, capsys):
    """Appendix K speaks of LeNet on MNIST; a number is a figure, wherever it is spoken of."""
    page = Page("lenet_mnist", "paper", train=False, figure=3)
    found = page.claims("K")
    assert set(found["verdict"]) == {"not run"}
    assert "setting" not in found  # all are this one's
    figures = {c.figure for c in claims.every() if c.id in set(page.claims(11)["id"])}
    assert figures == {"11"}
    verdicts_of = list(page.claims("M", where="everywhere")["verdict"])
    run = len(verdicts_of) - verdicts_of.count("not run")
    assert 0 < run < len(verdicts_of)  # exact numbers, which need no results, stand above the rest
    assert "not run" not in verdicts_of[:run]
    everywhere = page.claims("4", where="everywhere")
    assert set(everywhere["setting"]) >= {"resnet20_cifar10", "vgg16_cifar10"}
    capsys.readouterr()
    assert page.claims("4") is None
    said = capsys.readouterr().out
    assert said.startswith("No claim is about LeNet-300-100 on MNIST, or nothing was run")
    assert page.claims("4", where="elsewhere") is None
    assert capsys.readouterr().out == "Nothing of it was run elsewhere.\n"
    with pytest.raises(UnknownNameError, match="unknown where 'there'; choose from here"):
        page.claims("4", where="there")


def test_coverage_without_training_tells_operations(capsys):
    runs = figure_runs(8, *ABOUT)
    Store().add(trained(run) for run in runs[:50])
    Page(*ABOUT, train=False, figure=8).coverage()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(f"Not run, and left out above: {len(runs) - 50} trained networks, ")


def test_saved_figures_are_complete_and_reproducible(tmp_path, data):
    made = []
    for _ in range(2):
        draw.save(draw.accuracy(data, "Figure 3", 3, *ABOUT), "figure-03", data, {"figure": 3})
        made.append({p.name: p.read_bytes() for p in (tmp_path / "figures").iterdir()})
    assert made[0] == made[1]
    assert set(made[0]) == {f"figure-03.{kind}" for kind in ("png", "svg", "csv", "json")}
    assert Image.open(tmp_path / "figures" / "figure-03.png").size[0] > 1000
    assert ET.fromstring(made[0]["figure-03.svg"]).tag.endswith("svg")
    assert json.loads(made[0]["figure-03.json"]) == {"figure": 3, "digest": draw.digest(data)}
    assert len(pd.read_csv(tmp_path / "figures" / "figure-03.csv")) == len(data)


def test_the_digest_follows_the_numbers(data):
    changed = data.copy()
    changed.loc[5, "accuracy"] += 0.01
    assert draw.digest(changed) != draw.digest(data)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden"])
def test_figure_names_stay_in_their_folder(name, data):
    with pytest.raises(BadValueError, match="figure name"):
        draw.save(None, name, data, {})


@pytest.mark.parametrize("figure", [99, 2, "5"])
def test_unknown_figure(figure):
    with pytest.raises(UnknownNameError, match="unknown figure"):
        Page("lenet_digits", figure=figure)


def test_the_unpruned_network_is_a_line_with_a_band(data):
    fig = draw.accuracy(data, "Figure 3", 3, *ABOUT)
    (line,) = [a for a in fig.axes[0].get_lines() if a.get_label().startswith("Unpruned")]
    assert line.get_ydata() == pytest.approx([89.5, 89.5])
    assert line.get_label() == "Unpruned (n = 2 of 3)"


def test_a_line_of_many_panels_is_named_once_and_the_legend_fits():
    """With two panels (Figure 12) and different numbers of replicates behind one name."""
    runs = figure_runs(12, *ABOUT, 2)
    runs = [r for r in runs if r.replicate == 0 or r.method in ("dense", "snip")]
    fig = draw.accuracy(accuracies(12, runs), "Figure 12", 12, *ABOUT)
    fig.canvas.draw()
    (legend,) = fig.legends
    names = [text.get_text().split(" (")[0] for text in legend.get_texts()]
    assert sorted(names) == ["Reinitialised", "Shuffled", "Unmodified", "Unpruned"]
    assert "Unmodified (n = 1 to 2 of 3)" in [text.get_text() for text in legend.get_texts()]
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= fig.bbox.width


def test_a_title_names_another_dataset_than_the_settings():
    def on(setting, *names):
        return measures.other_data(setting, pd.DataFrame({"dataset": names}))

    assert on("resnet20_cifar10", "cifar10-jpeg@1", "none") == "cifar10-jpeg"
    assert on("resnet20_cifar10", "cifar10@1", "none") == ""
    assert on("modified_resnet18_tinyimagenet", "tinyimagenet@1") == ""
    assert on("resnet8_digits", "digits@1") == ""


def test_panels_say_that_the_trained_network_is_pruned():
    data = accuracies(9, figure_runs(9, *ABOUT, 1))
    fig = draw.accuracy(data, "Figure 9", 9, *ABOUT)
    titles = [axis.get_title() for axis in fig.axes[:4]]
    assert titles == [f"{m} after training" for m in ("Magnitude", "SNIP", "GraSP", "SynFlow")]


# ----------------------------------------------------------------------- Figures 1, 6, 7 and 10


def test_accuracies_along_steps_are_a_table_and_lines_with_drops(capsys):
    """Half the convolutional miniature's steps; the accuracy is 90 % and a point for every 84
    iterations before pruning."""
    about = ("resnet8_digits", "quick")
    runs = figure_runs(6, *about)
    last = 84  # a tenth of 840

    def accuracy(run):
        step = run.weights_from if run.prune_at == "end" else run.prune_at
        return 0.9 + 0.01 * (last if step == "end" else step) / last

    Store().add(trained(run, accuracy(run), dataset="shifted_digits@0") for run in runs)
    page = Page(*about, train=False, figure=6)
    table = page.accuracies()
    assert capsys.readouterr().out == "Unpruned: 90.0 %\n"
    assert table.index[0] == "Lottery ticket rewinding"
    assert len(table) == 6
    assert table.columns[0] == 0
    assert table.columns[-1] == last
    assert set(table[0]) == {90.0}
    assert set(table[last]) == {91.0}
    fig = page.draw()
    title = "Figure 6: ResNet-8 on digits (the miniature) at its highest matching sparsity, 86.6 %"
    assert fig.get_suptitle().strip() == title
    (axis,) = fig.axes
    upright = [line.get_xdata()[0] for line in axis.get_lines() if len(set(line.get_xdata())) == 1]
    assert upright == [42, 63]  # the drops of the learning rate
    ends = {line.get_xdata()[-1] for line in axis.get_lines() if len(line.get_xdata()) > 2}
    assert ends == {last}
    assert [label.get_text() for label in axis.get_xticklabels()][-1] == "end"


def test_figure_10_has_a_panel_a_method():
    about = ("resnet8_digits", "smoke")
    Store().add(trained(run) for run in figure_runs(10, *about))
    fig = Page(*about, train=False, figure=10).draw()
    assert [axis.get_title() for axis in fig.axes] == ["Magnitude", "SNIP", "GraSP", "SynFlow"]
    (legend,) = fig.legends
    assert "Shuffled (n = 1)" in [text.get_text() for text in legend.get_texts()]
    fig.canvas.draw()
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= fig.bbox.width


def test_figure_7_is_along_halves_of_the_weights():
    about = ("vgg16_cifar10", "smoke")
    Store().add(trained(run) for run in figure_runs(7, *about))
    page = Page(*about, train=False, figure=7)
    assert list(page.accuracies().columns) == [75.0, 99.6]
    assert page.draw() is not None
    with pytest.raises(BadValueError, match="figure 7 is not about 'lenet_digits'"):
        Page("lenet_digits", figure=7).data()


def test_what_is_achieved_in_retrospect_is_dashed():
    about = ("resnet8_digits", "quick")
    Store().add(trained(run) for run in figure_runs(1, *about))
    page = Page(*about, train=False, figure=1)
    assert list(page.accuracies().index)[1] == "Lottery ticket rewinding"
    (axis,) = page.draw().axes
    lines = [line for line in axis.get_lines() if len(line.get_xdata()) > 1]
    dashed = [a.get_label() for a in lines if a.get_linestyle() == "--"]
    assert len(lines) == 4
    assert dashed == ["Lottery ticket rewinding: 98.2 % pruned (n = 3)"]
