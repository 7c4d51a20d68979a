"""The workers of a Dask cluster as a place where tasks run; imported only where one is named."""

import contextlib
import hashlib
import math
import shutil
import sys
import time
import uuid
from concurrent.futures import CancelledError

import torch

from prunelib.engine import jobs, memory
from prunelib.engine.executors import Place, Reporter
from prunelib.errors import PrunelibError

PATIENCE = 30  # seconds to wait for the scheduler
JOIN = 300  # and for the first worker; for Slurm's, which may queue for days, as long as it takes
FAILURES = 30  # workers that a group may lose, to preemption or at the end of a job's time


class Cluster(Place):
    """The workers of a Dask cluster, which may come and go.

    Args:
        address: of a scheduler, or "slurm" for jobs made as Dask's configuration file says.
        jobs: how many jobs to keep in Slurm's queue.
        until: the time, in seconds since the epoch, up to which to wait for the first of them.
    """

    ahead = math.inf  # the scheduler shares tasks out; a worker that joins must find some

    def __init__(self, address: str, jobs: int | None = None, until: float = math.inf):
        try:
            import distributed
        except ImportError:
            raise PrunelibError(
                "a cluster needs the packages of the extra 'cluster': run pip install "
                "'prunelib[cluster]', here and on the workers"
            ) from None
        self.queue, self.least = (_slurm(jobs or 1), jobs or 1) if address == "slurm" else (None, 1)
        self.until = until
        try:
            self.client = _connect(distributed.Client, self.queue or address)
            self._join()
        except PrunelibError:
            self.close()
            raise
        except Exception as error:  # of ever other kinds: TypeError where TLS is not configured
            self.close()
            said = str(error) or type(error).__name__
            raise PrunelibError(
                f"no Dask cluster answers at {address!r} ({said}): start a "
                "scheduler (dask scheduler) and workers (dask worker ADDRESS --nthreads 1) where "
                "this package is installed, and give the scheduler's address, as tcp://host:8786"
            ) from None
        self.shared: dict[bytes, object] = {}
        self.count, self.topic = 0.0, f"prunelib-{uuid.uuid4().hex}"
        self.client.subscribe_topic(self.topic, self._heard)
        self.executor = self.client.get_executor(pure=False)

    def _join(self):
        """Wait until there is a worker."""
        if not self.queue:
            self.client.wait_for_workers(1, timeout=JOIN)
            return
        if not self.client.nthreads():
            print("prunelib: waiting for Slurm to begin a job", file=sys.stderr)
        # Dask takes 0 for no limit.
        patience = None if self.until == math.inf else max(1, self.until - time.time())
        try:
            self.client.wait_for_workers(1, timeout=patience)
        except TimeoutError:
            raise PrunelibError(
                "no job of Slurm's runs and the time is over: what is finished is kept; see "
                "squeue, and give the same command again with more --minutes, or none"
            ) from None

    def _heard(self, event):
        self.count += event[1]

    @property
    def workers(self):
        with _answering():
            return max(self.least, sum(self.client.nthreads().values()))

    def submit(self, function, *args):
        if self.client.status == "closed":  # by itself, when the scheduler did not answer for long
            raise CancelledError("its client is closed")
        return self.executor.submit(_on_cluster, self.topic, function, *args)

    def counted(self):
        return self.count

    def share(self, content):
        """Send a state to every worker once, rather than with every task through the scheduler; so
        it outlives the loss of one of them."""
        key = hashlib.sha256(content).digest()
        if key not in self.shared:
            try:
                self.shared[key] = self.client.scatter(content, broadcast=True)
            except OSError as error:  # whom it was sent to has died, or there is no worker now
                raise CancelledError(str(error)) from None
        return self.shared[key]

    def stop(self, name):
        with contextlib.suppress(Exception):  # the cluster may be what has failed
            self.client.run(jobs.stop, name, wait=False)

    def lost(self, error, bar):
        """The scheduler gives the tasks of a lost worker to others; what reaches the caller is that
        a state was lost with all that had it, or while it was sent, or that a task has taken
        several workers along."""
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            raise PrunelibError(
                "several workers of the cluster ended over the same group, perhaps for want of "
                "memory or at the end of their jobs' time: what is finished is kept; give them "
                "more of it, and the same command again"
            ) from None
        if not isinstance(error, CancelledError):
            return False
        self.shared.clear()
        with _answering():
            self.executor.shutdown(wait=False)  # takes back what was handed out: it will be again
            self._join()
            self.executor = self.client.get_executor(pure=False)
        return True

    def close(self, kill=False):
        if hasattr(self, "executor"):
            with contextlib.suppress(RuntimeError):  # of a client whose scheduler has ended
                self.executor.shutdown(wait=not kill)
        if hasattr(self, "client"):
            self.client.close()
        if self.queue:
            self.queue.close()


@contextlib.contextmanager
def _answering():
    """Turn whatever error a scheduler that has ended causes in its client into a sentence."""
    try:
        yield
    except PrunelibError:
        raise
    except Exception as error:
        raise PrunelibError(
            f"the Dask cluster no longer answers, or has no workers ({error}): what is finished is "
            "kept; see to its scheduler and workers, and give the same command again"
        ) from None


def _connect(client, address):
    """A client of a scheduler. Dask asserts that the scheduler's greeting comes alone, which it
    does not if the scheduler has something else to say at that moment: then it is asked again."""
    for _ in range(2):
        with contextlib.suppress(AssertionError):
            return client(address, timeout=PATIENCE)
    return client(address, timeout=PATIENCE)


def _slurm(jobs: int):
    """Jobs of one worker or more each, as Dask's configuration says; so many are kept alive."""
    if shutil.which("sbatch") is None:
        raise PrunelibError(
            "cluster 'slurm': there is no sbatch here; run this where jobs are sent"
        )
    try:
        import dask
        from dask_jobqueue import SLURMCluster

        with dask.config.set({"distributed.scheduler.allowed-failures": FAILURES}):
            # The dashboard is for who runs this alone; the scheduler must be open to the jobs.
            said = dask.config.get("jobqueue.slurm.scheduler-options", None) or {}
            cluster = SLURMCluster(scheduler_options={"dashboard_address": "127.0.0.1:0"} | said)
    except ImportError:
        raise PrunelibError(
            "Slurm needs the packages of the extra 'cluster': run pip install 'prunelib[cluster]'"
        ) from None
    except ValueError as error:
        raise PrunelibError(
            f"{error}: say how jobs are made in Dask's configuration, jobqueue.slurm in "
            "~/.config/dask/jobqueue.yaml (cores: 1 and memory at least; walltime is 30 minutes "
            "unless it is named)"
        ) from None
    cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)  # one that is cancelled is replaced
    return cluster


def _on_cluster(topic, function, *args):
    from distributed import get_worker

    worker = get_worker()
    if worker.state.nthreads != 1:  # networks are drawn from the one generator of the process
        raise PrunelibError(
            f"a worker of the cluster has {worker.state.nthreads} threads: start workers of one "
            "thread each (dask worker ADDRESS --nthreads 1), as many as there are cores"
        )
    torch.set_num_threads(1)
    memory.keep()
    report = Reporter(lambda amount: worker.log_event(topic, amount))
    try:
        return function(*args, advance=report)
    finally:
        report.flush()
