"""The engine: train many Runs on whatever hardware there is, record each when it ends, resume."""

import functools
import hashlib
import json
import math
import os
import platform
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from tqdm.auto import tqdm

from prunelib import datasets, masks, networks, scores, settings
from prunelib.engine import programs, speed
from prunelib.engine.executors import POLL, Pool, scoring
from prunelib.errors import BadValueError, DatasetError, PrunelibError, check_name
from prunelib.precision import PRECISIONS, default_precision
from prunelib.results.store import Store, commit, write_atomically
from prunelib.runs import Run

STACK = 32  # LeNets in one program on a CPU: 64 are no faster and take more memory
UNITS = (("s", 1, 100), ("min", 60, 6000), ("h", 3600, 3.6e5), ("days", 86400, math.inf))
GRACE = 10  # seconds after the end of a budget in which groups write their checkpoints
SAVE = 600  # seconds between checkpoints of a group in training
LONG = 60  # seconds before the end of a budget in which a group is checkpointed when it may be cut


@dataclass(frozen=True)
class Job:
    """What all tasks of one call share; `deadline` is in seconds since the epoch."""

    root: Path
    device: str
    precision: str
    deadline: float = math.inf
    output: Path | None = None


@dataclass
class Task:
    """A group of Runs of one setting, profile and replicate that one worker trains together.

    `keep` has the steps of dense runs whose states later runs need. `unfinished` is the
    checkpoint from which the group goes on.
    """

    runs: list[Run]
    keep: dict[Run, set] = field(default_factory=dict)
    unfinished: Path | None = None


def train(
    runs, store=None, workers=None, device=None, progress=True, precision=None, minutes=None,
    output=None,
):  # fmt: skip
    """Train what the store misses, record each run when it ends; returns how many were trained
    (fewer if a worker died).

    Dense networks whose weights other runs need are trained first, and checkpointed. Runs that
    share their data are trained as one program (`fused`): LeNets, and on a GPU all networks. On a
    CPU programs run in processes of one thread each. Killed at any moment, this loses no finished
    run, and of groups in training what came after their last checkpoint, ten minutes or so; the
    same call goes on. Runs that another process is training are waited for.

    On a CPU a worker takes less than 2 GiB beside its dataset while it trains LeNets, a ResNet-20,
    a VGG or, on TinyImageNet, a ResNet-18; scoring takes more, see benchmarks/README.md. A group
    that does not fit is halved; when the system ends a worker for want of memory, half as many go
    on.

    Args:
        runs: Runs of any settings, most valuable first.
        store: a `Store`; the default one if None.
        workers: processes; by default the number of cores, and 1 on a GPU.
        device: "cpu" or "cuda"; by default a GPU if there is one.
        progress: whether to show a progress bar.
        precision: "fp32", "tf32" or "bf16", see `numerics`; `default_precision` if None.
        minutes: a budget: when it is spent, what is in training is checkpointed, and this returns
            within 20 seconds.
        output: a folder to which new records also go, for `Store.merge` elsewhere.

    Raises:
        PrunelibError: whatever bad input met on the way; finished runs are kept.
    """
    began = time.time()
    store = store or Store()
    device = _device(device)
    workers = _workers(workers, device)
    precision = _precision(precision, device)
    if minutes is not None and not minutes > 0:
        raise BadValueError(f"minutes={minutes!r}: give a number above 0")
    deadline = math.inf if minutes is None else began + 60 * minutes
    job = Job(store.root, device, precision, deadline, output)
    total = len(store.missing(runs))
    if not total:
        return 0
    for setting in {run.setting for run in runs}:
        _check_data(settings.get(setting))  # bad data are reported before any worker starts
    work = _iterations(store.missing(runs))
    trained = 0
    with (
        Pool(workers, killable=minutes is not None) as pool,
        tqdm(total=work, disable=not progress, unit="it", unit_scale=True) as bar,
    ):
        while (missing := store.missing(runs)) and time.time() < deadline:
            bar.update(work - _iterations(missing) - bar.n)  # back, where a worker died
            bar.set_description(f"{total - len(missing)}/{total} runs")
            done = 0
            for tasks in (_without_parents, _with_parents):
                if time.time() >= deadline:
                    break
                for finished in pool.run(
                    _carry_out, tasks(missing, store, job, pool.workers), bar, job,
                    until=deadline + GRACE,
                ):  # fmt: skip
                    done += finished
                    bar.set_description(f"{min(total, trained + done)}/{total} runs")
            trained += done
            if not done and store.missing(runs):
                time.sleep(POLL)  # the rest is in the hands of another process
        if not missing:
            bar.update(work - bar.n)
    return trained


def prepare(runs, store, workers=None, progress=True):
    """Train again, on the CPU, the dense networks of which runs need states that are lost."""
    workers = _workers(workers, "cpu")
    job = Job(store.root, "cpu", default_precision("cpu"))
    children = [run for run in runs if run.parent]
    tasks = _without_parents(children, store, job, workers)
    with (
        Pool(workers if len(tasks) > 1 else 1) as pool,
        tqdm(disable=not progress or not tasks, unit="it", unit_scale=True) as bar,
    ):
        while tasks:
            for _ in pool.run(_carry_out, tasks, bar, job):
                pass
            tasks = _without_parents(children, store, job, pool.workers)
            if tasks:
                time.sleep(POLL)  # another process is training them


def _iterations(runs):
    return sum(settings.schedule(run.setting, run.profile).iterations for run in runs)


def _precision(precision, device):
    return check_name("precision", precision or default_precision(device), PRECISIONS)


def _device(device):
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if check_name("device", device, ("cpu", "cuda")) == "cuda" and not torch.cuda.is_available():
        raise BadValueError("device 'cuda': PyTorch finds no GPU on this machine; use 'cpu'")
    return device


def _workers(workers, device):
    if workers is None:
        return 1 if device == "cuda" else os.cpu_count()
    if not isinstance(workers, int) or workers < 1:
        raise BadValueError(f"workers={workers!r}: give a whole number from 1")
    return workers


def _check_data(setting):
    """Raise DatasetError if the dataset is missing, or has too few examples for the schedule."""
    dataset = datasets.load(setting.dataset)
    whole = setting.iterations_per_epoch * setting.batch_size
    if not whole - setting.batch_size < dataset.train_size < whole + setting.batch_size:
        raise DatasetError(
            f"dataset {dataset.name!r} has {dataset.train_size} training examples, {setting.name} "
            f"has {setting.iterations_per_epoch} batches of {setting.batch_size} an epoch: the "
            "dataset is incomplete; unpack or download it again"
        )


def _without_parents(missing, store, job, workers):
    """Tasks of dense runs, whose states others need, and of runs that need no dense run."""
    keep = {}
    for run in missing:
        if run.parent:
            keep.setdefault(run.parent, set()).update(run.parent_steps)
    wanted = {run for run in missing if run.method == "dense"}
    wanted |= {parent for parent, steps in keep.items() if _is_lost(store, job, parent, steps)}
    pruned = [run for run in missing if run.method != "dense" and not run.parent]
    return _grouped(sorted(wanted) + pruned, store, job, workers, keep)


def _with_parents(missing, store, job, workers):
    """Tasks of runs that start from states of a dense run, as far as those are there."""
    starts = {run: {(run.parent, step) for step in run.parent_steps} for run in missing}
    there = {s for s in set().union(*starts.values()) if _is_there(store, job, *s)}
    ready = [run for run in missing if starts[run] and starts[run] <= there]
    return _grouped(ready, store, job, workers, {})


def _is_there(store, job, run, step):
    return _read_checkpoint(store, job.precision, run, step) is not None


def _is_lost(store, job, run, steps):
    return not all(_is_there(store, job, run, step) for step in steps)


def _grouped(runs, store, job, workers, keep):
    """Tasks of runs that can be trained together, in their order, of like size for each worker;
    groups that were begun go on as they are."""
    tasks, left = [], dict.fromkeys(runs)
    for setting, profile in dict.fromkeys((run.setting, run.profile) for run in runs):
        for path, members in _unfinished(store, setting, profile, job):
            if members := [run for run in members if run in left]:
                tasks.append(Task(members, keep, path))
                left = {run: None for run in left if run not in members}
    groups = {}
    for run in left:
        groups.setdefault((run.setting, run.profile, run.replicate), []).append(run)
    for (setting, _, _), members in groups.items():
        most = _width(setting, job.device, job.precision)
        rounds = math.ceil(len(members) / (most * workers))
        size = min(most, math.ceil(len(members) / (rounds * workers)))
        tasks += [Task(members[i : i + size], keep) for i in range(0, len(members), size)]
    return tasks


@functools.cache
def _width(setting, device, precision):
    """How many networks of a setting are trained as one program.

    On a CPU convolutional networks gain nothing from company. On a GPU the number is doubled as
    long as a short measurement finds that it pays and the memory holds.
    """
    first = STACK if settings.get(setting).network.startswith("lenet") else 1
    if device == "cpu":
        return first
    best, fastest, count = first, 0, first
    while count <= 32 * first:
        try:
            found = speed.speed(setting, count, precision, device)
        except RuntimeError as error:
            if not _is_lack_of_memory(error):
                raise
            break
        finally:
            torch.cuda.empty_cache()
        if found < 1.05 * fastest:
            break
        best, fastest, count = count, found, 2 * count
    return best


def _carry_out(task, job, advance):
    """Train and record those runs of a task that nobody else has; returns how many."""
    if time.time() >= job.deadline:
        return 0
    store = Store(job.root)
    with store.claim(task.runs) as (todo, recorded):
        lost = {run for run in recorded if _is_lost(store, job, run, task.keep.get(run, ()))}
        runs = [run for run in task.runs if run in todo or run in lost]
        if not runs:
            return 0
        return _train_group(replace(task, runs=runs), job, store, set(todo), advance)


def _train_group(task, job, store, todo, advance):
    """Train a group and record its runs, as two groups where it does not fit into memory."""
    try:
        return _train_program(task, job, store, todo, advance)
    except (RuntimeError, MemoryError) as error:
        if not _is_lack_of_memory(error):
            raise
        if len(task.runs) == 1:
            raise PrunelibError(
                f"one network of {task.runs[0].setting} does not fit into the memory of "
                f"{job.device!r}: finished runs are kept; give fewer workers, or a larger machine"
            ) from None
    half = len(task.runs) // 2
    return sum(
        _train_group(replace(task, runs=part), job, store, todo, advance)
        for part in (task.runs[:half], task.runs[half:])
    )


def _is_lack_of_memory(error):
    """Also where the end of a CUDA graph's capture has covered it with an error of its own."""
    while error is not None:
        words = str(error).lower()
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or (
            any(w in words for w in ("out of memory", "allocate memory", "alloc_failed"))
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def _train_program(task, job, store, todo, advance):
    began = time.perf_counter()
    runs, first = task.runs, task.runs[0]
    schedule = settings.schedule(first.setting, first.profile)
    dataset = datasets.load(settings.get(first.setting).dataset).to(job.device)
    program, spent = _resumed(task, job, schedule)
    if program is None:
        maker = MaskMaker(store, job.device, job.precision)
        started = []
        for run in runs:
            if time.time() >= job.deadline:
                return 0
            with scoring():
                started.append(maker.start(run))
        gradual = [run.sparsity if run.method == "gradual" else None for run in runs]
        models, mask = ([pair[i] for pair in started] for i in (0, 1))
        program = programs.make(models, mask, schedule, job.precision, gradual)
        del started, models, mask, maker
    path = _unfinished_folder(store, first.setting, first.profile) / f"{_digest(runs)}.safetensors"
    saved = looked = time.time()
    slowest = 0  # seconds of an iteration

    def before(done):
        nonlocal saved, looked, slowest
        now = time.time()
        if done > begun:
            advance(program.count)
            slowest = max(slowest, now - looked)
        looked = now
        for k, run in enumerate(runs):
            step = "end" if done == schedule.iterations else done
            if step in task.keep.get(run, ()):
                _write_checkpoint(store, job.precision, run, step, program.state(k))
        ended = done == schedule.iterations
        pause = not ended and now + slowest >= job.deadline
        # the masks of a group, or its evaluation, may take longer than what is left
        exposed = (ended or done == begun) and now + LONG >= job.deadline
        if pause or exposed or now >= saved + SAVE:
            saved = now
            _write_unfinished(path, program, runs, job, spent + time.perf_counter() - began)
        return pause

    begun = program.done
    advance(program.count * begun)
    outcomes = programs.train(program, dataset, first.replicate, before)
    if outcomes is None:
        return 0
    seconds = (spent + time.perf_counter() - began) / len(runs)
    records = [
        run.record()
        | {
            "test_accuracy": outcome.test_accuracy,
            "test_loss": outcome.test_loss,
            "train_loss": outcome.train_loss,
            "kept_weights": masks.kept(program.mask(k)),
            "epochs": schedule.epochs,
            "seconds": seconds,
            "engine": type(program).__name__.lower(),
            "precision": job.precision,
            "device": device_name(job.device),
            "dataset": f"{dataset.name}@{dataset.fingerprint}",
            "torch": torch.__version__.split("+")[0],
            "commit": commit(),
        }
        for k, (run, outcome) in enumerate(zip(runs, outcomes, strict=True))
        if run in todo
    ]
    if job.output:
        Store(job.output).add(records)
    store.add(records)
    for old in {path, task.unfinished or path}:
        _forget(store, old)
    return len(records)


class MaskMaker:
    """Initial weights and masks of runs; what several runs share is computed once. Weights from
    later in training are those of dense networks trained in the given precision."""

    def __init__(self, store, device="cpu", precision=None):
        self.store, self.device = store, device
        self.precision = _precision(precision, device)
        self.masks, self.rankings = {}, {}

    def start(self, run):
        """The network that a run trains, its weights in place, and its mask."""
        if run.method in scores.UNSCORED:
            model = self.network(run, 0)
            return model, masks.full(model)
        mask = self.mask(run)
        if run.ablation == "shuffle":
            mask = masks.shuffle(mask, run.replicate)
        if run.ablation == "reinit":
            network = settings.get(run.setting).network
            model = networks.build(network, run.replicate, run.init, "reinit")
            return model.to(self.device), mask
        return self.network(run, run.weights_from), mask

    def mask(self, run):
        """The mask before the ablation that shuffles it."""
        invert = run.ablation == "invert"
        key = replace(run, ablation="invert" if invert else "none", weights_from=0)
        if key not in self.masks:
            if scores.get(run.method).iterations == 1:
                self.masks[key] = masks.remove(self.ranking(key), run.sparsity, seed=run.replicate)
            else:
                self.masks[key] = masks.prune(
                    self.network(run, run.prune_at), run.method, run.sparsity,
                    self.batch(run), invert=invert, seed=run.replicate,
                )  # fmt: skip
        return self.masks[key]

    def ranking(self, run):
        """What a one-shot method ranks weights by: the same for all sparsities."""
        key = replace(run, sparsity=0.0)
        if key not in self.rankings:
            self.rankings[key] = masks.rank(
                self.network(run, run.prune_at), run.method, self.batch(run),
                run.ablation == "invert", run.replicate,
            )  # fmt: skip
        return self.rankings[key]

    def batch(self, run):
        if not scores.get(run.method).needs_data:
            return None
        batch = datasets.scoring_batch(run.setting, run.replicate)
        return tuple(tensor.to(self.device) for tensor in batch)

    def network(self, run, step):
        """A fresh copy of the dense network at a step of its training."""
        model = networks.build(settings.get(run.setting).network, run.replicate, run.init)
        if step != 0:
            state = _read_checkpoint(self.store, self.precision, run.parent, step)
            if state is None:
                raise PrunelibError(
                    f"the state of {run.setting}'s unpruned network, replicate {run.replicate}, at "
                    f"step {step} is not there: train with prunelib.engine.train or prepare first"
                )
            model.load_state_dict(state)
        return model.to(self.device)


def device_name(device):
    """What a record calls the hardware."""
    return torch.cuda.get_device_name() if device == "cuda" else f"cpu {platform.machine()}"


def _checkpoint_path(store, precision, run, step):
    data = datasets.load(settings.get(run.setting).dataset).fingerprint
    name = f"{run.init}-r{run.replicate}-{step}-{precision}-{data}.safetensors"
    return store.root / ".checkpoints" / run.setting / run.profile / name


def _write_checkpoint(store, precision, run, step, state):
    write_atomically(_checkpoint_path(store, precision, run, step), save(state))


def _read_checkpoint(store, precision, run, step):
    """The state of a dense run at a step, or None where there is none that can be read."""
    try:
        with safe_open(_checkpoint_path(store, precision, run, step), "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None


def _unfinished_folder(store, setting, profile):
    return store.root / ".checkpoints" / setting / profile / "unfinished"


def _digest(runs):
    return hashlib.sha256(json.dumps([run.record() for run in runs]).encode()).hexdigest()[:16]


def _write_unfinished(path, program, runs, job, seconds):
    packed = {
        f"{k}/{name}": tensor for k in range(len(runs)) for name, tensor in program.pack(k).items()
    }
    about = _conditions(runs[0].setting, job) | {
        "runs": json.dumps([run.record() for run in runs]),
        "done": str(program.done),
        "seconds": str(seconds),
    }
    write_atomically(path, save(packed, about))


def _conditions(setting, job):
    """What a group must go on with as it began."""
    data = datasets.load(settings.get(setting).dataset).fingerprint
    return {"precision": job.precision, "device": job.device, "data": data, "commit": commit()}


def _begun(path):
    """What is written of an unfinished group: its metadata, and its runs."""
    with safe_open(path, "pt") as file:
        about = file.metadata()
    return about, [Run.recorded(**record) for record in json.loads(about["runs"])]


def _unfinished(store, setting, profile, job):
    """(path, runs) of the groups that were begun under the conditions of this job; what is damaged
    is begun again."""
    folder, found = _unfinished_folder(store, setting, profile), []
    for path in sorted(folder.glob("*.safetensors")):
        try:
            about, runs = _begun(path)
        except OSError:
            continue
        except (SafetensorError, PrunelibError, KeyError, TypeError, ValueError):
            path.unlink(missing_ok=True)
            continue
        if not store.missing(runs):
            path.unlink(missing_ok=True)
        elif _conditions(setting, job).items() <= about.items():
            found.append((path, runs))
    for path in folder.glob(".*.safetensors.*"):  # a process was killed while it wrote
        if time.time() > path.stat().st_mtime + 3600:
            path.unlink(missing_ok=True)
    return found


def _forget(store, path):
    """Remove the checkpoint of a group all of whose runs are recorded."""
    try:
        if not store.missing(_begun(path)[1]):
            path.unlink(missing_ok=True)
    except (OSError, SafetensorError, PrunelibError, KeyError, TypeError, ValueError):
        pass  # there is none, or none that can be read: `_unfinished` sees to it


def _resumed(task, job, schedule):
    """The program of an unfinished group where it was left, of the task's runs alone, and the
    seconds spent on it; None and 0 where there is none."""
    try:
        about, began_with = _begun(task.unfinished)
        places = [began_with.index(run) for run in task.runs]
        with safe_open(task.unfinished, "pt") as file:
            packed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (TypeError, OSError, SafetensorError, ValueError):  # none; gone; a dense run besides
        return None, 0.0
    network = settings.get(task.runs[0].setting).network
    models = [networks.build(network).to(job.device) for _ in task.runs]
    gradual = [run.sparsity if run.method == "gradual" else None for run in task.runs]
    full = [masks.full(model) for model in models]
    program = programs.make(models, full, schedule, job.precision, gradual)
    for k, place in enumerate(places):
        prefix = f"{place}/"
        own = {n.removeprefix(prefix): t for n, t in packed.items() if n.startswith(prefix)}
        program.unpack(k, own)
    program.done = int(about["done"])
    return program, float(about["seconds"])


def measure(setting, count=None, device=None, precision=None, workers=None, repetitions=7):
    """How fast this machine trains a setting: the engine beside the plain loop.

    The plain loop of `training` runs in this process, in fp32, with all the threads that PyTorch
    takes; the engine's programs in its workers, all at a time.

    Args:
        setting: a name.
        count: networks in each program; by default as many as `train` puts into one.
        device, precision, workers: as for `train`.
        repetitions: how many stretches of either, interleaved.

    Returns:
        a `speed.Speed`.
    """
    device = _device(device)
    precision, workers = _precision(precision, device), _workers(workers, device)
    count = _width(setting, device, precision) if count is None else count
    if count < 1 or repetitions < 1:
        raise BadValueError(f"count {count}, repetitions {repetitions}: give numbers from 1")
    with Pool(workers, killable=True) as pool, tqdm(disable=True) as bar:

        def programs():
            tasks = [(setting, count, precision, device)] * workers
            speeds = list(pool.run(_stretch_of_worker, tasks, bar))
            if len(speeds) < workers:
                raise PrunelibError("a worker died in the measurement: give fewer workers")
            return sum(speeds)

        programs()  # starts them and warms them
        plain = speed.stretch(setting, 1, None, device)
        pairs = [(plain(), programs()) for _ in range(repetitions)]
    return speed.summary(setting, count, precision, pairs)


_stretch = functools.cache(speed.stretch)  # a worker keeps its program


def _stretch_of_worker(task, advance):
    return _stretch(*task)()


def plan(runs, store, device=None, precision=None):
    """What runs need: how many are in the store, how many to train, and how long that takes.

    The time comes from a calibration of some seconds; it leaves out the scoring of masks.

    Returns:
        one line of text a setting and profile.
    """
    device = _device(device)
    precision = _precision(precision, device)
    job = Job(store.root, device, precision)
    missing = set(store.missing(runs))
    groups, lines = {}, []
    for run in runs:
        groups.setdefault((run.setting, run.profile), []).append(run)
    for (setting, profile), members in groups.items():
        left = [run for run in members if run in missing]
        line = f"{setting}, profile {profile}: {len(members)} runs needed, "
        line += f"{len(members) - len(left)} in the store, {len(left)} to train"
        if left:
            line += f" ({_estimate(left, store, job)})"
        lines.append(line + ".")
    return "\n".join(lines)


def _estimate(runs, store, job):
    """How long runs of one setting and profile take on this machine, from a short calibration."""
    workers = _workers(None, job.device)
    tasks = _grouped(runs, store, job, workers, {})
    setting = runs[0].setting
    threads = torch.get_num_threads()
    if job.device == "cpu":
        torch.set_num_threads(1)  # as a worker
    try:
        rate = speed.speed(setting, max(len(t.runs) for t in tasks), job.precision, job.device)
    finally:
        torch.set_num_threads(threads)
    schedule = settings.schedule(setting, runs[0].profile)
    images = len(runs) * schedule.iterations * schedule.batch_size
    seconds = images / rate / min(workers, len(tasks))
    unit, size = next((unit, size) for unit, size, limit in UNITS if seconds < limit)
    time = max(1, seconds) / size
    return (
        f"about {time:,.{int(time < 10)}f} {unit} of training on this machine: "
        f"{rate:,.0f} images/s a process, {workers} of them, in {job.precision}"
    )
