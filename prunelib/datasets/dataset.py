"""The two kinds of dataset that networks are trained on, with one interface.

`Dataset` holds all images in memory on one device, `FolderDataset` decodes ImageNet's files as
they are needed. Both give the draws of an epoch, batches of training and test examples, and a
fingerprint of their content.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torchvision.transforms.v2 import functional as TF
from tqdm.auto import tqdm

from prunelib.datasets.augment import PADDING, Draws, crop, draw, normalise, resized_crop
from prunelib.datasets.files import decode, threads
from prunelib.seeds import generator

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Dataset:
    """Images in memory as uint8 [n, C, H, W] and labels [n], on one device. Of a user's own
    dataset, images may be float32 [n, …] instead, which are taken as they are.

    `name` says which data this is ("cifar10-jpeg" is not "cifar10"); `augmentation` is "none",
    "crop" (flip, then crop with padding 4), "resized_crop" (A.2) or "shift" (crop with padding 1,
    for digits, which have no mirror images); `mean` and `std` are per channel, of pixels scaled to
    [0, 1]; `fingerprint` is a digest of the content.
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
    def train_size(self) -> int:
        """The number of training examples."""
        return len(self.train_labels)

    @property
    def test_size(self) -> int:
        """The number of test examples."""
        return len(self.test_labels)

    def to(self, device: str | torch.device) -> "Dataset":
        """The same dataset on another device."""
        moved = ("train_images", "train_labels", "test_images", "test_labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in moved})

    def draws(self, replicate: int, epoch: int) -> Draws:
        """The order and augmentation of an epoch, on the dataset's device: a function of
        (replicate, epoch) alone."""
        size, device = self.train_images.shape[-1], self.train_labels.device
        return draw(self.train_size, self.augmentation, size, size, replicate, epoch).to(device)

    def train_batch(self, draws: Draws) -> Batch:
        """The examples that these draws name: inputs [n, C, H, W] float32, targets [n]."""
        images = self.train_images[draws.order]
        if self.augmentation in PADDING:
            images = crop(images, draws.flip, draws.shift, PADDING[self.augmentation])
        elif self.augmentation == "resized_crop":
            images = resized_crop(images, draws.flip, draws.box)
        return self.normalise(images), self.train_labels[draws.order]

    def train_examples(self, index: torch.Tensor) -> Batch:
        """Training examples at positions `index` [n], not augmented."""
        return self.normalise(self.train_images[index]), self.train_labels[index]

    def test_batches(self, limit: int | None = None, size: int = 1000) -> Iterator[Batch]:
        """Batches of the test set: all of it, or `limit` examples evenly spaced."""
        for part in _spaced(len(self.test_labels), limit, size):
            part = part.to(self.test_labels.device)
            yield self.normalise(self.test_images[part]), self.test_labels[part]

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Pixels in 0 … 255 to zero mean and unit deviation per channel, float32; floats, of a
        user's own dataset, as they are."""
        if self.train_images.is_floating_point():
            return images
        return normalise(images, self.mean, self.std)


@dataclass(frozen=True)
class FolderDataset:
    """ImageNet as image folders `train/<class>/`, `val/<class>/`: decoded as it is needed.

    The same interface as `Dataset`; the resized crop goes to 224 pixels (A.2), the test image is
    resized to 256 and cropped to 224 at its centre, as is usual. Batches raise DatasetError where
    an image cannot be read.
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
    def train_size(self) -> int:
        """The number of training examples."""
        return len(self.train_paths)

    def to(self, device: str | torch.device) -> "FolderDataset":
        """The same dataset, its batches made on another device."""
        return replace(self, device=str(device))

    def draws(self, replicate: int, epoch: int) -> Draws:
        """The order of an epoch, on the CPU, which decodes while a GPU computes; an image's box
        depends on its size and is drawn with it."""
        order = torch.randperm(self.train_size, generator=generator(replicate, "order", epoch))
        return Draws(order, (replicate, epoch))

    def train_batch(self, draws: Draws) -> Batch:
        """The examples that these draws name: inputs [n, 3, 224, 224] float32, targets [n]."""
        replicate, epoch = draws.key

        def one(index):
            image = decode(self.train_paths[index])
            height, width = image.shape[-2:]
            own = draw(1, "resized_crop", height, width, replicate, f"{epoch}/{index}")
            top, left, h, w = own.box[0].tolist()
            image = TF.resized_crop(image, top, left, h, w, [224, 224], antialias=True)
            return image.flip(-1) if own.flip[0] else image

        return self._batch(one, draws.order, self.train_labels)

    def train_examples(self, index: torch.Tensor) -> Batch:
        """Training examples at positions `index` [n], not augmented."""
        return self._batch(lambda i: _centre(self.train_paths[i]), index, self.train_labels)

    def test_batches(self, limit: int | None = None, size: int = 256) -> Iterator[Batch]:
        """Batches of the test set: all of it, or `limit` examples evenly spaced."""
        for part in _spaced(len(self.test_labels), limit, size):
            yield self._batch(lambda i: _centre(self.test_paths[i]), part, self.test_labels)

    @property
    def test_size(self) -> int:
        """The number of test examples."""
        return len(self.test_labels)

    def check_test_images(self, progress: bool = True) -> None:
        """Decode every test image once: a training first meets a damaged one at its end.

        Raises:
            DatasetError: one cannot be read.
        """
        with ThreadPoolExecutor(threads()) as pool:
            found = pool.map(lambda path: decode(path).shape, self.test_paths)
            how = {"total": self.test_size, "unit": "image", "leave": False}
            for _ in tqdm(found, "looking at the test images", disable=not progress, **how):
                pass

    def _batch(self, one: Callable[[int], torch.Tensor], index, labels) -> Batch:
        with ThreadPoolExecutor(threads()) as pool:
            images = torch.stack(list(pool.map(one, index.tolist())))
        images = normalise(images.to(self.device), self.mean, self.std)
        return images, labels[index].to(self.device)


def _centre(path):
    return TF.center_crop(TF.resize(decode(path), [256], antialias=True), [224, 224])


def _spaced(total, limit, size):
    """Positions of a whole test set, or of `limit` examples evenly spaced, in parts of `size`."""
    count = total if limit is None else min(limit, total)
    return torch.linspace(0, total - 1, count).round().long().split(size)
