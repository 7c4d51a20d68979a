"""The datasets of the paper: `load` one by name, draw the `scoring_batch` of a setting, or some
`training_batches`.

`augment` holds the random numbers and what they do to images, `dataset` the two kinds of dataset,
`files` how files are read, `loaders` what each named dataset consists of and how to `download` it,
`own` how to `register` one's own.
"""

import functools

import torch

from prunelib import provenance, settings
from prunelib.datasets.dataset import Batch, Dataset, FolderDataset
from prunelib.datasets.loaders import DOWNLOADS, LOADERS, SIZES, download
from prunelib.datasets.own import register
from prunelib.errors import BadValueError, DatasetError, UnknownNameError
from prunelib.paths import data_root
from prunelib.seeds import generator

__all__ = [
    "DOWNLOADS",
    "LOADERS",
    "SIZES",
    "Dataset",
    "download",
    "load",
    "register",
    "scoring_batch",
    "training_batches",
]

PER_CLASS = 10


def load(name: str) -> Dataset | FolderDataset:
    """The dataset of a setting, on the CPU; kept in memory once loaded.

    Args:
        name: "digits", "shifted_digits", "mnist", "cifar10", "tinyimagenet",
            "modified_tinyimagenet" or "imagenet".
            CIFAR-10 is read from torchvision's files, or else from an image folder
            `cifar10*/{train,test}/<class>/`, whose name it then bears. Or one's own.

    Raises:
        UnknownNameError: another name.
        DatasetError: not found below the data root, or damaged; the sentence says what to do.
        UserCodeError: an exception in a function of one's own.
    """
    key, root = provenance.resolve("dataset", name, LOADERS), data_root()
    if key not in LOADERS:
        raise UnknownNameError("dataset", name, provenance.labels(LOADERS))
    try:
        return _load(key, root)
    except DatasetError:
        raise
    except OSError as error:  # of folders on the way, which no loader opens itself
        raise DatasetError(
            f"dataset {name!r} cannot be read from {root} ({error.strerror}): set PRUNELIB_DATA to "
            "a folder that this user may read"
        ) from None


@functools.lru_cache(maxsize=2)
def _load(name, root):
    return LOADERS[name](root)


def scoring_batch(setting: str | settings.Setting, seed: int = 0) -> Batch:
    """The batch that SNIP and GraSP score on: ten training examples of each class, not augmented.

    Args:
        setting: a setting's name or a Setting.
        seed: the replicate; the examples depend on it alone.

    Returns:
        inputs [10 * classes, C, H, W] float32 and targets [10 * classes], in random order
        (Appendix B.2, "Selecting examples for SNIP"): where scores are averaged over parts of it,
        each part has examples of many classes.

    Raises:
        UnknownNameError: no setting of that name.
        DatasetError: as `load` does.
    """
    if isinstance(setting, str):
        setting = settings.get(setting)
    dataset = load(setting.dataset)
    labels = dataset.train_labels
    stream = generator(seed, "scoring batch")
    chosen = []
    for label in range(int(labels.max()) + 1):
        members = (labels == label).nonzero().squeeze(1)
        chosen.append(members[torch.randperm(len(members), generator=stream)[:PER_CLASS]])
    index = torch.cat(chosen)
    return dataset.train_examples(index[torch.randperm(len(index), generator=stream)])


def training_batches(setting: str | settings.Setting, seed: int = 0, count: int = 1) -> list[Batch]:
    """Training batches for methods that ask for some, of the setting's size, not augmented.

    No example is in two of them as long as the training set has enough for `count` whole batches;
    then the next pass begins, in another order.

    Args:
        setting: a setting's name or a Setting.
        seed: the replicate; the examples depend on it alone.
        count: how many.

    Returns:
        a list of inputs [n, C, H, W] float32 and targets [n].

    Raises:
        UnknownNameError: no setting of that name.
        BadValueError: less than one batch, or batches larger than the training set.
        DatasetError: as `load` does.
    """
    if isinstance(setting, str):
        setting = settings.get(setting)
    if type(count) is not int or count < 1:
        raise BadValueError(f"count={count!r}: give a whole number of batches from 1")
    dataset, size = load(setting.dataset), setting.batch_size
    each = dataset.train_size // size  # whole batches a pass
    if not each:
        raise BadValueError(
            f"{setting.name} has batches of {size} examples, its dataset {dataset.train_size}"
        )
    found = []
    for i in range(count):
        if i % each == 0:
            stream = generator(seed, "training batches", i // each)
            order = torch.randperm(dataset.train_size, generator=stream)
        found.append(dataset.train_examples(order[i % each * size :][:size]))
    return found
