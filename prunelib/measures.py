"""What is read off masks (Figures 5, 15 and 16) and off the weights they keep: made and recorded
once, then kept."""

import os
import time
from dataclasses import replace

import pandas as pd
import torch
from tqdm.auto import tqdm

from prunelib import analysis, datasets, engine, fused, masks, networks, numerics, scores, settings
from prunelib.engine import MaskMaker
from prunelib.paths import data_root
from prunelib.runs import EARLY_METHODS
from prunelib.store import END, MASK, Store, commit
from prunelib.workers import POLL, Pool, scoring

# How far a mean may lie from a printed value: percentage points of neurons; the ratio at the
# highest matching sparsity, and beyond it.
NEAR = {"percent_neurons_pruned": 2.0, "matching": 0.0005, "extreme": 0.01}
THRESHOLDS = tuple(percent / 100 for percent in range(0, 101, 5))


def measure(runs, root=None, workers=None, progress=True, kind=MASK):
    """Make and read the masks, or the weights they keep, that the store misses; returns how many
    (fewer if a worker died).

    A one-shot method scores once for all its sparsities. What is finished is kept however this
    ends; several processes may share the work.

    Args:
        runs: Runs as `runs.mask_runs` or `runs.weight_runs` lists them.
        root: of the store; the default one if None.
        workers: processes of one thread each; by default the number of cores.
        progress: whether to show a progress bar.
        kind: `store.MASK`; `store.START` or `store.END`, the weights before or after training.
    """
    store = Store(root, kind)
    workers = os.cpu_count() if workers is None else workers
    missing = store.missing(runs)
    total, made = len(missing), 0
    function, tasks = (_carry_out, _tasks) if kind == MASK else (_compare, _comparisons)
    if kind != MASK:
        engine.prepare(missing, Store(root), workers, progress)
    with (
        Pool(workers if total > 1 else 1) as pool,
        tqdm(total=total, disable=not progress or not total, unit="mask") as bar,
    ):
        while missing:
            done = sum(pool.run(function, tasks(missing), bar, store.root, kind))
            made += done
            missing = store.missing(runs)
            if missing and not done:
                time.sleep(POLL)  # the rest is in the hands of another process
    return made


def methods(setting):
    """The methods to compare on a setting: those without data where ImageNet is not at hand."""
    found = (*EARLY_METHODS, "random")
    needs_imagenet = settings.get(setting).dataset == "imagenet"
    if needs_imagenet and not (data_root() / "imagenet").is_dir():
        return tuple(m for m in found if not scores.get(m).needs_data)
    return found


def measured(store):
    """The settings of which the store holds masks, in the order of `settings.SETTINGS`."""
    return [name for name in settings.SETTINGS if store.path(name, "paper").exists()]


def plan(runs, store):
    """One line: how many masks of a setting are needed, in the store, how long the rest takes."""
    missing = store.missing(runs)
    line = f"{len(runs)} masks needed, {len(runs) - len(missing)} in the store, "
    line += f"{len(missing)} to make"
    known = store.table(runs[0].setting).groupby("method")["seconds"].mean()
    if missing and all(run.method in known for run in missing):
        seconds = sum(known[run.method] for run in missing) / os.cpu_count()
        line += f" (about {max(1, round(seconds / 60))} min at the speed of those recorded)"
    return line + "."


def _tasks(runs):
    """Runs that share a ranking or, of iterative methods, a mask; the longest first."""
    groups = {}
    for run in runs:
        iterative = scores.get(run.method).iterations > 1
        key = replace(run, ablation="none", sparsity=run.sparsity if iterative else 0.0)
        groups.setdefault(key, []).append(run)
    return sorted(groups.values(), key=lambda group: -scores.get(group[0].method).iterations)


def _comparisons(runs):
    """Runs that differ in nothing but their ablation: the distances are between them."""
    groups = {}
    for run in runs:
        groups.setdefault(replace(run, ablation="none"), []).append(run)
    return list(groups.items())


def _compare(task, root, kind, advance):
    """Record the distributions of the unpruned weights of one unmodified run and its ablations."""
    unmodified, group = task
    store = Store(root, kind)
    with store.claim(group) as (todo, _):
        if not todo:
            return 0
        began = time.perf_counter()
        maker = MaskMaker(Store(root))
        runs = list(dict.fromkeys([unmodified, *todo]))
        with scoring():
            models, mask = (list(part) for part in zip(*map(maker.start, runs), strict=True))
        precision = numerics.default("cpu") if kind == END else "fp32"
        if kind == END:
            schedule = settings.schedule(unmodified.setting, unmodified.profile)
            dataset = datasets.load(settings.get(unmodified.setting).dataset)
            program = fused.make(models, mask, schedule, precision)
            fused.train(program, dataset, unmodified.replicate)
            weights = [program.tensors(k) for k in range(len(runs))]
        else:
            weights = [model.state_dict() for model in models]
        samples = [analysis.unpruned(w, m) for w, m in zip(weights, mask, strict=True)]
        for run, own in zip(runs, samples, strict=True):
            if run in todo:
                found = analysis.moments(own) | analysis.distances(samples[0], own)
                texts = {n: " ".join(f"{v:.6g}" for v in values) for n, values in found.items()}
                trained = kind == END or run.parent is not None
                about = _origin(run, began, trained) | {"precision": precision}
                store.add([run.record() | texts | about])
                advance(1)
        return len(todo)


def _carry_out(task, root, kind, advance):
    store = Store(root, kind)
    with store.claim(task) as (todo, _):
        maker = MaskMaker(store)
        for run in todo:
            began = time.perf_counter()
            with scoring():
                model, mask = maker.start(run)
            store.add([run.record() | read(model, mask) | _origin(run, began)])
            advance(1)
        return len(todo)


def read(model, mask):
    """What is read off a mask: kept and effective weights, layers and collapse, as recorded.

    Args:
        model: the network; its weights do not matter.
        mask: dict from parameter name to bool tensor.
    """
    collapse = [analysis.collapsed(mask, threshold) for threshold in THRESHOLDS]
    return {
        "kept_weights": masks.kept(mask),
        "effective_weights": masks.kept(analysis.effective(model, mask)),
        "layers": " ".join(str(int(m.sum())) for m in mask.values()),
        "collapse": " ".join(map(str, collapse)),
    }


def _origin(run, began, trained=False):
    data = "none"
    if trained or scores.get(run.method).needs_data:
        dataset = datasets.load(settings.get(run.setting).dataset)
        data = f"{dataset.name}@{dataset.fingerprint}"
    return {
        "seconds": time.perf_counter() - began,
        "device": engine.device_name("cpu"),
        "dataset": data,
        "torch": torch.__version__.split("+")[0],
        "commit": commit(),
    }


def collapse_data(table, sparsity):
    """The curves of Figure 5: the share of neurons with at least s % of their weights pruned.

    Args:
        table: records of masks of one setting.
        sparsity: which of its sparsities.

    Returns:
        data frame: method, ablation, threshold (s), share and std in percent, n.
    """
    rows = []
    for (method, ablation), group in _lines(table[table["sparsity"] == sparsity]):
        counts = pd.DataFrame([[int(c) for c in text.split()] for text in group["collapse"]])
        shares = 100 * counts.div(counts[0], axis=0)
        for column, threshold in enumerate(THRESHOLDS):
            values = shares[column]
            rows.append(
                (method, ablation, 100 * threshold, values.mean(), values.std(), len(values))
            )
    return pd.DataFrame(
        rows, columns=["method", "ablation", "threshold", "share", "std", "n"]
    ).round({"threshold": 1})


def layer_data(table, setting, sparsity):
    """The bars of Figure 15: the sparsity of each layer, of the unmodified masks.

    Returns:
        data frame: method, layer (in order), sparsity and std in percent, n.
    """
    model = _network(setting)
    names = networks.prunable(model)
    sizes = [model.get_parameter(name).numel() for name in names]
    rows = []
    unmodified = table[(table["sparsity"] == sparsity) & (table["ablation"] == "none")]
    for (method, _), group in _lines(unmodified):
        kept = pd.DataFrame([[int(c) for c in text.split()] for text in group["layers"]])
        pruned = 100 * (1 - kept / sizes)
        for column, name in enumerate(names):
            values = pruned[column]
            layer = name.removesuffix(".weight")
            rows.append((method, layer, values.mean(), values.std(), len(values)))
    return pd.DataFrame(rows, columns=["method", "layer", "sparsity", "std", "n"])


def ratio_data(table):
    """The lines of Figure 16: effective weights of the shuffled mask over the unmodified one's.

    A replicate whose unmodified mask has no effective weight at all has no ratio.

    Returns:
        data frame: method, sparsity in [0, 1), ratio and std over replicates, n.
    """
    keys = ["method", "sparsity", "replicate"]
    weights = table.pivot(index=keys, columns="ablation", values="effective_weights")
    weights = weights[weights["none"] > 0].dropna()
    ratio = (weights["shuffle"] / weights["none"]).rename("ratio")
    groups = ratio.groupby(["method", "sparsity"])
    found = pd.DataFrame({"ratio": groups.mean(), "std": groups.std(), "n": groups.size()})
    return found.reset_index().sort_values("method", key=_place, kind="stable")


def weight_data(tables):
    """How far the unpruned weights of all layers together move under each ablation.

    Args:
        tables: dict from "before training" or "after training" to records of weights.

    Returns:
        data frame: when, sparsity in [0, 1), method (magnitude after training is one of its own),
        ablation, replicate, ks in [0, 1], wasserstein in units of the standard deviation of the
        unmodified network's unpruned weights, and the ratio of the standard deviations.
    """
    rows = []
    keys = ["sparsity", "method", "prune_at", "replicate"]
    for when, table in tables.items():
        first = table.copy()
        for name in ("std", "wasserstein", "ks"):
            first[name] = first[name].map(lambda text: float(str(text).split()[0]))
        for (sparsity, method, prune_at, replicate), group in first.groupby(keys, sort=False):
            stds = group.set_index("ablation")["std"]
            if "none" not in stds:
                continue  # there is nothing to compare with
            for row in group[group["ablation"] != "none"].itertuples():
                name = "magnitude after training" if prune_at == "end" else method
                rows.append(
                    (when, sparsity, name, row.ablation, replicate, row.ks,
                     row.wasserstein / stds["none"], row.std / stds["none"])
                )  # fmt: skip
    columns = ["when", "sparsity", "method", "ablation", "replicate", "ks", "wasserstein", "std"]
    return pd.DataFrame(rows, columns=columns)


def layer_weights(table, setting, sparsity, quantity, ablation="shuffle"):
    """A quantity of the unpruned weights of each layer, mean over replicates, a column a method.

    Args:
        table: records of weights of one setting.
        setting: its name. sparsity: one of those recorded.
        quantity: "mean", "std", "kurtosis", "wasserstein" or "ks".
        ablation: of the runs it is read of.
    """
    names = [n.removesuffix(".weight") for n in networks.prunable(_network(setting))]
    rows = table[(table["sparsity"] == sparsity) & (table["ablation"] == ablation)]
    found = {}
    for (method, prune_at), group in rows.groupby(["method", "prune_at"], sort=False):
        values = pd.DataFrame([[float(v) for v in text.split()] for text in group[quantity]])
        found[f"{method} after training" if prune_at == "end" else method] = values.mean()
    return pd.DataFrame(found).set_axis(["all layers", *names])


def _network(setting):
    return networks.build(settings.get(setting).network)


def _lines(table):
    """((method, ablation), rows): methods in the order of the paper, unmodified first."""
    return table.sort_values("method", key=_place, kind="stable").groupby(
        ["method", "ablation"], sort=False
    )


def _place(names):
    return names.map({name: place for place, name in enumerate((*EARLY_METHODS, "random"))})


def against_published(table, setting):
    """Our values beside those the paper prints in Section 5 and Appendix M.

    Args:
        table: records of masks of the setting.

    Returns:
        data frame: quantity, method, sparsity, paper (as printed), ours (mean), std, n,
        difference, the difference in units of our standard deviation, and whether it is within
        the tolerances `NEAR`. Empty where the paper prints nothing for the setting.
    """
    chosen = settings.get(setting)
    printed = analysis.published(
        "frankle2021_before_training",
        network=chosen.network,
        dataset=chosen.dataset,
    )
    rows = []
    for row in printed.itertuples():
        near = table[table["sparsity"].round(3) == row.sparsity]
        values = _measured(near, row.quantity, row.method)
        number = pd.to_numeric(row.value, errors="coerce")
        difference = values.mean() - number
        matching = settings.sparsity(settings.matching_level(setting)[0])
        near = "matching" if row.sparsity <= round(matching, 3) else "extreme"
        tolerance = NEAR.get(row.quantity, NEAR[near])
        rows.append(
            {
                "quantity": row.quantity.replace("_", " "),
                "method": row.method,
                "sparsity": 100 * row.sparsity,
                "paper": row.value,
                "ours": values.mean(),
                "std": values.std(),
                "n": len(values),
                "difference": difference,
                "in stds": difference / values.std() if values.std() else float("nan"),
                "within": "" if pd.isna(difference) else bool(abs(difference) <= tolerance),
            }
        )
    return pd.DataFrame(rows)


def replicates_of_ratio(table, method, sparsity):
    """Effective weights, unmodified and shuffled, and their ratio: a row a replicate.

    Args:
        table: records of masks of one setting. method: a name. sparsity: one of those recorded.
    """
    rows = table[(table["method"] == method) & (table["sparsity"] == sparsity)]
    weights = rows.pivot(index="replicate", columns="ablation", values="effective_weights")
    kept = rows.groupby("replicate")["kept_weights"].first().rename("kept")
    found = pd.concat([kept, weights[["none", "shuffle"]]], axis=1)
    return found.assign(ratio=found["shuffle"] / found["none"])


def _measured(table, quantity, method):
    """One value a replicate of a printed quantity; "synflow+shuffle" is the shuffled mask."""
    name, _, ablation = method.partition("+")
    if quantity == "effective_parameter_ratio":
        pairs = table[table["method"] == name].pivot(
            index="replicate", columns="ablation", values="effective_weights"
        )
        return (pairs["shuffle"] / pairs["none"]).dropna() if len(pairs) else pd.Series(dtype=float)
    rows = table[(table["method"] == name) & (table["ablation"] == (ablation or "none"))]
    counts = [[int(c) for c in text.split()] for text in rows["collapse"]]
    return pd.Series([100 * c[-1] / c[0] for c in counts], dtype=float)


def fidelity(runs, table):
    """One sentence: how many masks there are of those wanted, on what data they were scored."""
    data = sorted(set(table["dataset"]) - {"none"})
    missing = len(runs) - len(table)
    return (
        f"{runs[0].setting}: {len(table)} of {len(runs)} masks"
        + (f", {missing} not made" if missing else "")
        + f"; scored on {', '.join(data) or 'no data'}."
    )
