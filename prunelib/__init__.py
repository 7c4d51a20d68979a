"""A companion to "Pruning Neural Networks at Initialization: Why Are We Missing the Mark?"."""

import importlib

__version__ = "0.1.0"

# Imported when they are first asked for: PyTorch takes seconds, and help needs none of it.
__all__ = [
    "analysis",
    "datasets",
    "engine",
    "grids",
    "masks",
    "networks",
    "runs",
    "scores",
    "settings",
    "training",
]


def __getattr__(name):
    if name in __all__:
        return importlib.import_module(f"prunelib.{name}")
    raise AttributeError(f"module 'prunelib' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
