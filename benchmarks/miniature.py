"""Which network and schedule should the convolutional miniature have? The search behind it.

    python benchmarks/miniature.py            every candidate of CANDIDATES, into miniature.csv
    python benchmarks/miniature.py 8,8,40,64,0.1,1e-4,1

Only unpruned networks and magnitude pruning after training were looked at, in seeds that nothing
else uses, and the choice was committed before any other method was run on it.
"""

import copy
import sys
from dataclasses import fields, make_dataclass, replace
from pathlib import Path

import pandas as pd
import torch

from prunelib import architectures, datasets, masks, networks, settings
from prunelib.engine import programs

Candidate = make_dataclass(
    "Candidate",
    [("layers", int), ("width", int), ("epochs", int), ("batch_size", int),
     ("learning_rate", float), ("weight_decay", float), ("shifts", int)],
)  # fmt: skip
CANDIDATES = [
    Candidate(8, 8, 40, 128, 0.1, 1e-4, 0),
    Candidate(8, 8, 40, 128, 0.1, 1e-4, 1),
    Candidate(8, 16, 40, 128, 0.1, 1e-4, 0),
    Candidate(8, 16, 40, 128, 0.1, 1e-4, 1),
    Candidate(14, 8, 40, 128, 0.1, 1e-4, 0),
    Candidate(14, 8, 40, 128, 0.1, 1e-4, 1),
    Candidate(8, 8, 30, 128, 0.1, 1e-4, 1),
    Candidate(8, 8, 60, 128, 0.1, 1e-4, 1),
    Candidate(8, 8, 40, 128, 0.05, 1e-4, 1),
    Candidate(8, 8, 40, 128, 0.2, 1e-4, 1),
    Candidate(8, 8, 40, 128, 0.1, 5e-4, 1),
    Candidate(8, 8, 40, 64, 0.1, 5e-4, 1),
    Candidate(8, 8, 40, 64, 0.1, 1e-4, 1),
]
LEVELS, ALL = (3, 6, 9, 12, 15, 18), tuple(range(1, 19))
PATH = Path(__file__).with_suffix(".csv")


def accuracies(candidate, seed, levels):
    """Test accuracy of the unpruned network (level 0) and of magnitude after training."""
    dataset = datasets.load("shifted_digits" if candidate.shifts else "digits")
    epoch = -(-dataset.train_size // candidate.batch_size)
    iterations = candidate.epochs * epoch
    schedule = replace(
        settings.schedule("resnet8_digits", "paper"), iterations=iterations,
        iterations_per_epoch=epoch, batch_size=candidate.batch_size,
        learning_rate=candidate.learning_rate, weight_decay=candidate.weight_decay,
        drops=(iterations / 2, iterations * 3 / 4),
    )  # fmt: skip
    networks.NETWORKS["candidate"] = (
        lambda: architectures.CifarResNet(candidate.layers, candidate.width, channels=1), (1, 8, 8)
    )  # fmt: skip
    model = networks.build("candidate", seed)
    found = {}
    for part in ((0,), levels):
        mask = [masks.prune(model, "magnitude", settings.sparsity(k)) for k in part]
        models = [copy.deepcopy(model) for _ in part]
        program = programs.make(models, mask, schedule, "bf16", stacked=True)
        outcomes = programs.train(program, dataset, seed)
        found |= {k: o.test_accuracy for k, o in zip(part, outcomes, strict=True)}
        model.load_state_dict(program.state(0))
    return found


def main(chosen):
    torch.set_num_threads(1)
    rows = []
    for candidate in chosen:
        last = candidate == CANDIDATES[-1]  # the choice: at every sparsity, in ten seeds
        for seed in range(1000, 1010 if last else 1005):
            for level, accuracy in accuracies(candidate, seed, ALL if last else LEVELS).items():
                about = (getattr(candidate, field.name) for field in fields(candidate))
                rows.append((*about, level, seed, accuracy))
    columns = [*(field.name for field in fields(Candidate)), "level", "seed", "accuracy"]
    table = pd.DataFrame(rows, columns=columns)
    print(
        table.groupby(columns[:-2])["accuracy"].agg(["mean", "std"]).mul(100).round(2).to_string()
    )
    return table


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main([Candidate(*(f.type(v) for f, v in zip(
            fields(Candidate), sys.argv[1].split(","), strict=True)))])  # fmt: skip
    else:
        main(CANDIDATES).to_csv(PATH, index=False, float_format="%.4g")
