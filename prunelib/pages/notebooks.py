"""Notebooks as files: find, execute, refresh and stamp them. What they do inside is in `page`."""

import hashlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import as_completed
from pathlib import Path

import loky
import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from papermill.exceptions import PapermillExecutionError
from tqdm.auto import tqdm

from prunelib.errors import PrunelibError, UnknownNameError, check_name
from prunelib.paths import check_writable, project_root, write_atomically

TIMEOUT = 24 * 3600  # seconds a cell
INDEX = "00_index"
NONE = "there are no notebooks here: they come with a checkout of the project"


def paths() -> dict[str, Path]:
    """The notebooks of this project by name."""
    found = sorted((project_root() / "notebooks").glob("[0-9A-Z]*.ipynb"))
    return {path.stem: path for path in found}


def find(name: str) -> Path:
    """The path of a notebook by its name or the beginning of it, as "04" or "05_ablations".

    Raises:
        UnknownNameError: no notebook, or more than one, has such a name. PrunelibError: there are
            none, as where the package was installed without its checkout.
    """
    known = paths()
    if not known:
        raise PrunelibError(NONE)
    matching = [n for n in known if n == name or n.startswith(f"{name}_")]
    if len(matching) != 1:
        raise UnknownNameError("notebook", name, known)
    return known[matching[0]]


def execute(
    path: Path, output: Path, parameters: dict | None = None, files: Sequence[Path] = ()
) -> None:
    """Execute a notebook with papermill.

    Args:
        path: of the notebook.
        output: where the executed one goes; its folder is made.
        parameters: values by name; the notebook's own otherwise.
        files: of the user's own, which its kernel runs first; what they register can be named.

    Raises:
        UnknownNameError: a parameter that notebooks do not have.
        StoreError: the output cannot be written; nothing was executed.
        PrunelibError: a cell failed; the sentence is the cell's own where it is one of ours.
    """
    for name in parameters or {}:
        check_name("notebook parameter", name, papermill.inspect_notebook(path))
    check_writable(output.parent, "executed notebooks")  # before a day of training
    try:
        papermill.execute_notebook(
            path,
            output,
            parameters or {},
            progress_bar=False,
            stderr_file=sys.stderr if sys.stderr.isatty() else None,  # the progress of training
            execution_timeout=TIMEOUT,
            cwd=project_root(),
            kernel_name="python3",
            # A kernel logs being stopped, as every one is in the end, as an error.
            extra_arguments=["--log-level=CRITICAL", *map(_loading, files)],
        )
    except PapermillExecutionError as error:
        raise PrunelibError(f"{path.name}, cell {error.exec_count}: {error.evalue}") from None
    except DeadKernelError:
        raise PrunelibError(
            f"{path.name}: its kernel died, perhaps for want of memory; what it has trained is kept"
        ) from None
    except CellTimeoutError:
        hours = TIMEOUT // 3600
        raise PrunelibError(
            f"{path.name}: a cell took longer than {hours} hours; what it has trained is kept"
        ) from None


def _loading(file: Path) -> str:
    """An argument of a kernel, by which it runs a user's file before anything else."""
    path = repr(os.path.abspath(os.path.expanduser(file)))
    path = path.replace("{", "\\x7b")  # Jupyter puts values in place of names in braces
    code = f"import prunelib.own; prunelib.own.load({path})"
    return f"--IPKernelApp.exec_lines={code}"


def execute_all(
    jobs: list[tuple[Path, Path | None, dict]], workers: int, files: Sequence[Path] = ()
) -> None:
    """Execute notebooks in processes beside each other; all of them, whichever fail, and the index,
    which shows the figures that others draw, last.

    Args:
        jobs: of each the notebook, the output as in `execute` (None refreshes it in place), and
            the parameters.
        workers: how many at a time. files: as in `execute`, for notebooks not in place.

    Raises:
        PrunelibError: some failed; the sentences say which and why.
    """
    if not jobs:
        raise PrunelibError(NONE)
    failed, bar = [], tqdm(total=len(jobs), unit="notebook", disable=None)
    workers = min(workers, len(jobs))
    # kernels beside each other with threads of their own would wait for each other's
    threads = {"OMP_NUM_THREADS": str(max(1, loky.cpu_count() // workers))}
    bound = {"initializer": _end_with, "initargs": (os.getpid(),)}
    waves = [[job for job in jobs if (job[0].stem == INDEX) is last] for last in (False, True)]
    with loky.ProcessPoolExecutor(workers, env=threads, **bound) as pool, bar:
        for wave in waves:
            begun = {pool.submit(_one, *job, files): job for job in wave}
            for done in as_completed(begun):
                path, output, _ = begun[done]
                try:
                    done.result()
                except PrunelibError as error:
                    failed.append(f"{(output or path).name}: {error}")
                bar.write(f"{(output or path).name}: {'failed' if done.exception() else 'done'}")
                bar.update()
    if failed:
        head = [f"{len(failed)} of {len(jobs)} notebooks failed:"] if len(jobs) > 1 else []
        raise PrunelibError("\n".join([*head, *failed]))


def _end_with(parent: int) -> None:
    """Let this worker end when its parent has, which may be killed before it can tell; a kernel
    does the same, and so does whoever trains for it."""

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _one(path, output, parameters, files):
    if output:
        execute(path, output, parameters, files)
    else:
        refresh(path)


def refresh(path: Path) -> None:
    """Execute a notebook in place with its default parameters, strip what varies, stamp it."""
    temporary = path.with_name(f".{path.name}")
    try:
        execute(path, temporary)
        notebook = nbformat.read(temporary, as_version=4)
    finally:
        temporary.unlink(missing_ok=True)
    # what a cell prints comes in as many parts as the kernel flushed it in
    notebook, _ = CoalesceStreamsPreprocessor().preprocess(notebook, {})
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "prunelib": {"cells": stamp(notebook)},
    }
    for cell in notebook.cells:
        cell.metadata = {k: v for k, v in cell.metadata.items() if k == "tags" and v}
    write_atomically(path, nbformat.writes(notebook) + "\n")


def stamp(notebook: nbformat.NotebookNode) -> str:
    """A digest of a notebook's cells, as they were when it was executed.

    That its outputs are also what the library makes of the results today is for nbval to prove.
    """
    sources = "\0".join(cell.source for cell in notebook.cells)
    return hashlib.sha256(sources.encode()).hexdigest()[:16]
