"""The sources of the site: what Sphinx makes pages of, gathered in one folder.

The pages are this project's documents and its executed notebooks, as they are committed, and those
of docs/, into which HTML goes that is computed here from results and figures. Nothing is executed.
"""

import json
import re
import shutil
import sys
from collections.abc import Sequence
from itertools import dropwhile, takewhile
from pathlib import Path

import nbformat

from prunelib.errors import BadValueError
from prunelib.findings import ledger
from prunelib.findings.ledger import Entry
from prunelib.findings.measures import Results
from prunelib.pages import explorer, gallery, notebooks, verdicts
from prunelib.paths import figures_root, project_root

DOCUMENTS = (
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md", "benchmarks/README.md",
)  # fmt: skip
# Where a link of a document leads that leads to a folder, or to the page that begins the site.
PLACES = {
    "README.md": "index.md",
    "results": "results/README.md",
    "notebooks": "notebooks/00_index.ipynb",
    "figures": "figures.md",
    "benchmarks": "benchmarks/README.md",
    "tests": "CONTRIBUTING.md",
    "prunelib": "api.md",
}
FIRST = ("figures", "claims", "explorer", "notebooks/00_index", "notebooks/Z_claims")
LAST = ("results/README", "benchmarks/README", "api", "references", "CONTRIBUTING", "CHANGELOG")
# Of the notebooks that each heading has: what their names begin with.
PARTS = {
    "The paper": "0123456789",
    "Its appendices": "ABCDEFGHIJKLM",
    "The follow-up": "S",
    "Other methods": "XY",
}
VEGA_LITE = "6.4"  # it draws the grammar of version 5, too, which is that of `explorer`


def navigation() -> dict[str, list[str]]:
    """The pages of the site behind the first, in the order of the papers, by heading."""
    left = [f"notebooks/{name}" for name in notebooks.paths()]
    left = [page for page in left if page not in FIRST]
    parts = {
        heading: [page for page in left if page.removeprefix("notebooks/")[0] in begin]
        for heading, begin in PARTS.items()
    }
    found = {"What was found": list(FIRST), **parts, "Reference": list(LAST)}
    return {heading: pages for heading, pages in found.items() if pages}


def retargeted(text: str) -> str:
    """A document of the root whose links to folders lead to pages."""

    def lead(found):
        target = found[1].rstrip("/")
        folder = target.split("/")[0] if (project_root() / target).is_dir() else target
        return f"]({PLACES.get(folder, target)})"

    return re.sub(r"\]\(([^)#:]+)\)", lead, text)


def arranged(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook as a page shows it.

    Its first cells of code, up to the next text, are folded: they set it up, and a reader looks for
    the answer that stands below them.
    """
    behind = dropwhile(lambda cell: cell.cell_type != "code", notebook.cells)
    for cell in takewhile(lambda cell: cell.cell_type == "code", behind):
        cell.metadata.tags = [*cell.metadata.get("tags", []), "hide-input"]
    return notebook


def gather(target: Path) -> None:
    """Write the sources of all pages into a folder, which is emptied first.

    Args:
        target: the folder. What is to be served as it is goes to `extra` in it.

    Raises:
        BadValueError: it holds something else.
    """
    root, extra, fragments = project_root(), target / "extra", target / "fragments"
    mark = fragments / ".prunelib"
    if target.exists() and any(target.iterdir()) and not mark.exists():
        raise BadValueError(f"{target} holds something else than sources of the site: empty it")
    shutil.rmtree(target, ignore_errors=True)
    fragments.mkdir(parents=True)
    mark.touch()  # first: it tells a folder that was begun from others
    shutil.copytree(root / "docs", target, dirs_exist_ok=True)
    shutil.copytree(figures_root(), extra / "figures")
    (target / "figures").symlink_to(extra / "figures")
    for name in ("notebooks", "results", "benchmarks"):
        (target / name).mkdir()
    for path in notebooks.paths().values():
        notebook = arranged(nbformat.read(path, as_version=4))
        nbformat.write(notebook, target / "notebooks" / path.name)
    for name in DOCUMENTS:
        text = (root / name).read_text(encoding="utf-8")
        (target / name).write_text(text if "/" in name else retargeted(text), encoding="utf-8")
        _bring(root, target, Path(name).parent, text)
    (target / "README.md").unlink()
    (target / "index.md").write_text(first_page(), encoding="utf-8")
    _compute(extra, fragments)


def _bring(root, target, folder, text):
    """Copy the files that a document links and that are no pages."""
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        path = (root / folder / link).resolve()
        inside = target / path.relative_to(root)
        if path.is_file() and path.suffix not in (".md", ".ipynb") and not inside.exists():
            inside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, inside)


def first_page() -> str:
    """The page that begins the site: the README, and the contents of the rest."""
    parts = [retargeted((project_root() / "README.md").read_text(encoding="utf-8"))]
    for heading, pages in navigation().items():
        head = ["```{toctree}", ":hidden:", f":caption: {heading}", ""]
        parts.append("\n".join([*head, *pages, "```\n"]))
    return "\n".join(parts)


def _compute(extra, fragments):
    """The parts of pages that are computed from results and figures."""
    import vl_convert  # of the extra "site", which nothing else here needs

    results = Results()
    entries = ledger.entries(results)
    ways = {"root": "", "notebooks": "notebooks/", "claims": "claims.html?figure={}"}
    tiles = gallery.tiles(results, entries)
    shown = gallery.gallery(tiles, **ways)
    (fragments / "gallery.html").write_text(shown, encoding="utf-8")
    table = verdicts.filterable(entries, "notebooks/").data
    (fragments / "claims.html").write_text(table, encoding="utf-8")
    (fragments / "counted.html").write_text(f"<p>{counted(entries)}</p>", encoding="utf-8")
    data = json.dumps(explorer.everything(results), separators=(",", ":"))
    (extra / "explorer.json").write_text(data, encoding="utf-8")
    script = vl_convert.javascript_bundle(vl_version=VEGA_LITE)
    (extra / "vega.js").write_text(script, encoding="utf-8")


def counted(entries: Sequence[Entry]) -> str:
    """The ledger in two sentences, HTML: what it says of the networks that claims speak of, by the
    papers' recipe, and of others."""
    named = [e for e in entries if e.named and e.profile == "paper"]
    others = [e for e in entries if not (e.named and e.profile == "paper")]
    return (
        f"<b>{len(named):,} claims about networks of the papers:</b> {verdicts.counted(named)}. "
        f"The same checks of other networks, or by less than the papers' recipe: "
        f"{verdicts.counted(others)}."
    )


if __name__ == "__main__":
    gather(Path(sys.argv[1]).resolve())
