"""Does it pay to train small convolutional networks as one wide network, or to compile that?

    python benchmarks/stacked.py resnet8_digits resnet20_cifar10

One process of one thread, K networks a program: side by side, stacked (`engine.wide`), and stacked
and compiled by Inductor. Model-images a second, medians of interleaved repetitions.
"""

import argparse
import statistics
import time

import pandas as pd
import torch

from prunelib.engine import memory, programs, speed

WAYS = {"side by side": (False, False), "stacked": (True, False), "compiled": (True, True)}


def trainer(setting, count, precision, stacked, compiled):
    """A function that trains some iterations of a program and returns model-images a second."""
    models, mask, dataset, schedule = speed.workload(setting, count, "cpu")
    program = programs.make(models, mask, schedule, precision, stacked=stacked)
    if compiled:
        program.wide.forward = torch.compile(program.wide.forward, dynamic=False)

    def train(epochs):
        goal = program.done + epochs * schedule.iterations_per_epoch
        began = time.perf_counter()
        programs.train(program, dataset, 0, before=lambda done: done == goal)
        return count * epochs * dataset.train_size / (time.perf_counter() - began)

    epochs = max(1, round(train(1) * speed.LEAST / (count * dataset.train_size)))
    return lambda: train(epochs)


def main(names, counts, precisions, repetitions):
    torch.set_num_threads(1)
    memory.keep()
    for setting in names:
        rows = []
        for precision in precisions:
            for count in counts:
                trainers = {
                    way: trainer(setting, count, precision, *how) for way, how in WAYS.items()
                }
                found = {way: [] for way in WAYS}
                for repetition in range(repetitions + 1):
                    for way, train in trainers.items():
                        value = train()
                        if repetition:  # the first warms it
                            found[way].append(value)
                medians = {way: statistics.median(values) for way, values in found.items()}
                rows.append(
                    {"setting": setting, "precision": precision, "networks": count} | medians
                )
                print(rows[-1], flush=True)
        print(pd.DataFrame(rows).round().to_markdown(index=False))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("setting", nargs="+")
    parser.add_argument("--networks", type=int, nargs="+", default=[1, 8, 16, 32])
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args()
    main(given.setting, given.networks, given.precision, given.repetitions)
