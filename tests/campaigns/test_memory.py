"""The memory of workers: what is done where there is too little of it, and how much they take."""

import os
import subprocess
import sys

import pytest
import torch

from campaigns.common import RUNS, assert_same, results, train
from prunelib.engine import memory, programs, trainer
from prunelib.errors import PrunelibError


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory."), MemoryError(),
     RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
     RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")],
)  # fmt: skip
@pytest.mark.parametrize("room", [2, 1, 0])
def test_a_group_that_does_not_fit_into_memory_is_halved(
    undisturbed, store, monkeypatch, error, room
):
    make = programs.make

    def limited(models, *arguments, **options):
        if len(models) > room:
            raise error
        return make(models, *arguments, **options)

    monkeypatch.setattr(programs, "make", limited)
    if room == 0:
        with pytest.raises(PrunelibError, match="one network of lenet_digits does not fit"):
            train(RUNS[:7], store)
        return
    assert train(RUNS[:7], store) == 7
    assert_same(results(store), {k: undisturbed[k] for k in results(store)})


def test_a_half_goes_on_from_what_the_whole_has_checkpointed(undisturbed, store, monkeypatch):
    """As where it is evaluation that does not fit."""
    runs, evaluate, began = RUNS[3:5], programs.Program.evaluate, []

    def limited(program, dataset):
        if program.count > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return evaluate(program, dataset)

    def watched(program, dataset, replicate, before):
        began.append((program.count, program.done))
        return train_program(program, dataset, replicate, before)

    train_program = programs.train
    monkeypatch.setattr(programs.Program, "evaluate", limited)
    monkeypatch.setattr(programs, "train", watched)
    monkeypatch.setattr(trainer, "SAVE", 0)
    monkeypatch.setattr(trainer, "COST", 0)
    assert train(runs, store) == 2
    assert began == [(2, 0), (1, 10), (1, 10)]
    assert_same(results(store), {k: undisturbed[k] for k in results(store)})


@pytest.mark.parametrize(
    "words",
    ["shapes do not match", "Unsupported memory format",
     "CUDA error: an illegal memory access was encountered"],
)  # fmt: skip
def test_other_errors_are_not_taken_for_a_lack_of_memory(store, monkeypatch, words):
    def broken(*arguments, **options):
        raise RuntimeError(words)

    monkeypatch.setattr(programs, "make", broken)
    with pytest.raises(RuntimeError, match=words):
        train(RUNS[:3], store)


def test_a_lack_of_memory_is_seen_behind_the_error_of_a_capture():
    covered = RuntimeError("CUDA error: operation failed due to a previous error")
    covered.__context__ = torch.OutOfMemoryError("CUDA out of memory.")
    assert memory.is_lacking(covered)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no /proc to read it from")
@pytest.mark.parametrize("setting", ["lenet_mnist", "resnet20_cifar10", "vgg16_cifar10"])
def test_a_worker_keeps_to_its_bound_of_memory(setting):
    """As `engine.train` states it; the datasets of noise are far smaller than real ones."""
    script = f"""
import re, torch
from prunelib.engine import memory, speed
torch.set_num_threads(1)
memory.keep()
speed.LEAST = 0.01
speed.stretch("{setting}", speed.width("{setting}", "cpu", "fp32"), "fp32", "cpu")()
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) < 2 * 2**20
