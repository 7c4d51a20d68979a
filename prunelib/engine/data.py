"""Whether the data of Runs are there and fit their settings, before anything is trained on them."""

import torch

from prunelib import datasets, networks, provenance, settings
from prunelib.engine import tasks
from prunelib.errors import DatasetError
from prunelib.results.records import END, TRAINED
from prunelib.results.store import Store
from prunelib.runs import Run


def fingerprints(runs: list[Run], store: Store) -> dict[str, str]:
    """The fingerprints of the datasets that Runs need, by the dataset's name.

    Raises:
        DatasetError: one is missing, damaged or incomplete.
    """
    names = dict.fromkeys(run.setting for run in runs if needs_data(run, store))
    return {settings.get(n).dataset: check(settings.get(n)).fingerprint for n in names}


def needs_data(run: Run, store: Store) -> bool:
    """Whether a dataset is needed for what a store records of a Run."""
    return store.kind in (TRAINED, END) or tasks.needs_data(run)


def check(setting: settings.Setting) -> datasets.Dataset:
    """The dataset of a setting; DatasetError if it is missing, or has other numbers of examples
    than were published, or than a user's own schedule goes through."""
    dataset = datasets.load(setting.dataset)
    found, published = (dataset.train_size, dataset.test_size), datasets.SIZES.get(setting.dataset)
    if published not in (None, found):
        raise DatasetError(
            f"dataset {dataset.name!r} has {found[0]:,} training and {found[1]:,} test examples, "
            f"of {published[0]:,} and {published[1]:,}: it is incomplete, or has files that do not "
            "belong to it; unpack or download it again"
        )
    if provenance.is_own(setting.name):
        _check_own(setting, dataset)
    return dataset


def _check_own(setting, dataset):
    whole, name = setting.iterations_per_epoch * setting.batch_size, provenance.label(setting.name)
    if not whole - setting.batch_size < dataset.train_size < whole + setting.batch_size:
        raise DatasetError(
            f"dataset {provenance.label(dataset.name)!r} has {dataset.train_size} training "
            f"examples, {name} has {setting.iterations_per_epoch} batches of {setting.batch_size} "
            f"an epoch: give settings.register examples={dataset.train_size}"
        )
    _check_fit(name, setting.network, dataset, setting.batch_size)


def _check_fit(name, network, dataset, batch_size):
    """That a network of a user's own setting takes its inputs and tells its labels apart."""
    expected = networks.NETWORKS[networks.find(network)][1]
    found = tuple(dataset.train_examples(torch.tensor([0]))[0].shape[1:])
    if found != expected:
        raise DatasetError(
            f"setting {name!r}: the network takes inputs of shape {expected}, those of the dataset "
            f"have {found}"
        )
    if dataset.train_size % batch_size == 1 or batch_size == 1:
        try:
            networks.build(network).train()(torch.zeros(1, *expected))
        except ValueError as error:  # of batch norm, which finds no spread in one number
            raise DatasetError(
                f"setting {name!r}: a batch of one example, as the last of an epoch is, cannot be "
                f"trained on ({error}): take another batch_size than {batch_size}"
            ) from None
    highest = int(max(dataset.train_labels.max(), dataset.test_labels.max()))
    if highest >= networks.classes(network):
        raise DatasetError(
            f"setting {name!r}: the dataset has the label {highest}, the network tells "
            f"{networks.classes(network)} classes apart, from 0"
        )


def check_images(runs, folder, progress):
    """That no training meets an image at its end that cannot be read; a file in the folder of
    checkpoints says that all were looked at."""
    for setting, profile in dict.fromkeys((run.setting, run.profile) for run in runs):
        dataset = datasets.load(settings.get(setting).dataset)
        looked = folder / f"looked.{dataset.fingerprint}"
        whole = settings.schedule(setting, profile).test_examples is None
        if isinstance(dataset, datasets.FolderDataset) and whole and not looked.exists():
            dataset.check_test_images(progress)
            looked.touch()
