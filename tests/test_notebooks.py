"""The committed notebooks are executed, up to date, and nbval would notice a wrong number."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from prunelib.errors import PrunelibError, StoreError, UnknownNameError
from prunelib.pages import notebooks
from prunelib.pages.page import PARAMETERS, Page
from prunelib.paths import project_root, results_root

PATHS = notebooks.paths()
FOUR = "04_at_initialization"


@pytest.fixture(params=PATHS)
def notebook(request):
    return nbformat.read(PATHS[request.param], as_version=4)


def test_all_are_there():
    numbered = {"00_index", "01_introduction", "03_methods", FOUR, "05_ablations"}
    after = {"06_after_initialization", "F_ablations_after"}
    lettered = {"D_synflow", "E_baselines", "G_iterative_snip", "H_grasp_variants", "I_improved"}
    lettered |= {"J_layerwise", "K_lenet", "L_modified_resnet18", "M_effective_sparsity"}
    assert numbered | after | lettered | {"S_weight_distributions"} <= set(PATHS)


def test_the_index_lists_every_notebook_and_no_other():
    text = nbformat.read(PATHS["00_index"], as_version=4).cells[0].source
    listed = re.findall(r"\((\w+)\.ipynb\)", text)
    assert sorted([*listed, "00_index"]) == sorted(PATHS)


def _in_git(*patterns):
    """Path and text of the files in git's index: `make figures` draws over those in the tree."""
    run = {"cwd": project_root(), "capture_output": True, "text": True, "check": True}
    names = subprocess.run(["git", "ls-files", *patterns], **run).stdout.split()
    return {n: subprocess.run(["git", "show", f":{n}"], **run).stdout for n in names}


@pytest.mark.skipif(not (project_root() / ".git").exists(), reason="needs the git repository")
def test_every_committed_figure_is_one_that_a_notebook_shows():
    shown = "".join(_in_git("notebooks/*.ipynb").values())
    sources = _in_git("figures/*.json")
    assert sources
    assert [n for n, text in sources.items() if json.loads(text)["digest"] not in shown] == []


def test_every_cell_ran_in_order_without_error(notebook):
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    outputs = [o for c in cells for o in c.outputs]
    assert outputs
    assert not [o for o in outputs if o.output_type == "error"]
    assert not [o for o in outputs if o.get("name") == "stderr"]


def test_cells_are_short_and_parameters_plain(notebook):
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    assert max(len(c.source.splitlines()) for c in cells) <= 15
    tagged = [c for c in cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    names = [line.split(" = ")[0] for line in tagged[0].source.splitlines()]
    assert tuple(names) == PARAMETERS


def test_the_form_is_the_same(notebook):
    headings = [
        line[3:]
        for c in notebook.cells
        if c.cell_type == "markdown"
        for line in c.source.splitlines()
        if line.startswith("## ")
    ]
    title = notebook.cells[0].source
    if not title.startswith(("# Why", "# 3", "# A")):
        assert "What the section claims" in title
        assert "The question here" in title
        wanted = ["Claims", "A miniature", "What was run, and what was not", "Try it yourself"]
        assert [h for h in headings if h in wanted] == wanted
        code = [c.source for c in notebook.cells if c.cell_type == "code"]
        first = next(i for i, source in enumerate(code) if ".draw()" in source)
        assert any(".answer(" in source for source in code[:first])


def test_the_stamp_is_fresh(notebook):
    assert notebook.metadata["prunelib"] == {"cells": notebooks.stamp(notebook)}, (
        "cells changed since this was executed: run make notebooks"
    )


def test_a_stamp_is_of_the_cells_alone():
    notebook = nbformat.read(PATHS[FOUR], as_version=4)
    fresh = notebooks.stamp(notebook)
    notebook.cells[-1].outputs = []
    notebook.metadata["kernelspec"] = {}
    assert notebooks.stamp(notebook) == fresh
    notebook.cells[-1].source += "\n"
    assert notebooks.stamp(notebook) != fresh


def test_no_notebook_decides_a_verdict(notebook):
    """`findings.statistics` does: no code cell has the word."""
    assert not [c for c in notebook.cells if c.cell_type == "code" and '"supported"' in c.source]


def test_nothing_of_a_machine_is_left(notebook):
    text = nbformat.writes(notebook)
    assert str(Path.home()) not in text
    assert "papermill" not in str(notebook.metadata)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"setting": "lenet"}, "unknown setting 'lenet'"),
        ({"profile": "fast"}, "unknown profile 'fast'"),
        ({"replicates": -1}, "replicates=-1"),
        ({"replicates": "3"}, "replicates='3'"),
        ({"train": "no"}, "train='no'"),
        ({"setting": 5}, "setting=5: give a name"),
        ({"profile": ["quick"]}, "profile=.'quick'.: give a name"),
    ],
)
def test_bad_parameters(values, sentence):
    given = {"setting": "lenet_digits", "profile": "smoke"} | values
    with pytest.raises(PrunelibError, match=sentence):
        Page(**given)


def test_outside_a_notebook_a_page_leaves_pandas_as_it_is():
    with pd.option_context("display.max_colwidth", 11):
        Page("lenet_digits")
        assert pd.get_option("display.max_colwidth") == 11


def test_papermill_stops_at_an_unknown_parameter_with_one_sentence(tmp_path):
    command = [sys.executable, "-m", "papermill", PATHS[FOUR], tmp_path / "out.ipynb"]
    wrong = ["-p", "seting", "lenet_mnist"]
    done = subprocess.run([*command, *wrong], capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    last = [line for line in done.stderr.splitlines() if line.strip()][-1]
    assert "unknown notebook parameter 'seting'; choose from setting, profile" in last


def test_papermill_trains_and_draws(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNELIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("PRUNELIB_FIGURES", str(tmp_path / "figures"))
    notebooks.execute(PATHS[FOUR], tmp_path / "out.ipynb", {"profile": "smoke"})
    made = {p.suffix for p in (tmp_path / "figures").iterdir()}
    assert made == {".png", ".svg", ".csv", ".json"}
    text = nbformat.writes(nbformat.read(tmp_path / "out.ipynb", as_version=4))
    assert "13 trained networks are new." in text
    assert "13 of 13 trained networks" in text
    with pytest.raises(PrunelibError, match="unknown setting 'nothing'"):
        notebooks.execute(PATHS[FOUR], tmp_path / "out2.ipynb", {"setting": "nothing"})


def test_train_false_leaves_out_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PRUNELIB_RESULTS", str(tmp_path))
    page = Page("lenet_digits", "smoke", train=False, figure=3)
    page.train()
    assert "13 trained networks are left out" in capsys.readouterr().out
    for part in (page.accuracies, page.matching, page.draw):
        assert part() is None
        assert capsys.readouterr().out.startswith(
            "Figure 3 of lenet_digits, profile smoke, not run"
        )


@pytest.mark.parametrize("name", ["06_after_initialization", "H_grasp_variants"])
def test_a_notebook_of_nothing_goes_on(name, tmp_path, monkeypatch):
    """To its last cell, saying of each figure and of each claim that it was not run."""
    monkeypatch.setenv("PRUNELIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("PRUNELIB_FIGURES", str(tmp_path / "figures"))
    given = {"setting": "vgg16_cifar10", "profile": "smoke", "train": False}
    notebooks.execute(PATHS[name], tmp_path / "out.ipynb", given)
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    text = nbformat.writes(executed)
    assert "of vgg16_cifar10, profile smoke, not run: " in text
    assert "FLOP of training; with train=True this notebook makes them." in text
    assert executed.cells[-1].execution_count
    assert not (tmp_path / "figures").exists()


def test_an_output_that_cannot_be_written_is_told_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("kept")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="cannot take the executed notebooks"):
            notebooks.execute(PATHS[FOUR], folder / "out.ipynb")
    assert (tmp_path / "file").read_text() == "kept"


def test_find_takes_a_beginning():
    assert notebooks.find("04").stem == FOUR
    with pytest.raises(UnknownNameError, match="03_methods"):
        notebooks.find("4")


def _nbval(path, results, figures):
    places = {"PRUNELIB_RESULTS": str(results), "PRUNELIB_FIGURES": str(figures)}
    options = ["--nbval", "--nbval-current-env", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, path],
        capture_output=True,
        text=True,
        env=os.environ | places,
        timeout=300,
    )


def test_nbval_fails_on_one_corrupted_number(tmp_path):
    """The comparison is alive: one accuracy changed in a copy of the store makes it fail."""
    copy = tmp_path / "results"
    shutil.copytree(results_root(), copy, ignore=shutil.ignore_patterns(".*"))
    shutil.copy(PATHS[FOUR], tmp_path / "copy.ipynb")
    sound = _nbval(tmp_path / "copy.ipynb", copy, tmp_path / "figures")
    assert sound.returncode == 0, sound.stdout
    path = copy / "resnet8_digits" / "paper.csv"
    with open(path, newline="") as file:
        table = list(csv.reader(file))
    column = table[0].index("test_accuracy")
    line = next(
        i for i, row in enumerate(table) if row[2:8] == ["snip", "0.2", "none", "0", "0", "he"]
    )
    table[line][column] = str(float(table[line][column]) - 0.02)
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(table)
    corrupted = _nbval(tmp_path / "copy.ipynb", copy, tmp_path / "figures")
    assert corrupted.returncode == 1, corrupted.stdout
    assert "Cell outputs differ" in corrupted.stdout
