"""The ledger in front of people: of entries that are made up, what tables and pictures say."""

import re

import pytest
from matplotlib.colors import to_hex

from prunelib.findings.ledger import Entry
from prunelib.pages import draw_ledger, homes, verdicts

ENTRY = Entry(
    id="5.03", section="5", place="Shuffling", claim="SNIP loses nothing", kind="equivalence",
    measure="accuracy", rests_on="trained networks", setting="lenet_mnist", profile="paper",
    data="", precision="fp32", named=True, spoken=True, replicates=3, unit="points", effect=-0.25,
    low=-0.5, high=0.125, ends="-1.0 at 98.2 % … 0.5 at 20.0 %", allowed="not lower (0.3)",
    reason="one", part="snip+shuffle against snip", verdict="undecided", half="not supported",
    twice="supported", alone="supported", short=False, p=0.2, missing=0, pflop=0.0, figure="4",
)  # fmt: skip


def entry(**changes):
    return ENTRY.model_copy(update=changes)


def test_a_row_says_what_an_entry_has():
    found = verdicts.table([ENTRY, entry(effect=None, low=None, high=None, half="", twice="")])
    assert found.iloc[0].to_dict() == {
        "id": "5.03",
        "verdict": "undecided",
        "claim": "SNIP loses nothing",
        "setting": "lenet_mnist",
        "profile": "paper",
        "n": 3,
        "effect": "-0.25 points",
        "interval": "-0.5 … 0.125",
        "smallest, largest": "-1.0 at 98.2 % … 0.5 at 20.0 %",
        "allowed": "not lower (0.3)",
        "decided by": "shuffled SNIP against SNIP",
        "at half, twice the margin": "not supported; supported",
        "by own spreads": "supported",
    }
    (less,) = verdicts.table([entry(allowed="lower (0.3)", short=True)])["decided by"]
    assert less == "shuffled SNIP against SNIP; lower, but by less than counts"
    empty = ["effect", "interval", "at half, twice the margin"]
    assert found.loc[1, empty].tolist() == ["", "", ""]


@pytest.mark.parametrize(
    ("changes", "effect", "interval"),
    [
        ({"effect": 0.25}, "+0.25 points", "-0.5 … 0.125"),
        ({"effect": -0.0001, "high": -0.0004}, "0 points", "-0.5 … 0"),  # never minus zero
        ({"kind": "value", "effect": 0.25}, "0.25 points", "-0.5 … 0.125"),  # no difference
        (
            {"unit": "%", "kind": "count", "effect": 100, "low": 100, "high": 100},
            "100 %",
            "100 … 100",
        ),
        (
            {"unit": "", "effect": 1.00257, "low": 1.002, "high": 1.00314},
            "1.0026",
            "1.002 … 1.0031",
        ),
        ({"unit": "layers", "effect": 2, "low": None}, "2 layers", ""),
        ({"effect": None, "low": None}, "", ""),
    ],
)
def test_effects_have_units_and_differences_signs(changes, effect, interval):
    found = entry(**changes)
    assert (verdicts.effect(found), verdicts.interval(found)) == (effect, interval)


def test_an_answer_says_how_much():
    exact = entry(id="A.01", claim="It has 3", rests_on="exact numbers")
    said = verdicts.answer([ENTRY, exact], "lenet_mnist", "paper").data
    assert "- SNIP loses nothing (5.03: -0.25 points, -0.5 to 0.12)\n" in said
    assert said.endswith("- It has 3 (A.01)")


GROUPED = (
    ("exact numbers", {"rests_on": "exact numbers"}),
    ("exact numbers", {"rests_on": "exact numbers", "setting": "vgg16_cifar10"}),
    ("the paper's networks", {"setting": "vgg16_cifar10"}),
    ("LeNet on MNIST", {}),
    ("LeNet on MNIST", {"named": False}),
    ("the miniature", {"setting": "resnet8_digits", "named": False}),
    (None, {"setting": "vgg16_cifar10", "profile": "quick"}),
    (None, {"setting": "vgg16_cifar10", "named": False}),
    (None, {"profile": "quick"}),
)


@pytest.mark.parametrize(("name", "changes"), GROUPED)
def test_an_entry_is_counted_in_one_group_at_most(name, changes):
    found = [n for n, belongs in verdicts.GROUPS.items() if belongs(entry(**changes))]
    assert found == ([name] if name else [])


def test_the_summary_counts_by_group_and_by_records():
    entries = [
        ENTRY,
        entry(verdict="supported"),
        entry(verdict="supported", rests_on="masks"),
        entry(verdict="not run", setting="vgg16_cifar10"),
        entry(verdict="supported", rests_on="exact numbers"),
    ]
    found = verdicts.summary(entries)
    counts = {key: {v: n for v, n in row.items() if n} for key, row in found.iterrows()}
    assert counts == {
        ("exact numbers", "exact numbers"): {"supported": 1},
        ("the paper's networks", "trained networks"): {"not run": 1},
        ("LeNet on MNIST", "trained networks"): {"supported": 1, "undecided": 1},
        ("LeNet on MNIST", "masks"): {"supported": 1},
    }


@pytest.mark.parametrize(
    ("figure", "section", "home"),
    [
        ("4", "K", "05_ablations"),
        ("Table 2", "7", "B_snip"),
        ("", "K", "K_lenet"),
        ("", "1", "01_introduction"),
        ("8,1", "E", "E_baselines"),  # of two figures there is no one home but the section's
    ],
)
def test_an_entry_is_at_home_with_its_figure_or_else_its_section(figure, section, home):
    assert homes.home(entry(figure=figure, section=section)) == home


def test_the_ledger_to_choose_from():
    """Whatever a user's claim says is text; numbers come by their size, and before words."""
    entries = [
        entry(claim="<b>bold</b> & more", figure="Table 2"),
        entry(verdict="not run", effect=None, low=None, part="", missing=7, pflop=1.5, figure="10"),
        entry(figure="9"),
    ]
    page = verdicts.filterable(entries, "notebooks/").data
    rows = re.findall(r"<tr\s+((?:id|data)[-=].*?)</tr>", page, re.DOTALL)
    assert len(rows) == 3
    assert "<td>&lt;b&gt;bold&lt;/b&gt; &amp; more</td>" in rows[0]
    assert f"border-left:6px solid {verdicts.LOOKS['undecided'][0]}" in rows[0]
    assert f"border-left:6px solid {verdicts.LOOKS['not run'][0]}" in rows[1]
    cells = re.findall(r"<td>(.*?)</td>", rows[2])
    assert cells[5:12] == [
        "3", "-0.25 points", "-0.5 … 0.125 (-1.0 at 98.2 % … 0.5 at 20.0 %)", "not lower (0.3)",
        "shuffled SNIP against SNIP", "not supported", "supported",
    ]  # fmt: skip
    assert "7 missing, 1.5 PFLOP" in rows[1]
    assert '<a href="notebooks/F_ablations_after.ipynb">Figure 9</a>' in rows[2]
    assert [row.count('id="claim-') for row in rows] == [1, 0, 0]  # one claim, on three rows
    figures = re.search('<select data-by="figure".*?</select>', page, re.DOTALL)[0]
    assert re.findall("<option>(.*?)</option>", figures) == ["9", "10", "Table 2"]


def test_the_picture_has_a_mark_for_each_entry():
    entries = [ENTRY, entry(verdict="supported", section="6"), entry(setting="vgg16_cifar10")]
    panels = dict(zip(verdicts.GROUPS, draw_ledger.field(entries).axes, strict=True))
    marks = {
        name: sorted((to_hex(line.get_color()), line.get_ydata()[0]) for line in axis.lines)
        for name, axis in panels.items()
    }
    undecided, supported = (verdicts.LOOKS[v][0] for v in ("undecided", "supported"))
    section_6 = panels["LeNet on MNIST"].get_yticks()[1]
    assert marks["exact numbers"] == marks["the miniature"] == []
    assert marks["LeNet on MNIST"] == sorted([(supported, section_6), (undecided, 0)])
    assert marks["the paper's networks"] == [(undecided, 0)]
