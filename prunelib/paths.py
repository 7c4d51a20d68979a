"""Where things lie, found from the package and never from the working directory; safe writing."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from prunelib.errors import StoreError


def checkout() -> Path | None:
    """The checkout that holds this package; None where it was installed without one."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").exists() else None


def project_root() -> Path:
    """The checkout that holds this package, or the working directory where there is none."""
    return checkout() or Path.cwd()


def _place(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or project_root() / default).expanduser().absolute()


def data_root() -> Path:
    """Where datasets lie: PRUNELIB_DATA, by default data/."""
    return _place("PRUNELIB_DATA", "data")


def results_root() -> Path:
    """Where the store lies: PRUNELIB_RESULTS, by default results/."""
    return _place("PRUNELIB_RESULTS", "results")


def figures_root() -> Path:
    """Where figures are written: PRUNELIB_FIGURES, by default figures/."""
    return _place("PRUNELIB_FIGURES", "figures")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's error at writing `path` into a StoreError of one sentence."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error}): it is as it was; mend that and give the same "
            "command again"
        ) from None


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write text or bytes so that a reader sees the old file or the new one, never a part.

    Raises:
        StoreError: it cannot be written; the file is then as it was.
    """
    if isinstance(content, str):
        content = content.encode()
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
