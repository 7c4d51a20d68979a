"""The gallery: each figure and table of the paper as a tile, with what was found and what there is.

Tiles are computed from the ledger, the records and the provenance beside the figures; only what a
figure is about is written here. The notebook 00_index and the site show the same tiles.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from prunelib import grids, settings
from prunelib.findings.ledger import Entry
from prunelib.findings.measures import Results
from prunelib.pages import homes, style, verdicts
from prunelib.pages.forms import FORMS
from prunelib.pages.page import Page
from prunelib.paths import figures_root
from prunelib.results.records import TRAINED

# Tables that are drawn together, or with a figure.
_DRAWN = {"Table 2": "tables-2-and-3", "Table 3": "tables-2-and-3", "7": "table-7"}


@dataclass
class Tile:
    """A figure or table: its name and what it is about; the notebook that shows it; a sentence of
    what was found; (setting, how much of it there is, name of its drawing or "") of each network;
    and the drawing to show."""

    key: str
    name: str
    subject: str
    notebook: str
    finding: str
    states: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def drawing(self) -> str:
        """The name of the drawing of the first network that has one, those at lower profiles
        behind the others, and LeNet last, which the paper keeps apart; "" if none has."""
        drawn = [(setting, name) for setting, _, name in self.states if name]
        drawn.sort(key=lambda pair: (settings.get(pair[0]).fully_connected, _is_lower(pair[1])))
        return drawn[0][1] if drawn else ""


def tiles(results: Results, entries: Sequence[Entry]) -> list[Tile]:
    """All figures and tables of the paper, in its order.

    Args:
        results: the records. entries: the ledger on them.
    """
    found = []
    for key, subject in style.SUBJECTS.items():
        own = [e for e in entries if e.figure == key]
        name = f"Figure {key}" if key.isdecimal() else key
        tile = Tile(key, name, subject, homes.HOMES[key], finding(own))
        found.append(tile)
        tile.states = list(_states(key, results))
    return found


def finding(entries: Iterable[Entry]) -> str:
    """What was found: how often each verdict was reached of the paper's networks, or elsewhere
    where none was, and the claim whose verdict is clearest, of LeNet only if there is no other."""
    entries = list(entries)
    if not entries:
        return "It makes no claim of its own."
    known = [e for e in entries if e.verdict != "not run"]
    own = [e for e in known if e.spoken] or known
    if not own:
        return "Nothing of it can be said from what was run."
    about = {name for e in own for name in e.setting.split(", ")}
    where = "the paper's networks" if own[0].spoken else "other networks, recipes or data"
    where = style.title(*about) if len(about) == 1 else where
    said = f"Of {where}: {verdicts.counted(own)}."
    if all(e.rests_on == verdicts.EXACT for e in own):
        said = f"{said[:-1]}, by printed and exact numbers alone."
    decided = [e for e in known if e.verdict != "undecided"]
    clearest = min(decided, default=None, key=_rank)
    if clearest:
        names = clearest.setting.split(", ")
        where = style.title(names[0]) if len(names) == 1 else f"{len(names)} networks"
        said += f" The clearest, of {where}: {clearest.claim} ({clearest.id}): {clearest.verdict}."
    return said


def _rank(entry):
    lenet = any(settings.get(name).fully_connected for name in entry.setting.split(", "))
    exact = entry.rests_on == verdicts.EXACT
    return lenet, exact, not entry.spoken, entry.p or 0


def _states(key, results):
    """(setting, how much there is, drawing) of a figure or table, the paper's networks first."""
    if key == "2":
        yield "Figures 3, 4 and 8", "made of their networks", ""
        return
    table = not key.isdecimal()
    number = int(key.removeprefix("Table "))
    grid = (grids.TABLES if table else grids.FIGURES).get(number)
    if table and grid is None:
        yield "", "made of what papers report; nothing is trained for it", ""
        return
    shown = grid or grids.FIGURES[3]  # masks are read of the networks that Figure 3 trains
    about = [s for s in settings.SETTINGS if shown.shows(s)]
    about += [s for s in settings.SETTINGS if s not in about and s in shown.about]
    for setting in about:
        share, drawing = _share(number, setting, results, table), _drawing(key, setting)
        if share or shown.shows(setting) or drawing:
            yield setting, share or "not run", drawing


def _share(number, setting, results, table):
    """The records that there are of those needed, at the highest profile that has any; "" if none
    but of unpruned networks is there."""
    for profile in settings.NEAREST_FIRST:
        if table:
            runs, kind = grids.table_runs(number, setting, profile), TRAINED
        else:
            runs, kind = Page(setting, profile, figure=number).runs, FORMS[number].kinds[0]
        held = results.records(kind, setting, profile)
        there = [run for run in runs if run in held]
        if any(run.method != "dense" for run in there):
            lower = "" if profile == "paper" else f", profile {profile}"
            return f"{len(there):,} of {len(runs):,} {kind.name}{lower}"
    return ""


def _drawing(key, setting):
    first = _DRAWN.get(key, f"figure-{int(key):02d}" if key.isdecimal() else _hyphened(key))
    names = [f"{first}-{setting}-{profile}" for profile in settings.NEAREST_FIRST]
    names.append(f"{first}-{setting}")
    return next((name for name in names if (figures_root() / f"{name}.png").exists()), "")


def _is_lower(drawing):
    return drawing.rpartition("-")[2] in settings.NEAREST_FIRST[1:]


def _hyphened(name):
    return name.lower().replace(" ", "-")


def described(name: str) -> str:
    """What a committed drawing shows, in words, from its name and its provenance."""
    found = json.loads((figures_root() / f"{name}.json").read_text(encoding="utf-8"))
    first = next(value for value in found.values() if isinstance(value, dict))
    subject, _, _ = name.partition(f"-{first['setting']}")
    title = subject.replace("-0", "-").replace("-", " ").capitalize()
    title = "Unpruned weights" if subject == "weights" else title
    about = style.SUBJECTS.get(title.removeprefix("Figure "), "") or style.SUBJECTS.get(title, "")
    about = f": {about.lower()}" if about else ""
    return f"{title}{about}, {style.title(first['setting'])}, profile {first['profile']}"


def linked(name: str, root: str) -> str:
    """HTML of the links from a drawing to its numbers and their provenance.

    Args:
        name: of the drawing. root: the way from the page to the folder that holds figures/.
    """
    return style.TEMPLATES.get_template("links.html").render(drawing=name, root=root)


def claims_of(name: str) -> str:
    """The figure or table, as the ledger names it, that a drawing's name begins with; "" if none.

    "figure-03-lenet_mnist-paper" is of "3", "table-5-resnet8_digits-paper" of "Table 5".
    """
    kind, _, rest = name.partition("-")
    number = rest.partition("-")[0]
    if kind not in ("figure", "table") or not number.isdecimal():
        return ""
    return (
        str(int(number)) if kind == "figure" or name.startswith(_DRAWN["7"]) else f"Table {number}"
    )


def _title(name):
    return style.title(name) if name in settings.SETTINGS else name


def _count(tile):
    known = [share for setting, share, _ in tile.states if setting in settings.SETTINGS]
    if not known:
        return "What it is made of"
    there = sum(share != "not run" for share in known)
    return f"{there} of {len(known)} networks, in whole or in part"


def gallery(
    found: Iterable[Tile], root: str = "../", notebooks: str = "", claims: str = "Z_claims.ipynb"
) -> str:
    """HTML of the tiles.

    Args:
        root: the way from the page to the folder that holds figures/. notebooks: that to the
            notebooks. claims: the page of claims, {} in it is the figure.
    """
    page = style.TEMPLATES.get_template("gallery.html")
    how = {"place": _place, "counted": _count, "described": described, "title": _title}
    return page.render(tiles=found, root=root, notebooks=notebooks, claims=claims, **how)


def _place(notebook):
    first = notebook.partition("_")[0]
    return f"Section {int(first)}" if first.isdecimal() else f"Appendix {first}"
