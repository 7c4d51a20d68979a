"""The committed notebooks are executed, up to date, and nbval would notice a wrong number."""

import ast
import csv
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from typer.testing import CliRunner

from prunelib import cli, paths
from prunelib.errors import PrunelibError, StoreError, UnknownNameError
from prunelib.findings.statistics import published
from prunelib.pages import notebooks
from prunelib.pages.page import JUDGED, PARAMETERS, Page
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
    cells = nbformat.read(PATHS["00_index"], as_version=4).cells
    (text,) = [c.source for c in cells if "| notebook | section |" in c.source]
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


@pytest.mark.skipif(not (project_root() / ".git").exists(), reason="needs the git repository")
def test_the_numbers_beside_a_figure_are_those_that_it_was_drawn_from():
    numbers = _in_git("figures/*.csv")
    assert numbers
    for name, text in numbers.items():
        about = json.loads((project_root() / name).with_suffix(".json").read_text())
        assert hashlib.sha256(text.encode()).hexdigest()[:16] == about["digest"], name


def test_every_cell_ran_in_order_without_error(notebook):
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    outputs = [o for c in cells for o in c.outputs]
    assert outputs
    assert not [o for o in outputs if o.output_type == "error"]
    assert not [o for o in outputs if o.get("name") == "stderr"]
    printed = [[o.output_type == "stream" for o in cell.outputs] for cell in cells]
    assert not [p for p in printed if (True, True) in itertools.pairwise(p)]  # cut in two


def test_cells_are_short_and_parameters_plain(notebook):
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    assert max(len(c.source.splitlines()) for c in cells) <= 15
    tagged = [c for c in cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    names = tuple(line.split(" = ")[0] for line in tagged[0].source.splitlines())
    assert names in (PARAMETERS, (*PARAMETERS, *JUDGED))


def test_the_form_is_the_same(notebook):
    headings = [
        line[3:]
        for c in notebook.cells
        if c.cell_type == "markdown"
        for line in c.source.splitlines()
        if line.startswith("## ")
    ]
    title = notebook.cells[0].source
    if not title.startswith(("# Why", "# 3", "# A", "# Judge", "# Y", "# Z")):
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


def test_what_the_papers_leave_open_is_shown_where_they_do():
    """Every place that was read in one way or another, in the notebook of its section."""
    found = {
        section for own in published("frankle2021_readings")["sections"] for section in own.split()
    }
    for section in found:
        (path,) = (
            path for name, path in PATHS.items() if name.lstrip("0").startswith(f"{section}_")
        )
        cells = nbformat.read(path, as_version=4).cells
        assert any(f'printed.readings("{section}")' in cell.source for cell in cells), section


def test_no_notebook_decides_a_verdict(notebook):
    """`findings.decisions` does: no code cell has the word."""
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


def test_a_kernel_that_dies_is_told_in_a_sentence(tmp_path):
    """As the system ends one when memory is short; the other notebook is executed all the same."""
    for name, cell in (("dying", "import os\nos.kill(os.getpid(), 9)"), ("living", "print(1)")):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    jobs = [(tmp_path / f"{n}.ipynb", tmp_path / f"{n}-out.ipynb", {}) for n in ("dying", "living")]
    with pytest.raises(PrunelibError, match=r"1 of 2 .* failed:\ndying.*: its kernel died"):
        notebooks.execute_all(jobs, 1)
    living = nbformat.read(tmp_path / "living-out.ipynb", as_version=4)
    assert living.cells[0].outputs[0]["text"] == "1\n"


def test_the_index_which_shows_the_others_figures_is_executed_behind_them(tmp_path):
    other = f"import pathlib\npathlib.Path({str(tmp_path / 'drawn')!r}).touch()"
    index = f"open({str(tmp_path / 'drawn')!r}).close()"
    for name, cell in (("00_index", index), ("other", other)):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    jobs = [(tmp_path / f"{n}.ipynb", tmp_path / "out" / n, {}) for n in ("00_index", "other")]
    notebooks.execute_all(jobs, 1)


def test_what_a_cell_prints_is_refreshed_to_one_output_however_slowly(tmp_path):
    """The kernel flushes every fifth of a second: a slower machine would print in other parts.
    What is displayed between two lines stays there."""
    slowly = "print(1, flush=True); time.sleep(0.5); print(2); display(3); print(4)"
    cells = [nbformat.v4.new_code_cell(f"import time; {slowly}")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "slow.ipynb")
    notebooks.refresh(tmp_path / "slow.ipynb")
    (cell,) = nbformat.read(tmp_path / "slow.ipynb", as_version=4).cells
    texts = [output.get("text") or output.data["text/plain"] for output in cell.outputs]
    assert texts == ["1\n2\n", "3", "4\n"]


def test_where_there_are_no_notebooks_that_is_said(tmp_path, monkeypatch):
    """As where the package was installed without its checkout."""
    with pytest.raises(PrunelibError, match="there are no notebooks here"):
        notebooks.execute_all([], 1)
    monkeypatch.setattr(notebooks, "project_root", lambda: tmp_path)
    with pytest.raises(PrunelibError, match="there are no notebooks here"):
        notebooks.find("04")


@pytest.mark.usefixtures("registry")
def test_the_command_line_runs_notebooks_with_a_file_of_ones_own(tmp_path, monkeypatch):
    """Its setting and its method can be named there, from a path with a space; two files."""
    shutil.copy(Path(__file__).with_name("own_file.py"), tmp_path / "own file.py")
    second = "from prunelib import scores\nscores.register('second')(lambda model, batch: {})\n"
    (tmp_path / "second.py").write_text(second)
    asks = "from prunelib import scores, settings\n"
    asks += "print(settings.get('own_setting').epochs, scores.get('second').label)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(asks)])
    nbformat.write(notebook, tmp_path / "asking.ipynb")
    monkeypatch.setattr(notebooks, "paths", lambda: {"asking": tmp_path / "asking.ipynb"})
    files = ["--file", str(tmp_path / "own file.py"), "--file", str(tmp_path / "second.py")]
    command = ["figures", "asking", *files, "--executed", str(tmp_path / "out")]
    CliRunner().invoke(cli.app, command, catch_exceptions=False)
    executed = nbformat.read(tmp_path / "out" / "asking.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0]["text"] == "10 second\n"


def test_a_method_is_judged_on_a_setting_of_ones_own_in_its_notebook(tmp_path, monkeypatch):
    """To its last cell, which prunes that setting's network on that setting's data."""
    monkeypatch.setenv("PRUNELIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("PRUNELIB_FIGURES", str(tmp_path / "figures"))
    given = {"file": str(Path(__file__).with_name("own_file.py")), "method": "own_batches"}
    given |= {"setting": "own_setting", "profile": "smoke", "replicates": 1, "train": False}
    notebooks.execute(PATHS["X_your_method"], tmp_path / "out.ipynb", given)
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    printed = [o.text for c in executed.cells for o in c.get("outputs", []) if "text" in o]
    assert any("of the weights in common with magnitude pruning" in text for text in printed)
    assert any("recorded as: own_batches_" in text for text in printed)


def test_train_false_leaves_out_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PRUNELIB_RESULTS", str(tmp_path))
    page = Page("lenet_digits", "smoke", train=False, figure=3)
    page.train()
    assert capsys.readouterr().out == ""  # nothing stands above the answer
    for part in (page.accuracies, page.matching, page.draw):
        assert part() is None
        assert capsys.readouterr().out.startswith(
            "Figure 3 of lenet_digits, profile smoke, not run"
        )
    page.coverage()
    said = capsys.readouterr().out
    assert "13 not run" in said
    assert "Not run, and left out above" in said


@pytest.mark.parametrize(
    "name",
    [FOUR, "06_after_initialization", "J_layerwise", "S_weight_distributions", "Y_later_methods"],
)
def test_a_notebook_of_nothing_goes_on(name, tmp_path, monkeypatch):
    """To its last cell, saying of each figure and of each claim that it was not run; no table is
    without rows."""
    monkeypatch.setenv("PRUNELIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("PRUNELIB_FIGURES", str(tmp_path / "figures"))
    given = {"setting": "vgg16_cifar10", "profile": "smoke", "train": False}
    notebooks.execute(PATHS[name], tmp_path / "out.ipynb", given)
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    text = nbformat.writes(executed)
    assert re.search(r"of vgg16_cifar10, profile \w+, not run: ", text)
    assert "Empty DataFrame" not in text
    assert "NaN" not in text
    assert "FLOP of training; with train=True this notebook makes them." in text
    assert executed.cells[-1].execution_count
    assert not (tmp_path / "figures").exists()


def test_an_output_that_cannot_be_written_is_told_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("kept")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match=r"is a file|cannot be written"):
            notebooks.execute(PATHS[FOUR], folder / "out.ipynb")
    assert (tmp_path / "file").read_text() == "kept"


def test_figures_of_results_of_ones_own_lie_beside_them(tmp_path, monkeypatch):
    """And not over those of this project, which rest on its results."""
    assert paths.figures_root() == project_root() / "figures"
    monkeypatch.setenv("PRUNELIB_RESULTS", str(tmp_path))
    assert paths.figures_root() == tmp_path / "figures"
    monkeypatch.setenv("PRUNELIB_FIGURES", str(tmp_path / "elsewhere"))
    assert paths.figures_root() == tmp_path / "elsewhere"
    (tmp_path / "elsewhere").write_text("")
    with pytest.raises(StoreError, match=r"elsewhere is a file: .* in PRUNELIB_FIGURES"):
        paths.figures_root()


def test_find_takes_a_beginning():
    assert notebooks.find("04").stem == FOUR
    with pytest.raises(UnknownNameError, match="03_methods"):
        notebooks.find("4")


def _of(file, column, beginning, **run):
    return file, column, run, beginning


def _accuracy(beginning="page.accuracies()", file="resnet8_digits/paper.csv", **run):
    return _of(file, "test_accuracy", beginning, **run)


def _of_mask(column, beginning, setting="resnet8_digits", **run):
    return _of(f"{setting}/paper-masks.csv", column, beginning, method="snip", **run)


# Of each notebook a stored number, by its file, its column and the Run of its row; and the cell
# that shows what rests on it, by how its source begins.
_MODIFIED = "modified_resnet18_tinyimagenet"
_WEIGHTS = "resnet8_digits/paper-weights.csv"
STORED = {
    "00_index": _of("resnet8_digits/paper.csv", "replicate", "covered =", method="dense"),
    "01_introduction": _accuracy("data = page.data()", method="dense"),
    FOUR: _accuracy(method="snip"),
    "05_ablations": _accuracy(method="snip", ablation="shuffle"),
    "06_after_initialization": _accuracy(method="snip", prune_at="42", weights_from="42"),
    "B_snip": _accuracy('page.answer("B")', method="snip", sparsity="0.5904"),
    "C_grasp": _accuracy('page.answer("C")', method="grasp", sparsity="0.5904"),
    "D_synflow": _accuracy('page.answer("D")', method="dense"),
    "E_baselines": _accuracy(method="random"),
    "F_ablations_after": _accuracy(method="grasp", prune_at="end", weights_from="end"),
    "G_iterative_snip": _accuracy(method="iterative_snip"),
    "H_grasp_variants": _accuracy(method="grasp", ablation="invert"),
    "I_improved": _accuracy(method="synflow", ablation="shuffle"),
    "J_layerwise": _of_mask("layers", "data =", sparsity="0.865782"),
    "K_lenet": _accuracy("page(3).claims(", "lenet_mnist/paper.csv", method="snip"),
    "L_modified_resnet18": _of_mask("layers", "for figure, one in", _MODIFIED, sparsity="0.931281"),
    "M_effective_sparsity": _of_mask("effective_weights", "data ="),
    "X_your_method": _accuracy("report.table()", method="scaled_magnitude_442ca784"),
    "Y_later_methods": _accuracy("later.accuracies(", method="random"),
    "Z_claims": _accuracy('print(f"{len(claims', "lenet_mnist/paper.csv", method="snip"),
    "S_weight_distributions": _of(_WEIGHTS, "ks", "data =", method="snip", ablation="shuffle"),
}
# These read no results: a number of their committed output is changed, in the cell that has it.
PRINTED = {"03_methods": "layers = {m: analysis", "A_settings": "table = pd.DataFrame(["}


def _up_to(notebook, beginning):
    """A copy of a notebook that ends with the cell whose source begins so, and the cell's place;
    without cells that only draw, which take the longest and whose pictures nbval does not compare.
    """
    copy = deepcopy(notebook)
    copy.cells = [c for c in copy.cells if c.cell_type == "code" and ".draw()" not in c.source]
    chosen = [i for i, c in enumerate(copy.cells) if c.source.startswith(beginning)]
    assert len(chosen) == 1, f"{len(chosen)} cells begin with {beginning!r}"
    copy.cells = copy.cells[: chosen[0] + 1]
    return copy, chosen[0]


def _change(results, file, column, run):
    """Change one number of a copy of the store, the first in its column of the first row of a Run,
    and nothing else."""
    path = results / file
    run = {"ablation": "none", "prune_at": "0", "weights_from": "0", "init": "he"} | run
    with open(path, newline="") as stream:
        head, *rows = csv.reader(stream)
    row = next(r for r in rows if run.items() <= dict(zip(head, r, strict=True)).items())
    place = head.index(column)
    first, *rest = row[place].split()
    number = float(first) - 0.02 if "." in first else int(first) + 7
    row[place] = " ".join([str(number), *rest])
    with open(path, "w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([head, *rows])


def _nbval(path, results, figures):
    """Compare a notebook as CI does; the status, the cells that failed and what was said."""
    places = {"PRUNELIB_RESULTS": str(results), "PRUNELIB_FIGURES": str(figures)}
    options = ["--nbval", "--nbval-current-env", "-q", "-rf", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, path],
        capture_output=True,
        text=True,
        env=os.environ | places,
        timeout=300,
    )
    failed = [int(n) for n in re.findall(r"^FAILED .*::Cell (\d+)", done.stdout, re.MULTILINE)]
    return done.returncode, failed, done.stdout


@pytest.fixture
def copied(tmp_path):
    """A copy of the committed results."""
    return shutil.copytree(
        results_root(), tmp_path / "results", ignore=shutil.ignore_patterns(".*")
    )


def test_every_notebook_has_a_number_to_corrupt():
    assert sorted([*STORED, *PRINTED]) == sorted(PATHS)


@pytest.mark.parametrize("name", STORED)
def test_nbval_fails_on_one_corrupted_number(name, copied, tmp_path):
    """The comparison is alive in each notebook: one number changed in a copy of the store makes
    the cell fail that shows it, and the cells that set up what it needs pass.

    Cells behind it are left out. That all cells pass where nothing is corrupted is what `make test`
    tries with every notebook whole, and the next test with one.
    """
    *number, beginning = STORED[name]
    notebook, last = _up_to(nbformat.read(PATHS[name], as_version=4), beginning)
    nbformat.write(notebook, tmp_path / "copy.ipynb")
    _change(copied, *number)
    status, failed, said = _nbval(tmp_path / "copy.ipynb", copied, tmp_path / "figures")
    assert status == 1, said
    assert last in failed, said
    assert not {0, 1} & set(failed), said
    assert "Cell outputs differ" in said


def test_nbval_passes_on_the_numbers_as_they_are(copied, tmp_path):
    shutil.copy(PATHS[FOUR], tmp_path / "copy.ipynb")
    status, _, said = _nbval(tmp_path / "copy.ipynb", copied, tmp_path / "figures")
    assert status == 0, said


@pytest.mark.parametrize("name", PRINTED)
def test_nbval_fails_on_one_corrupted_output(name, copied, tmp_path):
    """In the notebooks that read no results: one digit of a table in the committed output."""
    notebook, last = _up_to(nbformat.read(PATHS[name], as_version=4), PRINTED[name])
    data = notebook.cells[last].outputs[-1]["data"]
    cell = re.search(r"<td>(\d)", data["text/html"])
    other = str((int(cell[1]) + 1) % 10)
    data["text/html"] = (
        data["text/html"][: cell.start(1)] + other + data["text/html"][cell.end(1) :]
    )
    nbformat.write(notebook, tmp_path / "copy.ipynb")
    status, failed, said = _nbval(tmp_path / "copy.ipynb", copied, tmp_path / "figures")
    assert (status, failed) == (1, [last]), said


def test_nothing_is_left_out_of_the_comparison_but_what_iterating_snip_amplifies(notebook):
    """nbval compares every output but pictures; a tag may take a cell out, and so may a file of
    patterns. Two cells are out: they train masks of 100 iterations, where another processor's
    rounding may bring others (Appendix G), and the text below them says so."""
    out = [c for c in notebook.cells if set(c.metadata.get("tags", [])) - {"parameters"}]
    assert not [c for c in notebook.cells if "NBVAL" in c.source]
    assert len(out) == (2 if notebook.cells[0].source.startswith("# G Iterative") else 0)
    for path in ("Makefile", "pyproject.toml"):
        assert "sanitize" not in (project_root() / path).read_text()


SLEEPING = """
import sys
from pathlib import Path
from prunelib.pages import notebooks
folder = Path(sys.argv[1])
notebooks.execute_all([(folder / "sleeping.ipynb", folder / "out.ipynb", {})], 1)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_kernel_ends_with_the_command(tmp_path, number):
    """Ctrl-C goes to the whole group, as a terminal sends it; SIGTERM to the command alone, which
    then cannot tell its worker. A kernel left behind would train on unseen."""
    beat = tmp_path / "beat"
    cell = f"import time, pathlib\nwhile True: pathlib.Path({str(beat)!r}).touch(); time.sleep(0.1)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nbformat.write(notebook, tmp_path / "sleeping.ipynb")
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPING, str(tmp_path)],
        stderr=(tmp_path / "said").open("w"),
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            _wait(beat.exists)
            send = os.killpg if number == signal.SIGINT else os.kill
            send(process.pid, number)
            process.wait(timeout=30)
            _wait(lambda: time.time() - beat.stat().st_mtime > 3)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    said = (tmp_path / "said").read_text()
    assert said.count("Traceback") == (number == signal.SIGINT), said  # the script's own


def _wait(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_files_name_with_braces_reaches_the_kernel_as_it_is():
    """Jupyter puts values in place of names in braces."""
    argument = notebooks._loading(Path("/mine/br{connection_file}'s.py"))
    assert "{" not in argument
    (_, line) = argument.split("exec_lines=")
    assert ast.literal_eval(line.split("load(")[1][:-1]) == "/mine/br{connection_file}'s.py"
