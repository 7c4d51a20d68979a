"""How fast this machine trains: model-images a second, of the plain loop or a fused program."""

import functools
import statistics
import time
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from prunelib import datasets, masks, networks, settings, training
from prunelib.engine import programs

LEAST = 1.0  # seconds that a timed stretch of training takes at least
EXAMPLES = 2000  # of the synthetic dataset that is trained on
LARGEST = 5e11  # floating-point operations of an iteration that is measured on a CPU


@dataclass(frozen=True)
class Speed:
    """Medians over interleaved repetitions: model-images a second of the plain loop and of the
    engine, the ratio of the two, and the engine's TFLOP a second."""

    setting: str
    count: int
    precision: str
    plain: float
    engine: float
    ratio: float
    tflops: float


def summary(setting, count, precision, pairs):
    """A Speed from pairs of model-images a second, plain loop and engine."""
    speed = statistics.median(engine for _, engine in pairs)
    return Speed(
        setting, count, precision, statistics.median(plain for plain, _ in pairs), speed,
        statistics.median(engine / plain for plain, engine in pairs),
        speed * flops(setting) / 1e12,
    )  # fmt: skip


def speed(setting, count, precision, device):
    """Model-images a second of a program of `count` networks: one stretch after a warm-up."""
    return stretch(setting, count, precision, device)()


def stretch(setting, count, precision, device):
    """A function that trains for `LEAST` seconds or more and returns model-images a second.

    It trains on made-up images in the setting's batch size (on a CPU large networks in smaller
    batches), under masks; it is warm when this returns.

    Args:
        setting: a name. count: how many networks the program trains.
        precision: of the program; None is the plain loop of `training`, for one network.
        device: "cpu" or "cuda".
    """
    chosen = settings.get(setting)
    batch = chosen.batch_size
    if device == "cpu":
        batch = max(1, min(batch, int(LARGEST / flops(setting))))
    dataset = _synthetic(chosen, batch).to(device)
    schedule = replace(
        settings.schedule(setting, "paper"), iterations=10**9, test_examples=1,
        iterations_per_epoch=-(-dataset.train_size // batch), batch_size=batch,
    )  # fmt: skip
    models = [networks.build(chosen.network, k).to(device) for k in range(count)]
    mask = [masks.prune(m, "random", 0.5, seed=k) for k, m in enumerate(models)]
    if precision is not None:
        program = programs.make(models, mask, schedule, precision)

    def seconds(iterations):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        if precision is None:
            part = replace(schedule, iterations=iterations)
            training.train(models[0], dataset, part, 0, mask[0])
        else:
            goal = program.done + iterations
            programs.train(program, dataset, 0, before=lambda done: done == goal)
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    iterations = 1
    seconds(iterations)
    while seconds(iterations) < LEAST / 2:
        iterations *= 2
    iterations *= 2
    mean_batch = dataset.train_size / schedule.iterations_per_epoch
    return lambda: count * mean_batch * iterations / seconds(iterations)


def _synthetic(setting, batch):
    """A dataset of noise in the shape of a setting's, some batches of it and a short one."""
    channels, height, width = networks.NETWORKS[setting.network][1]
    augmentation = {
        "mnist": "none", "digits": "none", "cifar10": "crop", "modified_tinyimagenet": "crop",
    }.get(setting.dataset, "resized_crop")  # fmt: skip
    stream = torch.Generator().manual_seed(0)
    count = max(1, EXAMPLES // batch) * batch + batch // 2
    shape = (count, channels, height, width)
    images = torch.randint(0, 256, shape, generator=stream, dtype=torch.uint8)
    labels = torch.randint(0, 10, (len(images),), generator=stream)
    mean, std = (0.5,) * channels, (0.25,) * channels
    return datasets.Dataset(
        "noise", images, labels, images[:1], labels[:1], mean, std, augmentation, "noise"
    )


@functools.cache
def flops(setting):
    """Floating-point operations of training on one image, forward and backward pass."""
    model = networks.build(settings.get(setting).network)
    inputs = torch.rand(2, *model.input_shape)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(model(inputs), torch.zeros(2, dtype=torch.long)).backward()
    return counter.get_total_flops() / 2
