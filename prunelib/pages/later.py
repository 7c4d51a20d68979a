"""The later methods beside each other, for the notebook Y_later_methods: the answer to the paper's
question, one table of methods and checks, and Figure 3 with their lines."""

import html
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
    return HTML(_table(later.entries(page.results, page.setting, page.profile)))


def elsewhere(page: Page) -> HTML:
    """The same, folded, for each other setting and profile of which the store has anything."""
    parts = []
    for setting, profile in page.results.pairs():
        found = later.entries(page.results, setting, profile)
        own = [e for entries in found.values() for e in entries if e.verdict != later.NOT_RUN]
        # What is read off masks is the same at every profile, and shown once.
        new = profile == "paper" or any(e.rests_on == TRAINED.name for e in own)
        if own and new and (setting, profile) != (page.setting, page.profile):
            said = f"{style.title(setting)}, profile {profile}: {verdicts.counted(own)}"
            parts.append(
                f"<details><summary>{html.escape(said)}</summary>"
                f"{_told(page.results, setting, profile, found, own)}{_table(found)}</details>"
            )
    return HTML("".join(parts) or "<p>Nothing of these methods was run elsewhere.</p>")


def _told(results, setting, profile, found, own) -> str:
    """HTML: the answers for another setting and profile, and what stands against them; `own` are
    the checks that were run."""
    lacking, about = sum(e.missing > 0 for e in own), (results, setting, profile)
    left = [f"{lacking} of the {len(own)} checks that were run lack some of their records."]
    left = left if lacking else []
    if not any(e.rests_on == TRAINED.name for e in own):
        said = ["Read off masks: nothing of these methods was trained here.", *left]
        return f"<p>{' '.join(said)}</p>"
    head = "".join(f"<p>{_bold(html.escape(s))}</p>" for s in (*_lead(*about), *left))
    points = [
        f"<li>{asked}<ul>{''.join(f'<li>{_bold(html.escape(s))}</li>' for s in parts)}</ul></li>"
        for asked, parts in later.answers(found, *about, label)
    ]
    return f"{head}<ol>{''.join(points)}</ol>"


def _table(found: Mapping[str, Sequence[Entry]]) -> str:
    """HTML: a row a check of which anything was run, a column a method."""
    by = {name: {e.id: e for e in own} for name, own in found.items()}
    rows = []
    for check, words in judge.words().items():
        own = [by[name].get(check) for name in found]
        known = [e for e in own if e]
        if any(e.verdict != later.NOT_RUN for e in known):
            cells = "".join(map(_cell, own))
            about = f"<td>{check}</td><th>{html.escape(words)}</th><td>{known[0].allowed}</td>"
            rows.append(f"<tr>{about}{cells}</tr>")
    if not rows:
        return "<p>Not run.</p>"
    heads = "".join(f"<th>{html.escape(label(name))}</th>" for name in found)
    head = f"<tr><th>as</th><th>check</th><th>allowed</th>{heads}</tr>"
    return (
        f'{_STYLE}<div class="later"><table><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(entry):
    if entry is None:
        return "<td>no ranking to invert</td>"
    colour = verdicts.LOOKS[entry.verdict][0]
    value = verdicts.effect(entry, 2) + "<br>" * (entry.effect is not None)
    ends = verdicts.interval(entry, " to ", 2) + ", " * (entry.low is not None)
    return (
        f'<td style="border-left:6px solid {colour}" title="{ends}n = {entry.replicates}">'
        f"{value}<small>{entry.verdict}</small></td>"
    )


def _bold(text):
    """What stands between its stars in bold type."""
    return "".join(
        f"<b>{part}</b>" if place % 2 else part for place, part in enumerate(text.split("**"))
    )


_STYLE = """<style>
.later {overflow-x: auto}
.later table td, .later table th {text-align: left !important; vertical-align: top}
.later tbody th {min-width: 15em; font-weight: normal}
</style>"""


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
    draw_unpruned(axis, data[data["line"] == "Unpruned"], "Unpruned")
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
