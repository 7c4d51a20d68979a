"""What masks do to the loss that training starts from, where GraSP's is out of the ordinary on a
network without batch norm (Appendix K.2).

It takes seconds and the setting's data. Where that is not at hand, results/initial_loss.csv has the
numbers as they were computed.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from prunelib import datasets, masks, networks, settings
from prunelib.errors import DatasetError
from prunelib.paths import project_root, write_atomically
from prunelib.runs import EARLY_METHODS

METHODS = ("random", *EARLY_METHODS)
LEVELS = (1, 5, 12)  # of the sparsities of Figure 3: 20.0, 67.2 and 93.1 %
REPLICATES = 5
IMAGES = 2000

SCORED = "loss, scoring batch"
TRAINING = "loss, training images"
GRADIENT = "gradient's norm"  # of the loss on the scoring batch, over the prunable weights


def path() -> Path:
    """The record: beside this project's results, whatever folder a reader's own results are in."""
    return project_root() / "results" / "initial_loss.csv"


def table(setting: str) -> pd.DataFrame:
    """The numbers of `measure`; as recorded where the setting's data cannot be read.

    Raises:
        UnknownNameError: no setting of that name.
        DatasetError: there is neither its data nor a record.
    """
    try:
        return measure(setting)
    except DatasetError:
        recorded = pd.read_csv(path()) if path().exists() else pd.DataFrame(columns=["setting"])
        own = recorded[recorded["setting"] == setting]
        if own.empty:
            raise
        return own.reset_index(drop=True)


def measure(setting: str, replicates: int = REPLICATES) -> pd.DataFrame:
    """Loss and gradient of freshly initialised networks, unpruned and pruned, in training mode.

    The networks and masks are those of the Runs of Figures 3 and 4, the images the first of the
    training set, not augmented.

    Args:
        setting: a name. replicates: how many.

    Returns:
        data frame: a row a curve ("unpruned", "grasp", "grasp+shuffle"), sparsity in percent and
        replicate. The losses are mean cross-entropies, on the scoring batch and on 2,000 training
        images, the gradient's norm is over the prunable weights. The unpruned network's numbers
        stand at each sparsity, to be compared with.

    Raises:
        UnknownNameError: no setting of that name. DatasetError: its data is not at hand.
    """
    dataset = datasets.load(settings.get(setting).dataset)
    images = dataset.train_examples(torch.arange(min(IMAGES, dataset.train_size)))
    rows = []
    for replicate in range(replicates):
        batch = datasets.scoring_batch(setting, replicate)
        for curve, sparsity, model in _networks(setting, replicate, batch):
            at = (setting, curve, round(100 * sparsity, 1), replicate)
            rows.append((*at, *_losses(model, batch, images)))
    columns = ["setting", "curve", "sparsity", "replicate", SCORED, TRAINING, GRADIENT]
    return pd.DataFrame(rows, columns=columns)


def record(setting: str) -> None:
    """Measure a setting and write results/initial_loss.csv, with that setting alone: how it was
    made."""
    write_atomically(path(), measure(setting).to_csv(index=False, float_format="%.4g"))


def _networks(setting, replicate, batch) -> Iterator[tuple[str, float, nn.Module]]:
    """(curve, sparsity, network) of a replicate."""
    network = settings.get(setting).network
    for sparsity in map(settings.sparsity, LEVELS):
        yield "unpruned", sparsity, networks.build(network, replicate)
        for method in METHODS:
            model = networks.build(network, replicate)
            mask = masks.prune(model, method, sparsity, batch, seed=replicate)
            yield method, sparsity, masks.apply(model, mask)
            if method == "grasp":
                again = networks.build(network, replicate)
                yield "grasp+shuffle", sparsity, masks.apply(again, masks.shuffle(mask, replicate))
                other = networks.build(network, replicate, stream="reinit")
                yield "grasp+reinit", sparsity, masks.apply(other, mask)


def _losses(model, batch, images):
    """Loss on the scoring batch and on training images, norm of the former's gradient."""
    loss = F.cross_entropy(model(batch[0]), batch[1])
    weights = [model.get_parameter(name) for name in networks.prunable(model)]
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])
    with torch.no_grad():
        other = F.cross_entropy(model(images[0]), images[1])
    return float(loss.detach()), float(other), float(gradient.norm())
