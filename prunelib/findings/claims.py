"""The paper's claims as checks on the results: rows that a reader can hold against the text."""

from dataclasses import dataclass
from itertools import combinations

import pandas as pd
from scipy import stats

from prunelib import settings
from prunelib.findings import statistics
from prunelib.runs import AFTER, EARLY_METHODS, Curve

MARGIN = 0.005  # accuracies this close, half a percentage point, count as "the same"
MOVED = 0.05  # distributions whose distance exceeds chance by more than this have moved
SECTIONS = ("4", "5", "G")  # with what Appendix K says of their figures for LeNet
VERDICTS = ("supported", "undecided", "contradicted")  # of a claim that was tested
TOLERANCE = 0.0025  # the criterion of "matching" where the paper prints no sparsity


@dataclass(frozen=True)
class Claim:
    """That `curve` is `expected` in accuracy compared with `against`.

    `expected` is "higher", "lower", "same" (within half a percentage point) or "not lower"; or
    two of them, of matching and of extreme sparsities, None where the paper claims nothing.
    `lenet` says whether the claim is about LeNet (Appendix K), about the other networks, or, if
    None, about all.
    """

    section: str
    text: str
    subject: str
    curve: Curve
    against: Curve
    expected: str | tuple[str | None, str | None]
    lenet: bool | None = None


def _ablation(section, text, expected, ablation, methods, **options):
    return tuple(
        Claim(section, text, m, Curve(m, ablation), Curve(m), expected, **options) for m in methods
    )


def _after(ablation):
    return Curve("magnitude", ablation, prune_at="end", weights_from="end")


CLAIMS = (
    *(
        Claim("4", "early methods outperform random", m, Curve(m), Curve("random"), "higher")
        for m in EARLY_METHODS
    ),
    *(
        Claim("4", "early methods stay below magnitude after training", m, Curve(m), AFTER,
              "lower", lenet=False)
        for m in EARLY_METHODS
    ),
    *(
        Claim("4", "there is little distinction from magnitude after training (K.1)", m, Curve(m),
              AFTER, "same", lenet=True)
        for m in EARLY_METHODS
    ),
    *(
        Claim("4", "all methods perform similarly at lower sparsities (K.1)",
              f"{m} against {other}", Curve(m), Curve(other), ("same", None), lenet=True)
        for m, other in combinations(EARLY_METHODS, 2)
    ),
    *(
        Claim("4", "SNIP performs best (K.1, higher sparsities)", f"snip against {m}",
              Curve("snip"), Curve(m), (None, "higher"), lenet=True)
        for m in EARLY_METHODS if m != "snip"
    ),
    *(
        Claim("4", "magnitude performs worst (K.1, higher sparsities)", f"magnitude against {m}",
              Curve("magnitude"), Curve(m), (None, "lower"), lenet=True)
        for m in EARLY_METHODS if m != "magnitude"
    ),
    *_ablation("5", "shuffling maintains accuracy or improves it", "not lower", "shuffle",
               EARLY_METHODS, lenet=False),
    *_ablation("5", "reinitialising does not change accuracy", "same", "reinit", EARLY_METHODS,
               lenet=False),
    *_ablation("5", "shuffling does not affect accuracy (K.2)", "same", "shuffle", ("magnitude",),
               lenet=True),
    *_ablation("5", "shuffling lowers accuracy only at higher sparsities (K.2)", ("same", "lower"),
               "shuffle", ("snip",), lenet=True),
    *_ablation("5", "shuffling does not affect accuracy at lower sparsities (K.2)", ("same", None),
               "shuffle", ("synflow",), lenet=True),
    *_ablation("5", "reinitialising does not affect accuracy (K.2)", "same", "reinit",
               ("magnitude", "synflow"), lenet=True),
    *_ablation("5", "reinitialising lowers accuracy only at higher sparsities (K.2)",
               ("same", "lower"), "reinit", ("snip",), lenet=True),
    *_ablation("5", "shuffling raises accuracy at lower sparsities, lowers it at higher (K.2)",
               ("higher", "lower"), "shuffle", ("grasp",), lenet=True),
    *_ablation("5", "reinitialising raises accuracy at lower sparsities, lowers it at higher (K.2)",
               ("higher", "lower"), "reinit", ("grasp",), lenet=True),
    *_ablation("5", "inverting lowers accuracy", "lower", "invert",
               ("magnitude", "snip", "synflow")),
    *_ablation("5", "inverting GraSP does not change accuracy", "same", "invert", ("grasp",),
               lenet=False),
    *_ablation("5", "inverting GraSP lowers accuracy (K.2)", "lower", "invert", ("grasp",),
               lenet=True),
    *(
        Claim("5", "after training, shuffling and reinitialising lower accuracy", ablation,
              _after(ablation), AFTER, "lower")
        for ablation in ("shuffle", "reinit")
    ),
    Claim("5", "fixed-variance initialisation lowers magnitude's accuracy", "magnitude",
          Curve("magnitude", init="fixed_variance"), Curve("magnitude"), "lower"),
    *(
        Claim("5", "fixed-variance initialisation does not affect the other methods", m,
              Curve(m, init="fixed_variance"), Curve(m), "same")
        for m in EARLY_METHODS if m != "magnitude"
    ),
    Claim("G", "making SNIP iterative does not meaningfully alter accuracy", "iterative SNIP",
          Curve("iterative_snip"), Curve("snip"), "same", lenet=False),
    *_ablation("G", "shuffling iterative SNIP does not meaningfully affect accuracy", "same",
               "shuffle", ("iterative_snip",), lenet=False),
    *_ablation("G", "reinitialising after iterative SNIP does not meaningfully affect accuracy",
               "same", "reinit", ("iterative_snip",), lenet=False),
    Claim("G", "making SNIP iterative raises accuracy at high sparsities (K.6: the most extreme)",
          "iterative SNIP", Curve("iterative_snip"), Curve("snip"), (None, "higher"), lenet=True),
)  # fmt: skip


def matching_sparsity(table, setting):
    """The highest matching sparsity of a setting and where it comes from.

    The paper's (Section 4, footnote 2) where it prints one; otherwise our own results', by the
    criterion of `statistics.highest_matching` with a tolerance of 0.25 percentage points.

    Returns:
        (sparsity or None, a phrase that names the source).
    """
    level = settings.get(setting).matching
    if level is not None:
        return settings.sparsity(level), "Section 4, footnote 2"
    ours = statistics.highest_matching(table, AFTER, TOLERANCE)
    return ours, f"our results, within {100 * TOLERANCE:g} points of the unpruned network"


def check(table, setting, profile, section):
    """Hold the claims of a section against the results of a setting at a profile.

    The difference is the mean over replicates of the paired difference of test accuracy, each
    averaged over the range's sparsities, with its 95 % t interval. "supported" and "contradicted"
    need the whole interval on one side; the rest is "undecided", as is any single replicate.

    Args:
        table: rows of one setting and profile.
        section: one of `SECTIONS`.

    Returns:
        data frame: claim, subject, n (replicates), mixed (how many pairs of runs had two
        precisions), and for the matching and the extreme sparsities the difference in percentage
        points, its interval and the verdict.
    """
    limit, _ = matching_sparsity(table, setting)
    levels = settings.sparsities(setting, profile)
    matching = [s for s in levels if limit is not None and s <= limit]
    ranges = {"matching": matching, "extreme": [s for s in levels if s not in matching]}
    is_lenet = settings.get(setting).network.startswith("lenet")
    rows = []
    for claim in CLAIMS:
        if claim.section != section or claim.lenet not in (None, is_lenet):
            continue
        mixed, pairs = statistics.mixed_precision(table, claim.curve, claim.against)
        row = {"claim": claim.text, "subject": claim.subject, "n": 0,
               "mixed": f"{mixed} of {pairs}"}  # fmt: skip
        both = isinstance(claim.expected, tuple)
        expected = claim.expected if both else (claim.expected, claim.expected)
        for (name, sparsities), said in zip(ranges.items(), expected, strict=True):
            values = statistics.paired_differences(table, claim.curve, claim.against, sparsities)
            low, high = _interval(values)
            row["n"] = max(row["n"], len(values))
            row[f"{name}: points"] = f"{100 * values.mean():+.2f}" if len(values) else ""
            row[f"{name}: 95 %"] = f"{100 * low:+.2f} … {100 * high:+.2f}" if high >= low else ""
            row[f"{name}: verdict"] = verdict(said, len(values), low, high)
        rows.append(row)
    return pd.DataFrame(rows)


def _interval(values):
    if len(values) < 2:
        return float("nan"), float("nan")
    half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
    return values.mean() - half, values.mean() + half


def verdict(expected, n, low, high):
    """The verdict on a claim from the interval [low, high] of a difference of accuracies.

    Args:
        expected: "higher", "lower", "same" or "not lower"; None is "no claim".
        n: replicates behind the interval; 0 is "not run", 1 "undecided".
        low, high: ends of the interval, as fractions.
    """
    if expected is None:
        return "no claim"
    if n == 0:
        return "not run"
    if n == 1:
        return "undecided"
    supported, contradicted = {
        "higher": (low > 0, high <= 0),
        "lower": (high < 0, low >= 0),
        "same": (low >= -MARGIN and high <= MARGIN, low > MARGIN or high < -MARGIN),
        "not lower": (low >= -MARGIN, high < -MARGIN),
    }[expected]
    return "supported" if supported else "contradicted" if contradicted else "undecided"


def at_most(values, bound):
    """The verdict on "at most `bound`", from one value a replicate.

    "supported" and "contradicted" need the whole 95 % t interval of the mean on one side of the
    bound; the rest is "undecided", as is a single value.
    """
    low, high = _interval(values)
    return "supported" if high <= bound else "contradicted" if low > bound else "undecided"


def immunity(data):
    """Hold "the distribution of unpruned weights changes minimally" against the results.

    What chance alone moves is taken from random pruning, whose unpruned weights are drawn from one
    distribution whatever the ablation: the excess over it is compared, replicate by replicate.
    "supported" means that the 95 % t interval of the mean excess ends below 0.05, "contradicted"
    that it begins above.

    Args:
        data: as `curves.weight_data` returns it.

    Returns:
        data frame: when, sparsity in percent, method, ablation, n, ks, excess over random and its
        interval, verdict.
    """
    keys = ["when", "sparsity", "ablation", "replicate"]
    chance = data[data["method"] == "random"].set_index(keys)["ks"].rename("chance")
    joined = data[data["method"] != "random"].join(chance, on=keys)
    rows = []
    for (when, sparsity, method, ablation), group in joined.groupby(
        ["when", "sparsity", "method", "ablation"], sort=False
    ):
        excess = (group["ks"] - group["chance"]).dropna()
        low, high = _interval(excess)
        found = "undecided"
        if len(excess) > 1:
            found = "supported" if high < MOVED else "contradicted" if low > MOVED else "undecided"
        rows.append(
            (when, round(100 * sparsity, 1), method, ablation, len(excess), group["ks"].mean(),
             excess.mean(), f"{low:.3f} … {high:.3f}" if high >= low else "", found)
        )  # fmt: skip
    columns = ["when", "sparsity", "method", "ablation", "n", "ks", "excess", "95 %", "verdict"]
    return pd.DataFrame(rows, columns=columns)
