"""The project as a whole: its environment, its layout, its promises in the README."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from prunelib.pages import report
from prunelib.results.store import Store

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib", "seaborn-base": "seaborn"}
BIN = Path(sys.executable).parent


def _split(requirement):
    name, bound = re.fullmatch(r"([\w.-]+)(.*)", requirement).groups()
    return name, bound


def _needed():
    """What the tests need: dict from name to bound. They run the cluster's too."""
    extras = PROJECT["optional-dependencies"]
    assert "prunelib[cluster]" in extras["test"]
    listed = PROJECT["dependencies"] + extras["cluster"] + extras["test"]
    return dict(_split(line) for line in listed if line != "prunelib[cluster]")


def test_both_environments_agree():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    listed = [_split(line) for line in conda["dependencies"] if isinstance(line, str)]
    theirs = {CONDA_NAMES.get(name, name): bound for name, bound in listed if name != "pip"}
    assert theirs == _needed() | {"python": PROJECT["requires-python"]}
    assert conda["channels"] == ["conda-forge"]


def test_pinned_versions_satisfy_the_bounds_and_name_no_address():
    lines = (ROOT / "constraints.txt").read_text().split()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    pinned = {
        name.lower().replace("_", "-"): version
        for name, version in (line.split("==") for line in lines)
    }
    for name, bound in _needed().items():
        wanted = [int(part) for part in bound.removeprefix(">=").split(".")]
        found = [int(part) for part in pinned[name].split(".") if part.isdecimal()]
        assert found >= wanted, name


def test_imports_go_one_way():
    """The layers are in pyproject.toml, lowest last."""
    done = subprocess.run([BIN / "lint-imports"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_training_needs_neither_jupyter_nor_papermill():
    absent = ("papermill", "nbformat", "nbconvert", "IPython", "jupyter_client")
    code = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in absent)
    code += "import prunelib.engine, prunelib.findings.claims, prunelib.pages.draw, prunelib.cli"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_page_of_results_says_what_the_records_say():
    """results/README.md is generated: `prunelib report` writes it again."""
    store = Store(ROOT / "results")
    assert (store.root / "README.md").read_text() == report.text(store)


def test_readme_commands_are_the_ones_ci_runs():
    readme = (ROOT / "README.md").read_text()
    ci = (ROOT / ".ci" / "run").read_text()
    for command in ("make figures", "make test"):
        assert re.search(rf"^\s+{command}\b", readme, re.MULTILINE)
        assert re.search(rf"^{command}$", ci, re.MULTILINE)


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "environment.yml", "Makefile"])
def test_top_level(name):
    assert (ROOT / name).stat().st_size > 200


def test_readme_shows_only_files_that_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target
