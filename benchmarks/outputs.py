"""How many outputs had the paper's ResNet-18? Neurons pruned at 96.5 %, with 200 and with 1,000.

    python benchmarks/outputs.py --replicates 0 1 2

TinyImageNet has 200 classes; torchvision's ResNet-18 has 1,000 outputs if it is not told. The
larger output layer leaves other weights to the convolutions, in which Figure 5 counts neurons.
"""

import argparse

import pandas as pd
import torchvision
from tqdm import tqdm

from prunelib import analysis, datasets, masks, networks, settings
from prunelib.engine import memory

SETTING = "resnet18_tinyimagenet"
SPARSITY = settings.highest_matching(SETTING)
OUTPUTS = (200, 1000)
METHODS = ("synflow", "magnitude", "snip", "grasp")
# Of ResNet-18 in Section 5, "SynFlow", sentences 3, 4 and the last.
PRINTED = {
    "synflow": "69",
    "synflow+shuffle": "3.5",
    "magnitude": "< 1",
    "snip": "32",
    "grasp": "14",
}


@networks.register("resnet18_1000", (3, 64, 64))
def resnet18_1000():
    return torchvision.models.resnet18(num_classes=1000)


def neurons(outputs, methods, replicate):
    """The percentage of neurons without weights, by method."""
    network = settings.get(SETTING).network if outputs == 200 else "resnet18_1000"
    model, batch = networks.build(network, replicate), None
    if {"snip", "grasp"} & set(methods):
        batch = datasets.scoring_batch(SETTING, replicate)
    found = {}
    for method in methods:
        mask = masks.prune(model, method, SPARSITY, batch, seed=replicate)
        found[method] = 100 * analysis.neuron_collapse(mask)
        if method == "synflow":
            found["synflow+shuffle"] = 100 * analysis.neuron_collapse(
                masks.shuffle(mask, replicate)
            )
    return found


def _ends(values):
    return " to ".join(dict.fromkeys(f"{end:.2f}" for end in (values.min(), values.max())))


def main(methods, replicates):
    memory.keep(large=False)
    rows = []
    for outputs, replicate in tqdm([(o, r) for o in OUTPUTS for r in replicates]):
        rows += [
            {"method": name, "outputs": outputs, "replicate": replicate, "neurons": value}
            for name, value in neurons(outputs, methods, replicate).items()
        ]
    table = pd.DataFrame(rows).pivot_table(
        "neurons",
        "method",
        "outputs",
        _ends,
        sort=False,
    )
    print(table.assign(paper=table.index.map(PRINTED)).to_markdown())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--replicates", nargs="+", type=int, default=(0, 1, 2))
    given = parser.parse_args()
    main(given.methods, given.replicates)
