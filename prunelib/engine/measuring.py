"""What is read off masks (Figures 5, 15 and 16) and off the weights they keep: made and recorded
once, then kept."""

import os
import time
from dataclasses import replace

import torch
from tqdm.auto import tqdm

from prunelib import analysis, datasets, engine, masks, scores, settings
from prunelib.engine import MaskMaker, programs
from prunelib.engine.executors import POLL, Pool, scoring
from prunelib.paths import data_root
from prunelib.precision import default_precision
from prunelib.results.store import END, MASK, Store, commit
from prunelib.runs import EARLY_METHODS

THRESHOLDS = tuple(percent / 100 for percent in range(0, 101, 5))


def measure(runs, root=None, workers=None, progress=True, kind=MASK):
    """Make and read the masks, or the weights they keep, that the store misses; returns how many
    (fewer if a worker died).

    A one-shot method scores once for all its sparsities. What is finished is kept however this
    ends; several processes may share the work.

    Args:
        runs: Runs as `grids.mask_runs` or `grids.weight_runs` lists them.
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
        precision = default_precision("cpu") if kind == END else "fp32"
        if kind == END:
            schedule = settings.schedule(unmodified.setting, unmodified.profile)
            dataset = datasets.load(settings.get(unmodified.setting).dataset)
            program = programs.make(models, mask, schedule, precision)
            programs.train(program, dataset, unmodified.replicate)
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
