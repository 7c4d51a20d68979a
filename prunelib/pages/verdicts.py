"""The ledger in front of people: as a table, as an answer in words, and to choose from."""

import json
from collections.abc import Iterable, Sequence

import pandas as pd
from IPython.display import HTML, Markdown
from tabulate import tabulate

from prunelib import settings
from prunelib.errors import check_name
from prunelib.findings import claims, ledger
from prunelib.findings.ledger import EXACT, Entry
from prunelib.findings.measures import Results
from prunelib.pages import homes, style

# Each verdict, its colour and the marker that tells it from others in grey.
LOOKS = {
    "supported": ("#0a6e5e", "s"),
    "agrees": ("#7cc4b4", "s"),
    "undecided": ("#d6bb0f", "D"),
    "differs": ("#e89a6b", "X"),
    "not supported": ("#c23b00", "X"),
    "not run": ("#d4d8da", "."),
}
AGAINST = ("not supported", "differs")  # a claim
GROUPS = {
    EXACT: lambda e: e.rests_on == EXACT,
    "the paper's networks": lambda e: (
        e.named and e.profile == "paper" and e.setting != "lenet_mnist" and e.rests_on != EXACT
    ),
    "LeNet on MNIST": lambda e: (
        e.setting == "lenet_mnist" and e.profile == "paper" and e.rests_on != EXACT
    ),
    "the miniature": lambda e: e.setting == "resnet8_digits" and e.profile == "paper",
}
FORMS = ("table", "json", "csv", "schema")
COLUMNS = (
    "id", "verdict", "claim", "setting", "profile", "n", "effect", "interval", "smallest, largest",
    "allowed", "decided by", "at half, twice the margin", "by own spreads",
)  # fmt: skip
SHOWN = 3  # lines of a list in an answer that are not folded


def table(entries: Iterable[Entry]) -> pd.DataFrame:
    """Entries of the ledger, as a notebook shows them.

    Returns:
        data frame of text, a row an entry: id, verdict, claim, setting, profile, n (replicates),
        effect of the part that decides with its unit, its interval, the smallest and the largest of
        what it is the mean of, what is allowed, which part decides, the verdicts at half and at
        twice the margin where there is one, and that by each curve's own spread where it is pooled.
    """
    rows = [
        {
            "id": e.id,
            "verdict": e.verdict,
            "claim": e.claim,
            "setting": e.setting,
            "profile": e.profile,
            "n": e.replicates,
            "effect": effect(e),
            "interval": interval(e),
            "smallest, largest": e.ends,
            "allowed": e.allowed,
            "decided by": "; ".join(filter(None, (style.in_words(e.part), short(e)))),
            "at half, twice the margin": f"{e.half}; {e.twice}" if e.half else "",
            "by own spreads": e.alone,
        }
        for e in entries
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def effect(entry: Entry, decimals: int = 3) -> str:
    """The effect of an entry with its unit, and with its sign where it is a difference; "" where
    there is none.

    Args:
        decimals: of percentages and points; ratios and other numbers have five digits.
    """
    if entry.effect is None:
        return ""
    differs = entry.unit == "points" and entry.kind not in ("value", "count")
    number = _number(entry.effect, entry.unit, decimals)
    return f"{'+' if differs and entry.effect > 0 else ''}{number} {entry.unit}".rstrip()


def interval(entry: Entry, to: str = " … ", decimals: int = 3) -> str:
    """The ends of the interval that decides an entry, written as `effect`; "" where there is none.

    Args:
        to: what stands between them.
    """
    if entry.low is None:
        return ""
    return to.join(_number(end, entry.unit, decimals) for end in (entry.low, entry.high))


def _number(value, unit, decimals):
    """So many decimals of percentages and points; five digits of ratios and other numbers."""
    return f"{round(value, decimals):zg}" if unit in ("%", "points") else f"{value:z.5g}"


def short(entry: Entry) -> str:
    """What to add where a claim does not hold though its effect has the direction that is claimed;
    "" elsewhere."""
    return f"{entry.allowed.partition(' ')[0]}, but by less than counts" if entry.short else ""


def counted(entries: Iterable[Entry]) -> str:
    """How often each verdict was reached, in words, in the order of `LOOKS`."""
    found = [e.verdict for e in entries]
    said = [_many(found.count(name), name) for name in LOOKS if name in found]
    return ", ".join(said) or "no verdict"


def _many(count, verdict):
    """As "1 agrees", "2 agree", "2 supported"."""
    verb = verdict in ("agrees", "differs") and count != 1
    return f"{count} {verdict.removesuffix('s') if verb else verdict}"


def printed(sections: Sequence[str], names: Sequence[str], wanted: Sequence[str], form: str) -> str:
    """The ledger on the results, as text.

    Args:
        sections, names, wanted: only the entries of these sections, settings and verdicts; all
            where there is none.
        form: one of `FORMS`.

    Raises:
        UnknownNameError: for a section, setting, verdict or form that there is not.
    """
    check_name("format", form, FORMS)
    if form == "schema":
        return json.dumps(ledger.ENTRIES.json_schema(), indent=2)
    names = [settings.recorded(name) for name in names]
    known = dict.fromkeys(claim.section for claim in claims.every())
    for kind, given, allowed in (
        ("section", sections, known),
        ("setting", names, settings.SETTINGS),
        ("verdict", wanted, LOOKS),
    ):
        for name in given:
            check_name(kind, name, allowed)
    chosen = [c for c in claims.every() if not sections or c.section in sections]
    found = [
        e
        for e in ledger.entries(Results(), chosen, [(n, "paper") for n in names])
        if (not names or set(names) & set(e.setting.split(", ")))
        and (not wanted or e.verdict in wanted)
    ]
    if form == "json":
        return ledger.ENTRIES.dump_json(found, indent=2).decode()
    if form == "csv":
        return pd.DataFrame([e.model_dump() for e in found]).to_csv(index=False).rstrip()
    left = ["smallest, largest", "allowed", "at half, twice the margin", "by own spreads"]
    shown = table(found).drop(columns=left)
    lines = tabulate(shown, headers="keys", showindex=False, disable_numparse=True, maxcolwidths=44)
    return f"{lines}\n\n{counted(found)}"


def answer(entries: Sequence[Entry], setting: str, profile: str) -> Markdown:
    """What the ledger says of one setting and profile claim by claim, and of others in counts.

    Where no claim speaks of the setting, all are counted, and those that do not hold are named. Of
    a long list the first lines are shown, the rest is folded.

    Args:
        entries: of the sections in question. setting, profile: names.
    """
    own = [e for e in entries if here(e, setting, profile)]
    parts = [f"**What was found here**, for {_about(setting, profile)}: {counted(own)}."]
    if not own:
        said = f"{counted(entries)}; {nothing(setting, profile)}"
        parts = [f"**What was found**: {said}."]
    for verdict in LOOKS:
        named = own or [e for e in entries if e.verdict in AGAINST]
        said = dict.fromkeys(_found(e) for e in named if e.verdict == verdict)
        if said and verdict != "not run":
            parts += [f"*{verdict.capitalize()}*:", _listed(said)]
    others: dict[tuple[str, str], list[Entry]] = {}
    for e in entries:
        if not here(e, setting, profile):
            others.setdefault((e.setting, e.profile), []).append(e)
    if others:
        elsewhere = [f"{_about(*where)}: {counted(found)}" for where, found in others.items()]
        parts += [f"{'Elsewhere' if own else 'By network'}:", _listed(elsewhere)]
    return Markdown("\n\n".join(parts))


def nothing(setting: str, profile: str) -> str:
    """That no entry is about a setting and profile, and why that can be."""
    return f"no claim is about {_about(setting, profile)}, or nothing was run that decides one"


def _found(entry):
    """A claim with its number and, of what was measured, its effect and interval; of what was
    counted, where the most of it is."""
    if entry.rests_on == EXACT or not interval(entry):
        return f"{entry.claim} ({entry.id})"
    if entry.kind == "count":
        most = f"{style.in_words(entry.part)}, {entry.measure}: {effect(entry, 2)}"
        return f"{entry.claim} ({entry.id}: {most}, allowed {entry.allowed})"
    found = (effect(entry, 2), interval(entry, " to ", 2), short(entry))
    return f"{entry.claim} ({entry.id}: {', '.join(filter(None, found))})"


def _about(names, profile):
    said = ", ".join(map(style.title, names.split(", ")))
    return said if profile == "paper" else f"{said}, profile {profile}"


def _listed(lines):
    """A list in Markdown, of which the first few are shown."""
    items = [f"- {line}" for line in lines]
    if len(items) <= SHOWN + 1:
        return "\n".join(items)
    first, rest = "\n".join(items[:SHOWN]), "\n".join(items[SHOWN:])
    summary = f"<summary>The other {len(items) - SHOWN} of {len(items)}</summary>"
    return f"{first}\n\n<details>{summary}\n\n{rest}\n\n</details>"


def here(entry: Entry, setting: str, profile: str) -> bool:
    """Whether an entry is about a setting and profile."""
    return setting in entry.setting.split(", ") and entry.profile == profile


def summary(entries: Sequence[Entry]) -> pd.DataFrame:
    """How often each verdict was reached: a row a group of networks and kind of records, a column
    a verdict."""
    rows = {}
    for name, belongs in GROUPS.items():
        own = [e for e in entries if belongs(e)]
        for kind in dict.fromkeys(e.rests_on for e in own):
            found = [e.verdict for e in own if e.rests_on == kind]
            rows[name, kind] = {verdict: found.count(verdict) for verdict in LOOKS}
    index = pd.MultiIndex.from_tuples(rows, names=["of", "rests on"])
    return pd.DataFrame(list(rows.values()), index)


def filterable(entries: Sequence[Entry], notebooks: str = "") -> HTML:
    """The ledger as a table whose rows can be chosen by section, figure, setting and verdict, which
    the address may say (`?figure=3`), or by a word.

    It needs no library and no network; without scripts all rows are shown.

    Args:
        notebooks: the way from the page to the notebooks that its links lead to.
    """
    names = ("section", "figure", "setting", "verdict")
    choices = {n: sorted({getattr(e, n) for e in entries} - {""}, key=_place) for n in names}
    rows = [(e, _cells(e), homes.home(e), _shown_in(e)) for e in entries]
    page = style.TEMPLATES.get_template("ledger.html")
    return HTML(page.render(choices=choices, rows=rows, looks=LOOKS, notebooks=notebooks))


def _cells(e):
    """What `filterable` shows of an entry, up to the notebook that it is shown in."""
    ends = interval(e) + (f" ({e.ends})" if e.ends else "")
    cost = f"{e.missing} missing, {e.pflop:,.4g} PFLOP" if e.verdict == "not run" else ""
    about = (e.id, e.verdict, e.claim, e.setting, e.profile, str(e.replicates))
    part = "; ".join(filter(None, (style.in_words(e.part) or cost, short(e))))
    return (*about, effect(e), ends, e.allowed, part, e.half, e.twice, e.alone, e.place)


def _shown_in(e):
    return f"Figure {e.figure}" if e.figure.isdecimal() else e.figure or homes.home(e)


def _place(value):
    """Numbers by their size, before words."""
    return (not value.isdecimal(), int(value) if value.isdecimal() else 0, value)
