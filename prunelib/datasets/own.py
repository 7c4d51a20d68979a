"""Datasets of one's own: tensors, or two datasets as torchvision has them."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torchvision.transforms.v2 import functional as TF

from prunelib import provenance
from prunelib.datasets.augment import PADDING
from prunelib.datasets.dataset import Dataset
from prunelib.datasets.loaders import LOADERS, finish
from prunelib.errors import DatasetError, check_name

AUGMENTATIONS = ("none", *PADDING, "resized_crop")
TWICE = 16  # images that are read a second time


def register(name: str, augmentation: str = "none") -> Callable[[Callable], Callable]:
    """Decorator that makes a function to a dataset of one's own usable in a setting::

        @datasets.register("blobs")
        def blobs():
            return train_inputs, train_targets, test_inputs, test_targets

    The function takes nothing and returns four tensors or NumPy arrays, or two datasets of pairs
    (image, label), as torchvision has them, one to train and one to test. Images are uint8
    [n, C, H, W], which are scaled to zero mean and unit deviation of each channel of the training
    images, or floats [n, …], which are taken as they are; labels are whole numbers [n] from 0. All
    is kept in memory, and it must be the same wherever the function is called.

    Args:
        name: letters, digits and "_", no digit first.
        augmentation: of training images: "none", "crop" (flip, then crop with padding 4), "shift"
            (crop with padding 1), or, of square uint8 images, "resized_crop".

    Raises:
        BadValueError, UnknownNameError: a name that is taken or cannot be recorded, or another
            augmentation.
    """
    provenance.check_new("dataset", name, LOADERS)
    check_name("augmentation", augmentation, AUGMENTATIONS)

    def decorate(function: Callable) -> Callable:
        key = provenance.record("dataset", name, function, augmentation)
        LOADERS[key] = functools.partial(_make, key, function, augmentation)
        return function

    return decorate


def _make(key: str, function: Callable, augmentation: str, root: Any) -> Dataset:
    said = f"dataset {provenance.label(key)!r}"
    with provenance.running(said):
        found = function()
        found = list(found) if isinstance(found, tuple | list) else []
        if len(found) == 2:
            parts = zip(("training", "test"), found, strict=True)
            found = [tensor for part, own in parts for tensor in _tensors(own, f"{said}, {part}")]
        tensors = [torch.from_numpy(t) if isinstance(t, np.ndarray) else t for t in found]
    if len(tensors) != 4 or not all(isinstance(t, torch.Tensor) for t in tensors):
        raise DatasetError(
            f"{said} must be four tensors or arrays (training inputs and targets, test inputs and "
            "targets), or two datasets of pairs (image, label)"
        )
    tensors = [t.detach().cpu().contiguous() for t in tensors]
    for part, images, labels in (("training", *tensors[:2]), ("test", *tensors[2:])):
        _check(f"{said}, {part}", images, labels)
    if tensors[0].shape[1:] != tensors[2].shape[1:] or tensors[0].dtype != tensors[2].dtype:
        raise DatasetError(f"{said} has inputs of one shape and type to train, of another to test")
    floats, shape = tensors[0].is_floating_point(), tensors[0].shape[1:]
    square = len(shape) == 3 and shape[1] == shape[2] and not floats
    if augmentation != "none" and not (
        square if augmentation == "resized_crop" else len(shape) == 3
    ):
        wanted = "square uint8 images" if augmentation == "resized_crop" else "images [n, C, H, W]"
        raise DatasetError(
            f"{said} has inputs of shape {tuple(shape)}, for which augmentation {augmentation!r} "
            f"is not made: give {wanted}, or take 'none'"
        )
    tensors = [t.float() if t.is_floating_point() else t for t in tensors]
    tensors[1::2] = [labels.long() for labels in tensors[1::2]]
    return finish(key, tensors, augmentation, *(((), ()) if floats else (None, None)))


def _tensors(part, said):
    """Images and labels of a dataset of pairs; nothing of what is none."""
    pairs = [part[i] for i in range(len(part))]
    if not pairs or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        return []
    images = [_tensor(x) for x, _ in pairs]
    for i in range(min(len(pairs), TWICE)):
        if not torch.allclose(_tensor(part[i][0]), images[i], rtol=0, atol=0, equal_nan=True):
            raise DatasetError(
                f"{said}: images differ each time that they are read, as behind a random "
                "transform, and would be read only once: leave the transform out, and give "
                "datasets.register an augmentation"
            )
    return torch.stack(images), torch.tensor([int(label) for _, label in pairs])


def _tensor(image):
    if isinstance(image, np.ndarray):
        return torch.from_numpy(image)
    return image if isinstance(image, torch.Tensor) else TF.pil_to_tensor(image)


def _check(said, images, labels):
    whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    if labels.dim() != 1 or not whole or len(labels) != len(images) or not len(labels):
        raise DatasetError(
            f"{said}: {len(images)} inputs, targets of shape {tuple(labels.shape)} and type "
            f"{labels.dtype}; expected as many whole numbers [n]"
        )
    if int(labels.min()) < 0:
        raise DatasetError(f"{said}: the label {int(labels.min())} is below 0")
    if not (images.is_floating_point() or (images.dtype == torch.uint8 and images.dim() == 4)):
        raise DatasetError(
            f"{said}: inputs of shape {tuple(images.shape)} and type {images.dtype}; expected "
            "uint8 images [n, C, H, W], or floats"
        )
    if images.is_floating_point() and not torch.isfinite(images).all():
        raise DatasetError(f"{said}: inputs that are not finite")
