"""The later methods beside each other, for the notebook Y_later_methods: the answer to the paper's
question, one table of methods and checks, and Figure 3 with their lines."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from IPython.display import HTML, Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prunelib import scores, settings
from prunelib.findings import judge, later
from prunelib.findings.ledger import Entry
from prunelib.grids import LATER
from prunelib.pages import draw, style, verdicts
from prunelib.pages.axes import WIDTH, enlarged, legend, line, noted, panels, sparsity_axis, width
from prunelib.pages.axes import unpruned as draw_unpruned
from prunelib.pages.evidence import basis
from prunelib.pages.page import Page
from prunelib.pages.shown import in_words
from prunelib.results.records import TRAINED
from prunelib.runs import EARLY_METHODS

MARK, RANDOM = style.METHODS["magnitude after training"], style.METHODS["random"]
BAND = "From the lowest to the highest of the paper's early methods (means)"


def label(method: str) -> str:
    """The name of a method for people."""
    return style.method(method).label


def answer(page: Page) -> Markdown:
    """The answer to the paper's question for the setting and profile of a page, see
    `findings.later`."""
    about = page.results, page.setting, page.profile
    said = later.answers(later.entries(*about), *about, label)
    lines = ["1. " + "\n    - ".join((asked, *parts)) for asked, parts in said]
    return Markdown("\n\n".join([*_lead(*about), "\n".join(lines)]))


def _lead(*about) -> list[str]:
    """What stands above the answers: the agenda, and a reservation."""
    return [said for said in (later.agenda(*about, label), later.schedule(*about, label)) if said]


def table(page: Page) -> HTML:
    """Every check on every method, with its effect and verdict."""
    return _html([{"rows": _rows(later.entries(page.results, page.setting, page.profile))}])


def elsewhere(page: Page) -> HTML:
    """The same, folded, for each other setting and profile of which the store has anything."""
    parts = []
    for setting, profile in page.results.pairs():
        found = later.entries(page.results, setting, profile)
        own = [e for entries in found.values() for e in entries if e.verdict != later.NOT_RUN]
        # What is read off masks is the same at every profile, and shown once.
        new = profile == "paper" or any(e.rests_on == TRAINED.name for e in own)
        if own and new and (setting, profile) != (page.setting, page.profile):
            summary = f"{style.title(setting)}, profile {profile}: {verdicts.counted(own)}"
            lead, asked = _told(page.results, setting, profile, found, own)
            parts.append({"summary": summary, "lead": lead, "asked": asked, "rows": _rows(found)})
    return _html(parts)


def _told(results, setting, profile, found, own) -> tuple[list[str], list]:
    """The answers for another setting and profile, and what stands above them; `own` are the
    checks that were run."""
    lacking, about = sum(e.missing > 0 for e in own), (results, setting, profile)
    left = [f"{lacking} of the {len(own)} checks that were run lack some of their records."]
    left = left if lacking else []
    if not any(e.rests_on == TRAINED.name for e in own):
        said = ["Read off masks: nothing of these methods was trained here.", *left]
        return [" ".join(said)], []
    return [*_lead(*about), *left], later.answers(found, *about, label)


def _rows(found: Mapping[str, Sequence[Entry]]) -> list[tuple]:
    """(id of a check, the check in words, what is allowed, the entry of each method or None) of
    each check of which anything was run."""
    by = [{e.id: e for e in own} for own in found.values()]
    rows = []
    for check, words in judge.words().items():
        known = [own[check] for own in by if check in own]
        if any(e.verdict != later.NOT_RUN for e in known):
            rows.append((check, words, known[0].allowed, [own.get(check) for own in by]))
    return rows


def _html(parts: Sequence[Mapping]) -> HTML:
    page = style.TEMPLATES.get_template("later.html")
    about = {name: getattr(verdicts, name) for name in ("effect", "interval")}
    return HTML(
        page.render(
            parts=parts, names=[label(name) for name in LATER], looks=verdicts.LOOKS, **about
        )
    )


def draw_lines(page: Page, beside: Page) -> Figure | None:
    """Test accuracy against sparsity: methods that give whole masks, and those that score weights,
    beside magnitude pruning after training, random pruning and the band of the paper's early
    methods; saved with its provenance. None where nothing was run, which is then printed.

    Args:
        page: of the figure "Y". beside: of Figure 3, of the same setting and profile.
    """
    data = lines(page, beside)
    if not set(data["line"]) & {label(name) for name in LATER}:
        print(f"Later methods on {page.setting}, profile {page.profile}: {later.NOT_RUN}.")
        return None
    found = [page.evidence(), beside.evidence()]
    title = f"Later methods: {style.title(page.setting)}"
    note = "means; a band of one standard deviation around the unpruned network alone"
    title = noted(f"{title}\n{basis(found, page.profile)}", note)
    low, high = enlarged(data[data["line"] != RANDOM.label])
    ticks = settings.sparsities(page.setting, page.profile)
    whole = [name for name in LATER if scores.get(name).kind == "mask"]
    groups = {
        "Methods that give a whole mask": whole,
        "Methods that score weights": [name for name in LATER if name not in whole],
    }
    with panels(title, (WIDTH, 5.6), (1, 2), sharey=True) as (fig, axes):
        for axis, (name, methods) in zip(axes[0], groups.items(), strict=True):
            _panel(axis, data, [MARK, *map(style.method, methods), RANDOM], page.asked, ticks)
            axis.set_title(name)
        axes[0, 0].set(ylabel="Test accuracy (%)", ylim=(low, high))
        legend(fig)
    name = f"figure-Y-lines-{page.setting}-{page.profile}"
    made = {"later": found[0].provenance, "beside": found[1].provenance}
    draw.save(fig, name, data, made)
    return in_words(fig)


def _panel(axis: Axes, data: pd.DataFrame, looks: Sequence[style.Look], asked: int, ticks) -> None:
    draw_unpruned(axis, data, {look.label: look.label for look in style.UNPRUNED.values()})
    early = data[data["line"].isin([label(name) for name in EARLY_METHODS])]
    if len(early):
        ends = early.groupby("remaining")["accuracy"].agg(["min", "max"])
        hatched = {"facecolor": "none", "edgecolor": "#a9a9a9", "hatch": "////", "linewidth": 0.4}
        axis.fill_between(ends.index, ends["min"], ends["max"], **hatched, label=BAND)
    for look in looks:
        rows = data[data["line"] == look.label]
        if len(rows):
            said = draw.counted(data, look.label, asked, len(ticks))
            bare = rows.assign(std=math.nan)  # bands of so many lines would hide them
            line(axis, rows["remaining"], rows["accuracy"], bare, look, said)
    sparsity_axis(axis, ticks, width(axis))


def accuracies(page: Page, beside: Page) -> pd.DataFrame | None:
    """The mean accuracies of `lines` in percent, a row a line, a column a sparsity; None where
    nothing was run, which is then printed."""
    data = lines(page, beside)
    if data.empty:
        print(f"{page.setting}, profile {page.profile}: {later.NOT_RUN}.")
        return None
    table = data.pivot(index="line", columns="sparsity", values="accuracy").round(1)
    return table.loc[data["line"].unique()].astype(object).fillna("")


def lines(page: Page, beside: Page) -> pd.DataFrame:
    """The numbers of `draw_lines`, as `curves.accuracy_data` has them: Figure 3, and each later
    method unmodified."""
    own = page.accuracy_data()
    own = own[own["line"] == style.VARIANTS["none"].label]
    own = own.assign(line=own["panel"].map(label), panel="")
    return pd.concat([beside.accuracy_data(), own], ignore_index=True)
