"""Where tasks run: in this process, or in processes of this machine; `cluster` has a third place.

Each place is an executor of `concurrent.futures`, with what a campaign needs beside `submit`: how
many tasks run at a time (`workers`), how much progress they have reported (`counted`), a way to let
them pause (`stop`), one to go on with fewer (`shrink`), and an end (`close`). `results` is the one
loop over all of them: it moves the progress bar, keeps the budget, and lets what is in training be
checkpointed when the caller is interrupted.

A worker is deaf to Ctrl-C, as its caller hears it too; on SIGTERM, which batch systems send before
they kill, it checkpoints what it trains. It ends with its caller, however that ends.
"""

import contextlib
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
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
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


class Here:
    """This process, one task at a time; on a CPU with one thread, as in every other place."""

    workers = ahead = 1

    def __init__(self):
        self.count = 0.0

    def submit(self, function: Callable, *args) -> Future:
        """Call function(*args, advance=…) now."""
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

    def moved(self):
        """Called at every progress; `results` puts the bar's motion here."""

    def counted(self) -> float:
        return self.count

    def share(self, content):
        return content

    def stop(self, name):
        jobs.stop(name)

    def close(self, kill=False):
        pass


class Processes:
    """Processes of this machine, of one thread each: two threads in one process wait for each
    other far longer than two processes do."""

    def __init__(self, workers: int):
        self.workers = workers
        self._start()

    def _start(self):
        import loky  # its processes do not import the caller's script, unlike the standard pool's

        # Workers append what they have done to one file, which takes no lock that a worker could
        # die with; another file tells them to stop.
        self.folder = Path(tempfile.mkdtemp(prefix="prunelib-"))
        self.executor = loky.ProcessPoolExecutor(
            self.workers, initializer=_start_worker, initargs=(self.folder, os.getpid()),
            env={"LOKY_MAX_MEMORY_LEAK_SIZE": "1e15"},  # datasets and kept memory are no leak
        )  # fmt: skip

    @property
    def ahead(self):
        return 2 * self.workers

    def submit(self, function, *args):
        with _deaf():
            return self.executor.submit(_in_process, self.folder, function, *args)

    def counted(self):
        path = self.folder / "progress"
        return float(np.fromfile(path).sum()) if path.exists() else 0.0

    def share(self, content):
        return content

    def stop(self, name):
        (self.folder / "stop").touch()

    def shrink(self, bar):
        """Go on with half as many, after one has died; PrunelibError where it was the only one."""
        self.close(kill=True)
        if self.workers == 1:
            raise PrunelibError(
                f"{DIED}it was the only one: give the same command again, where there is more"
            ) from None
        before, self.workers = self.workers, self.workers // 2
        bar.write(f"{DIED}going on with {self.workers} of {before}", file=sys.stderr)
        self._start()

    def close(self, kill=False):
        self.executor.shutdown(kill_workers=kill)
        shutil.rmtree(self.folder, ignore_errors=True)


def results(
    place, calls: Iterable[tuple], bar: tqdm, name: str = "", until: float = math.inf
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
        if told:
            raise KeyboardInterrupt if told[0] == signal.SIGINT else SystemExit(128 + told[0])
    except (BrokenProcessPool, CancelledError):
        place.shrink(bar)


def _failed(future):
    return future.cancelled() or future.exception() is not None


@contextlib.contextmanager
def _told_to_end(place, name, bar):
    """Yields a list that is filled with the signal and its time on Ctrl-C or SIGTERM, and then
    stops the job. Raised as an exception at any point, a signal could leave a lock of the executor
    held, for which its threads would wait for ever; and training would lose what it had done."""
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

    before = {n: signal.signal(n, handler) for n in (signal.SIGINT, signal.SIGTERM)}
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
    """The number of workers: by default one a core, and one on a GPU."""
    if workers is None:
        return 1 if device == "cuda" else os.cpu_count()
    if type(workers) is not int or workers < 1:
        raise BadValueError(f"workers={workers!r}: give a whole number from 1")
    return workers


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
        if self.amount:
            self.send(self.amount)
        self.amount, self.sent = 0.0, time.monotonic()


def _start_worker(folder, parent):
    signal.signal(signal.SIGTERM, lambda *_: jobs.TERMINATED.set())
    threading.Thread(target=_watch, args=(folder, parent), daemon=True).start()
    torch.set_num_threads(1)
    memory.keep()


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
        report = Reporter(lambda amount: file.write(struct.pack("d", amount)))
        try:
            return function(*args, advance=report)
        finally:
            report.flush()
            if not (folder / "stop").exists():  # SIGTERM to this worker alone: it takes other tasks
                jobs.TERMINATED.clear()
