"""Datasets as tensors; augmentation of a batch; the scoring batch; the streams of draws."""

import contextlib
import functools
import gzip
import hashlib
import math
import os
import shutil
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torchvision.transforms.v2 import functional as TF

from prunelib import settings
from prunelib.errors import DatasetError, check_name
from prunelib.paths import data_root
from prunelib.seeds import generator

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PADDING = 4
SCALE, ASPECT = (0.1, 1.0), (0.8, 1.25)
PER_CLASS = 10


@dataclass(frozen=True)
class Draws:
    """The random numbers of one epoch, one of each an example in the order of the epoch.

    `order` [n] int64: positions in the training set. `flip` [n] bool. `shift` [n, 2] int64 in
    0 … 8: the corner of the crop in the padded image. `box` [n, 4] int64: top, left, height and
    width of the resized crop. Those that the augmentation does not use are None. `key` is
    (replicate, epoch).
    """

    order: torch.Tensor
    key: tuple[int, int]
    flip: torch.Tensor | None = None
    shift: torch.Tensor | None = None
    box: torch.Tensor | None = None

    def part(self, start, stop):
        """The draws of examples start … stop of the epoch."""
        return self._each(lambda tensor: tensor[start:stop])

    def to(self, device):
        """The same draws on another device."""
        return self._each(lambda tensor: tensor.to(device))

    def clone(self):
        """The same draws in memory of their own."""
        return self._each(torch.clone)

    def tensors(self):
        """Those that the augmentation uses, by name."""
        named = {n: getattr(self, n) for n in ("order", "flip", "shift", "box")}
        return {n: t for n, t in named.items() if t is not None}

    def _each(self, function):
        return replace(self, **{name: function(t) for name, t in self.tensors().items()})


@dataclass(frozen=True)
class Dataset:
    """Images in memory as uint8 [n, C, H, W] and labels [n], on one device.

    `name` says which data this is ("cifar10-jpeg" is not "cifar10"); `augmentation` is "none",
    "crop" (flip, then crop with padding 4) or "resized_crop" (A.2); `mean` and `std` are per
    channel, of pixels scaled to [0, 1]; `fingerprint` is a digest of the content.
    """

    name: str
    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: str
    fingerprint: str

    @property
    def train_size(self):
        return len(self.train_labels)

    def to(self, device):
        """The same dataset on another device."""
        moved = ("train_images", "train_labels", "test_images", "test_labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in moved})

    def draws(self, replicate, epoch):
        """The order and augmentation of an epoch: a function of (replicate, epoch) alone."""
        size = self.train_images.shape[-1]
        return draw(self.train_size, self.augmentation, size, size, replicate, epoch)

    def train_batch(self, draws):
        """The examples that these draws name: inputs [n, C, H, W] float32, targets [n]."""
        draws = draws.to(self.train_labels.device)
        images = self.train_images[draws.order]
        if self.augmentation == "crop":
            images = crop(images, draws.flip, draws.shift)
        elif self.augmentation == "resized_crop":
            images = resized_crop(images, draws.flip, draws.box)
        return self.normalise(images), self.train_labels[draws.order]

    def train_examples(self, index):
        """Training examples at positions `index`, not augmented."""
        return self.normalise(self.train_images[index]), self.train_labels[index]

    def test_batches(self, limit=None, size=1000):
        """Batches of the test set: all of it, or `limit` examples evenly spaced."""
        total = len(self.test_labels)
        count = total if limit is None else min(limit, total)
        index = torch.linspace(0, total - 1, count).round().long()
        for part in index.to(self.test_labels.device).split(size):
            yield self.normalise(self.test_images[part]), self.test_labels[part]

    def normalise(self, images):
        """Pixels in 0 … 255 to zero mean and unit deviation per channel, float32."""
        return normalise(images, self.mean, self.std)


@dataclass(frozen=True)
class FolderDataset:
    """ImageNet as image folders `train/<class>/`, `val/<class>/`: decoded as it is needed.

    The same interface as `Dataset`; the resized crop goes to 224 pixels, the test image is
    resized to 256 and cropped to 224 at its centre (A.2).
    """

    name: str
    train_paths: tuple[Path, ...]
    train_labels: torch.Tensor
    test_paths: tuple[Path, ...]
    test_labels: torch.Tensor
    fingerprint: str
    device: str = "cpu"
    augmentation: str = "resized_crop"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    @property
    def train_size(self):
        return len(self.train_paths)

    def to(self, device):
        return replace(self, device=str(device))

    def draws(self, replicate, epoch):
        """The order of an epoch; the box of an image depends on its size and is drawn with it."""
        order = torch.randperm(self.train_size, generator=generator(replicate, "order", epoch))
        return Draws(order, (replicate, epoch))

    def train_batch(self, draws):
        replicate, epoch = draws.key

        def one(index):
            image = _decode(self.train_paths[index])
            height, width = image.shape[-2:]
            own = draw(1, "resized_crop", height, width, replicate, f"{epoch}/{index}")
            top, left, h, w = own.box[0].tolist()
            image = TF.resized_crop(image, top, left, h, w, [224, 224], antialias=True)
            return image.flip(-1) if own.flip[0] else image

        return self._batch(one, draws.order.cpu(), self.train_labels)

    def train_examples(self, index):
        return self._batch(lambda i: self._centre(self.train_paths[i]), index, self.train_labels)

    def test_batches(self, limit=None, size=256):
        total = len(self.test_labels)
        count = total if limit is None else min(limit, total)
        for part in torch.linspace(0, total - 1, count).round().long().split(size):
            yield self._batch(lambda i: self._centre(self.test_paths[i]), part, self.test_labels)

    def _batch(self, one, index, labels):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            images = torch.stack(list(pool.map(one, index.tolist())))
        images = normalise(images.to(self.device), self.mean, self.std)
        return images, labels[index].to(self.device)

    @staticmethod
    def _centre(path):
        return TF.center_crop(TF.resize(_decode(path), [256], antialias=True), [224, 224])


def normalise(images, mean, std):
    """Pixels in 0 … 255 to (pixel / 255 - mean) / std per channel, float32."""
    scale, shift = _constants(mean, std, images.device)
    return images.float() / scale - shift


@functools.lru_cache
def _constants(mean, std, device):
    """On the device once: a step that is captured as a CUDA graph cannot copy from the host."""
    mean, std = (torch.tensor(c, device=device).view(1, -1, 1, 1) for c in (mean, std))
    return 255 * std, mean / std


def draw(count, augmentation, height, width, replicate, epoch):
    """The draws of `count` examples of height x width pixels, from CPU generators."""
    order = torch.randperm(count, generator=generator(replicate, "order", epoch))
    if augmentation == "none":
        return Draws(order, (replicate, epoch))
    stream = generator(replicate, "augmentation", epoch)
    flip = torch.rand(count, generator=stream) < 0.5
    if augmentation == "crop":
        shift = torch.randint(0, 2 * PADDING + 1, (count, 2), generator=stream)
        return Draws(order, (replicate, epoch), flip, shift=shift)
    return Draws(order, (replicate, epoch), flip, box=_boxes(count, height, width, stream))


def _boxes(count, height, width, stream, attempts=10):
    """Boxes of random resized crops: scale 0.1 to 1 of the area, aspect 0.8 to 1.25, log-uniform.

    As torchvision's RandomResizedCrop: the first of ten attempts that fits; the largest centred
    box of an allowed aspect where none does.
    """
    low, high = (float(np.log(a)) for a in ASPECT)
    area = torch.empty(count, attempts).uniform_(*SCALE, generator=stream) * height * width
    aspect = torch.empty(count, attempts).uniform_(low, high, generator=stream).exp()
    w, h = (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()
    corner = torch.rand(count, 2, generator=stream)
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.int().argmax(1, keepdim=True)
    h, w = h.gather(1, first).squeeze(1), w.gather(1, first).squeeze(1)
    ratio = min(max(width / height, ASPECT[0]), ASPECT[1])
    whole = torch.tensor([min(height, round(width / ratio)), min(width, round(height * ratio))])
    none = ~fits.any(1)
    h, w = torch.where(none, whole[0], h), torch.where(none, whole[1], w)
    top, left = ((height - h + 1) * corner[:, 0]).long(), ((width - w + 1) * corner[:, 1]).long()
    top = torch.where(none, (height - h) // 2, top)
    left = torch.where(none, (width - w) // 2, left)
    return torch.stack([top, left, h, w], 1)


def crop(images, flip, shift):
    """Flip, then crop with zero padding 4, of a batch (A.2, CIFAR-10).

    Args:
        images: [n, C, H, W], any dtype.
        flip: [n] bool; shift: [n, 2] in 0 … 8, the crop's top and left in the padded image.
    """
    n, channels, height, width = images.shape
    device = images.device
    side = width + 2 * PADDING
    padded = F.pad(images, (PADDING,) * 4).flatten(2)
    rows = shift[:, :1] + torch.arange(height, device=device)
    cols = shift[:, 1:] + torch.arange(width, device=device)
    cols = torch.where(flip[:, None], side - 1 - cols, cols)
    at = (rows[:, :, None] * side + cols[:, None]).view(n, 1, -1).expand(n, channels, -1)
    return padded.gather(2, at).view(images.shape)


def resized_crop(images, flip, box):
    """Crop each image to its box, resize it back bilinearly, flip (A.2, TinyImageNet).

    Args:
        images: [n, C, S, S]; flip: [n] bool; box: [n, 4], top, left, height, width.

    Returns:
        float32 [n, C, S, S] of pixels in 0 … 255, rounded as uint8 images are.
    """
    size = images.shape[-1]
    rows = _resize_matrix(box[:, 0], box[:, 2], size)
    cols = _resize_matrix(box[:, 1], box[:, 3], size)
    cols = torch.where(flip[:, None, None], cols.flip(1), cols)
    out = rows[:, None] @ images.float() @ cols[:, None].transpose(2, 3)
    return out.round().clamp(0, 255)


def _resize_matrix(start, length, size):
    """[n, size, size]: row i holds the bilinear weights of output pixel i over the input's pixels.

    Boxes are never larger than the image, so this only ever enlarges, and antialiasing would
    change nothing.
    """
    device = start.device
    at = (torch.arange(size, device=device) + 0.5) * (length[:, None] / size) - 0.5
    at = at.clamp(min=0).minimum(length[:, None] - 1.0)
    low = at.floor().long()
    high = (low + 1).minimum(length[:, None] - 1)
    weight = (at - low)[..., None]
    pixels = torch.arange(size, device=device)
    one = (pixels == (low + start[:, None])[..., None]).float()
    two = (pixels == (high + start[:, None])[..., None]).float()
    return one * (1 - weight) + two * weight


# ------------------------------------------------------------------------------------- loading


def load(name):
    """The dataset of a setting, on the CPU; kept in memory once loaded.

    Args:
        name: "digits", "mnist", "cifar10", "tinyimagenet", "modified_tinyimagenet", "imagenet".
            CIFAR-10 is read from torchvision's files, or else from an image folder
            `cifar10*/{train,test}/<class>/`, whose name it then bears.

    Raises:
        UnknownNameError: another name.
        DatasetError: not found below the data root, or damaged; the sentence says what to do.
    """
    check_name("dataset", name, LOADERS)
    return _load(name, data_root())


@functools.lru_cache(maxsize=2)
def _load(name, root):
    return LOADERS[name](root)


def scoring_batch(setting, seed=0):
    """The batch that SNIP and GraSP score on: ten training examples of each class, not augmented.

    Args:
        setting: a setting's name or a Setting.
        seed: the replicate; the examples depend on it alone.

    Returns:
        inputs [10 * classes, C, H, W] float32 and targets [10 * classes], in random order
        (Appendix B.2, "Selecting examples for SNIP"): where scores are averaged over parts of it,
        each part has examples of many classes.
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


def _digest(*tensors):
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()[:16]


def _finish(name, tensors, augmentation, mean=None, std=None):
    fingerprint = _digest(*tensors)
    if mean is None:
        mean, std = _channel_statistics(tensors[0])
    return Dataset(name, *tensors, mean, std, augmentation, fingerprint)


def _channel_statistics(images):
    """Mean and standard deviation of each channel, of pixels in [0, 1]."""
    counts = [torch.bincount(images[:, c].flatten(), minlength=256) for c in range(images.shape[1])]
    value = torch.arange(256, dtype=torch.float64) / 255
    mean = [float((n * value).sum() / n.sum()) for n in counts]
    var = [float((n * value**2).sum() / n.sum()) - m**2 for n, m in zip(counts, mean, strict=True)]
    return tuple(mean), tuple(v**0.5 for v in var)


def _digits(root):
    """scikit-learn's handwritten digits, 8x8: 1,297 to train and 500 to test, drawn once."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).mul(255 / 16).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(digits.target).long()
    order = torch.randperm(len(labels), generator=generator(0, "digits split"))
    train, test = order[500:], order[:500]
    return _finish("digits", (images[train], labels[train], images[test], labels[test]), "none")


def _mnist(root):
    raw = root / "MNIST" / "raw"
    parts = [
        _idx(raw / f"{part}-{kind}-idx{ndim}-ubyte", ndim, root)
        for part in ("train", "t10k")
        for kind, ndim in (("images", 3), ("labels", 1))
    ]
    tensors = (parts[0][:, None], parts[1].long(), parts[2][:, None], parts[3].long())
    return _finish("mnist", tensors, "none", (0.1307,), (0.3081,))


def _idx(path, ndim, root):
    """A file of MNIST's own format: a header that gives the shape, then bytes."""
    compressed = path.with_name(path.name + ".gz")
    if path.exists():
        content = path.read_bytes()
    elif compressed.exists():
        path = compressed
        with gzip.open(path) as file:
            content = _reading(file.read, path)
    else:
        raise _missing("mnist", path, root)
    start = 4 + 4 * ndim
    shape = np.frombuffer(content[4:start].ljust(start - 4, b"\0"), ">u4").tolist()
    if content[:4] != bytes([0, 0, 8, ndim]) or len(content) != start + math.prod(shape):
        raise DatasetError(
            f"{path} is damaged: its {len(content)} bytes are not what its header should announce; "
            "delete it and run 'prunelib data mnist' to download it again"
        )
    return torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8).view(shape)


def _reading(read, path):
    try:
        return read()
    except (OSError, EOFError, SyntaxError, ValueError, zlib.error) as error:
        raise DatasetError(
            f"{path} cannot be read ({error}): it is truncated or damaged; replace it by a fresh "
            "copy of the dataset"
        ) from None


def _missing(name, path, root):
    how = (
        f"run 'prunelib data {name}' to download it, or set"
        if name in DOWNLOADS
        else "put it there, or set"
    )
    return DatasetError(
        f"dataset {name!r} not found: {path} does not exist; {how} PRUNELIB_DATA to the folder "
        f"that holds it (now {root})"
    )


def _cifar10(root):
    constants = (IMAGENET_MEAN, IMAGENET_STD)  # as the authors' code has it
    original = root / "cifar-10-batches-py"
    folders = sorted(p.parent for p in root.glob("cifar10*/train") if p.is_dir())
    if original.exists():
        try:  # torchvision checks every file against its known digest before it reads it
            parts = [torchvision.datasets.CIFAR10(root, train=t) for t in (True, False)]
        except RuntimeError:
            raise DatasetError(
                f"{original} is damaged: a file of it is missing or has another digest than "
                "CIFAR-10's; delete the folder and run 'prunelib data cifar10'"
            ) from None
        tensors = [
            t
            for part in parts
            for t in (torch.from_numpy(part.data).permute(0, 3, 1, 2), torch.tensor(part.targets))
        ]
        return _finish("cifar10", tuple(t.contiguous() for t in tensors), "crop", *constants)
    if not folders:
        raise _missing("cifar10", original, root)
    folder = folders[0]
    listings = _class_folders(folder, ("train", "test"))
    return _from_listing(folder.name, folder, listings, (3, 32, 32), "crop", constants)


def _tinyimagenet(root, augmentation="resized_crop"):
    """TinyImageNet in its own layout: train/<wnid>/images/*.JPEG, val/ with annotations."""
    folder = root / "tiny-imagenet-200"
    wnids = folder / "wnids.txt"
    if not wnids.exists():
        raise _missing("tinyimagenet", wnids, root)
    label = {wnid: i for i, wnid in enumerate(sorted(_reading(wnids.read_text, wnids).split()))}
    images = {n: sorted((folder / "train" / n / "images").glob("*.JPEG")) for n in label}
    annotations = folder / "val" / "val_annotations.txt"
    text = _reading(annotations.read_text, annotations) if annotations.exists() else ""
    rows = [line.split("\t") for line in sorted(text.splitlines())]
    faults = [f"train/{wnid}/images" for wnid in label if not images[wnid]]
    if not rows or not all(len(row) > 1 and row[1] in label for row in rows):
        faults.append("val/val_annotations.txt")
    if faults:
        raise DatasetError(
            f"{folder} is incomplete: {faults[0]} is missing, empty or damaged; unpack "
            "TinyImageNet again"
        )
    train = [(path, label[wnid]) for wnid in label for path in images[wnid]]
    val = [(folder / "val" / "images" / row[0], label[row[1]]) for row in rows]
    return _from_listing("tinyimagenet", folder, (train, val), (3, 64, 64), augmentation, ())


def _imagenet(root):
    folder = root / "imagenet"
    if not (folder / "train").is_dir():
        raise _missing("imagenet", folder / "train", root)
    train, test = _class_folders(folder, ("train", "val"))
    return FolderDataset(
        "imagenet",
        tuple(p for p, _ in train),
        torch.tensor([y for _, y in train]),
        tuple(p for p, _ in test),
        torch.tensor([y for _, y in test]),
        _stamp(folder, (train, test), times=False),
    )


LOADERS = {
    "digits": _digits,
    "mnist": _mnist,
    "cifar10": _cifar10,
    "tinyimagenet": _tinyimagenet,
    "modified_tinyimagenet": functools.partial(_tinyimagenet, augmentation="crop"),
    "imagenet": _imagenet,
}


def _class_folders(folder, parts):
    """For each part, (path, label) of every image of `folder/part/<class>/`, sorted by name."""
    found = []
    for part in parts:
        try:
            found.append(torchvision.datasets.ImageFolder(folder / part, loader=lambda path: path))
        except OSError as error:
            raise DatasetError(
                f"{folder / part} holds no images of some or all classes ({error}); expected "
                f"{folder / part}/<class>/<image>"
            ) from None
    odd = set.symmetric_difference(*(set(one.classes) for one in found))
    if odd:
        raise DatasetError(
            f"{folder} is incomplete: class {min(odd)} is in only one of {' and '.join(parts)}; "
            "unpack the dataset again"
        )
    return [[(Path(path), label) for path, label in one.samples] for one in found]


def _decode(path):
    """An image as uint8 [3, H, W]; greyscale images get three equal channels."""

    def read():
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))

    return torch.from_numpy(_reading(read, path)).permute(2, 0, 1)


def _stamp(folder, listings, times=True):
    """A digest of the files' names and sizes (and times of change)."""
    digest = hashlib.sha256()
    for path, label in (row for listing in listings for row in listing):
        try:
            stat = path.stat()
        except FileNotFoundError:
            raise DatasetError(f"{path} is missing; unpack the dataset again") from None
        time = stat.st_mtime_ns if times else ""
        digest.update(f"{path.relative_to(folder)} {label} {stat.st_size} {time}\n".encode())
    return digest.hexdigest()[:16]


def _from_listing(name, folder, listings, shape, augmentation, constants):
    """Decode image files into tensors; a cache beside the folder saves the next process that."""
    stamp = _stamp(folder, listings)
    cache = folder.parent / f".{folder.name}.safetensors"
    tensors = _read_cache(cache, stamp)
    if tensors is None:
        tensors = []
        for listing in listings:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                images = list(pool.map(_decode, [path for path, _ in listing]))
            odd = next((i for i, image in enumerate(images) if image.shape != shape), None)
            if odd is not None:
                raise DatasetError(
                    f"{listing[odd][0]} has the shape {tuple(images[odd].shape)}, {name} has "
                    f"{shape}: is this the right folder?"
                )
            tensors += [torch.stack(images), torch.tensor([label for _, label in listing])]
        _write_cache(cache, stamp, tensors)
    return _finish(name, tuple(tensors), augmentation, *constants)


def _read_cache(path, stamp):
    try:
        with safe_open(path, "pt") as file:
            if file.metadata() == {"stamp": stamp}:
                return [file.get_tensor(str(i)) for i in range(4)]
    except (OSError, SafetensorError):
        pass  # none yet, or a damaged one: the images themselves are read again
    return None


def _write_cache(path, stamp, tensors):
    temporary = path.with_suffix(f".{os.getpid()}")
    try:
        named = {str(i): t.contiguous() for i, t in enumerate(tensors)}
        save_file(named, temporary, {"stamp": stamp})
        temporary.replace(path)
    except (OSError, SafetensorError):
        with contextlib.suppress(OSError):  # a data root that cannot be written is no error
            temporary.unlink()


TINYIMAGENET = (
    "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    "90528d7ca1a48142e341f4ef8d21d0de",
)


def _download_tinyimagenet(root):
    url, md5 = TINYIMAGENET
    torchvision.datasets.utils.download_and_extract_archive(
        url, str(root), filename="tiny-imagenet-200.zip", md5=md5, remove_finished=True
    )


DOWNLOADS = {
    "mnist": lambda root: torchvision.datasets.MNIST(root, download=True),
    "cifar10": lambda root: torchvision.datasets.CIFAR10(root, download=True),
    "tinyimagenet": _download_tinyimagenet,
}


def download(name):
    """Download a dataset into the data root; every file is checked against its known digest.

    Raises:
        UnknownNameError: not one of mnist, cifar10, tinyimagenet (digits needs no download,
            ImageNet has no free one).
        DatasetError: the download failed; the sentence says why.
    """
    check_name("dataset to download", name, DOWNLOADS)
    root = data_root()
    root.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(root).free < 2**30:
        raise DatasetError(f"less than 1 GiB is free at {root}: make room first")
    try:
        DOWNLOADS[name](root)
    except (OSError, RuntimeError) as error:
        raise DatasetError(f"downloading {name!r} into {root} failed: {error}") from None
    return root
