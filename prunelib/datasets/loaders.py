"""The datasets by name: what each consists of below the data root, and where it comes from.

A loader takes the data root and returns a `Dataset` or `FolderDataset` on the CPU, after checks
that need no knowledge of the network: shapes, numbers of examples, range of the labels.
"""

import contextlib
import functools
import hashlib
import re
import shutil
import tarfile
from collections import Counter
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

import torch
from torchvision.datasets import CIFAR10, MNIST
from torchvision.datasets.utils import check_integrity, download_url, extract_archive

from prunelib.datasets.dataset import IMAGENET_MEAN, IMAGENET_STD, Dataset, FolderDataset
from prunelib.datasets.files import class_folders, exists, read_idx, read_listings, reading, stamp
from prunelib.errors import DatasetError, check_name
from prunelib.paths import data_root
from prunelib.seeds import generator


def _digits(root, augmentation="none"):
    """scikit-learn's handwritten digits, 8x8: 1,297 to train and 500 to test, drawn once."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).mul(255 / 16).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(digits.target).long()
    order = torch.randperm(len(labels), generator=generator(0, "digits split"))
    train, test = order[500:], order[:500]
    tensors = (images[train], labels[train], images[test], labels[test])
    return finish("digits", tensors, augmentation)


def _mnist(root):
    """The four files of MNIST, unpacked or as gzip."""
    tensors = []
    for part in ("train", "t10k"):
        files = [_mnist_file(root, f"{part}-{kind}") for kind in ("images-idx3", "labels-idx1")]
        images, labels = read_idx(files[0], 28, 28), read_idx(files[1])
        if len(images) != len(labels):
            raise DatasetError(
                f"{files[1]} holds {len(labels)} labels for {len(images)} images: delete both "
                "files, then run 'prunelib data mnist' to download them again"
            )
        _check_highest("mnist", files[1], int(labels.max()), 10)
        tensors += [images[:, None], labels.long()]
    return finish("mnist", tensors, "none", (0.1307,), (0.3081,))


def _mnist_file(root, name):
    path = root / "MNIST" / "raw" / f"{name}-ubyte"
    compressed = path.with_name(f"{path.name}.gz")
    found = next((each for each in (path, compressed) if exists(each)), None)
    if found is None:
        raise _missing("mnist", path, root)
    return found


def _cifar10(root):
    """CIFAR-10's own files, or else an image folder, whose name the dataset then bears."""
    folders = sorted(p.parent for p in root.glob("cifar10*/train") if p.is_dir())
    if exists(root / CIFAR10.base_folder) or not folders:
        return _cifar10_batches(root)
    listings = class_folders(folders[0], ("train", "test"))
    _check_highest("cifar10", folders[0], listings[0][-1][1], 10)
    tensors = read_listings(folders[0], listings, (3, 32, 32))
    name = re.sub(r"[^\w.-]", "_", folders[0].name)  # as records may have it
    return finish(name, tensors, "crop", IMAGENET_MEAN, IMAGENET_STD)


def _cifar10_batches(root):
    """CIFAR-10's own files; normalised by ImageNet's statistics, as the authors' code does."""
    folder = root / CIFAR10.base_folder
    if not exists(folder):
        raise _missing("cifar10", folder, root)
    try:  # torchvision checks every file against its known digest before it reads it
        parts = [CIFAR10(root, train=train) for train in (True, False)]
    except (OSError, RuntimeError):
        raise DatasetError(
            f"{folder} is damaged: a file of it is missing, cannot be read or has another digest "
            "than CIFAR-10's; delete the folder and run 'prunelib data cifar10'"
        ) from None
    tensors = [
        t.contiguous()
        for part in parts
        for t in (torch.from_numpy(part.data).permute(0, 3, 1, 2), torch.tensor(part.targets))
    ]
    return finish("cifar10", tensors, "crop", IMAGENET_MEAN, IMAGENET_STD)


def _tinyimagenet(root, augmentation="resized_crop"):
    """TinyImageNet in its own layout: train/<wnid>/images/*.JPEG, val/ with annotations."""
    folder = root / "tiny-imagenet-200"
    wnids, annotations = folder / "wnids.txt", folder / "val" / "val_annotations.txt"
    if not exists(wnids):
        raise _missing("tinyimagenet", wnids, root)
    label = {wnid: i for i, wnid in enumerate(sorted(reading(wnids.read_text, wnids).split()))}
    _check_highest("tinyimagenet", wnids, len(label) - 1, 200)
    text = reading(annotations.read_text, annotations) if exists(annotations) else ""
    rows = [line.split("\t") for line in sorted(text.splitlines())]
    # Names in these files are only looked up among those found, so that none leads elsewhere.
    found = sorted((folder / "train").glob("*/images/[!.]*.JPEG"))
    shown = {path.name: path for path in (folder / "val" / "images").glob("*.JPEG")}
    count = Counter(path.parts[-3] for path in found)
    most = max([1, *(count[wnid] for wnid in label)])  # all classes have as many
    faults = [] if label else [wnids.name]
    faults += [f"train/{wnid}/images" for wnid in label if count[wnid] < most]
    if not rows or not all(len(row) > 1 and row[1] in label for row in rows):
        faults.append("val/val_annotations.txt")
    faults += [f"val/images/{row[0]}" for row in rows if row[0] not in shown]
    if faults:
        raise DatasetError(
            f"{folder / faults[0]} is missing, incomplete or damaged: unpack TinyImageNet again, "
            "or run 'prunelib data tinyimagenet'"
        )
    train = [(path, label[path.parts[-3]]) for path in found if path.parts[-3] in label]
    val = [(shown[row[0]], label[row[1]]) for row in rows]
    tensors = read_listings(folder, (train, val), (3, 64, 64))
    return finish("tinyimagenet", tensors, augmentation)


def _imagenet(root):
    """ImageNet in folders of images, one a class."""
    folder = root / "imagenet"
    if not exists(folder / "train"):
        raise _missing("imagenet", folder / "train", root)
    listings = class_folders(folder, ("train", "val"))
    (train, train_labels), (test, test_labels) = (zip(*rows, strict=True) for rows in listings)
    _check_highest("imagenet", folder, train_labels[-1], 1000)
    labels = torch.tensor(train_labels), torch.tensor(test_labels)
    digest = stamp(folder, listings, times=False)
    return FolderDataset("imagenet", train, labels[0], test, labels[1], digest)


LOADERS = {
    "digits": _digits,
    "shifted_digits": functools.partial(_digits, augmentation="shift"),
    "mnist": _mnist,
    "cifar10": _cifar10,
    "tinyimagenet": _tinyimagenet,
    "modified_tinyimagenet": functools.partial(_tinyimagenet, augmentation="crop"),
    "imagenet": _imagenet,
}

# Training and test examples of each, as it was published.
SIZES = {
    "digits": (1297, 500),
    "shifted_digits": (1297, 500),
    "mnist": (60_000, 10_000),
    "cifar10": (50_000, 10_000),
    "tinyimagenet": (100_000, 10_000),
    "modified_tinyimagenet": (100_000, 10_000),
    "imagenet": (1_281_167, 50_000),
}

TINY = "http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"
# For each: its loader, the folder its archives are unpacked in, and their URLs and MD5 digests.
DOWNLOADS = {
    "mnist": (_mnist, "MNIST/raw", [(MNIST.mirrors[0] + f, md5) for f, md5 in MNIST.resources]),
    "cifar10": (_cifar10_batches, "", [(CIFAR10.url, CIFAR10.tgz_md5)]),
    "tinyimagenet": (_tinyimagenet, "", [TINY]),
}


def download(name: str) -> Path:
    """Download a dataset into the data root, unless it is there already and sound.

    Every archive is checked against its known digest before it is unpacked. Returns the data root.

    Raises:
        UnknownNameError: not one of mnist, cifar10, tinyimagenet (digits needs no download,
            ImageNet has no free one).
        DatasetError: the download failed; the sentence says why.
    """
    check_name("dataset to download", name, DOWNLOADS)
    root, (loader, place, archives) = data_root(), DOWNLOADS[name]
    with contextlib.suppress(OSError):
        loader(root)
        return root
    try:
        (root / place).mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(root).free < 2**30:
            raise OSError("less than 1 GiB is free")
        for url, md5 in archives:
            own = check_integrity(root / place / url.rpartition("/")[2], md5)  # its owner's
            download_url(url, root / place, md5=md5)
            archive = root / place / url.rpartition("/")[2]
            if tarfile.is_tarfile(archive):
                with tarfile.open(archive) as file:
                    file.extractall(root / place, filter="data")
            else:  # of zip files Python leads none elsewhere
                extract_archive(archive)
            if not own:
                archive.unlink()
    except (OSError, RuntimeError, HTTPException) as error:
        certificates = ""
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            certificates = " (on macOS by python.org's 'Install Certificates.command')"
        raise DatasetError(
            f"downloading {name!r} into {root} failed ({error}): mend that{certificates} and run "
            f"'prunelib data {name}' again, or set PRUNELIB_DATA to another folder"
        ) from None
    return root


def _missing(name, path, root):
    how = f"run 'prunelib data {name}' to download it" if name in DOWNLOADS else "put it there"
    return DatasetError(
        f"dataset {name!r} not found: {path} does not exist; {how}, or set PRUNELIB_DATA to the "
        f"folder that holds it (now {root})"
    )


def _check_highest(name, path, label, classes):
    """A label that the networks of a dataset have no output for ends here, not in their loss."""
    if label >= classes:
        raise DatasetError(
            f"{path} gives the label {label}, but {name} has the labels 0 to {classes - 1}: "
            "replace it by a fresh copy of the dataset"
        )


def finish(
    name: str,
    tensors: Sequence[torch.Tensor],
    augmentation: str,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Dataset:
    """The Dataset of these images and labels, of training and of testing, and its fingerprint."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.contiguous().numpy())
    if mean is None:
        mean, std = _channel_statistics(tensors[0])
    return Dataset(name, *tensors, mean, std, augmentation, digest.hexdigest()[:16])


def _channel_statistics(images):
    """Mean and standard deviation of each channel, of pixels in [0, 1]."""
    counts = [torch.bincount(images[:, c].flatten(), minlength=256) for c in range(images.shape[1])]
    value = torch.arange(256, dtype=torch.float64) / 255
    mean = [float((n * value).sum() / n.sum()) for n in counts]
    var = [float((n * value**2).sum() / n.sum()) - m**2 for n, m in zip(counts, mean, strict=True)]
    return tuple(mean), tuple(v**0.5 or 1.0 for v in var)  # a channel may be constant
