"""Where things lie: found from the package, never from the working directory."""

import os
from pathlib import Path


def project_root():
    """The checkout that holds this package, or the working directory where there is none."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").exists() else Path.cwd()


def _place(variable, default):
    return Path(os.environ.get(variable) or project_root() / default).expanduser().absolute()


def data_root():
    """Where datasets lie: PRUNELIB_DATA, by default data/."""
    return _place("PRUNELIB_DATA", "data")


def results_root():
    """Where the store lies: PRUNELIB_RESULTS, by default results/."""
    return _place("PRUNELIB_RESULTS", "results")


def figures_root():
    """Where figures are written: PRUNELIB_FIGURES, by default figures/."""
    return _place("PRUNELIB_FIGURES", "figures")
