"""The memory of a worker: how freed memory is used again, and when there is too little of it.

Training uses tensors of the same sizes again and again, and is twice as fast when the process keeps
what it frees; scoring uses ever other sizes, and what is kept then leaves holes.
"""

import contextlib
import ctypes
import platform
from collections.abc import Iterator

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of glibc's malloc.h
_MMAP_MAX = 65536  # its default
_kept = False


def keep(large: bool = True) -> None:
    """Let freed memory be used again: glibc gives large tensors back to the system at once, and
    has every page of the next one cleared, half of the time of a stack of 64 LeNets.

    Args:
        large: whether to keep tensors above 32 MiB too, a limit of glibc's.
    """
    global _kept
    _kept = True
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)
        mallopt(_M_MMAP_MAX, 0 if large else _MMAP_MAX)


@contextlib.contextmanager
def scoring() -> Iterator[None]:
    """Where a worker that keeps memory scores: large tensors go back to the system.

    Kept, they leave holes between tensors of other sizes: GraSP on modified ResNet-18 took 20 GiB
    in place of 14.
    """
    if not _kept:
        yield
        return
    keep(large=False)
    try:
        yield
    finally:
        keep()


def is_lacking(error: BaseException | None) -> bool:
    """Whether an error says that memory is short; also where the end of a CUDA graph's capture has
    covered it with an error of its own."""
    while error is not None:
        words = str(error).lower()
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or (
            any(w in words for w in ("out of memory", "allocate memory", "alloc_failed"))
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def device_name(device: str) -> str:
    """What a record calls the hardware."""
    return torch.cuda.get_device_name() if device == "cuda" else f"cpu {platform.machine()}"
