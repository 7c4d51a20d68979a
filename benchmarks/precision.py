"""May a fast precision be used? Figure 3's runs in two precisions, compared pairwise.

    python benchmarks/precision.py lenet_mnist quick bf16
    python benchmarks/precision.py resnet20_cifar10 quick bf16 --methods dense snip --levels 0 6 18

The pairs share setting, method, sparsity, replicate, and with these initial weights, mask and data.
What results/ holds in either precision is taken from there; the rest is trained into
out/precision/, where the same command goes on after it was stopped.
"""

import argparse

import pandas as pd
from scipy import stats

from prunelib import engine, grids, settings
from prunelib.engine import campaign, memory
from prunelib.paths import project_root
from prunelib.results.store import Store

SHOWN = 12  # so many pairs are printed one by one


def accuracies(store, wanted, precision):
    """Series of test accuracy in percent, indexed by Run, of those trained in a precision on a
    device that records call what they call this machine's, so that no pair is of a CPU and a
    GPU."""
    here = memory.device_name(campaign.check_device(None))
    found = {}
    for key in {(run.setting, run.profile) for run in wanted}:
        found |= store.records(*key)
    return pd.Series(
        {r: 100 * found[r].test_accuracy for r in wanted
         if r in found and (found[r].precision, found[r].device) == (precision, here)},
        dtype=float,
    )  # fmt: skip


def trained(wanted, precision, minutes):
    """The accuracies in a precision of all that is wanted; trained where results/ lacks them."""
    known = accuracies(Store(), wanted, precision)
    missing = [run for run in wanted if run not in known.index]
    store = Store(project_root() / "out" / "precision" / precision)
    if missing:
        engine.train(missing, store, precision=precision, minutes=minutes)
    return pd.concat([known, accuracies(store, missing, precision)])


def main(setting, profile, precision, replicates, methods, levels, minutes):
    wanted = [
        run
        for run in grids.figure_runs(3, setting, profile, replicates)
        if (methods is None or run.method in methods)
        and (levels is None or run.sparsity in map(settings.sparsity, levels))
    ]
    fast, reference = (trained(wanted, name, minutes) for name in (precision, "fp32"))
    pairs = pd.DataFrame({precision: fast, "fp32": reference}).dropna()
    print(f"{len(pairs)} of {len(wanted)} pairs are complete")
    print(f"{setting}, profile {profile}: test accuracy, {precision} minus fp32, percentage points")
    pairs["difference"] = pairs[precision] - pairs["fp32"]
    if len(pairs) <= SHOWN:
        names = [
            f"{run.method} {100 * run.sparsity:.1f} %, pruned at {run.prune_at}, "
            f"replicate {run.replicate}"
            for run in pairs.index
        ]
        print(pairs.set_axis(names).round(2).to_string())
    matching = settings.highest_matching(setting)
    bands = pairs.index.map(
        lambda r: "none" if not r.sparsity else "matching" if r.sparsity <= matching else "extreme"
    )
    curves = pairs.index.map(lambda r: (r.method, r.sparsity, r.prune_at))
    rows = []
    for band, own in [*pairs.groupby(bands, sort=False), ("all", pairs)]:
        values = own["difference"]
        half = values.sem() * stats.t.ppf(0.975, len(values) - 1)
        seeds = own["fp32"].groupby(curves[bands.isin([band]) | (band == "all")]).std()
        rows.append(
            {"sparsity": band, "pairs": len(values), "mean": values.mean(), "95 %": half,
             "std of the differences": values.std(), "std over seeds": seeds.mean()}
        )  # fmt: skip
    print(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("setting")
    parser.add_argument("profile")
    parser.add_argument("precision")
    parser.add_argument("--replicates", type=int, help="the profile's number by default")
    parser.add_argument("--methods", nargs="+", help="some of Figure 3's; dense is unpruned")
    parser.add_argument("--levels", nargs="+", type=int, help="k of the sparsities 1 - 0.8^k")
    parser.add_argument("--minutes", type=float, help="a budget for each of the two precisions")
    main(**vars(parser.parse_args()))
