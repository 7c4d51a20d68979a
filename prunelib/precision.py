"""The precision that matrix products and convolutions are computed in.

Weights, gradients and sums stay as they are. `products` chooses how float32 products are computed,
`short` whether a forward pass is in bfloat16, `default_precision` what suits a device.
"""

import contextlib
import functools
import math
import time
from collections.abc import Iterator

import torch

from prunelib.errors import check_name

PRECISIONS = ("fp32", "tf32", "bf16")


@contextlib.contextmanager
def products(precision: str) -> Iterator[None]:
    """Products of float32 numbers, forward and backward, in full precision or in TF32.

    Args:
        precision: "tf32"; "fp32" and "bf16" are full, as bf16 is a matter of `short`.

    Raises:
        UnknownNameError: for another precision.
    """
    check_name("precision", precision, PRECISIONS)
    fast, older = precision == "tf32", ["highest", False]
    with contextlib.suppress(RuntimeError):  # PyTorch's, where a caller has used the newer ones
        older = [torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32]
    whole = torch.backends.fp32_precision
    newer = [s.fp32_precision if s.fp32_precision != whole else "none" for s in _SWITCHES]
    _turn("high" if fast else "highest", fast, ["tf32" if fast else "ieee"] * len(_SWITCHES))
    try:
        yield
    finally:
        _turn(*older, newer)


# PyTorch's newer switches; "none" is what `torch.backends.fp32_precision` says.
_SWITCHES = (
    torch.backends.cuda.matmul,
    torch.backends.cudnn.conv,
    torch.backends.cudnn.rnn,
    torch.backends.mkldnn.matmul,
    torch.backends.mkldnn.conv,
    torch.backends.mkldnn.rnn,
)


def _turn(matmul, cudnn, newer):
    """Turn the older switches, which turn newer ones with them, and then the newer ones."""
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = cudnn
    for switch, value in zip(_SWITCHES, newer, strict=True):
        if switch.fp32_precision != value:
            switch.fp32_precision = value


def short(precision: str, device: str | torch.device) -> torch.autocast:
    """The autocast context of a forward pass: bf16 for precision "bf16", off for the others.

    Weights are cast anew each time: a cache would outlive the optimiser's step.
    """
    return torch.autocast(
        torch.device(device).type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False
    )


@functools.cache
def default_precision(device: str) -> str:
    """bf16 on a CPU that multiplies it natively and faster than fp32, which is measured; fp32
    elsewhere.

    There are CPUs with instructions for bf16 on which products take twice as long as in fp32.
    `benchmarks/README.md` has the paired comparison of accuracies for LeNet and the miniature, and
    three pairs of ResNet-20. For other networks on a CPU, and for everything on a GPU, it is still
    to be made.

    Args:
        device: "cpu" or "cuda".
    """
    if device != "cpu":
        return "fp32"
    native = torch.cpu.get_capabilities()
    if not (native.get("avx512_bf16") or native.get("amx_bf16")):
        return "fp32"
    seconds = _product_seconds()
    return "bf16" if seconds[torch.bfloat16] < seconds[torch.float32] else "fp32"


def _product_seconds(side: int = 512, repetitions: int = 9) -> dict[torch.dtype, float]:
    """The seconds of a product of two square matrices on the CPU, the least of several in turn, as
    whatever else runs only makes one longer; a twentieth of a second in all."""
    found = dict.fromkeys((torch.float32, torch.bfloat16), math.inf)
    for _ in range(repetitions):
        for dtype, least in found.items():
            a = torch.ones(side, side, dtype=dtype)
            began = time.perf_counter()
            a @ a
            found[dtype] = min(least, time.perf_counter() - began)
    return found
