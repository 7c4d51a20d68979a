"""Datasets against torchvision's transforms, and loaders on small data written for the purpose."""

import builtins
import errno
import functools
import gzip
import hashlib
import http.client
import http.server
import io
import itertools
import math
import os
import pickle
import re
import shutil
import threading
import zipfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from scipy import stats
from torchvision.datasets import CIFAR10
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from prunelib import datasets, seeds, settings
from prunelib.datasets import Dataset, augment, files
from prunelib.errors import DatasetError, UnknownNameError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as published
WNIDS = ("n03", "n01", "n02")  # not in order, as in wnids.txt


def pixels(*shape, seed=0):
    """Random uint8 images."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def in_memory(count, augmentation="none", size=1):
    """A dataset whose labels are the positions of the examples."""
    images, labels = pixels(count, 3, size, size), torch.arange(count)
    return Dataset(
        "made up", images, labels, images, labels, (0.5,) * 3, (0.25,) * 3, augmentation, ""
    )


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty data root."""
    monkeypatch.setenv("PRUNELIB_DATA", str(tmp_path))
    return tmp_path


def load_again(name):
    datasets._load.cache_clear()
    return datasets.load(name)


def idx(values):
    """The content of a file of MNIST's own format."""
    header = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    return header + values.numpy().tobytes()


def encoded(image, kind):
    """The content of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(image.numpy()).save(buffer, kind)
    return buffer.getvalue()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def save(path, image):
    write(path, encoded(image, {".png": "png", ".JPEG": "jpeg"}[path.suffix]))


def write_mnist(root, suffix=""):
    """20 training and 7 test images; returns images and labels of both."""
    tensors = pixels(20, 28, 28), pixels(20) % 10, pixels(7, 28, 28, seed=1), pixels(7) % 10
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    for name, values in zip(names, tensors, strict=True):
        content = gzip.compress(idx(values)) if suffix else idx(values)
        write(root / "MNIST" / "raw" / f"{name}-ubyte{suffix}", content)
    return tensors


def write_cifar10(root, per_class=12, classes=("cat", "dog")):
    """Returns the images [part][class][i] as [32, 32, 3]."""
    images = {
        part: {name: pixels(per_class, 32, 32, 3, seed=s) for s, name in enumerate(classes)}
        for part in ("train", "test")
    }
    for part, classes in images.items():
        for name, stack in classes.items():
            for i, image in enumerate(stack):
                save(root / "cifar10-jpeg" / part / name / f"{i:04d}.png", image)
    return images


def write_tinyimagenet(root):
    """Three classes of four training images, the first greyscale, and three to test."""
    folder = root / "tiny-imagenet-200"
    for c, wnid in enumerate(WNIDS):
        for i in range(4):
            shape = (64, 64) if c == i == 0 else (64, 64, 3)
            image = pixels(*shape, seed=10 * c + i)
            save(folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", image)
        save(folder / "val" / "images" / f"val_{c}.JPEG", pixels(64, 64, 3, seed=100 + c))
    (folder / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    rows = [f"val_{c}.JPEG\t{wnid}\t0\t0\t62\t62\n" for c, wnid in enumerate(WNIDS)]
    (folder / "val" / "val_annotations.txt").write_text("".join(rows))
    return folder


IMAGENET_SIZES = ((300, 400), (400, 300), (256, 256), (64, 500), (90, 80), (230, 700))


def write_imagenet(root):
    """Two classes of three images of different sizes, to train and to test."""
    for part in ("train", "val"):
        for i, (height, width) in enumerate(IMAGENET_SIZES):
            ramp = torch.linspace(0, 255, width).to(torch.uint8).expand(height, width)
            fall = torch.linspace(0, 255, height).to(torch.uint8)[:, None].expand(height, width)
            image = torch.stack([ramp, fall, torch.full_like(ramp, 20 * i)], -1).contiguous()
            save(root / "imagenet" / part / f"class{i // 3}" / f"{i}.png", image)


def decoded(path):
    return np.array(Image.open(path).convert("RGB"))


def normalised(images, mean, std):
    """[n, H, W, 3] in 0 … 255 to [n, 3, H, W], by the definition."""
    scaled = (np.asarray(images, dtype=np.float64) / 255 - mean) / std
    return torch.from_numpy(scaled).permute(0, 3, 1, 2).float()


# ---------------------------------------------------------------------------------- augmentation


def test_crop_is_torchvisions_flip_pad_and_crop():
    shifts = [(top, left) for top in range(9) for left in range(9)]
    flip = torch.tensor([False] * 81 + [True] * 81)
    shift = torch.tensor(2 * shifts)
    images = pixels(162, 3, 32, 32)
    ours = augment.crop(images, flip, shift)
    assert ours.dtype == torch.uint8
    for image, flipped, (top, left), out in zip(images, flip, shift.tolist(), ours, strict=True):
        image = TF.horizontal_flip(image) if flipped else image
        assert torch.equal(out, TF.crop(TF.pad(image, 4), top, left, 32, 32))


@pytest.mark.parametrize("antialias", [True, False])
def test_resized_crop_is_torchvisions(antialias):
    """Bilinear; on noise, where every error of position shows.

    Torchvision rounds uint8 images after each direction, hence a grey level; on float32 images
    only our own rounding to grey levels is left.
    """
    drawn = augment.draw(100, "resized_crop", 64, 64, replicate=0, epoch=0)
    edges = [[0, 0, 64, 64], [0, 0, 18, 23], [46, 41, 18, 23], [5, 0, 59, 64], [63, 63, 1, 1]]
    box = torch.cat([drawn.box, torch.tensor(edges)])
    flip = torch.cat([drawn.flip, torch.tensor([False, True, False, True, False])])
    images = pixels(105, 3, 64, 64)
    ours = augment.resized_crop(images, flip, box)
    for image, flipped, corner, out in zip(images, flip, box.tolist(), ours, strict=True):
        for theirs, tolerance in ((image, 1), (image.float(), 0.5 + 1e-4)):
            theirs = TF.resized_crop(theirs, *corner, [64, 64], antialias=antialias)
            theirs = TF.horizontal_flip(theirs) if flipped else theirs
            assert (out - theirs).abs().max() <= tolerance


def test_resized_crop_by_hand():
    """A 2 x 2 box to 4 x 4: weights 1, 3/4, 1/4, 0 of its first row and column."""
    image = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    image[0, 0, 1:3, 1:3] = torch.tensor([[0, 64], [128, 192]])
    box = torch.tensor([[1, 1, 2, 2]])
    expected = torch.tensor(
        [[0, 16, 48, 64], [32, 48, 80, 96], [96, 112, 144, 160], [128, 144, 176, 192]]
    )
    plain = augment.resized_crop(image, torch.tensor([False]), box)
    flipped = augment.resized_crop(image, torch.tensor([True]), box)
    assert torch.equal(plain[0, 0], expected.float())
    assert torch.equal(flipped[0, 0], expected.float().flip(1))


def test_boxes_are_distributed_as_torchvisions():
    """Kolmogorov-Smirnov against RandomResizedCrop on a landscape image, where some do not fit."""
    height, width = 60, 80
    box = augment.draw(4000, "resized_crop", height, width, replicate=0, epoch=0).box
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        image = torch.zeros(1, height, width)
        pick = torchvision.transforms.RandomResizedCrop.get_params
        theirs = torch.tensor([pick(image, [0.1, 1.0], [0.8, 1.25]) for _ in range(4000)])
    for ours, reference in (
        (box[:, 2] * box[:, 3], theirs[:, 2] * theirs[:, 3]),
        (box[:, 3] / box[:, 2], theirs[:, 3] / theirs[:, 2]),
        (box[:, 0], theirs[:, 0]),
        (box[:, 1], theirs[:, 1]),
    ):
        assert stats.ks_2samp(ours, reference).pvalue > 1e-3


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 500), (500, 64), (300, 224)])
def test_boxes_lie_in_the_image_within_the_stated_ranges(height, width):
    box = augment.draw(5000, "resized_crop", height, width, replicate=0, epoch=0).box.double()
    top, left, h, w = box.unbind(1)
    assert ((top >= 0) & (h >= 1) & (top + h <= height)).all()
    assert ((left >= 0) & (w >= 1) & (left + w <= width)).all()
    # Height and width are rounded, each by at most a half.
    assert ((h + 0.5) * (w + 0.5) >= 0.1 * height * width).all()
    assert ((w + 0.5) / (h - 0.5) >= 0.8).all()
    assert ((w - 0.5) / (h + 0.5) <= 1.25).all()


def test_a_box_that_cannot_fit_becomes_the_largest_centred_one():
    """40 x 2000: a tenth of the area at aspect 1.25 would be 100 wide and 80 high."""
    box = augment.draw(50, "resized_crop", 40, 2000, replicate=0, epoch=0).box
    assert box.unique(dim=0).tolist() == [[0, 975, 40, 50]]
    box = augment.draw(50, "resized_crop", 2000, 40, replicate=0, epoch=0).box
    assert box.unique(dim=0).tolist() == [[975, 0, 50, 40]]


def test_flips_are_half_and_shifts_uniform():
    drawn = augment.draw(81 * 250, "crop", 32, 32, replicate=0, epoch=0)
    error = 4 * 0.5 / math.sqrt(len(drawn.flip))
    assert abs(float(drawn.flip.double().mean()) - 0.5) < error
    counts = Counter(map(tuple, drawn.shift.tolist()))
    assert set(counts) == {(top, left) for top in range(9) for left in range(9)}
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3
    corner = drawn.shift.double()  # flip, top and left are independent
    together = torch.corrcoef(torch.stack([drawn.flip.double(), corner[:, 0], corner[:, 1]]))
    assert (together - torch.eye(3)).abs().max() < 4 / math.sqrt(len(drawn.flip))
    flip = augment.draw(20_000, "resized_crop", 64, 64, replicate=0, epoch=0).flip
    assert abs(float(flip.double().mean()) - 0.5) < error


def test_small_shifts_are_of_one_pixel_at_most():
    corner = augment.draw(9 * 250, "shift", 8, 8, replicate=0, epoch=0).shift
    counts = Counter(map(tuple, corner.tolist()))
    assert set(counts) == {(top, left) for top in range(3) for left in range(3)}
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.parametrize("augmentation", ["none", "crop", "shift", "resized_crop"])
def test_draws_are_a_function_of_replicate_and_epoch(augmentation):
    def tensors(replicate, epoch):
        drawn = augment.draw(200, augmentation, 64, 64, replicate, epoch)
        return [t for t in (drawn.order, drawn.flip, drawn.shift, drawn.box) if t is not None]

    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = tensors(3, 5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    tensors(0, 0)
    assert all(map(torch.equal, first, tensors(3, 5)))
    for other in (tensors(3, 6), tensors(4, 5)):
        assert not any(map(torch.equal, first, other))
    assert len(first) == {"none": 1, "crop": 3, "shift": 2, "resized_crop": 3}[augmentation]


def test_order_is_a_permutation():
    order = in_memory(1000).draws(replicate=0, epoch=0).order
    assert order.sort().values.tolist() == list(range(1000))
    assert order.tolist() != list(range(1000))


def test_streams_of_different_purpose_do_not_meet():
    keys = list(itertools.product(range(5), ("weights", "order", "shuffle/a"), range(5)))
    drawn = {key: torch.rand(4, generator=seeds.generator(*key)).sum().item() for key in keys}
    assert len(set(drawn.values())) == len(keys)
    assert all(0 <= seeds.seed(*key) < 2**63 for key in keys)
    # What committed results were drawn with: of sha256("1/order/2") the first eight bytes, halved.
    assert seeds.seed(1, "order", 2) == 1493370279577090964
    assert seeds.seed(1, "order", 2) == seeds.seed(1, "order", 2)


# --------------------------------------------------------------------------------------- batches


def test_normalise_is_torchvisions():
    images = pixels(10, 3, 8, 8)
    theirs = TF.normalize(TF.to_dtype(images, torch.float32, scale=True), MEAN, STD)
    torch.testing.assert_close(augment.normalise(images, MEAN, STD), theirs, atol=2e-6, rtol=0)
    ours = augment.normalise(images.float(), MEAN, STD)  # as they come from a resized crop
    torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("examples", "batch", "batches", "last"),
    [
        (60_000, 128, 469, 96),
        (50_000, 128, 391, 80),
        (100_000, 256, 391, 160),
        (1_297, 128, 11, 17),
    ],
)
def test_an_epoch_sees_every_example_once_and_keeps_its_last_short_batch(
    examples, batch, batches, last
):
    dataset = in_memory(examples)
    draws = dataset.draws(replicate=0, epoch=0)
    targets = [
        dataset.train_batch(draws.part(i * batch, (i + 1) * batch))[1] for i in range(batches)
    ]
    assert [len(t) for t in targets] == [batch] * (batches - 1) + [last]
    assert torch.cat(targets).sort().values.tolist() == list(range(examples))


@pytest.mark.parametrize("augmentation", ["none", "crop", "shift", "resized_crop"])
def test_train_batch_augments_each_image_by_its_own_draw(augmentation):
    dataset = in_memory(40, augmentation, size=32)
    draws = dataset.draws(replicate=1, epoch=2)
    inputs, targets = dataset.train_batch(draws.part(10, 30))
    assert inputs.shape == (20, 3, 32, 32)
    assert inputs.dtype == torch.float32
    for i, (got, target) in enumerate(zip(inputs, targets.tolist(), strict=True), start=10):
        image = dataset.train_images[draws.order[i]]
        assert target == draws.order[i]
        if augmentation == "crop":
            image = TF.horizontal_flip(image) if draws.flip[i] else image
            image = TF.crop(TF.pad(image, 4), *draws.shift[i].tolist(), 32, 32)
        if augmentation == "shift":
            assert draws.flip is None
            image = TF.crop(TF.pad(image, 1), *draws.shift[i].tolist(), 32, 32)
        if augmentation == "resized_crop":
            image = TF.resized_crop(image, *draws.box[i].tolist(), [32, 32])
            image = TF.horizontal_flip(image) if draws.flip[i] else image
        expected = (image.float() / 255 - 0.5) / 0.25
        level = 1 / 255 / 0.25 if augmentation == "resized_crop" else 0  # a grey level
        assert (got - expected).abs().max() <= level + 1e-5


def test_test_batches_hold_every_example_once_not_augmented():
    dataset = in_memory(2_345, "crop", size=2)
    batches = list(dataset.test_batches())
    assert [len(y) for _, y in batches] == [1000, 1000, 345]
    assert torch.cat([y for _, y in batches]).tolist() == list(range(2_345))
    expected = (dataset.test_images.float() / 255 - 0.5) / 0.25
    torch.testing.assert_close(torch.cat([x for x, _ in batches]), expected, atol=1e-5, rtol=0)


def test_a_limited_test_set_is_evenly_spaced():
    labels = torch.cat([y for _, y in in_memory(1001).test_batches(limit=101)])
    assert labels.tolist() == list(range(0, 1001, 10))
    assert sum(len(y) for _, y in in_memory(50).test_batches(limit=500)) == 50


def test_to_moves_a_dataset_and_nothing_else():
    moved = in_memory(5).to("meta")
    assert {t.device.type for t in (moved.train_images, moved.test_labels)} == {"meta"}
    assert moved.name == "made up"
    assert moved.train_size == 5


# --------------------------------------------------------------------------------- scoring batch


def test_scoring_batch_is_ten_training_examples_of_each_class():
    inputs, targets = datasets.scoring_batch("lenet_digits", seed=0)
    assert inputs.shape == (100, 1, 8, 8)
    assert targets.bincount().tolist() == [10] * 10
    digits = datasets.load("digits")
    rows = digits.normalise(digits.train_images).flatten(1)
    known, chosen = (
        {(x.numpy().tobytes(), int(y)) for x, y in zip(images, labels, strict=True)}
        for images, labels in ((rows, digits.train_labels), (inputs.flatten(1), targets))
    )
    assert chosen <= known
    assert len(chosen) == 100


def test_parts_of_the_scoring_batch_are_of_mixed_classes():
    """Scores are averaged over parts of 256 examples: sorted by class, TinyImageNet's parts would
    have 26 of 200 classes each, which moves SNIP's masks."""
    for seed in range(3):
        _, targets = datasets.scoring_batch("lenet_digits", seed)
        assert all(len(part.unique()) >= 8 for part in targets.split(25))


def test_scoring_batch_is_a_function_of_its_seed():
    first, _ = datasets.scoring_batch("lenet_digits", seed=0)
    torch.manual_seed(99)
    again, _ = datasets.scoring_batch(settings.get("lenet_digits"), seed=0)
    other, _ = datasets.scoring_batch("lenet_digits", seed=1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_scoring_batch_is_not_augmented(root):
    images = write_cifar10(root)["train"]
    inputs, targets = datasets.scoring_batch("resnet20_cifar10", seed=0)
    assert targets.bincount().tolist() == [10, 10]
    for label, name in enumerate(("cat", "dog")):
        part = inputs[targets == label]
        all_of_class = normalised(images[name], MEAN, STD).flatten(1)
        distance = torch.cdist(part.flatten(1), all_of_class, p=float("inf"))
        assert (distance.min(1).values < 1e-5).all()
        assert len(distance.argmin(1).unique()) == 10


# --------------------------------------------------------------------------------------- loaders


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    digits = datasets.load("digits")
    theirs = load_digits()
    assert digits.train_images.shape == (1297, 1, 8, 8)
    assert digits.test_images.shape == (500, 1, 8, 8)
    assert math.ceil(1297 / 128) == settings.get("lenet_digits").iterations_per_epoch
    images = torch.cat([digits.train_images, digits.test_images]).double() * 16 / 255
    labels = torch.cat([digits.train_labels, digits.test_labels])
    ours = Counter(
        (tuple(x.round().int().flatten().tolist()), int(y))
        for x, y in zip(images, labels, strict=True)
    )
    assert ours == Counter(
        (tuple(x.astype(int).flatten()), int(y))
        for x, y in zip(theirs.images, theirs.target, strict=True)
    )
    inputs = digits.normalise(digits.train_images).double()
    assert abs(float(inputs.mean())) < 1e-4
    assert float(inputs.std()) == pytest.approx(1, abs=1e-3)
    assert digits.augmentation == "none"


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist_files(root, suffix):
    images, labels, test_images, test_labels = write_mnist(root, suffix)
    mnist = datasets.load("mnist")
    assert torch.equal(mnist.train_images, images[:, None])
    assert torch.equal(mnist.train_labels, labels.long())
    assert torch.equal(mnist.test_images, test_images[:, None])
    assert torch.equal(mnist.test_labels, test_labels.long())
    assert (mnist.name, mnist.augmentation) == ("mnist", "none")
    assert (mnist.mean, mnist.std) == ((0.1307,), (0.3081,))


def test_cifar10_image_folder(root):
    images = write_cifar10(root)
    cifar = datasets.load("cifar10")
    assert cifar.name == "cifar10-jpeg"
    assert cifar.augmentation == "crop"
    assert cifar.train_labels.tolist() == [0] * 12 + [1] * 12
    for part, ours in (("train", cifar.train_images), ("test", cifar.test_images)):
        written = torch.cat([images[part]["cat"], images[part]["dog"]]).permute(0, 3, 1, 2)
        assert torch.equal(ours, written)
    assert (cifar.mean, cifar.std) == (MEAN, STD)


def test_cifar10_own_files(root, monkeypatch):
    """Five files to train and one to test, of rows of red, green and blue planes. Torchvision's
    digests are those of the real files, and not looked at here."""
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    folder = root / CIFAR10.base_folder
    for i, (name, _) in enumerate(CIFAR10.train_list + CIFAR10.test_list):
        content = {"data": pixels(2, 3072, seed=i).numpy(), "labels": [i, 9 - i]}
        write(folder / name, pickle.dumps(content))
    write(folder / "batches.meta", pickle.dumps({"label_names": list("abcdefghij")}))
    found = load_again("cifar10")
    planes = [pixels(2, 3072, seed=i).view(2, 3, 32, 32) for i in range(6)]
    assert torch.equal(found.train_images, torch.cat(planes[:5]))
    assert torch.equal(found.test_images, planes[5])
    assert found.train_labels.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    assert found.test_labels.tolist() == [5, 4]
    about = found.name, found.mean, found.std, found.augmentation
    assert about == ("cifar10", MEAN, STD, "crop")


def test_tinyimagenet(root):
    folder = write_tinyimagenet(root)
    tiny = datasets.load("tinyimagenet")
    assert tiny.augmentation == "resized_crop"
    assert tiny.train_labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert tiny.test_labels.tolist() == [2, 0, 1]  # n03, n01, n02 in alphabetical order
    images = itertools.product(("n01", "n02", "n03"), range(4))
    paths = [folder / "train" / n / "images" / f"{n}_{i}.JPEG" for n, i in images]
    train = np.stack([decoded(path) for path in paths])
    assert torch.equal(tiny.train_images, torch.from_numpy(train).permute(0, 3, 1, 2))
    test = np.stack([decoded(folder / "val" / "images" / f"val_{c}.JPEG") for c in range(3)])
    assert torch.equal(tiny.test_images, torch.from_numpy(test).permute(0, 3, 1, 2))
    grey = tiny.train_images[8]
    assert torch.equal(grey, grey[:1].expand(3, -1, -1))
    assert tiny.mean == pytest.approx((train / 255).mean((0, 1, 2)))
    assert tiny.std == pytest.approx((train / 255).std((0, 1, 2)))


def test_modified_tinyimagenet_is_cropped_as_cifar10_is(root):
    write_tinyimagenet(root)
    modified, tiny = datasets.load("modified_tinyimagenet"), datasets.load("tinyimagenet")
    assert modified.augmentation == "crop"
    assert torch.equal(modified.train_images, tiny.train_images)
    assert modified.fingerprint == tiny.fingerprint


def test_fingerprint_changes_with_one_pixel_and_not_with_reloading(root):
    images = write_cifar10(root)
    first = datasets.load("cifar10").fingerprint
    assert load_again("cifar10").fingerprint == first  # from the cache
    (root / ".cifar10-jpeg.safetensors").unlink()
    assert load_again("cifar10").fingerprint == first  # from the images
    image = images["test"]["dog"][3]
    image[4, 5, 1] ^= 1
    replace(root / "cifar10-jpeg" / "test" / "dog" / "0003.png", image)
    assert load_again("cifar10").fingerprint != first


def test_fingerprint_changes_with_one_label(root):
    write_mnist(root)
    first = datasets.load("mnist").fingerprint
    harm(root / LABELS, lambda content: content[:-1] + bytes([content[-1] ^ 1]))
    assert load_again("mnist").fingerprint != first


def replace(path, image):
    """Write an image anew, an hour later."""
    save(path, image)
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 3600))


def altered_cache(root):
    """Make the first image of the cache black, which the image file is not."""
    cache = root / ".cifar10-jpeg.safetensors"
    with safe_open(cache, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    tensors["0"][0] = 0
    save_file(tensors, cache, metadata)
    return cache


def test_cache_saves_decoding(root):
    write_cifar10(root)
    datasets.load("cifar10")
    altered_cache(root)
    assert load_again("cifar10").train_images[0].sum() == 0
    assert not list(root.glob(".cifar10-jpeg.[0-9]*")), "a temporary file is left"


@pytest.mark.parametrize("fault", ["stale", "more images", "truncated", "nonsense", "empty"])
def test_cache_is_ignored_when_stale_or_damaged(root, fault):
    images = write_cifar10(root)["train"]
    datasets.load("cifar10")
    cache = altered_cache(root)
    if fault == "stale":
        images["cat"][0, 0, 0] = 77
        replace(root / "cifar10-jpeg" / "train" / "cat" / "0000.png", images["cat"][0])
    elif fault == "more images":
        save(root / "cifar10-jpeg" / "train" / "dog" / "9999.png", images["cat"][0])
    else:
        harm(cache, {"truncated": half, "nonsense": b"nonsense" * 50, "empty": b""}[fault])
    again = load_again("cifar10")
    assert torch.equal(again.train_images[0], images["cat"][0].permute(2, 0, 1))
    assert again.train_size == (25 if fault == "more images" else 24)


def test_a_cache_that_cannot_be_written_is_no_error(root):
    write_cifar10(root)
    (root / ".cifar10-jpeg.safetensors").mkdir()
    assert datasets.load("cifar10").train_size == 24
    assert {path.name for path in root.iterdir()} == {"cifar10-jpeg", ".cifar10-jpeg.safetensors"}


def test_whoever_may_read_the_images_may_read_the_cache(root):
    write_cifar10(root)
    image = root / "cifar10-jpeg" / "train" / "cat" / "0000.png"
    image.chmod(0o640)
    datasets.load("cifar10")
    assert (root / ".cifar10-jpeg.safetensors").stat().st_mode == image.stat().st_mode


def test_imagenet_folder_trains_on_crops_of_224_pixels(root):
    write_imagenet(root)
    imagenet = datasets.load("imagenet")
    assert imagenet.train_size == 6
    draws = imagenet.draws(replicate=0, epoch=0)
    assert draws.order.sort().values.tolist() == list(range(6))
    inputs, targets = imagenet.train_batch(draws.part(0, 6))
    assert inputs.shape == (6, 3, 224, 224)
    assert inputs.dtype == torch.float32
    assert targets.tolist() == [int(i) // 3 for i in draws.order]
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    levels = 255 * (inputs * std[:, None, None] + mean[:, None, None])
    for image, i in zip(levels, draws.order.tolist(), strict=True):
        red, green, blue = image  # red runs with the width, green with the height
        assert (blue - 20 * i).abs().max() < 1e-3
        assert (red - red[:1]).abs().max() <= 1
        assert (green - green[:, :1]).abs().max() <= 1
        height, width = IMAGENET_SIZES[i]
        w = float(red.max() - red.min()) / 255 * width
        h = float(green.max() - green.min()) / 255 * height
        assert 0.7 < w / h < 1.4  # aspect 0.8 to 1.25, up to a pixel at the edges
        assert h <= height
        assert w <= width


def test_files_that_a_mac_puts_beside_images_are_no_images(root):
    write_imagenet(root)
    write_tinyimagenet(root)
    (root / "imagenet" / "train" / "class0" / "._0.png").write_bytes(b"Mac OS X")
    images = root / "tiny-imagenet-200" / "train" / WNIDS[0] / "images"
    (images / f"._{WNIDS[0]}_0.JPEG").write_bytes(b"Mac OS X")
    assert datasets.load("imagenet").train_size == 6
    assert datasets.load("tinyimagenet").train_size == 12


def test_an_empty_image_is_told_when_images_are_listed(root):
    write_imagenet(root)
    path = root / "imagenet" / "val" / "class1" / "4.png"
    path.write_bytes(b"")
    with pytest.raises(DatasetError, match="is empty") as caught:
        datasets.load("imagenet")
    assert_sentence(caught.value, path)


def test_a_damaged_test_image_is_found_by_looking_at_all(root):
    write_imagenet(root)
    path = root / "imagenet" / "val" / "class1" / "4.png"
    harm(path, half)
    imagenet = datasets.load("imagenet")
    with pytest.raises(DatasetError, match="cannot be read") as caught:
        imagenet.check_test_images(progress=False)
    assert_sentence(caught.value, path)


def test_imagenet_batches_are_a_function_of_replicate_and_epoch(root):
    write_imagenet(root)
    imagenet = datasets.load("imagenet")
    draws = imagenet.draws(replicate=0, epoch=1)
    whole, _ = imagenet.train_batch(draws.part(0, 6))
    torch.manual_seed(5)
    parts = [imagenet.train_batch(imagenet.draws(0, 1).part(i, i + 2))[0] for i in (0, 2, 4)]
    assert torch.equal(whole, torch.cat(parts))
    for replicate, epoch in ((0, 2), (1, 1)):
        other = imagenet.draws(replicate, epoch)
        inputs, _ = imagenet.train_batch(other.part(0, 6))
        for i in (0, 1, 2, 4, 5):  # image 3 is so wide that its crop is often the largest one
            same = draws.order.tolist().index(i), other.order.tolist().index(i)
            assert not torch.equal(whole[same[0]], inputs[same[1]])


def test_imagenet_flips_half_of_the_images(root):
    write_imagenet(root)
    imagenet = datasets.load("imagenet")
    flipped = []
    for epoch in range(10):
        inputs, _ = imagenet.train_batch(imagenet.draws(0, epoch).part(0, 6))
        flipped.append((inputs[:, 0, 0, 0] > inputs[:, 0, 0, -1]).tolist())  # red rises rightwards
    assert 18 <= sum(map(sum, flipped)) <= 42  # 30 of 60, four deviations of 3.9 at most
    assert any(0 < sum(epoch) < 6 for epoch in flipped)


def test_imagenet_draws_a_box_for_each_image(root):
    """One image under several names: its crops differ within an epoch."""
    write_imagenet(root)
    content = (root / "imagenet" / "train" / "class0" / "0.png").read_bytes()
    for path in (root / "imagenet" / "train").glob("*/*.png"):
        path.write_bytes(content)
    imagenet = datasets.load("imagenet")
    inputs, _ = imagenet.train_batch(imagenet.draws(0, 0).part(0, 6))
    assert len({image.numpy().tobytes() for image in inputs}) == 6


def test_imagenet_training_examples_are_not_augmented(root):
    """As the scoring batch has them: at the centre, as test images are."""
    write_imagenet(root)
    inputs, targets = datasets.load("imagenet").train_examples(torch.tensor([4, 0]))
    assert targets.tolist() == [1, 0]
    reference = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])
    for ours, i in zip(inputs, (4, 0), strict=True):
        image = Image.open(root / "imagenet" / "train" / f"class{i // 3}" / f"{i}.png")
        theirs = normalised(np.array(reference(image))[None], MEAN, STD)
        assert (ours - theirs[0]).abs().max() <= 2 / 255 / 0.224


def test_imagenet_test_images_are_resized_to_256_and_cropped_at_the_centre(root):
    write_imagenet(root)
    imagenet = datasets.load("imagenet")
    batches = list(imagenet.test_batches(size=4))
    assert [len(y) for _, y in batches] == [4, 2]
    assert torch.cat([y for _, y in batches]).tolist() == [0, 0, 0, 1, 1, 1]
    reference = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])  # of PIL images
    for ours, i in zip(torch.cat([x for x, _ in batches]), range(6), strict=True):
        image = Image.open(root / "imagenet" / "val" / f"class{i // 3}" / f"{i}.png")
        theirs = normalised(np.array(reference(image))[None], MEAN, STD)
        assert (ours - theirs[0]).abs().max() <= 2 / 255 / 0.224
    assert [y.tolist() for _, y in imagenet.test_batches(limit=2)] == [[0, 1]]


# ---------------------------------------------------------------------------------------- errors

WRITE = {
    "mnist": write_mnist,
    "mnist.gz": functools.partial(write_mnist, suffix=".gz"),
    "cifar10": write_cifar10,
    "tinyimagenet": write_tinyimagenet,
    "imagenet": write_imagenet,
}
IDX, WNIDS_TXT = "MNIST/raw/{}-ubyte".format, "tiny-imagenet-200/wnids.txt"
TRAIN, TEST, LABELS = IDX("train-images-idx3"), IDX("t10k-images-idx3"), IDX("t10k-labels-idx1")
CATS, TINY = "cifar10-jpeg/train/cat", "tiny-imagenet-200"
SHOWN, ROWS = f"{TINY}/val/images", f"{TINY}/val/val_annotations.txt"
FOLDER, PAGE = object(), b"<html><body>moved</body></html>"


def half(content):
    return content[: len(content) // 2]


def more(line):
    return lambda content: content + line


def harm(path, harmed):
    """Put other content at the path, what a function makes of its content, a folder, nothing."""
    content = path.read_bytes() if path.is_file() else b""
    if path.exists():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if harmed is FOLDER:
        path.mkdir()
    elif harmed is not None:
        write(path, harmed(content) if callable(harmed) else harmed)
    return path


# The dataset, what is at the path instead, the path, and that which the sentence names if another.
FAULTS = [
    ("mnist", None, "MNIST", TRAIN),
    ("cifar10", None, "cifar10-jpeg", "cifar-10-batches-py"),
    ("tinyimagenet", None, TINY, WNIDS_TXT),
    ("imagenet", None, "imagenet", "imagenet/train"),
    ("mnist", half, TEST),
    ("mnist", b"", LABELS),
    ("mnist", PAGE, TRAIN),
    ("mnist", FOLDER, LABELS),
    ("mnist", idx(pixels(20)), TRAIN),
    ("mnist", idx(pixels(20, 32, 32)), TRAIN),
    ("mnist", idx(pixels(0, 28, 28)), TRAIN),
    ("mnist", idx(pixels(6) % 10), LABELS),
    ("mnist", idx(pixels(7) * 0 + 77), LABELS),
    ("mnist.gz", half, f"{TRAIN}.gz"),
    ("mnist.gz", lambda content: content[:10] + b"\xff" * 10 + content[20:], f"{TRAIN}.gz"),
    ("mnist.gz", PAGE, f"{TRAIN}.gz"),
    ("mnist.gz", FOLDER, f"{TRAIN}.gz"),
    ("cifar10", half, f"{CATS}/0003.png"),
    ("cifar10", PAGE, f"{CATS}/0003.png"),
    ("cifar10", encoded(pixels(64, 64, 3), "png"), f"{CATS}/0003.png"),
    ("cifar10", b"P6 99999 99999 255\n", f"{CATS}/huge.ppm"),
    ("cifar10", None, "cifar10-jpeg/test"),
    ("cifar10", PAGE, "cifar10-jpeg/test"),
    ("cifar10", FOLDER, CATS, "cifar10-jpeg/train"),
    # Else labels would shift: dog would be 1 in training and 0 in testing.
    ("cifar10", None, "cifar10-jpeg/test/cat", "cifar10-jpeg"),
    ("cifar10", b"other digest", "cifar-10-batches-py/data_batch_1", "cifar-10-batches-py"),
    ("cifar10", PAGE, "cifar-10-batches-py"),
    ("tinyimagenet", None, f"{TINY}/train/n02"),
    ("tinyimagenet", FOLDER, f"{TINY}/train/n02/images"),
    ("tinyimagenet", None, f"{TINY}/train/n02/images/n02_3.JPEG", f"{TINY}/train/n02"),
    ("tinyimagenet", half, f"{TINY}/train/n01/images/n01_2.JPEG"),
    ("tinyimagenet", None, f"{SHOWN}/val_1.JPEG"),
    ("tinyimagenet", PAGE, SHOWN),
    ("tinyimagenet", None, ROWS),
    ("tinyimagenet", lambda content: content[:-20], ROWS),
    ("tinyimagenet", more(b"val_9.JPEG\tn99\t0\t0\t62\t62\n"), ROWS),
    ("tinyimagenet", more(b"../images/val_1.JPEG\tn01\n"), ROWS, SHOWN),
    ("tinyimagenet", more(b"/etc/val_1.JPEG\tn01\n"), ROWS, SHOWN),
    ("tinyimagenet", FOLDER, WNIDS_TXT),
    ("tinyimagenet", b"", WNIDS_TXT),
    ("tinyimagenet", more(b"../train/n02\n"), WNIDS_TXT, f"{TINY}/train/../train/n02"),
    ("tinyimagenet", more(b"".join(b"m%d\n" % i for i in range(198))), WNIDS_TXT),
    ("imagenet", None, "imagenet/val"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault[0]}-{fault[2]}")
def test_a_missing_or_damaged_dataset_gets_one_sentence(root, fault):
    name, harmed, place, *named = fault
    WRITE[name](root)
    harm(root / place, harmed)
    with pytest.raises(DatasetError) as caught:
        datasets.load(name.removesuffix(".gz"))
    assert_sentence(caught.value, root / (named or [place])[0])


def test_more_classes_than_the_networks_have_outputs_get_one_sentence(root):
    write_cifar10(root, 1, [str(i) for i in range(11)])
    with pytest.raises(DatasetError, match="the label 10, but cifar10 has the labels 0 to 9") as e:
        datasets.load("cifar10")
    assert_sentence(e.value, root / "cifar10-jpeg")


def assert_sentence(error, path):
    """One line that names the path and says what to do."""
    assert str(path) in str(error)
    assert "\n" not in str(error)
    ways_out = r"run 'prunelib data \w+'|put it there|unpack|replace it|expected|is this the right"
    assert re.search(ways_out, str(error))


def test_a_damaged_image_of_imagenet_is_named_when_it_is_read(root):
    write_imagenet(root)
    path = harm(root / "imagenet" / "train" / "class0" / "0.png", half)
    imagenet = datasets.load("imagenet")
    with pytest.raises(DatasetError) as caught:
        imagenet.train_batch(imagenet.draws(0, 0).part(0, 6))
    assert_sentence(caught.value, path)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("mnist", LABELS),
        ("mnist.gz", f"{LABELS}.gz"),
        ("cifar10", f"{CATS}/0003.png"),
        ("cifar10", "cifar-10-batches-py/data_batch_1"),
        ("tinyimagenet", WNIDS_TXT),
    ],
)
def test_a_file_that_this_user_may_not_read_gets_one_sentence(root, monkeypatch, name, place):
    WRITE[name](root)
    harm(root / place, bytes)
    plainly = open

    def refuse(file, *args, **kwargs):  # a file's mode does not keep root from reading it
        if str(file) == str(root / place):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return plainly(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr(io, "open", refuse)
    with pytest.raises(DatasetError) as caught:
        datasets.load(name.removesuffix(".gz"))
    assert_sentence(caught.value, root / place.removesuffix("/data_batch_1"))


def test_a_data_root_that_cannot_be_looked_into_gets_one_sentence(root, monkeypatch):
    """A name too long for the system fails as a folder without permission does, for root too."""
    monkeypatch.setenv("PRUNELIB_DATA", str(root / ("x" * 300)))
    for name in ("mnist", "cifar10", "tinyimagenet", "imagenet"):
        with pytest.raises(DatasetError, match="set PRUNELIB_DATA to a folder that") as caught:
            datasets.load(name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_altered_bytes_of_an_image_never_raise_anything_else(tmp_path, kind):
    noise = np.random.default_rng(0)
    path, raised = tmp_path / f"image.{kind}", 0
    for _ in range(100):
        content = bytearray(encoded(pixels(32, 32, 3), kind))
        for at in noise.integers(0, min(len(content), 200), 5):
            content[at] = noise.integers(256)
        path.write_bytes(content)
        try:
            assert files.decode(path).dtype == torch.uint8
        except DatasetError as error:
            raised += 1
            assert_sentence(error, path)
    assert raised > 10


def test_missing_data_says_where_it_was_looked_for(root):
    with pytest.raises(
        DatasetError, match="data mnist' .*PRUNELIB_DATA .*now " + re.escape(str(root))
    ):
        datasets.load("mnist")


@pytest.mark.parametrize(
    ("call", "names"), [(datasets.load, datasets.LOADERS), (datasets.download, datasets.DOWNLOADS)]
)
def test_unknown_dataset_lists_the_names(call, names):
    with pytest.raises(UnknownNameError, match="'svhn'") as caught:
        call("svhn")
    assert all(name in str(caught.value) for name in names)


# ------------------------------------------------------------------------------------- downloads


@pytest.fixture
def serve(root, tmp_path_factory, monkeypatch):
    """A function that has the files of a folder downloaded, from a server on this machine."""
    folder = tmp_path_factory.mktemp("served")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("no_proxy", "*")

    def serve(name):
        archives = [
            (
                f"http://127.0.0.1:{server.server_port}/{path.relative_to(folder)}",
                hashlib.md5(path.read_bytes()).hexdigest(),
            )
            for path in folder.rglob("*.*")
        ]
        monkeypatch.setitem(datasets.DOWNLOADS, name, (*datasets.DOWNLOADS[name][:2], archives))

    serve.folder = folder
    yield serve
    server.shutdown()
    server.server_close()


def test_mnist_is_downloaded_where_it_is_not_sound(root, serve):
    images, *_ = write_mnist(serve.folder, ".gz")
    serve("mnist")
    assert datasets.download("mnist") == root
    assert torch.equal(datasets.load("mnist").train_images, images[:, None])
    harm(root / TEST, half)
    datasets.download("mnist")
    assert len(load_again("mnist").test_images) == 7
    shutil.rmtree(serve.folder)
    datasets.download("mnist")  # sound: nothing is asked of the server
    assert {path.suffix for path in (root / TEST).parent.iterdir()} == {""}, "archives are left"


def test_an_archive_that_was_there_already_stays(root, serve):
    tiny = write_tinyimagenet(root / "source")
    archive = root / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in tiny.rglob("*.*"):
            file.write(path, path.relative_to(root / "source"))
    shutil.copy(archive, serve.folder)
    serve("tinyimagenet")
    datasets.download("tinyimagenet")
    assert datasets.load("tinyimagenet").train_size == 12
    assert archive.exists()


def test_an_archive_with_another_digest_is_not_unpacked(root, serve):
    write_mnist(serve.folder, ".gz")
    serve("mnist")
    harm(serve.folder / f"{LABELS}.gz", gzip.compress(idx(pixels(7) % 9)))
    with pytest.raises(DatasetError, match="run 'prunelib data mnist' again"):
        datasets.download("mnist")
    assert not (root / LABELS).exists()


def test_members_of_an_archive_stay_below_the_data_root(root, serve):
    tiny = write_tinyimagenet(root / "source")
    with zipfile.ZipFile(serve.folder / "tiny-imagenet-200.zip", "w") as archive:
        for path in tiny.rglob("*.*"):
            archive.write(path, path.relative_to(root / "source"))
        archive.writestr("../escaped", "")
        archive.writestr(f"{root.parent}/escaped", "")
    serve("tinyimagenet")
    datasets.download("tinyimagenet")
    assert datasets.load("tinyimagenet").train_size == 12
    assert not (root.parent / "escaped").exists()


@pytest.mark.parametrize(
    ("where", "harmed", "reason"),
    [
        ("os.mkdir", PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
        ("urllib.request.urlopen", http.client.BadStatusLine("nonsense"), "nonsense"),
        ("shutil.disk_usage", [SimpleNamespace(free=2**30 - 1)], "less than 1 GiB"),
    ],
)
def test_a_download_that_fails_gets_one_sentence(root, monkeypatch, where, harmed, reason):
    monkeypatch.setattr(where, Mock(side_effect=harmed))
    with pytest.raises(DatasetError, match=f"downloading 'mnist' into .*{reason}") as caught:
        datasets.download("mnist")
    assert_sentence(caught.value, root)


def test_a_data_root_below_a_file_gets_one_sentence(root, monkeypatch):
    """As one that cannot be written, for root too."""
    (root / "file").write_text("")
    monkeypatch.setenv("PRUNELIB_DATA", str(root / "file" / "data"))
    with pytest.raises(DatasetError, match="Not a directory") as caught:
        datasets.download("mnist")
    assert_sentence(caught.value, root / "file" / "data")


# ------------------------------------------------------------------------------------- real data


def real(name):
    try:
        return datasets.load(name)
    except DatasetError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", ["digits", "mnist", "cifar10"])
def test_fingerprint_is_that_of_the_committed_results(name):
    dataset = real(name)
    results = (Path(__file__).parent.parent / "results").glob("*/*.csv")
    stored = set().union(*(pd.read_csv(path)["dataset"].dropna() for path in results))
    same = {content for content in stored if content.startswith(f"{dataset.name}@")}
    if not same:
        pytest.skip(f"no committed results on {dataset.name}")
    assert f"{dataset.name}@{dataset.fingerprint}" in same


def test_real_mnist():
    mnist = real("mnist")
    assert mnist.train_images.shape == (60_000, 1, 28, 28)
    assert mnist.test_images.shape == (10_000, 1, 28, 28)
    levels = mnist.train_images.double() / 255
    assert float(levels.mean()) == pytest.approx(0.1307, abs=1e-3)
    assert float(levels.std()) == pytest.approx(0.3081, abs=1e-3)
    counts = "5923 6742 5958 6131 5842 5421 5918 6265 5851 5949"
    assert mnist.train_labels.bincount().tolist() == [int(n) for n in counts.split()]
