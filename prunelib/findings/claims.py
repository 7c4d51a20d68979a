"""The paper's claims as checks on the results: rows that a reader can hold against the text.

`CLAIMS`, read from claims.csv, says of which curves the text claims what about accuracy; `check`
holds a section of them against results. Claims about the steps of Figures 6 and 10 are checked in
`steps`. Claims about layers, effective weights, distributions and scores have a function
each below. All leave the verdict to the rule in `statistics`.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd
import torch

from prunelib import analysis, settings
from prunelib.findings import curves, statistics
from prunelib.findings.differences import Accuracies, mixed_precision
from prunelib.findings.statistics import Effect, Region, exact, spelled, verdict, worded
from prunelib.grids import FIGURES
from prunelib.runs import AFTER, EARLY_METHODS, Curve

# What a claim about accuracy allows. Half a percentage point is "the same": the paper draws axes
# of tens of points. A tenth is the smallest difference that counts as one: the standard deviation
# of one network's accuracy over seeds on MNIST, where it is smallest.
REGIONS = {
    "higher": Region("higher", 0.001),
    "lower": Region("lower", 0.001),
    "same": Region("same", 0.005),
    "not lower": Region("not lower", 0.005),
    "not higher": Region("not higher", 0.005),
}
MOVED = Region("at most", 0.05)  # by how much more than chance a distribution may move
RECONNECTED = Region("at most", 1.0026)  # effective weights, shuffled over unmodified (Appendix M)
# A layer is spared, or pruned heavily, if the share of weights it keeps is a tenth more, or less,
# than that of others: at high sparsities a difference of sparsities would say little.
SPARED, HEAVILY = Region("at least", 1.1), Region("at most", 0.9)
EVEN = Region("at most", 0.02)  # how far a layer's sparsity may lie from the network's
# The sections, and the figure that has the settings each speaks of and the sparsities.
SECTIONS = {
    "4": 3, "5": 4, "6": 6, "E": 8, "F.1": 9, "F.2": 10, "G": 11, "H": 13, "I": 14, "L": 3,
}  # fmt: skip
# LeNet with 64 inputs is another network than the one that Appendix K speaks of: what it differs
# in, and why, stands in K_lenet, and no list of verdicts holds it to the paper's sentences.
UNLISTED = "lenet_digits"
TOLERANCE = 0.0025  # the criterion of "matching" where the paper prints no sparsity


@dataclass(frozen=True)
class Claim:
    """That `curve` is `expected` in accuracy compared with `against`.

    `expected` has one of `REGIONS` for matching and one for extreme sparsities, None where the
    paper claims nothing. The steps of the curves may be "rewind". `lenet` says whether the claim is
    about LeNet (Appendix K), about the other networks, or, if None, about all; `settings` names
    those that it is about where the paper singles them out.
    """

    section: str
    text: str
    subject: str
    curve: Curve
    against: Curve
    expected: tuple[str | None, str | None]
    lenet: bool | None = None
    settings: tuple[str, ...] = ()

    def about(self, setting: str) -> bool:
        """Whether the claim is about a setting, given its name."""
        kind = self.lenet in (None, settings.get(setting).fully_connected)
        return kind and (not self.settings or setting in self.settings)


def _read(row: Mapping[str, str]) -> Claim:
    """The claim in a row of `claims.csv`."""
    curves_, names = [], [field.name for field in fields(Curve)]
    for prefix in ("", "against_"):
        about = {name: row[prefix + name] for name in names}
        curves_.append(Curve(**{n: int(v) if v.isdecimal() else v for n, v in about.items()}))
    expected = (row["matching"] or None, row["extreme"] or None)
    lenet = {"yes": True, "no": False, "": None}[row["lenet"]]
    texts = (row["section"], row["text"], row["subject"])
    return Claim(*texts, *curves_, expected, lenet, tuple(row["setting"].split()))


with open(Path(__file__).with_suffix(".csv"), newline="") as file:
    CLAIMS = tuple(map(_read, csv.DictReader(file)))


def matching_sparsity(table: pd.DataFrame, setting: str) -> tuple[float | None, str]:
    """The highest matching sparsity of a setting and where it comes from.

    The setting's where it has one (`settings.matching_level`); otherwise our own results', by the
    criterion of `statistics.highest_matching` with a tolerance of 0.25 percentage points.

    Returns:
        (sparsity or None, a phrase that names the source).
    """
    if settings.get(setting).matching is not None:
        level, source = settings.matching_level(setting)
        return settings.sparsity(level), source
    ours = statistics.highest_matching(table, AFTER, TOLERANCE)
    return ours, f"our results, within {100 * TOLERANCE:g} points of the unpruned network"


def speaks(setting: str, profile: str, table: pd.DataFrame, figure: int = 3) -> bool:
    """Whether the paper speaks of these results, so that they may contradict it.

    It does of its own recipe (profile "paper") on its own data, for the networks that it shows.

    Args:
        table: the records; their data may be a variant of the setting's.
        figure: a number of `grids.FIGURES`, whose networks the claim is about.
    """
    shown = FIGURES[figure].shows(setting)
    return profile == "paper" and shown and not curves.variant(setting, table)


def check(table: pd.DataFrame, setting: str, profile: str, section: str) -> pd.DataFrame:
    """Hold the claims of a section against the results of a setting at a profile.

    The difference is the mean of those at each sparsity of a range, as `differences` has it;
    weighted where the claim has a direction.

    Args:
        table: rows of one setting and profile.
        section: one of `SECTIONS`.

    Returns:
        data frame: claim, subject, n (replicates of the curve that has fewer), mixed (how many
        pairs of runs had two precisions), and for the matching and the extreme sparsities the
        difference in percentage points, the interval that decides (95 %, or 90 % for "same"), the
        smallest and the largest difference at one sparsity, how many sparsities were left out as
        a network guesses there, and the verdict as `statistics.worded` has it.
    """
    limit, _ = matching_sparsity(table, setting)
    figure = FIGURES[SECTIONS[section]]
    levels = sorted({sparsity for sparsity, _ in figure.points(setting, profile)})
    matching = [s for s in levels if limit is not None and s <= limit]
    ranges = {"matching": matching, "extreme": [s for s in levels if s not in matching]}
    spoken = speaks(setting, profile, table, SECTIONS[section])
    accuracies = Accuracies(table, 1 / curves.classes(setting))
    rows = []
    for claim in CLAIMS:
        if claim.section != section or not claim.about(setting):
            continue
        pair = [curve.at(setting, profile) for curve in (claim.curve, claim.against)]
        mixed, pairs = mixed_precision(table, *pair)
        row = {"claim": claim.text, "subject": claim.subject, "n": 0}
        row["mixed"] = f"{mixed} of {pairs}"
        for (name, sparsities), said in zip(ranges.items(), claim.expected, strict=True):
            if figure.along == "step" and not sparsities:
                said = None  # its one sparsity is in the other range
            region = REGIONS[said or "same"]
            directed = region.word in ("higher", "lower")
            found = accuracies.difference(*pair, sparsities, directed)
            effect, points = found.effect, [100 * d for d in found.each.values()]
            row["n"] = max(row["n"], effect.n)
            row[f"{name}: points"] = f"{100 * effect.mean:+.2f}" if points else ""
            row[f"{name}: interval"] = spelled(effect, region)
            row[f"{name}: at each"] = f"{min(points):+.2f} … {max(points):+.2f}" if points else ""
            left, of = len(found.left_out), len(found.left_out) + len(points)
            row[f"{name}: left out"] = f"{left} of {of}" if left else ""
            row[f"{name}: verdict"] = (
                worded(verdict(effect, region), spoken) if said else "no claim"
            )
        rows.append(row)
    return pd.DataFrame(rows)


def counts(found: pd.DataFrame) -> pd.DataFrame:
    """How often each claim reached which verdict, in the order of the claims.

    Args:
        found: verdicts, as the functions of this module return them; those that no claim was made
            of, and the verdicts on "all" parts together, are left out.

    Returns:
        data frame: a row a claim, a column a verdict, of whole numbers.
    """
    if found.empty:
        return pd.DataFrame()
    columns = [name for name in found.columns if name.endswith("verdict")]
    parts = found[found["subject"] != "all"] if "subject" in found else found
    claim = parts["claim"] if "claim" in parts else pd.Series("", index=parts.index)
    said = pd.concat([parts[name] for name in columns], ignore_index=True)
    table = pd.crosstab(pd.concat([claim] * len(columns), ignore_index=True), said)
    return table.reindex(claim.unique()).drop(columns="no claim", errors="ignore")


def layers(table: pd.DataFrame, setting: str, sparsity: float) -> pd.DataFrame:
    """Hold what Appendix J says of every network against masks.

    Each method but random pruning spares the output layer: it keeps a larger share of its weights
    than the network does. SynFlow prunes each shortcut more heavily than any convolution of its
    block.

    Args:
        table: records of masks of the setting, made at profile "paper". sparsity: one of theirs.

    Returns:
        data frame: setting, claim, subject (of each part, and "all"), n, ratio (of the layer's
        share of kept weights to the other's), interval, verdict.
    """
    kept = {
        method: 1 - curves.layer_sparsities(table, setting, sparsity, method)
        for method in EARLY_METHODS
    }
    spared = {m: statistics.effect(found.iloc[:, -1] / (1 - sparsity)) for m, found in kept.items()}
    synflow = kept["synflow"]
    shortcuts = {}
    for name in synflow.columns[synflow.columns.str.contains("shortcut|downsample")]:
        block = name.split(".shortcut")[0].split(".downsample")[0]
        around = synflow.loc[:, synflow.columns.str.startswith(f"{block}.conv")].min(axis=1)
        shortcuts[name] = statistics.effect(synflow[name] / around.where(around > 0))
    spoken = speaks(setting, "paper", table)
    rows = _parts("the output layer is spared", spared, SPARED, spoken)
    text = "SynFlow prunes shortcuts more heavily than their block"
    rows += _parts(text, shortcuts, HEAVILY, spoken)
    return pd.DataFrame(rows, columns=_COLUMNS).assign(setting=setting)


def effective_ratio(table: pd.DataFrame, setting: str) -> pd.DataFrame:
    """Hold Appendix M's bound on what shuffling reconnects against masks.

    At the highest matching sparsity the shuffled network has at most 1.0026 times as many
    effective weights, whatever the method.

    Args:
        table: records of masks of the setting, made at profile "paper".

    Returns:
        data frame: setting, sparsity (percent), claim, subject, n, ratio, interval, verdict.
    """
    level, _ = settings.matching_level(setting)
    sparsity = settings.sparsity(level)
    effects = {
        method: statistics.effect(curves.replicates_of_ratio(table, method, sparsity)["ratio"])
        for method in EARLY_METHODS
    }
    spoken = speaks(setting, "paper", table, figure=6)  # the networks of the main body
    text = "at most 1.0026 times as many effective weights"
    rows = _parts(text, effects, RECONNECTED, spoken, ".4f")
    return pd.DataFrame(rows, columns=_COLUMNS).assign(
        setting=setting, sparsity=round(100 * sparsity, 1)
    )


_COLUMNS = ["claim", "subject", "n", "ratio", "interval", "verdict"]


def _parts(
    text: str, effects: Mapping[str, Effect], region: Region, spoken: bool, form: str = ".2f"
) -> list[tuple]:
    """A row of `_COLUMNS` for each part of a claim about all, and one for the claim; none if it
    has no part."""
    rows = []
    for subject, effect in effects.items():
        mean = f"{effect.mean:{form}}" if effect.n else ""
        said = worded(verdict(effect, region), spoken)
        rows.append((text, subject, effect.n, mean, spelled(effect, region, form, 1), said))
    if rows:
        found = worded(statistics.verdict_of_all(list(effects.values()), region), spoken)
        rows.append((text, "all", min(e.n for e in effects.values()), "", "", found))
    return rows


def immunity(data: pd.DataFrame, spoken: bool) -> pd.DataFrame:
    """Hold "the distribution of unpruned weights changes minimally" against the results.

    What chance alone moves is taken from random pruning, whose unpruned weights are drawn from one
    distribution whatever the ablation: the excess over it is compared, replicate by replicate.

    Args:
        data: as `curves.weight_data` returns it.
        spoken: whether the paper speaks of these results, see `speaks`.

    Returns:
        data frame: when, sparsity in percent, method, ablation, n, ks, excess over random and its
        interval, verdict on an excess of at most 0.05.
    """
    keys = ["when", "sparsity", "ablation", "replicate"]
    chance = data[data["method"] == "random"].set_index(keys)["ks"].rename("chance")
    joined = data[data["method"] != "random"].join(chance, on=keys)
    rows = []
    for (when, sparsity, method, ablation), group in joined.groupby(
        ["when", "sparsity", "method", "ablation"], sort=False
    ):
        excess = statistics.effect(group["ks"] - group["chance"])
        about = (when, round(100 * sparsity, 1), method, ablation, excess.n, group["ks"].mean())
        said = worded(verdict(excess, MOVED), spoken)
        rows.append((*about, excess.mean, spelled(excess, MOVED, ".3f", 1), said))
    columns = ["when", "sparsity", "method", "ablation", "n", "ks", "excess", "interval", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def prunes_evenly(mask: Mapping[str, torch.Tensor], sparsity: float) -> str:
    """The verdict on Section 3's sentence that random pruning "prunes each layer to approximately
    sparsity s": within two percentage points in every layer of this mask, made by it."""
    return verdict(exact(max(abs(s - sparsity) for s in analysis.layerwise(mask).values())), EVEN)


def path_norm(
    scores: Mapping[str, torch.Tensor], norm: float, drops: Mapping[str, float]
) -> dict[str, str]:
    """The verdicts on what Appendix D.5 says of SynFlow's scores and the l1,1 path norm.

    Args:
        scores: of a network without biases, dict from layer to tensor; norm: its path norm.
        drops: what the path norm loses by a weight, by the place of its score: "highest" and
            others, so that "the highest-scoring weight has the smallest impact" can be seen.

    Returns:
        dict from claim to verdict. The numbers are exact: they are compared to six decimals.
    """
    shares = [exact(float(z.sum()) / float(norm)) for z in scores.values()]
    impact = float(drops["highest"]) / min(float(drop) for drop in drops.values())
    return {
        "scores add up to the path norm in every layer": statistics.verdict_of_all(
            shares, Region("between", 1, 1)
        ),
        "the highest-scoring weight has the smallest impact": verdict(
            exact(impact), Region("at most", 1)
        ),
    }
