"""Workers: a pool of processes of one thread each, with one progress bar, that ends cleanly."""

import contextlib
import ctypes
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import cloudpickle
import torch

from prunelib import scores
from prunelib.errors import PrunelibError

POLL = 0.5  # seconds between looks at the workers
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of glibc's malloc.h
_MMAP_MAX = 65536  # its default


class Pool:
    """Workers in processes of one thread each; one worker works in this process, unless it must
    be possible to kill it.

    `workers` says how many there are.
    """

    def __init__(self, workers, killable=False):
        self.workers, self.killable = workers, killable

    def __enter__(self):
        self.executor, self.counter = None, None
        if self.workers > 1 or self.killable:
            self._start()
        return self

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self.counter = context.Value("d", 0.0)
        methods = cloudpickle.dumps(scores.METHODS)  # those a user registered travel along
        self.executor = ProcessPoolExecutor(
            self.workers, context, _start_worker, (self.counter, methods)
        )

    def __exit__(self, *error):
        if self.executor:
            if error[0] is not None:  # nobody waits for tasks that would run for hours
                self._kill()
            self.executor.shutdown(cancel_futures=True)

    def _kill(self):
        for process in list((self.executor._processes or {}).values()):
            process.kill()

    def run(self, function, tasks, bar, *arguments, until=math.inf):
        """Call function(task, *arguments, advance) for every task; yields results as they come.

        If a worker dies, as the system ends one when memory is short, there are half as many from
        then on, and the results that did not come yet never come: look what is missing.

        Args:
            function: of a module, so that workers find it; `advance(amount)` moves the bar.
            bar: a tqdm progress bar.
            until: seconds since the epoch; workers that then still work are killed.

        Raises:
            PrunelibError: the only worker died, or what the function raised.
        """
        if not self.executor:
            for task in tasks:
                yield function(task, *arguments, bar.update)
            return
        try:
            with _spawning():
                pending = {
                    self.executor.submit(_in_worker, function, task, *arguments) for task in tasks
                }
            base = bar.n - self._counted()
            with _interruptible() as interrupted:
                while pending:
                    ended, pending = wait(pending, timeout=POLL, return_when=FIRST_COMPLETED)
                    if interrupted:
                        raise KeyboardInterrupt
                    bar.update(base + self._counted() - bar.n)
                    for future in sorted(ended, key=_broke):
                        yield future.result()
                    if pending and time.time() > until:
                        self._kill()
                        return
        except BrokenProcessPool:
            self._go_on_with_fewer(bar)

    def _counted(self):
        return self.counter.get_obj().value  # without the lock, which a dead worker may hold

    def _go_on_with_fewer(self, bar):
        died = "a worker process died, perhaps for want of memory: what is finished is kept; "
        if self.workers == 1:
            raise PrunelibError(
                f"{died}it was the only one: give the same command again, where there is more"
            ) from None
        self.executor.shutdown()
        before, self.workers = self.workers, self.workers // 2
        bar.write(f"{died}going on with {self.workers} of {before} workers", file=sys.stderr)
        self._start()


def _broke(future):
    return isinstance(future.exception(), BrokenProcessPool)


@contextlib.contextmanager
def _interruptible():
    """Ctrl-C fills the list that this yields: raised inside the executor, it could leave a lock
    held, and its threads would wait for that for ever."""
    interrupted = []
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.append(True))
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _spawning():
    """Workers started here do not import the calling script, which so needs no guard, and are
    deaf to Ctrl-C: their parent hears it and ends them."""
    main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
    signals = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)


_counter = None


def _start_worker(counter, methods):
    global _counter
    _counter = counter
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    keep_memory()
    scores.METHODS.update(cloudpickle.loads(methods))


def keep_memory(large=True):
    """Let freed memory be used again: glibc gives large tensors back to the system at once, and
    has every page of the next one cleared, half of the time of a stack of 64 LeNets.

    Args:
        large: whether to keep tensors above 32 MiB too, a limit of glibc's.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)
        mallopt(_M_MMAP_MAX, 0 if large else _MMAP_MAX)


@contextlib.contextmanager
def scoring():
    """Where a worker scores: large tensors go back to the system. Their sizes differ more than in
    training, and kept they leave holes: GraSP on modified ResNet-18 took 20 GiB in place of 14."""
    if _counter is None:  # this is no worker
        yield
        return
    keep_memory(large=False)
    try:
        yield
    finally:
        keep_memory()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)  # a killed parent cannot end its workers


def _in_worker(function, *arguments):
    return function(*arguments, _advance)


def _advance(amount):
    with _counter.get_lock():
        _counter.value += amount
