"""What pruning before training could save: multiplications by channels and by weights, and time.

The paper hopes for cheaper training (Section 1). What a mask leaves to multiply is less
weight by weight, which common hardware cannot skip, than channel by channel, as a smaller dense
network does (`compaction`). results/savings.csv has the counts, `record` computes them in minutes a
network; results/seconds.csv has the time that an iteration took, as benchmarks/compaction.py
measured it.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from prunelib import channels, masks, networks, scores, settings
from prunelib.errors import DatasetError
from prunelib.paths import project_root, write_atomically
from prunelib.runs import EARLY_METHODS

SETTINGS = ("vgg16_cifar10", "resnet18_tinyimagenet", "resnet20_cifar10")
METHODS = (*EARLY_METHODS, "random")
COLUMNS = ["setting", "method", "sparsity", "dense", "compact", "kept"]
TIMES = ["setting", "method", "sparsity", "precision", "whole", "compact"]


def levels(setting: str) -> list[int]:
    """The k of the sparsities 1 - 0.8^k that are counted: every other one of Figure 3, and the
    highest matching one."""
    matching, _ = settings.matching_level(setting)
    return sorted({*range(2, settings.get(setting).highest + 1, 2), matching})


def path(name: str = "savings") -> Path:
    """A record: beside this project's results, whatever folder a reader's own results are in."""
    return project_root() / "results" / f"{name}.csv"


def table(setting: str) -> pd.DataFrame:
    """The recorded counts of a setting, as shares of the unpruned network's.

    Returns:
        data frame: a row a method and sparsity (in percent), "compact" and "kept" in [0, 1], and
        "time", the seconds of an iteration over those of the whole network, nan where none were
        measured.
    """
    keys = ["setting", "method", "sparsity"]
    counts = _read(path(), COLUMNS).query("setting == @setting")
    times = _read(path("seconds"), TIMES).query("precision == 'fp32'").set_index(keys)
    found = counts.assign(
        sparsity=(100 * counts["sparsity"]).round(1),
        compact=counts["compact"] / counts["dense"],
        kept=counts["kept"] / counts["dense"],
    )
    ratio = (times["compact"] / times["whole"]).rename("time")
    return found.join(ratio, on=keys).reset_index(drop=True)


def _read(file, columns):
    if file.exists():
        return pd.read_csv(file)
    kinds = {name: float for name in columns if name not in ("setting", "method", "precision")}
    return pd.DataFrame(columns=columns).astype(kinds)


def measure(setting: str, methods: Iterable[str] = METHODS) -> pd.DataFrame:
    """Multiplications of a forward pass on one image under the masks of replicate 0.

    The masks are those of the Runs of Figure 3. Training takes three times as many products.

    Args:
        setting: a name. methods: names; those that need data are left out where it is not at hand.

    Returns:
        data frame: a row a method and sparsity (a fraction): of the whole network, of the channels
        that do anything, and of the weights that are kept between those.
    """
    network, rows = settings.get(setting).network, []
    model = networks.build(network, 0)
    for method in methods:
        try:
            batch = scores.data(method, setting)
        except DatasetError:
            continue
        ranking = masks.rank(model, method, batch) if scores.get(method).ranks_once else None
        for sparsity in map(settings.sparsity, levels(setting)):
            if ranking:
                mask = masks.remove(ranking, sparsity)
            else:
                mask = masks.prune(model, method, sparsity, batch)
            left = channels.products(model, mask)
            rows.append((setting, method, sparsity, left.dense, left.compact, left.kept))
    return pd.DataFrame(rows, columns=COLUMNS)


def record(setting: str) -> None:
    """Count a setting and write it to the file, in place of what it says of these masks."""
    write(path(), measure(setting), ["setting", "method", "sparsity"])


def write(file: Path, new: pd.DataFrame, keys: list[str]) -> None:
    """Put rows into a file in place of those of the same keys, in the keys' order."""
    old = _read(file, list(new.columns))
    both = pd.concat([old, new]) if len(old) else new
    both = both.assign(**{"sparsity": both["sparsity"].round(6)})
    both = both.drop_duplicates(keys, keep="last").sort_values(keys)
    write_atomically(file, both.to_csv(index=False))
