"""Where things lie, found from the package and never from the working directory; safe writing."""

import contextlib
import os
import stat
import tempfile
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
    named = os.environ.get(variable)
    path = Path(os.path.expanduser(named) if named else project_root() / default).absolute()
    if os.path.isfile(path):  # no error where it cannot be looked at, which writing will tell
        raise StoreError(f"{path} is a file: name a folder, in {variable}, or move it away")
    return path


def data_root() -> Path:
    """Where datasets lie: PRUNELIB_DATA, by default data/."""
    return _place("PRUNELIB_DATA", "data")


def results_root() -> Path:
    """Where the store lies: PRUNELIB_RESULTS, by default results/."""
    return _place("PRUNELIB_RESULTS", "results")


def figures_root() -> Path:
    """Where figures are written: PRUNELIB_FIGURES, by default figures/; with results of one's own,
    in PRUNELIB_RESULTS, a folder figures/ in there, and not over those of this project.

    Raises:
        StoreError: it is a file; as of the other places here.
    """
    own = os.environ.get("PRUNELIB_RESULTS")
    return _place("PRUNELIB_FIGURES", str(results_root() / "figures") if own else "figures")


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
    """Write text or bytes so that a reader sees the old file or the new one, never a part; to where
    a link leads, and readable by whom it was.

    Raises:
        StoreError: it cannot be written; the file is then as it was.
    """
    if isinstance(content, str):
        content = content.encode()
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                with contextlib.suppress(FileNotFoundError):
                    os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def check_writable(folder: Path, what: str) -> None:
    """Make sure that files can be written to a folder, which is made if it is missing.

    Args:
        what: it is a folder of, in words.

    Raises:
        StoreError: they cannot be.
    """
    if folder.exists() and not folder.is_dir():
        raise StoreError(
            f"{folder} is a file, where a folder of {what} is to be: name another place, or move "
            "the file away"
        )
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
