"""SynFlow's iterations beside the plain loop of a score and a removal: the same mask, and how fast.

    python benchmarks/synflow.py vgg16 0.931
    python benchmarks/synflow.py resnet18 0.965 --replicates 0 1 2
    python benchmarks/synflow.py resnet50 0.9 --iterations 8

One process of one thread; the process's own seconds, both loops in turn for each replicate. It ends
with an error where a single weight differs.
"""

import argparse
import copy
import time

import pandas as pd
import torch

from prunelib import masks, networks, scores
from prunelib.engine import memory


def plain(model, sparsity, iterations, seed):
    work, mask = copy.deepcopy(model), masks.full(model)
    for n in range(1, iterations + 1):
        goal = sparsity if n == iterations else 1 - (1 - sparsity) ** (n / iterations)
        masks.apply(work, mask)
        mask = masks.remove(scores.score(work, "synflow"), goal, mask, seed)
    return mask


def fast(model, sparsity, iterations, seed):
    return masks.prune(model, "synflow", sparsity, iterations=iterations, seed=seed)


def seconds(loop, *arguments):
    began = time.process_time()
    mask = loop(*arguments)
    return mask, time.process_time() - began


def main(network, sparsity, iterations, replicates):
    torch.set_num_threads(1)
    memory.keep(large=False)  # as `memory.scoring`
    rows = []
    for replicate in replicates:
        about = networks.build(network, replicate), sparsity, iterations, replicate
        found, quick = seconds(fast, *about)
        expected, slow = seconds(plain, *about)
        assert all(torch.equal(found[name], m) for name, m in expected.items()), replicate
        rows.append((network, sparsity, iterations, replicate, slow, quick, slow / quick))
        print(rows[-1], flush=True)
    columns = ["network", "sparsity", "iterations", "replicate", "plain (s)", "fast (s)", "ratio"]
    print(pd.DataFrame(rows, columns=columns).round(3).to_markdown(index=False))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network")
    parser.add_argument("sparsity", type=float)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--replicates", type=int, nargs="+", default=[0])
    given = parser.parse_args()
    main(given.network, given.sparsity, given.iterations, given.replicates)
