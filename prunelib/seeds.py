"""Random streams: every draw comes from a CPU generator keyed by what it is for.

So a draw depends neither on the device nor on what was drawn before it.
"""

import contextlib
import hashlib
import random
from collections.abc import Iterator
from numbers import Integral

import numpy as np
import torch

from prunelib.errors import BadValueError


def seed(replicate: int, purpose: str, index: int | str = 0) -> int:
    """A 63-bit seed that depends on (replicate, purpose, index) and nothing else.

    Args:
        replicate: the number of the replicate, from 0.
        purpose: what is drawn, for example "weights", "order" or "shuffle/fc.weight".
        index: distinguishes draws of one purpose, for example the epoch.

    Raises:
        BadValueError: a replicate that is no whole number.
    """
    if isinstance(replicate, bool) or not isinstance(replicate, Integral):
        raise BadValueError(f"seed {replicate!r}: give the number of a replicate, from 0")
    text = f"{replicate}/{purpose}/{index}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def generator(replicate: int, purpose: str, index: int | str = 0) -> torch.Generator:
    """A CPU generator seeded with `seed(replicate, purpose, index)`."""
    return torch.Generator().manual_seed(seed(replicate, purpose, index))


@contextlib.contextmanager
def restored(device: str | torch.device = "cpu") -> Iterator[None]:
    """Leave the global generators of torch (also that of a GPU `device`), NumPy and Python as they
    were before what runs inside."""
    device = torch.device(device)
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
