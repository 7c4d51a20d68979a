"""The random numbers of an epoch, and what they do to a batch of images.

`draw` makes the `Draws` of an epoch on the CPU, keyed by what they are for. `crop` and
`resized_crop` apply them to a whole batch at once, on any device; `normalise` scales the pixels.
The recipes are those of Appendix A.2.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from prunelib.seeds import generator

PADDING = {"crop": 4, "shift": 1}
SCALE, ASPECT = (0.1, 1.0), (0.8, 1.25)
ATTEMPTS = 10


@dataclass(frozen=True)
class Draws:
    """The random numbers of one epoch, one of each an example in the order of the epoch.

    `order` [n] int64: positions in the training set. `flip` [n] bool. `shift` [n, 2] int64 from
    0 to twice the padding: the corner of the crop in the padded image. `box` [n, 4] int64: top,
    left, height and width of the resized crop. Those that the augmentation does not use are None.
    `key` is (replicate, epoch).
    """

    order: torch.Tensor
    key: tuple[int, int | str]
    flip: torch.Tensor | None = None
    shift: torch.Tensor | None = None
    box: torch.Tensor | None = None

    def part(self, start: int, stop: int) -> "Draws":
        """The draws of examples start … stop of the epoch."""
        return self._each(lambda tensor: tensor[start:stop])

    def to(self, device: str | torch.device) -> "Draws":
        """The same draws on another device."""
        return self._each(lambda tensor: tensor.to(device))

    def clone(self) -> "Draws":
        """The same draws in memory of their own."""
        return self._each(torch.clone)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Those that the augmentation uses, by name."""
        named = {n: getattr(self, n) for n in ("order", "flip", "shift", "box")}
        return {n: t for n, t in named.items() if t is not None}

    def _each(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "Draws":
        return replace(self, **{name: function(t) for name, t in self.tensors().items()})


def draw(
    count: int, augmentation: str, height: int, width: int, replicate: int, epoch: int | str
) -> Draws:
    """The draws of `count` examples of height x width pixels, from CPU generators.

    Args:
        augmentation: "none", "crop", "shift" or "resized_crop".
        epoch: the number of the epoch, or a text that tells one image of it from the others.
    """
    order = torch.randperm(count, generator=generator(replicate, "order", epoch))
    if augmentation == "none":
        return Draws(order, (replicate, epoch))
    stream = generator(replicate, "augmentation", epoch)
    flip = None if augmentation == "shift" else torch.rand(count, generator=stream) < 0.5
    if augmentation in PADDING:
        last = 2 * PADDING[augmentation]
        shift = torch.randint(0, last + 1, (count, 2), generator=stream)
        return Draws(order, (replicate, epoch), flip, shift=shift)
    return Draws(order, (replicate, epoch), flip, box=_boxes(count, height, width, stream))


def _boxes(count, height, width, stream):
    """Boxes of random resized crops: scale 0.1 to 1 of the area, aspect 0.8 to 1.25, log-uniform.

    As torchvision's RandomResizedCrop: the first of ten attempts that fits; the largest centred
    box of an allowed aspect where none does.
    """
    low, high = map(math.log, ASPECT)
    area = torch.empty(count, ATTEMPTS).uniform_(*SCALE, generator=stream) * height * width
    aspect = torch.empty(count, ATTEMPTS).uniform_(low, high, generator=stream).exp()
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


def crop(
    images: torch.Tensor, flip: torch.Tensor | None, shift: torch.Tensor, padding: int = 4
) -> torch.Tensor:
    """Flip, then crop with zero padding, of a batch (A.2, CIFAR-10: padding 4).

    Args:
        images: [n, C, H, W], any dtype.
        flip: [n] bool, or None where none is flipped.
        shift: [n, 2] from 0 to twice the padding, the crop's top and left in the padded image.
        padding: zeros on each side, in pixels.
    """
    n, channels, height, width = images.shape
    device = images.device
    side = width + 2 * padding
    padded = F.pad(images, (padding,) * 4).flatten(2)
    rows = shift[:, :1] + torch.arange(height, device=device)
    cols = shift[:, 1:] + torch.arange(width, device=device)
    if flip is not None:
        cols = torch.where(flip[:, None], side - 1 - cols, cols)
    at = (rows[:, :, None] * side + cols[:, None]).view(n, 1, -1).expand(n, channels, -1)
    return padded.gather(2, at).view(images.shape)


def resized_crop(images: torch.Tensor, flip: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
    """Crop each image to its box, resize it back bilinearly, flip (A.2, TinyImageNet).

    Args:
        images: [n, C, S, S] of pixels in 0 … 255.
        flip: [n] bool.
        box: [n, 4], top, left, height, width.

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


def normalise(
    images: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]
) -> torch.Tensor:
    """Pixels in 0 … 255 to (pixel / 255 - mean) / std per channel, float32 [n, C, H, W]."""
    scale, shift = _constants(mean, std, images.device)
    # In place: of ImageNet's scoring batch, each copy takes 6 GB.
    return images.to(torch.float32, copy=True).div_(scale).sub_(shift)


@functools.lru_cache
def _constants(mean, std, device):
    """On the device once: a step that is captured as a CUDA graph cannot copy from the host."""
    mean, std = (torch.tensor(c, device=device).view(1, -1, 1, 1) for c in (mean, std))
    return 255 * std, mean / std
