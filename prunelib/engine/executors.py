"""Where tasks run: in this process, or in processes of this machine; `cluster` has a third place.

A `Place` hands out futures of `concurrent.futures`. `results` is the one loop over them: it moves
the progress bar, keeps the budget, and lets what is in training be checkpointed when the caller is
interrupted.

A worker is deaf to Ctrl-C, as its caller hears it too; on SIGTERM, which batch systems send before
they kill, it checkpoints what it trains. It ends with its caller, however that ends.
"""

import contextlib
import itertools
import math
import os
import shutil
import signal
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from prunelib.engine import jobs, memory
from prunelib.errors import BadValueError, PrunelibError

POLL = 0.5  # seconds between looks at the workers
GRACE = 10  # seconds for which workers may go on, to write checkpoints, when they should stop
DIED = "a worker died, perhaps for want of memory: what is finished is kept; "


class Place:
    """What a campaign asks of where its tasks run.

    Attributes:
        workers: how many tasks run at a time.
        ahead: how many tasks it is given before the first of them returns.
        losses: how often a worker was lost, and with it what others were to return.
    """

    workers: int = 1
    ahead: float = 1
    losses: int = 0

    def submit(self, function: Callable, *args) -> Future:
        """Call function(*args, advance=…), `advance` being told of progress."""
        raise NotImplementedError

    def counted(self) -> float:
        """The progress that all calls have reported so far."""
        raise NotImplementedError

    def moved(self) -> None:
        """Called at every progress within `submit`; `results` puts the bar's motion here."""

    def share(self, content: bytes) -> object:
        """What `submit` takes in place of bytes that several calls have in common."""
        return content

    def stop(self, name: str) -> None:
        """Let the tasks of a job pause."""
        raise NotImplementedError

    def lost(self, error: Exception, bar: tqdm) -> bool:
        """Whether an error says that a worker was lost; then what is left of the place goes on.

        Raises:
            PrunelibError: nothing is left.
        """
        return False

    def close(self, kill: bool = False) -> None:
        """End the workers, at once if they are to be killed."""


class Here(Place):
    """This process, one task at a time; on a CPU with one thread, as in every other place."""

    def __init__(self):
        self.count = 0.0

    def submit(self, function, *args):
        future, threads = Future(), torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            future.set_result(function(*args, advance=self._advance))
        except Exception as error:
            future.set_exception(error)
        finally:
            torch.set_num_threads(threads)
        return future

    def _advance(self, amount):
        self.count += amount
        self.moved()

    def counted(self):
        return self.count

    def stop(self, name):
        jobs.stop(name)


class Processes(Place):
    """Processes of this machine, of one thread each: two threads in one process wait for each
    other far longer than two processes do."""

    def __init__(self, workers: int):
        self.workers = workers
        self._start()

    def _start(self):
        # Workers append what they have done to one file, which takes no lock that a worker could
        # die with; another file tells them to stop.
        self.folder = Path(tempfile.mkdtemp(prefix="prunelib-"))
        import loky  # its processes do not import the caller's script, unlike the standard pool's

        self.executor = loky.ProcessPoolExecutor(
            self.workers,
            initializer=_start_worker,
            initargs=(self.folder, os.getpid(), _gpus()),
            env={"LOKY_MAX_MEMORY_LEAK_SIZE": "1e15"},  # datasets and kept memory are no leak
        )

    @property
    def ahead(self):
        return 2 * self.workers

    def submit(self, function, *args):
        with _deaf():
            return self.executor.submit(_in_process, self.folder, function, *args)

    def counted(self):
        path = self.folder / "progress"
        return float(np.fromfile(path).sum()) if path.exists() else 0.0

    def stop(self, name):
        with contextlib.suppress(FileNotFoundError):  # closed already
            (self.folder / "stop").touch()

    def lost(self, error, bar):
        if not isinstance(error, BrokenProcessPool):
            return False
        self.close(kill=True)
        if self.workers == 1:
            raise PrunelibError(
                f"{DIED}it was the only one: give the same command again, where there is more"
            ) from None
        before, self.workers = self.workers, self.workers // 2
        bar.write(f"{DIED}going on with {self.workers} of {before}", file=sys.stderr)
        self._start()
        return True

    def close(self, kill=False):
        self.executor.shutdown(kill_workers=kill)
        shutil.rmtree(self.folder, ignore_errors=True)


def results(
    place: Place, calls: Iterable[tuple], bar: tqdm, name: str = "", until: float = math.inf
) -> Iterator:
    """Call function(*arguments, advance) in a place for each of `calls`; results as they come.

    If a worker dies, as the system ends one when memory is short, the results that did not come
    yet never come: look what is missing.

    Args:
        place: one of the classes above.
        calls: a function of a module, so that workers find it, and its arguments.
        bar: moved by what the calls report.
        name: of the job that is stopped when this process is told to end.
        until: seconds since the epoch; what still works then is stopped, and killed if need be.

    Raises:
        KeyboardInterrupt, SystemExit: on Ctrl-C or SIGTERM, when what was in training is
            checkpointed or has had `GRACE` seconds for it; a second Ctrl-C does not wait.
        PrunelibError: the only worker died, or what a function raised.
    """
    base, left, pending = bar.n - place.counted(), iter(calls), set()
    place.moved = lambda: bar.update(base + place.counted() - bar.n)
    try:
        with _told_to_end(place, name, bar) as told:
            while True:
                while len(pending) < place.ahead and not told:
                    call = next(left, None)
                    if call is None:
                        break
                    pending.add(place.submit(*call))
                if not pending:
                    break
                ended, pending = wait(pending, timeout=POLL, return_when=FIRST_COMPLETED)
                place.moved()
                for future in sorted(ended, key=_failed):  # what is finished, before what is not
                    yield future.result()
                now = time.time()
                if pending and now > (min(until, told[1] + GRACE) if told else until):
                    place.stop(name)
                    place.close(kill=True)
                    break
    except Exception as error:
        # What Ctrl-C does to workers that are still starting is no loss to make up for.
        if not (told or place.lost(error, bar)):
            raise
        place.losses += 1
    if told:
        raise KeyboardInterrupt if told[0] == signal.SIGINT else SystemExit(128 + told[0])


def _failed(future):
    return future.cancelled() or future.exception() is not None


@contextlib.contextmanager
def _told_to_end(place, name, bar):
    """Yields a list that is filled with the signal and its time on Ctrl-C, SIGTERM or the end of
    the terminal, and then stops the job. Raised as an exception at any point, a signal could leave
    a lock of the executor held, for which its threads would wait for ever; and training would lose
    what it had done."""
    told: list[float] = []
    if threading.current_thread() is not threading.main_thread():
        yield told
        return

    def handler(number, frame):
        if told:
            raise KeyboardInterrupt
        told[:] = [number, time.time()]
        place.stop(name)
        bar.write(
            "stopping: what is in training is checkpointed first; Ctrl-C again does not wait",
            file=sys.stderr,
        )

    heard = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
        heard.append(signal.SIGHUP)
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield told
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextlib.contextmanager
def _deaf():
    """Processes started here do not hear Ctrl-C: their caller does, and stops them."""
    resource_tracker.ensure_running()  # its start, which loky would cause below, unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def check_workers(workers: int | None, device: str) -> int:
    """The number of workers: by default one a core, and on GPUs one for each."""
    if workers is None and device != "cuda":
        import loky  # it knows of the share of a machine that a container or a batch job has

        return loky.cpu_count()
    if workers is None:
        return max(1, torch.cuda.device_count())
    if type(workers) is not int or workers < 1:
        raise BadValueError(f"workers={workers!r}: give a whole number from 1")
    return workers


def _gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(i) for i in range(count)]


# --------------------------------------------------------------------------------- in the workers


class Reporter:
    """Passes progress on now and then: LeNets do hundreds of iterations a second."""

    def __init__(self, send: Callable[[float], None]):
        self.send, self.amount, self.sent = send, 0.0, time.monotonic()

    def __call__(self, amount: float) -> None:
        self.amount += amount
        if time.monotonic() > self.sent + POLL:
            self.flush()

    def flush(self) -> None:
        """Pass on what has not been yet."""
        if self.amount:
            self.send(self.amount)
        self.amount, self.sent = 0.0, time.monotonic()


def _start_worker(folder, parent, gpus):
    if gpus:  # workers take turns; each knows of one, which PyTorch has not looked for yet
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[_number(folder) % len(gpus)]
    signal.signal(signal.SIGTERM, lambda *_: jobs.TERMINATED.set())
    threading.Thread(target=_watch, args=(folder, parent), daemon=True).start()
    torch.set_num_threads(1)
    memory.keep()


def _number(folder):
    """The first number that no other worker of a place has taken."""
    for number in itertools.count():
        with contextlib.suppress(FileExistsError):
            (folder / f"worker.{number}").touch(exist_ok=False)
            return number


def _watch(folder, parent):
    """End with the parent, as one that is killed cannot end its workers; stop when it says so."""
    while os.getppid() == parent:
        if (folder / "stop").exists():
            jobs.TERMINATED.set()
        time.sleep(POLL)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _in_process(folder, function, *args):
    with open(folder / "progress", "ab", buffering=0) as file:

        def send(amount):
            with contextlib.suppress(OSError):  # on a full disk: it must not cost a result
                file.write(struct.pack("d", amount))

        report = Reporter(send)
        try:
            return function(*args, advance=report)
        finally:
            report.flush()
            if not (folder / "stop").exists():  # SIGTERM to this worker alone: it takes other tasks
                jobs.TERMINATED.clear()
