"""The workers of a Dask cluster as a place where tasks run; imported only where one is named."""

import contextlib
import math
import uuid

import torch

from prunelib.engine import jobs, memory
from prunelib.engine.executors import Reporter
from prunelib.errors import PrunelibError

JOIN = 300  # seconds to wait for the first worker


class Cluster:
    """The workers of a Dask cluster, which may come and go.

    Args:
        address: of a scheduler, or "slurm" for jobs made as Dask's configuration file says.
        jobs: how many jobs to keep in Slurm's queue.
    """

    ahead = math.inf  # the scheduler shares tasks out; a worker that joins must find some

    def __init__(self, address: str, jobs: int | None = None):
        try:
            import distributed
        except ImportError:
            raise PrunelibError(
                "a cluster needs the packages of the extra 'cluster': run pip install "
                "'prunelib[cluster]', here and on the workers"
            ) from None
        self.queue = _slurm(jobs or 1) if address == "slurm" else None
        try:
            self.client = distributed.Client(self.queue or address, timeout=30)
            self.client.wait_for_workers(1, timeout=JOIN)
        except (OSError, ValueError, TimeoutError) as error:
            self.close()
            raise PrunelibError(
                f"no Dask cluster answers at {address!r} ({error or 'no worker came'}): start a "
                "scheduler (dask scheduler) and workers (dask worker ADDRESS --nthreads 1), and "
                "give the scheduler's address, as tcp://host:8786"
            ) from None
        self.count, self.topic = 0.0, f"prunelib-{uuid.uuid4().hex}"
        self.client.subscribe_topic(self.topic, self._heard)
        self.executor = self.client.get_executor(pure=False)

    def _heard(self, event):
        self.count += event[1]

    @property
    def workers(self):
        return max(1, sum(self.client.nthreads().values()))

    def submit(self, function, *args):
        return self.executor.submit(_on_cluster, self.topic, function, *args)

    def counted(self):
        return self.count

    def share(self, content):
        """Send a state to every worker once, rather than with every task through the scheduler."""
        return self.client.scatter(content, broadcast=True, hash=True)

    def stop(self, name):
        with contextlib.suppress(Exception):  # the cluster may be what has failed
            self.client.run(jobs.stop, name)

    def shrink(self, bar):
        """Nothing: the scheduler has given the tasks of a lost worker to others already."""

    def close(self, kill=False):
        if hasattr(self, "executor"):
            self.executor.shutdown(wait=not kill)
        if hasattr(self, "client"):
            self.client.close()
        if self.queue:
            self.queue.close()


def _slurm(jobs: int):
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise PrunelibError(
            "Slurm needs the packages of the extra 'cluster': run pip install 'prunelib[cluster]'"
        ) from None
    cluster = SLURMCluster()
    cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)  # one that is cancelled is replaced
    return cluster


def _on_cluster(topic, function, *args):
    from distributed import get_worker

    torch.set_num_threads(1)
    memory.keep()
    worker = get_worker()
    report = Reporter(lambda amount: worker.log_event(topic, amount))
    try:
        return function(*args, advance=report)
    finally:
        report.flush()
