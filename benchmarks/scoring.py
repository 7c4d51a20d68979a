"""How long does scoring take? One process of one thread, as a worker; a scoring batch of noise.

    python benchmarks/scoring.py lenet_mnist resnet20_cifar10 vgg16_cifar10 resnet18_tinyimagenet

"scores" is one call of `scores.score`, "mask" the whole of `masks.prune` at 93.1 %.
"""

import argparse
import statistics
import time

import pandas as pd
import torch

from prunelib import masks, networks, scores, settings
from prunelib.engine import memory

SPARSITY = settings.sparsity(12)


def seconds(repetitions, function, *arguments):
    times = []
    for _ in range(repetitions):
        began = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main(names, methods, repetitions):
    torch.set_num_threads(1)
    memory.keep(large=False)  # as `memory.scoring`
    rows = []
    for name in names:
        network = settings.get(name).network
        model = networks.build(network)
        classes = list(model.parameters())[-1].numel()
        stream = torch.Generator().manual_seed(0)
        inputs = torch.randn(10 * classes, *model.input_shape, generator=stream)
        batch = inputs, torch.arange(10 * classes) % classes
        for method in methods:
            iterations = scores.get(method).iterations
            once = seconds(repetitions, scores.score, model, method, batch)
            whole = seconds(1, masks.prune, model, method, SPARSITY, batch)
            rows.append((name, method, len(inputs), iterations, once, whole))
            print(rows[-1], flush=True)
    columns = ["setting", "method", "examples", "iterations", "scores (s)", "mask (s)"]
    print(pd.DataFrame(rows, columns=columns).round(3).to_markdown(index=False))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="+")
    parser.add_argument(
        "--methods", nargs="+", default=["random", "magnitude", "snip", "grasp", "synflow"]
    )
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args()
    main(given.settings, given.methods, given.repetitions)
