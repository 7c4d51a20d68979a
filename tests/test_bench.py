"""The measurement of speed: what it counts, and that it trains what it says."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from prunelib import engine
from prunelib.engine import programs, speed
from prunelib.errors import BadValueError, PrunelibError
from prunelib.results.store import Store
from prunelib.runs import Run


def test_the_operations_of_a_lenet():
    """Two a multiply-add; forward, gradients of the weights, and of the inputs of all layers but
    the first."""
    layers = [784 * 300, 300 * 100, 100 * 10]
    assert speed.flops("lenet_mnist") == 2 * (2 * sum(layers) + sum(layers[1:]))


def test_the_operations_of_a_vgg_are_as_published():
    """313 million multiply-adds forward; backward twice as many, but for the first layer."""
    assert speed.flops("vgg16_cifar10") == pytest.approx(6 * 313e6, rel=0.01)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(speed, "LEAST", 0.001)


def test_a_stretch_counts_what_it_trains(monkeypatch):
    """Three networks, every image of a batch counted for each; the clock around the stretch sees
    hardly more time than its own."""
    images = []
    step = programs.Program.step
    monkeypatch.setattr(speed, "LEAST", 0.4)
    monkeypatch.setattr(
        programs.Program, "step",
        lambda self, x, y: (images.append(self.count * len(y)), step(self, x, y)),
    )  # fmt: skip
    stretch = speed.stretch("lenet_digits", 3, "fp32", "cpu")
    images.clear()
    began = time.perf_counter()
    found = stretch()
    seen = sum(images) / (time.perf_counter() - began)
    assert max(images) == 3 * 128
    assert found == pytest.approx(seen, rel=0.2)


def test_the_summary_has_medians():
    """The median of the ratios is not the ratio of the medians."""
    found = speed.summary("lenet_digits", 8, "fp32", [(10, 30), (20, 20), (40, 160)])
    assert (found.plain, found.engine, found.ratio) == (20, 30, 3)
    assert found.tflops == pytest.approx(30 * speed.flops("lenet_digits") / 1e12)


def test_the_engine_is_measured_beside_the_plain_loop(short):
    found = engine.measure("lenet_digits", 2, "cpu", "fp32", workers=2, repetitions=1)
    assert (found.setting, found.count, found.precision) == ("lenet_digits", 2, "fp32")
    assert min(found.plain, found.engine, found.ratio) > 0
    with pytest.raises(BadValueError, match="repetitions 0"):
        engine.measure("lenet_digits", repetitions=0)


def test_large_networks_are_measured_in_small_batches(monkeypatch):
    """A batch of 1024 for ResNet-50 does not fit into the memory of a laptop."""
    sizes = []
    monkeypatch.setattr(speed, "LEAST", 1e-9)
    monkeypatch.setattr(
        speed.training, "train",
        lambda model, dataset, schedule, *others: sizes.append(schedule.batch_size),
    )  # fmt: skip
    speed.stretch("modified_resnet18_tinyimagenet", 1, None, "cpu")
    speed.stretch("resnet20_cifar10", 1, None, "cpu")
    assert 1 <= sizes[0] < 256
    assert sizes[-1] == 128


def test_the_width_on_a_gpu_grows_while_it_pays(monkeypatch):
    """Of 1, 2, 4 and 8 networks the fourth pays less than a twentieth more."""
    speeds = {1: 100, 2: 190, 4: 300, 8: 310}
    monkeypatch.setattr(speed, "speed", lambda setting, count, *others: speeds[count])
    engine._width.cache_clear()
    assert engine._width("resnet20_cifar10", "cuda", "fp32") == 4


def test_the_width_on_a_gpu_ends_where_the_memory_does(monkeypatch):
    def measured(setting, count, *others):
        if count > 64:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return count

    monkeypatch.setattr(speed, "speed", measured)
    engine._width.cache_clear()
    assert engine._width("lenet_mnist", "cuda", "fp32") == 64
    engine._width.cache_clear()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1.0 s"), (95, "95 s"), (101, "1.7 min"), (2400, "40 min"), (9000, "2.5 h")],
)
def test_the_time_that_a_plan_gives(monkeypatch, tmp_path, seconds, said):
    """One LeNet for MNIST: 18,760 iterations of 128 images."""
    monkeypatch.setattr(speed, "speed", lambda *others: 18_760 * 128 / seconds)
    planned = engine.plan([Run("lenet_mnist", "paper")], Store(tmp_path), "cpu", "fp32")
    assert f"(about {said} of training on this machine" in planned


def test_a_speed_without_a_worker_that_died_is_not_reported(short, monkeypatch):
    monkeypatch.setattr(engine, "_stretch_of_worker", _dies)
    with pytest.raises(PrunelibError, match="a worker died in the measurement"):
        engine.measure("lenet_digits", 2, "cpu", "fp32", workers=2, repetitions=1)


def _dies(task, advance):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no /proc to read it from")
@pytest.mark.parametrize("setting", ["lenet_mnist", "resnet20_cifar10", "vgg16_cifar10"])
def test_a_worker_keeps_to_its_bound_of_memory(setting):
    """As `engine.train` states it; the datasets of noise are far smaller than real ones."""
    script = f"""
import re, torch
from prunelib import engine
from prunelib.engine import executors, speed
torch.set_num_threads(1)
executors.keep_memory()
speed.LEAST = 0.01
speed.stretch("{setting}", engine._width("{setting}", "cpu", "fp32"), "fp32", "cpu")()
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) < 2 * 2**20
