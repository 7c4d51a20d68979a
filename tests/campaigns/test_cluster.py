"""Campaigns on a Dask cluster: a scheduler and workers as processes of their own on loopback, which
share no folder with the caller, are killed, and join while it works."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest

from campaigns.common import results
from prunelib import engine, own
from prunelib.engine import cluster
from prunelib.engine.checkpoints import undump
from prunelib.errors import PrunelibError
from prunelib.grids import figure_runs
from prunelib.results.store import Store
from prunelib.runs import Run

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="folders are hidden by /proc"),
]

# Each process sees another folder under this name: the caller's is not the workers'.
HIDDEN = Path("/proc/self/cwd/results")
# Workers do this before anything else: they import what they need, and checkpoint all the time.
# They say where a program begins. (Dask runs this more than once.)
PRELOAD = """
from prunelib.engine import programs, tasks, trainer
trainer.SAVE = 0
def look(program, *others, train=programs.train):
    print("begins behind", program.done, flush=True)
    return train(program, *others)
if programs.train.__name__ != "look":
    programs.train = look
"""


class Dask:
    """A scheduler and workers below a folder."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        (folder / "preload.py").write_text(PRELOAD)
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0")
        self.workers = []

    def _start(self, kind, *arguments):
        home = self.folder / f"{kind}-{len(self.processes)}"
        home.mkdir()
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments]
        command += ["--scheduler-file", str(self.folder / "scheduler.json"), "--no-dashboard"]
        with open(home / "log", "w") as log:
            process = subprocess.Popen(
                command, cwd=home, stdout=log, stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        self.processes.append(process)
        return process

    def join(self):
        """One more worker."""
        preload = str(self.folder / "preload.py")
        worker = self._start("worker", "--nthreads", "1", "--no-nanny", "--preload", preload)
        self.workers.append(worker)
        return worker

    def wait(self, count):
        """The scheduler's address, when so many workers are there."""
        from distributed import Client

        file = self.folder / "scheduler.json"
        while not file.exists():
            assert self.scheduler.poll() is None
            time.sleep(0.1)
        with Client(scheduler_file=str(file), timeout=120) as client:
            client.wait_for_workers(count, timeout=180)
            return client.scheduler.address


@contextlib.contextmanager
def dask(folder, workers):
    started = Dask(folder)
    try:
        for _ in range(workers):
            started.join()
        started.wait(workers)
        yield started
    finally:
        for process in started.processes:
            process.kill()
            process.wait()


def train(runs, store, **options):
    return engine.train(runs, store, device="cpu", precision="fp32", progress=False, **options)


def assert_same(found, expected):
    """Results are equal but for rounding, which depends on how many networks are stacked."""
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        for value, other in zip(found[key], row, strict=True):
            assert value == (
                pytest.approx(other, rel=1e-3, abs=0.01) if isinstance(other, float) else other
            )


@pytest.mark.timeout(600)
def test_a_campaign_on_a_cluster_survives_a_worker_and_gives_the_local_table(tmp_path, monkeypatch):
    """Figures 3 and 8, so that children need the states of their parents; one of four workers is
    killed with -9 as soon as there are results, and another joins."""
    runs = [run for f in (3, 8) for run in figure_runs(f, "lenet_digits", "quick")]
    wanted = list(dict.fromkeys(runs))
    local = Store(tmp_path / "local")
    assert train(runs, local, workers=4) == len(wanted)
    (tmp_path / "caller").mkdir()
    monkeypatch.chdir(tmp_path / "caller")
    (tmp_path / "dask").mkdir()
    with dask(tmp_path / "dask", 4) as started:
        store, killed = Store(HIDDEN), []
        write = Store.add

        def add(self, records):
            write(self, records)
            if not killed:
                killed.append(started.workers[0])
                killed[0].kill()
                started.join()

        monkeypatch.setattr(Store, "add", add)
        assert train(runs, store, cluster=started.wait(4)) == len(wanted)
        assert killed[0].wait() == -9
        files = {p.name for p in started.folder.rglob("*") if p.suffix in (".csv", ".safetensors")}
    assert not files  # workers have left nothing: they see no folder of the caller's
    assert_same(results(store), results(local))


@pytest.mark.timeout(300)
def test_where_workers_see_the_folder_a_lost_workers_group_goes_on(tmp_path):
    """One worker is killed in the middle of a long group; the next begins where it was."""
    run = Run("resnet8_digits", "paper", "magnitude", 0.5)
    store = Store(tmp_path / "results")
    (tmp_path / "dask").mkdir()
    progress = []
    with dask(tmp_path / "dask", 1) as started:
        address = started.wait(1)
        unfinished = store.root / ".checkpoints" / "resnet8_digits" / "paper" / "unfinished"
        place_moved = cluster.Cluster.counted

        def is_begun():
            found = [undump(p.read_bytes()) for p in unfinished.glob("[0-9a-f]*.safetensors")]
            return any(group and int(group[1]["done"]) > 0 for group in found)

        def counted(self):
            if not progress and is_begun():
                started.workers[0].kill()
                progress.append(place_moved(self))
                started.join()
            return place_moved(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cluster.Cluster, "counted", counted)
            assert train([run], store, cluster=address) == 1
        log = (started.folder / "worker-2" / "log").read_text()
    assert progress, log
    assert all(int(done) > 0 for done in re.findall(r"begins behind (\d+)", log)), log
    assert "begins behind" in log
    assert not list(unfinished.glob("*.safetensors"))
    alone = Store(tmp_path / "alone")
    train([run], alone, workers=1)
    assert_same(results(store), results(alone))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("lost", ["worker", "scheduler"])
def test_a_loss_while_states_are_sent(tmp_path, monkeypatch, lost):
    """The only worker dies with the states that it was sent, and another joins: the campaign goes
    on. Where the scheduler has ended, it says so. Faults: a traceback; an end without a word."""
    runs, store, sent = figure_runs(8, "lenet_digits", "smoke"), Store(tmp_path / "results"), []
    share = cluster.Cluster.share
    (tmp_path / "dask").mkdir()
    with dask(tmp_path / "dask", 1) as started:
        address = started.wait(1)

        def share_and_lose(place, content):
            found = share(place, content)
            if not sent:
                (started.workers[0] if lost == "worker" else started.scheduler).kill()
                if lost == "worker":
                    started.join()
                else:
                    place.client.close()  # as it does itself after half a minute of trying
            sent.append(found)
            return found

        monkeypatch.setattr(cluster.Cluster, "share", share_and_lose)
        if lost == "worker":
            assert train(runs, store, cluster=address) == len(runs)
        else:
            with pytest.raises(PrunelibError, match=r"cluster no longer answers.*same command"):
                train(runs, store, cluster=address)
    assert sent


@contextlib.contextmanager
def threads(count):
    """The address of a cluster whose one worker has so many threads, of this process."""
    from distributed import LocalCluster

    options = {"n_workers": 1, "threads_per_worker": count, "dashboard_address": None}
    with LocalCluster(processes=False, protocol="tcp://", **options) as local:
        yield local.scheduler_address


def test_progress_reaches_the_caller(tmp_path, monkeypatch):
    runs, moved = [Run("lenet_digits", "quick", replicate=r) for r in range(2)], []
    monkeypatch.setattr(cluster.Cluster, "_heard", lambda self, event: moved.append(event[1]))
    with threads(1) as address:
        train(runs, Store(tmp_path), cluster=address)
    assert sum(moved) == 2 * 44


def test_workers_of_several_threads_get_a_sentence(tmp_path):
    """Two tasks in one process would draw their networks from one generator at a time."""
    with (
        threads(2) as address,
        pytest.raises(PrunelibError, match=r"has 2 threads: .*--nthreads 1"),
    ):
        train([Run("lenet_digits", "smoke")], Store(tmp_path), cluster=address)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "tls://127.0.0.1:1"])
def test_a_cluster_that_does_not_answer_gets_a_sentence(tmp_path, monkeypatch, address):
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    with pytest.raises(PrunelibError, match=f"no Dask cluster answers at '{address}'"):
        train([Run("lenet_digits", "smoke")], Store(tmp_path), cluster=address)


@pytest.mark.parametrize(("times", "answers"), [(2, True), (3, False)])
def test_a_greeting_with_something_else_behind_it_is_waited_for_again(monkeypatch, times, answers):
    """Fault: Dask's client asserts that it is alone, without a word."""
    import distributed

    asked = []

    def client(address, timeout):
        asked.append(address)
        if len(asked) <= times:
            raise AssertionError
        return mock.MagicMock()

    monkeypatch.setattr(distributed, "Client", client)
    expected = (
        contextlib.nullcontext()
        if answers
        else pytest.raises(
            PrunelibError, match=r"answers at 'tcp://here:1' \(AssertionError\): start a"
        )
    )
    with expected:
        cluster.Cluster("tcp://here:1")
    assert len(asked) == 3


def test_slurm_may_take_its_time_as_far_as_there_is_a_budget(monkeypatch):
    """A queue takes longer than the five minutes in which workers of a scheduler must come."""
    import distributed

    client, asked = mock.MagicMock(), []

    def wait(count, timeout):
        asked.append(timeout)
        if timeout is not None:
            raise TimeoutError(f"only 0/1 workers arrived after {timeout}")

    client.wait_for_workers = wait
    monkeypatch.setattr(distributed, "Client", lambda address, timeout: client)
    monkeypatch.setattr(cluster, "_slurm", lambda jobs: mock.MagicMock())
    assert cluster.Cluster("slurm", 3).least == 3
    with pytest.raises(PrunelibError, match=r"no job of Slurm.s runs .* more --minutes"):
        cluster.Cluster("slurm", 3, until=time.time() + 60)
    with pytest.raises(PrunelibError, match="the time is over"):
        cluster.Cluster("slurm", 3, until=time.time() - 60)
    assert asked[0] is None
    assert 50 < asked[1] <= 60
    assert asked[2] == 1  # 0 would be no limit


def test_jobs_of_slurm_may_end_often(monkeypatch):
    """Dask gives a group up that has lost four workers; of preempted jobs that is soon."""
    import dask
    import dask_jobqueue

    seen = []

    def made(scheduler_options):
        seen.append(dask.config.get("distributed.scheduler.allowed-failures"))
        seen.append(scheduler_options)
        return mock.MagicMock()

    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/sbatch")
    monkeypatch.setattr(dask_jobqueue, "SLURMCluster", made)
    with dask.config.set({"jobqueue.slurm.scheduler-options": {"interface": "ib0"}}):
        cluster._slurm(2)
    local = {"dashboard_address": "127.0.0.1:0"}
    assert seen == [cluster.FAILURES, local | {"interface": "ib0"}]


def test_without_slurm_or_the_extra_a_sentence_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(PrunelibError, match="no sbatch here"):
        train([Run("lenet_digits", "smoke")], Store(tmp_path), cluster="slurm")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(PrunelibError, match=r"pip install 'prunelib\[cluster\]'"):
        train([Run("lenet_digits", "smoke")], Store(tmp_path), cluster="tcp://127.0.0.1:1")


@pytest.mark.timeout(600)
def test_workers_elsewhere_run_the_users_file(tmp_path, monkeypatch, registry):
    """It is deleted before they begin; a lock in a closure keeps it from being pickled."""
    path = tmp_path / "mine.py"
    shutil.copy(Path(__file__).parent.parent / "own_file.py", path)
    found = own.load(path)
    path.unlink()
    methods = ("own_score", "own_force", "own_batches", "own_mask")
    runs = [Run("own_setting", "smoke", method, 0.5) for method in methods]
    with dask(tmp_path, 1) as started:
        address = started.wait(1)
        assert train(runs, Store(tmp_path / "results"), cluster=address) == 4
    table = Store(tmp_path / "results").table("own_setting")
    assert set(table["method"]) == set(found.methods)
    assert set(table["kept_weights"]) == {72}
