"""The numbers of the introduction: how many weights remain at each step of training (Figure 1), and
what each method was compared with, in the paper that introduces it and here (Figure 2)."""

from collections.abc import Callable

import pandas as pd

from prunelib import settings
from prunelib.findings import curves, statistics
from prunelib.findings.quantities import classes
from prunelib.findings.samples import Accuracies
from prunelib.grids import FIGURES, figure_runs
from prunelib.runs import AFTER, DENSE, RANDOM, REWOUND, Curve

WITHIN = 0.01  # of the unpruned network's accuracy (Figure 1, caption)

# The columns of Figure 2: what a method is compared with, as a function of its name.
COMPARED: dict[str, Callable[[str], Curve]] = {
    "SNIP": lambda m: Curve("snip"),
    "GraSP": lambda m: Curve("grasp"),
    "SynFlow": lambda m: Curve("synflow"),
    "Magnitude": lambda m: Curve("magnitude"),
    "Random": lambda m: RANDOM,
    "LTR": lambda m: REWOUND,
    "Magnitude (After)": lambda m: AFTER,
    "Other": lambda m: Curve("gradual"),
    "Reinit": lambda m: Curve(m, "reinit"),
    "Shuffle": lambda m: Curve(m, "shuffle"),
    "Invert": lambda m: Curve(m, "invert"),
}


def remaining(
    table: pd.DataFrame,
    setting: str,
    profile: str,
    label: Callable[[int, Curve], str],
    replicates: int | None = None,
) -> pd.DataFrame:
    """Figure 1: the weights that each method trains with at each step of the schedule.

    A method is shown at its highest sparsity whose mean accuracy, there and at all lower ones, is
    within a percentage point of the unpruned network's. Random pruning prunes before the first
    step and magnitude after training behind the last. Gradual pruning follows
    `Schedule.gradual_sparsity`. Lottery ticket rewinding trains what is left of the weights of the
    rewinding step; its mask is known only after training, so that this is achieved in retrospect.

    Args:
        table, label, replicates: as of `curves.accuracy_data`.

    Returns:
        data frame: line, step (iterations), remaining (percent of weights, from this step on),
        retroactive (whether the mask comes from later), and of the sparsity shown: itself, mean and
        std of accuracy, all in percent, and n. Methods of which nothing was run are absent; one
        that matches nowhere keeps all its weights.
    """
    table = curves.rows_of(figure_runs(1, setting, profile, replicates), table)
    schedule, rows = settings.schedule(setting, profile), []
    for curve in FIGURES[1].panels[""]:
        own = curve.at(setting, profile)
        sparsity = statistics.highest_matching(table, own, WITHIN)
        if sparsity is None:
            continue
        shown = statistics.over_replicates(table, own if sparsity else DENSE).loc[sparsity]
        last = schedule.iterations
        since = schedule.iteration(own.weights_from)
        pruned = {0: 0.0, since: sparsity, last: sparsity}
        if own.method == "gradual":
            found = {k: schedule.gradual_sparsity(k, sparsity) for k in range(last)}
            pruned = {0: 0.0} | {k: s for k, s in found.items() if s} | {last: sparsity}
        retroactive = own.prune_at == "end" and since != last
        about = (100 * sparsity, 100 * shown["mean"], 100 * shown["std"], int(shown["n"]))
        rows += [
            (label(1, curve), k, 100 * (1 - s), retroactive, *about) for k, s in pruned.items()
        ]
    columns = ["line", "step", "remaining", "retroactive", "sparsity", "accuracy", "std", "n"]
    return pd.DataFrame(rows, columns=columns)


def trained_with(data: pd.DataFrame) -> pd.DataFrame:
    """A row a line of Figure 1: sparsity, accuracy, and the mean share of weights in training.

    That share is the area under the line, which Section 7 proposes as a measure of what training
    costs; the second training that pruning after training needs is not in it.

    Args:
        data: as `remaining` returns it.

    Returns:
        data frame indexed by line: sparsity, accuracy and mean weights in training, in percent; n.
    """
    rows = {}
    for line, points in data.groupby("line", sort=False):
        lengths = points["step"].shift(-1, fill_value=points["step"].iloc[-1]) - points["step"]
        mean = (points["remaining"] * lengths).sum() / lengths.sum()
        first = points.iloc[0]
        rows[line] = (first["sparsity"], first["accuracy"], mean, first["n"])
    columns = ["sparsity (%)", "accuracy (%)", "mean weights in training (%)", "n"]
    found = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return found.round(1).astype({"n": int})


def comparisons(table: pd.DataFrame, setting: str, profile: str) -> pd.DataFrame:
    """Figure 2: what the papers of SNIP, GraSP and SynFlow compare them with, and what is here.

    Args:
        table: rows of one setting and profile. setting, profile: their names.

    Returns:
        data frame of text: columns as the figure has them ("Other" is gradual pruning here); for
        each method a row "its paper" (as printed), a row "here" (the replicates that both curves
        have, ✗ where a sparsity lacks two) and a row "points": its mean accuracy less the other's,
        over the sparsities up to the highest matching one, in percentage points.
    """
    limit = settings.highest_matching(setting)
    sparsities = [s for s in settings.sparsities(setting, profile) if s <= limit]
    accuracies = Accuracies(table, 1 / classes(setting))
    printed = statistics.published("frankle2021_comparisons").set_index("method")
    rows = {}
    for method, said in printed.iterrows():
        own, here, points = Curve(method), {}, {}
        for name, other in COMPARED.items():
            against = other(method).at(setting, profile)
            difference = accuracies.difference(own, against, sparsities)
            there = difference.effect.n > 1 and bool(difference.each)
            here[name] = "—" if against == own else str(difference.effect.n) if there else "✗"
            points[name] = (
                f"{100 * difference.effect.mean:+z.1f}" if there and against != own else ""
            )
        label = next(n for n, other in COMPARED.items() if other(method) == own)
        rows |= {(label, "its paper"): said, (label, "here"): here, (label, "points"): points}
    return pd.DataFrame.from_dict(rows, orient="index")[list(COMPARED)]
