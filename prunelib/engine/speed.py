"""How fast this machine trains and scores: calibrations of a second or two, on noise.

`stretch` measures training in model-images a second, of a program or of a loop; `width` and
`estimate` decide by it how many networks are trained as one program and how long Runs take.
"""

import functools
import inspect
import math
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from prunelib import datasets, masks, networks, provenance, scores, settings, training
from prunelib.engine import groups, memory, programs, wide
from prunelib.precision import products
from prunelib.results.records import END, TRAINED
from prunelib.results.store import Store
from prunelib.runs import Run
from prunelib.settings import Schedule

STACK = 32  # small networks in one program on a CPU: 64 are no faster and take more memory
UNITS = (("s", 1, 100), ("min", 60, 6000), ("h", 3600, 3.6e5), ("days", 86400, math.inf))
LEAST = 1.0  # seconds that a timed stretch of training takes at least
EXAMPLES = 2000  # of the synthetic dataset that is trained on
DECODED = 256  # images from whose files it is measured how fast these are decoded
LARGEST = 5e11  # floating-point operations of an iteration that is measured on a CPU


def speed(setting: str, count: int, precision: str, device: str) -> float:
    """Model-images a second of a program of `count` networks: one stretch after a warm-up."""
    return stretch(setting, count, precision, device)()


def stretch(
    setting: str,
    count: int,
    precision: str,
    device: str,
    prepared: Callable[[nn.Module], nn.Module] | None = None,
) -> Callable[[], float]:
    """A function that trains for `LEAST` seconds or more and returns model-images a second.

    It trains on made-up images in the setting's batch size (on a CPU large networks in smaller
    batches), under masks; it is warm when this returns.

    Args:
        setting: a name. count: how many networks the program trains.
        precision: of the program, or of the loop's products.
        device: "cpu" or "cuda".
        prepared: makes of a network what the loop of `training` trains, in place of a program.
    """
    models, mask, dataset, schedule = workload(setting, count, device)
    if prepared:
        model = prepared(models[0])
    else:
        program = programs.make(models, mask, schedule, precision)

    def seconds(iterations):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        if prepared:
            part = replace(schedule, iterations=iterations)
            with products(precision):  # in place of the loop's own, which are in fp32
                inspect.unwrap(training.train)(model, dataset, part, 0, mask[0])
        else:
            goal = program.done + iterations
            programs.train(program, dataset, 0, before=lambda done: done == goal)
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    iterations = 1
    seconds(iterations)
    while seconds(iterations) < LEAST / 2:
        iterations *= 2
    iterations *= 2
    mean_batch = dataset.train_size / schedule.iterations_per_epoch
    return lambda: count * mean_batch * iterations / seconds(iterations)


def workload(
    setting: str, count: int, device: str
) -> tuple[list[nn.Module], list[masks.Mask], datasets.Dataset, Schedule]:
    """What is trained to measure a setting: `count` networks, half of their weights masked at
    random, on noise, by a schedule without end; on a CPU large networks in smaller batches."""
    chosen = settings.get(setting)
    batch = chosen.batch_size
    if device == "cpu":
        batch = max(1, min(batch, int(LARGEST / networks.flops(chosen.network))))
    dataset = _synthetic(chosen, batch).to(device)
    schedule = replace(
        settings.schedule(setting, "paper"),
        iterations=10**9,
        test_examples=1,
        iterations_per_epoch=-(-dataset.train_size // batch),
        batch_size=batch,
    )
    models = [networks.build(chosen.network, k).to(device) for k in range(count)]
    mask = [masks.prune(m, "random", 0.5, seed=k) for k, m in enumerate(models)]
    return models, mask, dataset, schedule


def _synthetic(setting, batch):
    """A dataset of noise in the shape of a setting's, some batches of it and a short one; a user's
    own data as they are."""
    if provenance.is_own(setting.dataset):
        return datasets.load(setting.dataset)
    channels, height, width = networks.NETWORKS[setting.network][1]
    augmentation = {
        "mnist": "none",
        "digits": "none",
        "shifted_digits": "shift",
        "cifar10": "crop",
        "modified_tinyimagenet": "crop",
    }.get(setting.dataset, "resized_crop")
    stream = torch.Generator().manual_seed(0)
    count = max(1, EXAMPLES // batch) * batch + batch // 2
    shape = (count, channels, height, width)
    images = torch.randint(0, 256, shape, generator=stream, dtype=torch.uint8)
    labels = torch.randint(0, 10, (len(images),), generator=stream)
    mean, std = (0.5,) * channels, (0.25,) * channels
    return datasets.Dataset(
        "noise", images, labels, images[:1], labels[:1], mean, std, augmentation, "noise"
    )


@functools.cache
def width(setting: str, device: str, precision: str) -> int:
    """How many networks of a setting are trained as one program.

    On a CPU large networks gain nothing from company. On a GPU the number is doubled as
    long as a short measurement finds that it pays and the memory holds; not where the workers of a
    cluster have one and this machine has none.
    """
    first = STACK if wide.pays(settings.get(setting).network) else 1
    if device == "cpu" or not torch.cuda.is_available():
        return first
    best, fastest, count = first, 0.0, first
    while count <= 32 * first:
        try:
            found = speed(setting, count, precision, device)
        except RuntimeError as error:
            if not memory.is_lacking(error):
                raise
            break
        finally:
            torch.cuda.empty_cache()
        if found < 1.05 * fastest:
            break
        best, fastest, count = count, found, 2 * count
    return best


def iterations(runs: list[Run]) -> int:
    """How many iterations training these Runs takes in all."""
    return sum(settings.schedule(run.setting, run.profile).iterations for run in runs)


def estimate(runs: list[Run], store: Store, device: str, precision: str, workers: int) -> str:
    """How long it takes to make what a store records of Runs, of one setting and profile, or that a
    network is too large."""
    try:
        return _estimated(runs, store, device, precision, workers)
    except RuntimeError as error:
        if not memory.is_lacking(error):
            raise
        said = f"a network does not fit into the memory of {device!r} in {precision}"
        return f"how long is not known: {said}{'' if precision == 'bf16' else ', but may in bf16'}"
    finally:
        torch.cuda.empty_cache()


def _estimated(runs, store, device, precision, workers):
    setting, profile = runs[0].setting, runs[0].profile
    trained = dict.fromkeys(run.parent for run in runs if run.parent)
    if store.kind in (TRAINED, END):
        trained |= dict.fromkeys(runs)
    if store.kind == END:  # beside each its unmodified network
        trained |= dict.fromkeys(replace(run, ablation="none") for run in runs)
    seconds, said = _scoring(runs, device), f"{workers} at a time"
    if trained:
        stock = groups.Stock(TRAINED, lambda name: width(name, device, precision), workers)
        found = groups.first([replace(run, prune_at=0, weights_from=0) for run in trained], stock)
        size = max(len(task.runs) for task in found)
        workers = min(workers, len(found))
        rate = _alone(lambda: speed(setting, size, precision, device))
        rate = min(rate, size * _decoded(settings.get(setting).dataset) / workers)
        schedule = settings.schedule(setting, profile)
        seconds += len(trained) * schedule.iterations * schedule.batch_size / rate
        said = f"{rate:,.0f} images/s a process, {workers} of them, in {precision}"
    seconds /= workers
    unit, size = next((unit, size) for unit, size, limit in UNITS if seconds < limit)
    time_ = max(1, seconds) / size
    return f"about {time_:,.{int(time_ < 10)}f} {unit} on this machine: {said}"


def _decoded(dataset: str) -> float:
    """How many images a second all cores decode, of a dataset that is not kept in memory."""
    found = datasets.load(dataset)
    if not isinstance(found, datasets.FolderDataset):
        return math.inf
    draws = found.draws(0, 0).part(0, DECODED)
    began = time.perf_counter()
    return len(found.train_batch(draws)[1]) / (time.perf_counter() - began)


def _scoring(runs: list[Run], device: str) -> float:
    """Seconds of one worker in which the masks of these Runs are made, from one scoring of noise by
    each method: most one-shot methods rank once for all sparsities of a replicate."""
    counts: dict[str, set] = {}
    for run in runs:
        if run.method not in scores.UNSCORED:
            once = scores.get(run.method).ranks_once
            key = replace(run, ablation="none", sparsity=0.0 if once else run.sparsity)
            counts.setdefault(run.method, set()).add((key, run.ablation == "invert"))

    def seconds(method):
        once = _alone(lambda: _score(runs[0].setting, method, device))
        return scores.get(method).iterations * once

    return sum(len(keys) * seconds(method) for method, keys in counts.items())


@functools.cache
def _score(setting: str, method: str, device: str) -> float:
    """Seconds that one scoring and one removal take, or a whole mask, on batches of at most 100
    examples, times how many of those a batch has."""
    about, chosen = settings.get(setting), scores.get(method)
    model = networks.build(about.network)
    classes = model(torch.zeros(2, *model.input_shape)).shape[1]
    model.to(device)
    whole = about.batch_size if chosen.batches else datasets.PER_CLASS * classes
    measured = min(100, whole)
    batch = (torch.rand(measured, *model.input_shape), torch.arange(measured) % classes)
    batch = tuple(tensor.to(device) for tensor in batch)
    batch = [batch] * chosen.batches if chosen.batches else batch

    def once():
        began, ranking = time.perf_counter(), None
        if chosen.kind == "score":
            ranking = masks.rank(model, method, batch, sparsity=0.5)
        else:
            masks.prune(model, method, 0.5, batch)
        if device == "cuda":
            torch.cuda.synchronize()
        scored = time.perf_counter()
        if ranking:
            masks.remove(ranking, 0.5)
        removed = time.perf_counter() - scored
        return (scored - began) * (whole / measured if chosen.needs_data else 1) + removed

    if device == "cuda":
        once()  # libraries choose their kernels
    return once()


def _alone(function: Callable[[], float]) -> float:
    """Call a measurement with one thread, as a worker has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return function()
    finally:
        torch.set_num_threads(threads)
