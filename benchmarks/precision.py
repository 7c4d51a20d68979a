"""May a fast precision be used? Figure 3's runs in two precisions, compared pairwise.

    python benchmarks/precision.py lenet_mnist quick bf16

The pairs share setting, method, sparsity, replicate, and with these initial weights, mask and data.
Those that results/ holds in fp32 are taken from there; the others are trained into out/precision/.
"""

import sys

import pandas as pd
from scipy import stats

from prunelib import engine, grids, settings
from prunelib.paths import project_root
from prunelib.results.store import Store


def accuracies(store, wanted, precision):
    """Series of test accuracy in percent, indexed by Run, of those trained in a precision."""
    found = {}
    for key in {(run.setting, run.profile) for run in wanted}:
        found |= store.records(*key)
    return pd.Series(
        {r: 100 * found[r].test_accuracy for r in wanted
         if r in found and found[r].precision == precision}
    )  # fmt: skip


def trained(wanted, precision):
    store = Store(project_root() / "out" / "precision" / precision)
    engine.train(wanted, store, precision=precision)
    return accuracies(store, wanted, precision)


def main(setting, profile, precision, replicates=None):
    wanted = grids.figure_runs(3, setting, profile, int(replicates) if replicates else None)
    reference = accuracies(Store(), wanted, "fp32")
    missing = [run for run in wanted if run not in reference.index]
    if missing:
        reference = pd.concat([reference, trained(missing, "fp32")])
    difference = (trained(wanted, precision) - reference).dropna()
    matching = settings.sparsity(settings.matching_level(setting)[0])
    bands = difference.index.map(
        lambda r: "none" if not r.sparsity else "matching" if r.sparsity <= matching else "extreme"
    )
    print(f"{setting}, profile {profile}: test accuracy, {precision} minus fp32, percentage points")
    rows = []
    for band, values in difference.groupby(bands, sort=False):
        half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
        seeds = reference[values.index].groupby(lambda r: (r.method, r.sparsity, r.prune_at))
        rows.append(
            {"sparsity": band, "pairs": len(values), "mean": values.mean(), "95 %": half,
             "std of the differences": values.std(), "std over seeds": seeds.std().mean()}
        )  # fmt: skip
    print(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
