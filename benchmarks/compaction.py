"""How fast does a masked network train without its dead channels? One process of one thread.

    python benchmarks/compaction.py resnet18_tinyimagenet vgg16_cifar10 resnet20_cifar10
    python benchmarks/compaction.py resnet20_cifar10 --methods snip --level 18
    python benchmarks/compaction.py vgg16_cifar10 --rounding

The engine's own iteration on batches of noise, whole and compacted in turn: medians of the
process's seconds. Masks of replicate 0, at the highest matching sparsity of the setting unless a
level k is given, for 1 - 0.8^k. "left" are the multiplications that are left. `--record` writes the
seconds to results/seconds.csv, for the figure. `--rounding` counts the dead channels of a network
with biases whose ReLU a rounding error opens, and how far training is moved by that.
"""

import argparse
import copy
import statistics
import time

import pandas as pd
import torch
from torch import nn

from prunelib import channels, compaction, datasets, masks, networks, scores, settings
from prunelib.engine import memory, programs
from prunelib.findings import savings


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


def rounding(name, method, level):
    """Whole and compacted, side by side: how many dead channels open, and the losses of both."""
    setting = settings.get(name)
    model = networks.build(setting.network, 0)
    level = setting.matching if level is None else level
    mask = masks.prune(model, method, settings.sparsity(level))
    stream = torch.Generator().manual_seed(0)
    for kind in (torch.float32, torch.float64):
        whole = masks.apply(copy.deepcopy(model), mask).to(kind)
        small = compaction.compact(whole, mask)
        dead, opened = 0, []
        for node in small.channels.graph.graph.nodes:
            if isinstance(channels.operation(node), nn.BatchNorm2d):
                constant = ~small.channels.constants[node].isnan()
                dead += int(constant.sum())
                whole.get_submodule(node.target).register_forward_hook(
                    lambda _m, _i, out, constant=constant, opened=opened: opened.append(
                        int(((out.detach().amax((0, 2, 3)) > 0) & constant).sum())
                    )
                )
        schedule = settings.schedule(name, "paper")
        pair = [
            programs.make([m], [own], schedule, stacked=False)
            for m, own in ((whole, mask), (small.network, small.mask))
        ]
        for step in range(4):
            inputs = torch.randn(32, *model.input_shape, generator=stream)
            targets = torch.randint(0, 10, (32,), generator=stream)
            opened.clear()
            for program in pair:
                program.rate.fill_(schedule.learning_rate)
                program.total.zero_()
                program.step(inputs, targets)
            one, other = (float(p.total) / 32 for p in pair)
            text = f"{kind} step {step}: {sum(opened)} of {dead} dead channels are above 0"
            print(f"{text}; losses {one:.6f} and {other:.6f}", flush=True)


def main(names, methods, level, precision, repetitions, record):
    torch.set_num_threads(1)
    memory.keep()
    rows = []
    for name in names:
        for method in methods:
            rows.append(row(name, method, level, precision, repetitions))
            print(rows[-1], flush=True)
    if record:
        kept = [(*r[:4], *r[5:7]) for r in rows]
        new = pd.DataFrame(kept, columns=savings.TIMES).round({"whole": 4, "compact": 4})
        savings.write(savings.path("seconds"), new, savings.TIMES[:4])
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
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--rounding", action="store_true")
    given = parser.parse_args()
    if given.rounding:
        for setting_name in given.settings:
            rounding(setting_name, given.methods[0], given.level)
    else:
        main(
            given.settings, given.methods, given.level, given.precision, given.repetitions,
            given.record,
        )  # fmt: skip
