"""The project as a whole: its environment, its layout, its promises in the README."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from prunelib import report
from prunelib.store import Store

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib", "seaborn-base": "seaborn"}

# Imports go one way: a module imports only those above it.
ORDER = [
    "errors", "seeds", "paths", "numerics", "settings", "networks", "datasets", "scores", "masks",
    "training", "fused", "bench", "runs", "store", "workers", "engine", "analysis", "measures",
    "figures", "claims", "report", "notebooks", "cli",
]  # fmt: skip


def _split(requirement):
    name, bound = re.fullmatch(r"([\w.-]+)(.*)", requirement).groups()
    return name, bound


def test_both_environments_agree():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    listed = [_split(line) for line in conda["dependencies"] if isinstance(line, str)]
    theirs = {CONDA_NAMES.get(name, name): bound for name, bound in listed if name != "pip"}
    needed = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    ours = dict(_split(line) for line in needed) | {"python": PROJECT["requires-python"]}
    assert theirs == ours
    assert conda["channels"] == ["conda-forge"]


def test_pinned_versions_satisfy_the_bounds_and_name_no_address():
    lines = (ROOT / "constraints.txt").read_text().split()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    pinned = {
        name.lower().replace("_", "-"): version
        for name, version in (line.split("==") for line in lines)
    }
    needed = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    for name, bound in map(_split, needed):
        wanted = [int(part) for part in bound.removeprefix(">=").split(".")]
        found = [int(part) for part in pinned[name].split(".") if part.isdecimal()]
        assert found >= wanted, name


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prunelib"):
            tail = node.module.removeprefix("prunelib").lstrip(".")
            yield from [tail] if tail else [alias.name for alias in node.names]


def test_imports_go_one_way():
    modules = {p.stem: p for p in (ROOT / "prunelib").glob("*.py") if p.stem != "__init__"}
    assert sorted(modules) == sorted(ORDER)
    for name, path in modules.items():
        for imported in _imports(path):
            assert ORDER.index(imported) < ORDER.index(name), f"{name} imports {imported}"


def test_training_needs_neither_jupyter_nor_papermill():
    absent = ("papermill", "nbformat", "nbconvert", "IPython", "jupyter_client")
    code = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in absent)
    code += "import prunelib.engine, prunelib.figures, prunelib.claims, prunelib.cli"
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
