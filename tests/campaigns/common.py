"""What the tests of campaigns share: Runs of the miniature, a script as a user writes it, and ways
to look at what a campaign left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from prunelib import engine
from prunelib.engine import campaign, groups, jobs, tasks
from prunelib.grids import figure_runs
from prunelib.results.records import TRAINED
from prunelib.runs import FIELDS, Run

LAYERS = ("layers.0.weight", "layers.1.weight", "layers.2.weight")
RUNS = figure_runs(3, "lenet_digits", "smoke", replicates=5)


def run(method="magnitude", sparsity=0.5, profile="smoke", **fields):
    return Run("lenet_digits", profile, method, sparsity, **fields)


def dense(**fields):
    return Run("lenet_digits", "smoke", **fields)


def train(runs, store, workers=1, **options):
    """In fp32: which machine runs the tests must not matter."""
    options = {"precision": "fp32", "device": "cpu", "progress": False} | options
    return engine.train(runs, store, workers, **options)


def results(store):
    """What a store holds, without what no two campaigns share."""
    table = store.table().drop(columns=["seconds"])
    return {tuple(row[: len(FIELDS)]): row for row in table.itertuples(index=False, name=None)}


def assert_same(found, expected):
    """Results are equal but for rounding, which depends on how many networks are stacked."""
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        for value, other in zip(found[key], row, strict=True):
            if isinstance(other, float):
                assert value == pytest.approx(other, rel=1e-3, abs=0.005)
            else:
                assert value == other


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def states(store):
    """The files of dense states."""
    return sorted((store.root / ".checkpoints").glob("*/*/*.safetensors"))


def unfinished(store):
    """The files of groups in training."""
    return sorted((store.root / ".checkpoints").glob("*/*/unfinished/*.safetensors"))


def flip(path, place):
    """Flip a bit of a file of safetensors: in the length of its header, in what it says of its
    tensors, or in one of them."""
    content = bytearray(path.read_bytes())
    positions = {"length": 1, "about": content.index(b'"precision"') + 14, "tensor": -1001}
    content[positions[place]] ^= 4
    path.write_bytes(content)


# ------------------------------------------------------- one group of four, carried out by hand

GROUP = [dense(), run("magnitude", 0.9), run("snip", 0.5), run("gradual", 0.8)]
STEP = 3  # of ten: the dense state that is kept
WORK = 40  # iterations of all four


def carry_out(store, advance, **changes):
    """Carry out what is missing of GROUP as one worker does; returns how many were recorded.

    Args:
        advance: called with the job and the progress that is told.
        changes: of the job.
    """
    job = campaign.make_job(GROUP, store, "cpu", changes.pop("precision", "fp32"))
    job, folder, recorded = replace(job, **changes), job.checkpoints(), 0
    pairs = {("lenet_digits", "smoke")}
    missing, begun = store.missing(GROUP), folder.begun(pairs, store.missing)
    for task in groups.first(missing, groups.Stock(TRAINED, lambda setting: 32, 1, begun=begun)):
        kept = frozenset({(GROUP[0], STEP)} if GROUP[0] in task.runs else ())
        task = replace(task, keep=kept)
        done = tasks.carry_out(task, job, advance=lambda count: advance(job, count))
        for state, content in done.states.items():
            folder.write(*state, content)
        store.add(done.records)
        recorded += len(done.records)
    folder.begun(pairs, store.missing)
    return recorded


def go_on(store, pause=None, **changes):
    """Carry out GROUP, told to stop after `pause` iterations; returns (recorded, progress told),
    of which the first says how many iterations were behind it."""
    advances = []

    def advance(job, count):
        advances.append(count)
        if pause is not None and sum(advances) >= len(GROUP) * pause:
            jobs.stop(job.name)

    return carry_out(store, advance, **changes), advances


# --------------------------------------------------------------------- campaigns of other processes

# A script as a user may write it, without `if __name__ == "__main__"`. With a method of its own it
# is in the middle of its work whenever one looks: one never ends, the other lets every iteration
# take a second, and tells of it in a file.
CAMPAIGN = """
import os, sys, time
from pathlib import Path
print("started", flush=True)
from prunelib import engine, scores
from prunelib.engine import executors
from prunelib.grids import figure_runs
from prunelib.results.store import Store
from prunelib.runs import Run
root, workers, method = sys.argv[1:]
folder = Path(root).parent
def endless(model, batch):
    (folder / f"scoring-{os.getpid()}").touch()
    time.sleep(3600)
def slow(model, batch):
    from prunelib.engine import programs
    step = programs.Program.step
    def slowly(program, *batch):
        (folder / f"iteration-{program.done}-{os.getpid()}").touch()
        time.sleep(1)
        step(program, *batch)
    if step.__name__ == "step":
        programs.Program.step = slowly
    return scores.magnitude(model)
runs = figure_runs(3, "lenet_digits", "smoke", replicates=5)
if method != "none":
    scores.register(method, needs_data=False)(globals()[method])
    (folder / "recorded-as").write_text(scores.get(method).name)
    own = [Run("lenet_digits", "smoke", method, 0.5, replicate=r) for r in range(5)]
    runs = own + (runs if method == "endless" else [])
executors.GRACE = 1000
print(engine.train(runs, Store(root), int(workers), "cpu", False, "fp32"), flush=True)
"""


@contextlib.contextmanager
def script(store, workers, method="none"):
    """A campaign of its own, which ends with the test at the latest."""
    path = store.root.parent / "script.py"
    path.write_text(CAMPAIGN)
    process = subprocess.Popen(
        [sys.executable, path, store.root, str(workers), method],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # as macOS says it
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(store, process, pattern, count=1):
    """Until a script, or its workers, have written so many files of a name beside the store."""
    while len(list(store.root.parent.glob(pattern))) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
