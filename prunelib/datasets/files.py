"""Files to tensors: single images, MNIST's own format, image folders and their cache.

Whatever is wrong with a file becomes a DatasetError of one sentence that names it. What each named
dataset consists of is said in `loaders`.
"""

import contextlib
import gzip
import hashlib
import math
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS, has_file_allowed_extension
from tqdm.auto import tqdm

from prunelib.errors import DatasetError

PATIENCE = 2  # seconds until a bar is shown
T = TypeVar("T")
Listing = list[tuple[Path, int]]


def reading(read: Callable[[], T], path: Path) -> T:
    """What `read()` returns; where it fails, a DatasetError that names the file `path`."""
    try:
        return read()
    except MemoryError:
        raise
    except Exception as error:  # decoders of damaged bytes raise whatever comes of them
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(
            f"{path} cannot be read ({reason}): replace it by a fresh copy of the dataset, which "
            "this user may read"
        ) from None


def exists(path: Path) -> bool:
    """Whether there is a file or folder; raises OSError where this user may not look, which
    `Path.exists` does not from Python 3.14 on."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def threads() -> int:
    """How many threads decode images: one a core of the share of the machine that this process
    has, in a container or a batch job."""
    import loky

    return loky.cpu_count()


def decode(path: Path) -> torch.Tensor:
    """An image as uint8 [3, H, W]; greyscale images get three equal channels."""

    def read():
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))

    return torch.from_numpy(reading(read, path)).permute(2, 0, 1)


def read_idx(path: Path, *sizes: int) -> torch.Tensor:
    """A file of MNIST's own format, or its gzip: a header that gives the shape, then bytes.

    Returns uint8 [n, *sizes]; raises DatasetError where the file holds nothing or another shape.
    """
    unpacked = gzip.decompress if path.suffix == ".gz" else bytes
    content = reading(lambda: unpacked(path.read_bytes()), path)
    ndim = 1 + len(sizes)
    start = 4 + 4 * ndim
    shape = np.frombuffer(content[4:start].ljust(start - 4, b"\0"), ">u4").tolist()
    sound = content[:4] == bytes([0, 0, 8, ndim]) and tuple(shape[1:]) == sizes and shape[0]
    if not sound or len(content) != start + math.prod(shape):
        raise DatasetError(
            f"{path} is damaged: its {len(content)} bytes are not what its header should announce; "
            "delete it and run 'prunelib data mnist' to download it again"
        )
    return torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8).view(shape)


def class_folders(folder: Path, parts: Sequence[str]) -> list[Listing]:
    """For each part, (path, label) of every image of `folder/part/<class>/`, sorted by name.

    Raises DatasetError where a class is missing or empty in any part.
    """
    found = []
    for part in parts:
        try:
            found.append(ImageFolder(folder / part, loader=str, is_valid_file=_is_image))
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


def _is_image(path):
    """Whether a file is to be an image: a Mac puts "._" files beside those that it copies."""
    return has_file_allowed_extension(path, IMG_EXTENSIONS) and not Path(path).name.startswith(".")


def stamp(folder: Path, listings: Sequence[Listing], times: bool = True) -> str:
    """A digest of the files' names, labels and sizes (and times of change); DatasetError where one
    is empty."""
    digest = hashlib.sha256()
    for path, label in (row for listing in listings for row in listing):
        stat = reading(path.stat, path)
        if not stat.st_size:
            raise DatasetError(f"{path} is empty: replace it by a fresh copy of the dataset")
        time = stat.st_mtime_ns if times else ""
        digest.update(f"{path.relative_to(folder)} {label} {stat.st_size} {time}\n".encode())
    return digest.hexdigest()[:16]


def read_listings(
    folder: Path, listings: Sequence[Listing], shape: tuple[int, int, int]
) -> list[torch.Tensor]:
    """Images uint8 [n, *shape] and labels [n] of each listing of image files below `folder`.

    Raises DatasetError where an image cannot be read or is of another shape. A cache beside the
    folder saves the next process the decoding; one that is stale or damaged is ignored, and a data
    root that cannot be written is no error.
    """
    content = stamp(folder, listings)
    cache = folder.parent / f".{folder.name}.safetensors"
    with contextlib.suppress(OSError, SafetensorError), safe_open(cache, "pt") as file:
        if file.metadata() == {"stamp": content}:
            return [file.get_tensor(str(i)) for i in range(2 * len(listings))]
    tensors = []
    for listing in listings:
        with ThreadPoolExecutor(threads()) as pool:
            found = pool.map(decode, [path for path, _ in listing])
            bar = tqdm(found, folder.name, len(listing), leave=False, unit="image", delay=PATIENCE)
            images = list(bar)
        for (path, _), image in zip(listing, images, strict=True):
            if image.shape != shape:
                raise DatasetError(
                    f"{path} has the shape {tuple(image.shape)}, the images of this dataset have "
                    f"{shape}: is this the right folder?"
                )
        tensors += [torch.stack(images), torch.tensor([label for _, label in listing])]
    temporary = cache.with_suffix(f".{os.getpid()}")
    try:
        named = {str(i): t.contiguous() for i, t in enumerate(tensors)}
        save_file(named, temporary, {"stamp": content})
        # Safetensors keeps its files to their owner; others share a data root.
        shutil.copymode(listings[0][0][0], temporary)
        temporary.replace(cache)
    except (OSError, SafetensorError):
        with contextlib.suppress(OSError):
            temporary.unlink()
    return tensors
