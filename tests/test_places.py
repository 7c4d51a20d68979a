"""The places of both papers: each has a claim in the ledger, or a reason why there is none."""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from prunelib.findings import claims, ledger

FOLDER = Path(ledger.__file__).parent
# Every heading, caption, table and footnote of the papers, in their order: written down from the
# papers, not from places.csv.
PAPERS = """
abstract
1, paragraphs 1 and 2
1, paragraph 3
1, paragraph 4
1, paragraphs 5 and 6
1, Figure 1
1, paragraph 7
1, The state of the art
1, Magnitude pruning after training outperforms these methods
1, Methods prune layers, not weights
1, These results appear specific to pruning at initialization
1, Looking ahead
1, footnote 1
1, Figure 2
2, paragraph 1
2, paragraph 2
3, Pruning
3, Re-training after pruning
3, Random
3, Magnitude
3, SNIP
3, GraSP
3, SynFlow
3, Benchmark methods
3, Magnitude pruning after training
3, Lottery ticket rewinding
3, Sparsities
3, Networks, datasets, and replicates
4, paragraph 1
4, Matching sparsities
4, footnote 2
4, Figure 3
4, Extreme sparsities
4, footnote 3
4, Summary
5, paragraph 1
5, Randomly shuffling
5, Randomly shuffling, Overall
5, footnote 4
5, Figure 4
5, Magnitude pruning
5, footnote 5
5, SynFlow
5, footnote 6
5, Figure 5
5, Reinitialization
5, Inversion
5, Summary
6, paragraph 1
6, paragraph 2
6, footnote 7
6, paragraph 3
6, paragraph 4
6, paragraph 5
6, Figure 6
7, The state of the art
7, Surpassing random pruning
7, No single method is SOTA at initialization
7, Data is not currently essential
7, Below the performance of pruning after training
7, The challenge of pruning at initialization
7, Ablations
7, Why is it challenging?
7, Looking ahead
7, Why prune early in training?
7, Pruning after initialization
7, New signals for pruning
7, Measuring progress
References
Contents of the appendices
A, table of networks
A.1
A.1, footnote 8
A.1, footnote 9
A.2
A.3, table
B, introduction
B.1
B.2, Algorithm
B.2, Selecting examples for SNIP
B.2, Reinitializing
B.2, footnote 10
B.2, Running on CPU
B.3, Table 1
B.4, paragraph 1
B.4, footnote 11
B.4, Table 2
B.4, Unpruned networks
B.4, Pruned networks
B.5, footnote 12
B.5, Table 3
B.5, Unpruned networks
B.5, Pruned networks
C, introduction
C.1, Scoring parameters
C.1, footnote 13
C.1, Using scores to prune
C.2, Algorithm
C.2, footnote 14
C.2, Selecting examples for scoring parameters
C.2, Reinitializing
C.2, Running on CPU
C.3, paragraph 1
C.3, Table 4
C.4, paragraph 1
C.4, Table 5
C.4, Unpruned networks
C.4, footnote 15
C.4, Pruned networks
D, introduction
D.1
D.2, Iterative pruning
D.2, Input size
D.2, Reinitializing
D.2, Running on CPU
D.2, Double precision floats
D.3, Table 6
D.3, Table 7
D.3, paragraph 2
D.3, paragraph 3
D.4, paragraph 1
D.4, paragraph 2
D.4, paragraph 3
D.4, paragraph 4
D.4, Figure 7
D.5
E
E, Figure 8
F, introduction
F.1, introduction
F.1, Magnitude
F.1, SNIP
F.1, GraSP
F.1, SynFlow
F.1, Figure 9
F.2, introduction
F.2, Magnitude
F.2, SNIP
F.2, GraSP
F.2, SynFlow
F.2, Figure 10
F.3
G, paragraph 1
G, paragraph 2
G, Figure 11
G, paragraph 3
G, Figure 12
H
H, Figure 13
I
I, Figure 14
J, introduction
J, Different layerwise proportions
J, Skip connections
J, The output layer
J, Figure 15
K, introduction
K.1
K.2
K.3
K.4
K.5
K.6
K.7
K.8
L, paragraph 1
L, paragraph 2
L.1
L.2
L.3
L.4
L.5
L.6
L.7
M, hypothesis
M, Methods
M, Evaluation
M, table
M, Results
M, Figure 16
S, TL;DR
S, Contribution
S, Findings
S, abstract
S, Peer Reviews, Videos, Taxonomy
""".strip().splitlines()


def read(name):
    with open(FOLDER / name, newline="") as file:
        return list(csv.DictReader(file))


REASONS = {row["place"]: row["reason"] for row in read("places.csv")}
ROWS = read("claims.csv")


def within(place, names):
    """The longest of some names with which a place begins, or None."""
    found = [n for n in names if place == n or place.startswith(f"{n},")]
    return max(found, key=len, default=None)


def spelled(row):
    """The places of which a claim speaks, several parted by a semicolon: its section and its place,
    which in a subsection begins with that, as "F.1, SNIP"."""
    section = row["section"]
    places = row["place"].split("; ")
    return [p if p.startswith(f"{section}.") else f"{section}, {p}" for p in places]


def ids_in(text):
    return re.findall(r"\b[1-7A-MS]\.\d\d\b", text)


@pytest.mark.parametrize(("word", "count"), [("Figure", 16), ("Table", 7), ("footnote", 15)])
def test_the_list_has_every_caption_table_and_footnote(word, count):
    found = [int(n) for line in PAPERS for n in re.findall(rf"{word} (\d+)$", line)]
    assert found == list(range(1, count + 1))


def test_every_place_of_the_papers_is_listed():
    """Whole, or sentence by sentence; and nothing else is."""
    assert set(PAPERS) == {within(place, PAPERS) for place in REASONS}


def test_a_place_has_claims_or_a_reason_and_not_both():
    spoken = {within(place, REASONS) for row in ROWS for place in spelled(row)}
    assert {place for place, reason in REASONS.items() if not reason} == spoken


def test_places_are_in_the_order_of_the_papers():
    order = [PAPERS.index(within(place, PAPERS)) for place in REASONS]
    assert order == sorted(order)


def test_reasons_are_sentences_and_name_claims_that_there_are():
    known = {row["id"] for row in ROWS}
    for place, reason in REASONS.items():
        if reason:
            assert re.fullmatch(r"[A-Z].*\.", reason), place
            assert set(ids_in(reason)) <= known, place
            assert ids_in(reason) or "checked at" not in reason, place


def test_claims_are_in_the_order_of_the_papers():
    """Their numbers are names, which stay when claims come or go, and are no order."""
    places = list(REASONS)
    order = [places.index(within(spelled(row)[0], places)) for row in ROWS]
    assert order == sorted(order)
    assert all(re.fullmatch(rf"{row['section']}\.\d\d", row["id"]) for row in ROWS)
    assert len({row["id"] for row in ROWS}) == len(ROWS)


def test_every_claim_says_why_its_margin_is_what_it_is():
    assert [row["id"] for row in ROWS if not row["reason"].strip()] == []


def test_there_are_as_many_claims_as_promised():
    """A row and each of its settings are one, unless its settings share a verdict."""
    found = claims.every()
    assert [claim.id for claim in found] == [row["id"] for row in ROWS]
    assert sum(len(c.settings) if c.across == "each" else 1 for c in found) >= 240


def test_no_claim_repeats_another():
    """The same check of the same network within the same bounds counts once."""
    checks = Counter(
        (c.measure, c.kind, c.subject, c.reference, c.parts, c.over, c.each, c.region, c.printed, s)
        for c in claims.every()
        for s in (c.settings if c.across == "each" else (c.settings,))
    )
    assert [check for check, count in checks.items() if count > 1] == []
