"""The project as a whole: its environment, its layout, its promises in the README."""

import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import nbformat.v4 as nbf
import pytest
import torch
import typer
import yaml

import prunelib
from prunelib import cli, datasets, masks, networks
from prunelib.errors import BadValueError
from prunelib.pages import front, notebooks, report, site
from prunelib.paths import project_root
from prunelib.results.store import Store

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, SETUPTOOLS = PYPROJECT["project"], PYPROJECT["tool"]["setuptools"]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
COMMANDS = re.findall(
    r"^(?: {4}|\t\$\(BIN\)/)prunelib (\w+)(.*?)(?: +#.*)?$",
    "".join((ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md", "Makefile")),
    re.MULTILINE,
)
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
    site = dict(map(_split, PROJECT["optional-dependencies"]["site"]))
    for name, bound in (_needed() | site).items():
        wanted = [int(part) for part in bound.removeprefix(">=").split(".")]
        found = [int(part) for part in pinned[name].split(".") if part.isdecimal()]
        assert found >= wanted, name


def test_the_site_documents_every_module():
    """It finds the modules inside of packages by itself."""
    listed = re.findall(
        r"^   prunelib\.(\w+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE
    )
    modules = {m.name for m in pkgutil.iter_modules(prunelib.__path__)}
    assert sorted(listed) == sorted(modules)


def test_the_site_has_every_notebook_and_document():
    pages = [page for pages in site.navigation().values() for page in pages]
    assert len(pages) == len(set(pages))
    assert {f"notebooks/{name}" for name in notebooks.paths()} <= set(pages)
    documents = {name.removesuffix(".md") for name in site.DOCUMENTS}
    assert documents - {"README"} <= set(pages)  # which begins the site


def test_the_site_empties_no_folder_of_something_else(tmp_path):
    (tmp_path / "thesis.tex").write_text("kept")
    with pytest.raises(BadValueError, match="holds something else than sources of the site"):
        site.gather(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "kept"


def test_links_to_folders_lead_to_pages_of_the_site():
    said = "[a](results/), [b](prunelib/engine), [c](README.md), [d](LICENSE), [e](https://x.org/)"
    assert site.retargeted(said) == (
        "[a](results/README.md), [b](api.md), [c](index.md), [d](LICENSE), [e](https://x.org/)"
    )


def test_a_page_folds_what_sets_a_notebook_up():
    cells = [
        nbf.new_markdown_cell("# 1 Title"),
        nbf.new_code_cell("setting = 1", metadata={"tags": ["parameters"]}),
        nbf.new_code_cell("train()"),
        nbf.new_markdown_cell("## Figure"),
        nbf.new_code_cell("draw()"),
    ]
    found = site.arranged(nbf.new_notebook(cells=cells)).cells
    tags = [cell.metadata.get("tags") for cell in found]
    assert tags == [None, ["parameters", "hide-input"], ["hide-input"], None, None]


def test_the_ledger_in_two_sentences_tells_the_papers_networks_from_others():
    verdicts = (
        ("supported", True, "paper"),
        ("not run", True, "paper"),
        ("agrees", True, "quick"),
        ("differs", False, "paper"),
    )
    entries = [SimpleNamespace(verdict=v, named=n, profile=p) for v, n, p in verdicts]
    assert site.counted(entries) == (
        "<b>2 claims about networks of the papers:</b> 1 supported, 1 not run. The same checks of "
        "other networks, or by less than the papers' recipe: 1 agrees, 1 differs."
    )


def test_an_installed_package_holds_all_of_it():
    """Packages are found, which needs a file __init__.py in each, and data files are named."""
    assert SETUPTOOLS["packages"] == {"find": {"include": ["prunelib*"]}}
    files = {p for p in (ROOT / "prunelib").glob("**/*") if p.is_file() and p.suffix != ".pyc"}
    modules = {path for path in files if path.suffix == ".py"}
    assert all((module.parent / "__init__.py") in modules for module in modules)
    patterns = SETUPTOOLS["package-data"]["prunelib"]
    named = {path for pattern in patterns for path in (ROOT / "prunelib").glob(pattern)}
    assert files - modules == named


def test_imports_go_one_way():
    """The layers are in pyproject.toml, lowest last."""
    done = subprocess.run([BIN / "lint-imports"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_training_needs_neither_jupyter_nor_papermill():
    absent = ("papermill", "nbformat", "nbconvert", "IPython", "jupyter_client")
    code = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in absent)
    code += "import prunelib.engine, prunelib.findings.ledger, prunelib.pages.draw, prunelib.cli"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_page_of_results_says_what_the_records_say():
    """results/README.md is generated: `prunelib report` writes it again."""
    store = Store(ROOT / "results")
    assert (store.root / "README.md").read_text() == report.text(store)


def test_the_readme_begins_with_what_the_ledger_says():
    text = (ROOT / "README.md").read_text()
    assert front.with_highlights(text, Store(ROOT / "results")) == text


def test_readme_commands_are_the_ones_ci_runs():
    readme = (ROOT / "README.md").read_text()
    ci = (ROOT / ".ci" / "run").read_text()
    for command in ("make figures", "make test"):
        assert re.search(rf"^\s+{command}\b", readme, re.MULTILINE)
        assert re.search(rf"^{command}$", ci, re.MULTILINE)


def test_make_figures_runs_every_notebook_once():
    text = (ROOT / "Makefile").read_text()
    named = re.findall(r"^(?:CORE|LENET|OTHERS) := (.*)$", text, re.MULTILINE)
    found = [notebooks.find(name).stem for names in named for name in names.split()]
    assert sorted(found) == sorted(notebooks.paths())


@pytest.mark.parametrize(("name", "arguments"), COMMANDS)
def test_the_commands_of_the_readme_can_be_given(name, arguments):
    """They are parsed, not run: what they train takes days."""
    command = typer.main.get_command(cli.app).commands[name]
    assert command.make_context(name, shlex.split(arguments)).command is command


def test_the_readme_has_commands_to_test():
    assert {"plan", "run", "merge", "figures", "report", "judge"} <= {name for name, _ in COMMANDS}


def _examples():
    """README.md and CONTRIBUTING.md."""
    return "".join((ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md"))


def test_the_examples_of_the_readme_work(registry):
    """On the digits, which need no download."""
    blocks = re.findall(r"```python\n(.*?)```", _examples(), re.DOTALL)
    names = {}
    for block in blocks:  # each by itself, as in a file of its own
        own = {}
        exec(block.replace("resnet20_cifar10", "lenet_digits"), own)
        names |= own
    assert masks.sparsity_of(names["mask"]) == pytest.approx(0.738, abs=1e-4)
    model, batch = networks.build("lenet_8x8"), datasets.scoring_batch("lenet_digits", seed=0)
    own, magnitude = (masks.prune(model, m, 0.5, batch) for m in ("mine", "magnitude"))
    assert all(torch.equal(own[name], magnitude[name]) for name in own)
    batches = datasets.training_batches("lenet_digits", 0, 3)
    for method, data in (("back", batch), ("after_steps", batches), ("whole", None)):
        mask = masks.prune(model, f"mine_{method}", 0.9, data)
        assert masks.kept(mask) == 50200 - round(0.9 * 50200)
        masks.check(model, f"mine_{method}", data)
    setting = names["settings"].get("my_blobs")
    assert datasets.load(setting.dataset).train_size == 300
    assert networks.classes(setting.network) == 2


def test_examples_of_methods_are_short():
    blocks = re.findall(r"```python\n(.*?)```", _examples(), re.DOTALL)
    methods = [block for block in blocks if "@scores.register" in block or "@masks." in block]
    assert len(methods) == 5
    for block in methods:
        assert len(block[block.index("@") :].splitlines()) <= 15


def test_the_citation_is_of_this_version_and_names_both_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what the format asks
    assert citation["version"] == prunelib.__version__
    cited = [work["authors"][0]["family-names"] for work in citation["references"]]
    assert cited == ["Frankle", "Singh"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_have_no_conflict_that_a_merge_left(document):
    assert not re.search(r"^(<{7} |>{7} )", (ROOT / document).read_text(), re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_show_only_files_that_exist(document):
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / document).read_text()):
        assert (ROOT / target).exists(), target


def test_modules_that_contributing_names_exist():
    """Every path, and every module of the table of the house."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`((?:prunelib|tests|benchmarks)/[\w/.]*)`", text)
    assert len(paths) > 10
    for path in paths:
        assert (ROOT / path).exists(), path


def test_no_module_is_longer_than_contributing_says():
    lengths = {p: len(p.read_text().splitlines()) for p in project_root().glob("prunelib/**/*.py")}
    assert len(lengths) > 90
    assert not {str(path): count for path, count in lengths.items() if count > 350}
