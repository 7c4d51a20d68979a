"""How fast does a masked network train without its dead channels? One process of one thread.

    python benchmarks/compaction.py resnet18_tinyimagenet vgg16_cifar10 resnet20_cifar10
    python benchmarks/compaction.py resnet20_cifar10 --methods snip --level 18

The engine's own iteration on batches of noise, whole and compacted in turn: medians of the
process's seconds. Masks of replicate 0, at the highest matching sparsity of the setting unless a
level k is given, for 1 - 0.8^k. "left" are the multiplications that are left.
"""

import argparse
import copy
import statistics
import time

import pandas as pd
import torch

from prunelib import channels, compaction, datasets, masks, networks, scores, settings
from prunelib.engine import memory, programs


def seconds(program, batch):
    began = time.process_time()
    program.step(*batch)
    return time.process_time() - began


def row(name, method, level, precision, repetitions):
    setting = settings.get(name)
    level = setting.matching if level is None else level
    model = networks.build(setting.network, 0)
    needs_data = scores.get(method).needs_data
    batch = datasets.scoring_batch(name, 0) if needs_data else None
    mask = masks.prune(model, method, settings.sparsity(level), batch)
    left = channels.products(model, mask)
    small = compaction.compact(masks.apply(model, mask), mask)
    schedule = settings.schedule(name, "paper")
    whole, compact = (
        programs.make([m], [own], schedule, precision, stacked=False)
        for m, own in ((copy.deepcopy(model), mask), (small.network, small.mask))
    )
    stream = torch.Generator().manual_seed(0)
    inputs = torch.randn(setting.batch_size, *model.input_shape, generator=stream)
    batch = inputs, torch.arange(setting.batch_size) % 10
    times = [(seconds(whole, batch), seconds(compact, batch)) for _ in range(repetitions + 1)]
    one, other = (statistics.median(t) for t in zip(*times[1:], strict=True))
    percent = round(100 * settings.sparsity(level), 1)
    of = left.compact / left.dense
    return name, method, percent, precision, of, one, other, one / other


def main(names, methods, level, precision, repetitions):
    torch.set_num_threads(1)
    memory.keep()
    rows = []
    for name in names:
        for method in methods:
            rows.append(row(name, method, level, precision, repetitions))
            print(rows[-1], flush=True)
    columns = [
        "setting", "method", "sparsity (%)", "precision", "left", "whole (s)", "compacted (s)",
        "ratio",
    ]  # fmt: skip
    print(pd.DataFrame(rows, columns=columns).round(3).to_markdown(index=False))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="+")
    parser.add_argument("--methods", nargs="+", default=["synflow"])
    parser.add_argument("--level", type=int)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--repetitions", type=int, default=7)
    given = parser.parse_args()
    main(given.settings, given.methods, given.level, given.precision, given.repetitions)
