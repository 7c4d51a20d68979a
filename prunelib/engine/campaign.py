"""A campaign: carry out what a store misses, and record each result when it comes.

One process decides what is to be done, hands tasks to workers and writes what they return; it holds
the lock of what it writes, so that a second campaign on the same results waits for it. Whatever
happens to a worker, or to this process, the store and the folder of states say what is left to do.
"""

import functools
import math
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock
from tqdm.auto import tqdm

from prunelib import own, provenance
from prunelib.engine import data, executors, groups, jobs, speed, tasks
from prunelib.engine.checkpoints import Folder, State
from prunelib.errors import BadValueError, check_name
from prunelib.paths import check_writable, write_atomically, writing
from prunelib.precision import PRECISIONS, default_precision
from prunelib.results.records import END, TRAINED
from prunelib.results.store import Store
from prunelib.runs import Run

DEVICES = ("cpu", "cuda")


def train(
    runs: list[Run],
    store: Store | None = None,
    workers: int | None = None,
    device: str | None = None,
    progress: bool = True,
    precision: str | None = None,
    minutes: float | None = None,
    output: Path | None = None,
    cluster: str | None = None,
    compact: bool = False,
) -> int:
    """Train what the store misses, record each run when it ends; returns how many were recorded.

    Dense networks whose weights other runs need are trained first, and their states kept. Runs that
    share their data are trained as one program (`programs`): small networks, as LeNets and the
    miniature are, and on a GPU all. On a CPU programs run in processes of one thread each. Killed
    at any moment, this loses no finished run, and of groups in training what came after their last
    checkpoint, a minute or so; Ctrl-C and SIGTERM checkpoint them first. The same call goes on. A
    second campaign on the same results waits for this one, and says so.

    On a CPU a worker takes less than 2 GiB beside its dataset while it trains LeNets, a ResNet-20,
    a VGG or, on TinyImageNet, a ResNet-18; scoring takes more, see benchmarks/README.md. A group
    that does not fit is halved; when the system ends a worker for want of memory, half as many go
    on.

    Args:
        runs: Runs of any settings, most valuable first.
        store: a `Store` of trained networks; the default one if None. One of masks or of weights
            gets those: see `engine.measure`.
        workers: processes; by default the number of cores, and on GPUs one for each. With
            cluster="slurm" the number of jobs, by default 1.
        device: "cpu" or "cuda"; by default a GPU if there is one, on a cluster "cpu".
        progress: whether to show a progress bar.
        precision: "fp32", "tf32" or "bf16", see `precision`; `default_precision` if None, on a
            cluster "fp32".
        minutes: a budget: when it is spent, what is in training is checkpointed, and this returns
            within 20 seconds.
        output: a folder to which new records also go, for `Store.merge` elsewhere.
        cluster: the address of a Dask scheduler, as "tcp://host:8786", or "slurm". Its workers
            need this package and the data, but no folder in common with this machine; where they
            see the store's folder, groups that a lost worker had begun go on from there.
        compact: whether a masked network is trained as the smaller one that `compaction` makes of
            it, where networks are not stacked; its record says so as its engine. Of a VGG that is
            another network, by rounding: see there.

    Raises:
        PrunelibError: whatever bad input met on the way; finished runs are kept.
        KeyboardInterrupt, SystemExit: on Ctrl-C and SIGTERM, after what was in training has been
            checkpointed.
    """
    store = store or Store()
    if cluster is not None and not cluster:
        raise BadValueError("cluster='': give the address of a Dask scheduler, or 'slurm'")
    if cluster:  # this machine says nothing of its workers
        device = check_name("device", device or "cpu", DEVICES)
        precision = precision or "fp32"
    else:
        device = check_device(device)
    precision = check_precision(precision, device)
    if not (cluster and workers is None):
        workers = executors.check_workers(workers, device)
    if minutes is not None and not minutes > 0:
        raise BadValueError(f"minutes={minutes!r}: give a number above 0")
    deadline = math.inf if minutes is None else time.time() + 60 * minutes
    if not store.missing(runs):
        return 0
    check_writable(store.root, "results")
    if output:
        check_writable(Path(output), "results")
    pairs = {(run.setting, run.profile) for run in runs}
    with store.hold(pairs, lambda said: print(f"prunelib: {said}", file=sys.stderr), deadline):
        missing = store.missing(runs)
        if store.kind == TRAINED:
            _tell_precisions(missing, store, precision)
        job = make_job(missing, store, device, precision, deadline, compact)
        if store.kind in (TRAINED, END):
            data.check_images(missing, job.folder, progress)
        with _place(workers, cluster, deadline, job.name) as place:
            return _Campaign(runs, store, job, place, output, progress).run()


def _tell_precisions(runs, store, precision):
    """Say where the networks that are there already are in another precision than these will be."""
    for setting, profile in sorted({(run.setting, run.profile) for run in runs}):
        found = {record.precision for record in store.records(setting, profile).values()}
        if others := sorted(found - {precision}):
            print(
                f"prunelib: networks of {provenance.label(setting)} at profile {profile} are there "
                f"in {' and '.join(others)}, these are trained in {precision}; their records say "
                "so, and --precision chooses",
                file=sys.stderr,
            )


@contextmanager
def _place(workers, cluster, deadline, name):
    """Where tasks run; what still runs when an error ends this is not waited for."""
    if cluster:
        from prunelib.engine.cluster import Cluster

        place = Cluster(cluster, workers, deadline)
    elif workers > 1 or deadline < math.inf:
        place = executors.Processes(workers)
    else:
        place = executors.Here()
    try:
        yield place
    except BaseException:
        place.stop(name)  # on a cluster nobody kills them
        place.close(kill=True)
        raise
    place.close()


def make_job(
    runs: list[Run],
    store: Store,
    device: str,
    precision: str,
    deadline: float = math.inf,
    compact: bool = False,
) -> jobs.Job:
    """What the tasks of these Runs have in common; DatasetError as of `data.fingerprints`."""
    folder = store.root / ".checkpoints"
    return jobs.Job(
        uuid.uuid4().hex,
        device,
        precision,
        data.fingerprints(runs, store),
        folder,
        _token(folder),
        deadline,
        own.pack({run.method for run in runs}, {run.setting for run in runs}),
        jobs.this_process(),
        compact,
    )


def _token(folder: Path) -> str:
    """What the folder's file "token" holds: written once, and the same for all campaigns."""
    path = folder / "token"
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "token.lock"):  # campaigns of other settings may begin at this time
            if not path.exists():
                write_atomically(path, uuid.uuid4().hex)
        return path.read_text()


def check_device(device: str | None) -> str:
    """A GPU if there is one and none is named."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if check_name("device", device, DEVICES) == "cuda" and not torch.cuda.is_available():
        raise BadValueError("device 'cuda': PyTorch finds no GPU on this machine; use 'cpu'")
    return device


def check_precision(precision: str | None, device: str) -> str:
    """`precision.default_precision` if none is named."""
    return check_name("precision", precision or default_precision(device), PRECISIONS)


class _Campaign:
    """What is wanted, where it is recorded, and where it is carried out."""

    def __init__(self, runs, store, job, place, output, progress):
        self.runs, self.store, self.job, self.place = runs, store, job, place
        self.output = Store(output, store.kind) if output else None
        self.progress = progress
        self.folder: Folder = job.checkpoints()
        self.width: Callable[[str], int] = functools.partial(
            speed.width, device=job.device, precision=job.precision
        )
        self.recorded = 0

    def run(self) -> int:
        """Go through what is missing until nothing is, or the budget is spent."""
        missing = self.store.missing(self.runs)
        total, work = len(missing), self._work(missing)
        with self._bar(work, self.store.kind) as bar:
            while missing and time.time() < self.job.deadline:
                bar.update(work - self._work(missing) - bar.n)  # back, where a worker died
                losses = self.place.losses
                # what the first networks leave of the workers goes to those whose states are there
                back = self._wave((groups.first, groups.second), missing, bar, total)
                back += self._wave((groups.second,), self.store.missing(missing), bar, total)
                missing = self.store.missing(self.runs)
                if not back and self.place.losses == losses:
                    break
            if not missing:
                bar.update(work - bar.n)
        self._begun(missing, self._there(missing))  # removes what is not needed any more
        return self.recorded

    def _wave(self, makers, missing, bar, total) -> int:
        """Carry out the tasks that `groups` makes; returns how many came back, be it paused."""
        if time.time() >= self.job.deadline:
            return 0
        bar.set_description(f"{self.recorded}/{total} {self.store.kind.name}")
        there = self._there(missing)
        begun, workers = self._begun(missing, there), self.place.workers
        stock = groups.Stock(self.store.kind, self.width, workers, there, begun)
        found = [task for make in makers for task in make(missing, stock)]
        dense = [task for task in found if task.kind != self.store.kind]
        others = [task for task in found if task.kind == self.store.kind]
        back = 0
        if dense:  # networks that are trained for their states, in iterations rather than records
            runs = [run for task in dense for run in task.runs]
            with self._bar(speed.iterations(runs), TRAINED) as own:
                own.set_description("unpruned networks first")
                for done in self._results(dense, own):
                    self._keep(done)
                    back += 1
        for done in self._results(others, bar):
            self._keep(done)
            back += 1
            bar.set_description(f"{self.recorded}/{total} {self.store.kind.name}")
        return back

    def _results(self, found, bar):
        calls = ((tasks.carry_out, task, self.job, *self._contents(task)) for task in found)
        until = self.job.deadline + executors.GRACE
        return executors.results(self.place, calls, bar, self.job.name, until)

    def _there(self, runs) -> set[State]:
        return {state for state in groups.starts(runs) if self.folder.read(*state) is not None}

    def _contents(self, task):
        """The dense states that a task starts from, read when it is handed out; b"", which the task
        refuses with its sentence, in place of one that was lost meanwhile."""
        return [self.place.share(self.folder.read(*state) or b"") for state in task.starts]

    def _begun(self, missing, there):
        """The groups in training that can go on. They are of trained networks, whatever this
        campaign records; a dense network may be in training again for its states alone."""
        needed = {state[0] for state in groups.starts(missing) if state not in there}
        trained = Store(self.store.root)

        def left(runs):
            untrained = set(trained.missing(runs))
            return [run for run in runs if run in untrained or run in needed]

        return self.folder.begun({(run.setting, run.profile) for run in self.runs}, left)

    def _keep(self, done: jobs.Done) -> None:
        """Write what a task has returned; the store first, whatever becomes of the rest."""
        self.store.add(done.records)
        self.recorded += len(done.records)
        for state, content in done.states.items():
            self.folder.write(*state, content)
        if self.output:
            self.output.add(done.records)

    def _work(self, runs) -> int:
        return speed.iterations(runs) if self.store.kind == TRAINED else len(runs)

    def _bar(self, total, kind):
        unit = "it" if kind == TRAINED else "record"
        # Groups advance by leaps: the time left is told by the speed of the last minute or so.
        how = {"unit": unit, "unit_scale": True, "smoothing": 0.02}
        if not sys.stderr.isatty():  # a log keeps every state of the bar
            how["mininterval"] = 10
        return tqdm(total=total, disable=not self.progress, **how)
