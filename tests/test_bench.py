"""The measurement of speed: what it counts, and that it trains what it says."""

import pytest
import torch

from prunelib import bench, engine


def test_the_operations_of_a_lenet():
    """Two a multiply-add; forward, gradients of the weights, and of the inputs of all layers but
    the first."""
    layers = [784 * 300, 300 * 100, 100 * 10]
    assert bench.flops("lenet_mnist") == 2 * (2 * sum(layers) + sum(layers[1:]))


def test_the_operations_of_a_vgg_are_as_published():
    """313 million multiply-adds forward; backward twice as many, but for the first layer."""
    assert bench.flops("vgg16_cifar10") == pytest.approx(6 * 313e6, rel=0.01)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(bench, "LEAST", 0.001)


def test_a_comparison(short):
    found = bench.compare("lenet_digits", 3, "fp32", "cpu", repetitions=3)
    assert (found.setting, found.count, found.precision) == ("lenet_digits", 3, "fp32")
    assert min(found.plain, found.fused, found.ratio) > 0
    assert found.tflops == pytest.approx(found.fused * bench.flops("lenet_digits") / 1e12)


def test_large_networks_are_measured_in_small_batches(monkeypatch):
    """A batch of 1024 for ResNet-50 does not fit into the memory of a laptop."""
    sizes = []
    monkeypatch.setattr(bench, "LEAST", 1e-9)
    monkeypatch.setattr(
        bench.training, "train",
        lambda model, dataset, schedule, *others: sizes.append(schedule.batch_size),
    )  # fmt: skip
    bench._stretch("modified_resnet18_tinyimagenet", 1, None, "cpu")
    bench._stretch("resnet20_cifar10", 1, None, "cpu")
    assert 1 <= sizes[0] < 256
    assert sizes[-1] == 128


def test_the_width_on_a_gpu_grows_while_it_pays(monkeypatch):
    """Of 1, 2, 4 and 8 networks the fourth pays less than a twentieth more."""
    speeds = {1: 100, 2: 190, 4: 300, 8: 310}
    monkeypatch.setattr(bench, "speed", lambda setting, count, *others: speeds[count])
    engine._width.cache_clear()
    assert engine._width("resnet20_cifar10", "cuda", "fp32") == 4


def test_the_width_on_a_gpu_ends_where_the_memory_does(monkeypatch):
    def speed(setting, count, *others):
        if count > 64:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return count

    monkeypatch.setattr(bench, "speed", speed)
    engine._width.cache_clear()
    assert engine._width("lenet_mnist", "cuda", "fp32") == 64
    engine._width.cache_clear()
