"""How fast this machine trains: model-images a second, the fused programs beside the plain loop."""

import functools
import statistics
import time
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from prunelib import datasets, fused, masks, networks, settings, training

LEAST = 0.4  # seconds that a timed stretch of training takes at least
EXAMPLES = 2000  # of the synthetic dataset that is trained on
LARGEST = 5e11  # floating-point operations of an iteration that is measured on a CPU


@dataclass(frozen=True)
class Speed:
    """Medians over interleaved repetitions; in model-images a second, and TFLOP a second."""

    setting: str
    count: int
    precision: str
    plain: float
    fused: float
    ratio: float
    tflops: float


def compare(setting, count, precision, device, repetitions=5):
    """The fused program of `count` networks beside the plain loop, in this process.

    Both train on the same made-up images, masks included, in batches of the setting's size (on
    a CPU fewer of large networks). Of each repetition, one stretch of either, the ratio is taken;
    medians are returned.

    Args:
        setting: a name. count: how many networks the program trains.
        precision: of the program; the plain loop has fp32.
        device: "cpu" or "cuda".
        repetitions: how many.

    Returns:
        a Speed.
    """
    plain = _stretch(setting, 1, None, device)
    program = _stretch(setting, count, precision, device)
    pairs = [(plain(), program()) for _ in range(repetitions)]
    speed = statistics.median(p for _, p in pairs)
    return Speed(
        setting, count, precision, statistics.median(p for p, _ in pairs), speed,
        statistics.median(b / a for a, b in pairs), speed * flops(setting) / 1e12,
    )  # fmt: skip


def speed(setting, count, precision, device):
    """Model-images a second of a program of `count` networks: one stretch after a warm-up."""
    return _stretch(setting, count, precision, device)()


def _stretch(setting, count, precision, device):
    """A function that trains for a while and returns model-images a second; the plain loop for
    precision None. It is warm, and knows how many iterations take `LEAST` seconds."""
    chosen = settings.get(setting)
    batch = chosen.batch_size
    if device == "cpu":
        batch = max(1, min(batch, int(LARGEST / flops(setting))))
    dataset = _synthetic(chosen, batch).to(device)
    schedule = replace(
        settings.schedule(setting, "paper"), iterations=10**9, test_examples=1,
        iterations_per_epoch=dataset.train_size // batch, batch_size=batch,
    )  # fmt: skip
    models = [networks.build(chosen.network, k).to(device) for k in range(count)]
    mask = [masks.prune(m, "random", 0.5, seed=k) for k, m in enumerate(models)]
    if precision is not None:
        program = fused.make(models, mask, schedule, precision)

    def seconds(iterations):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        if precision is None:
            part = replace(schedule, iterations=iterations)
            training.train(models[0], dataset, part, 0, mask[0])
        else:
            goal = program.done + iterations
            fused.train(program, dataset, 0, before=lambda done: done == goal)
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    iterations = 1
    seconds(iterations)
    while seconds(iterations) < LEAST / 2:
        iterations *= 2
    iterations *= 2
    return lambda: count * schedule.batch_size * iterations / seconds(iterations)


def _synthetic(setting, batch):
    """A dataset of noise in the shape of a setting's, whole batches of it."""
    channels, height, width = networks.NETWORKS[setting.network][1]
    augmentation = {
        "mnist": "none", "digits": "none", "cifar10": "crop", "modified_tinyimagenet": "crop",
    }.get(setting.dataset, "resized_crop")  # fmt: skip
    stream = torch.Generator().manual_seed(0)
    count = max(1, EXAMPLES // batch) * batch
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
