"""The commands that show what the store holds: figures, report, claims and judge."""

from pathlib import Path
from typing import Annotated

import typer

from prunelib.cli.options import (
    Cluster,
    Device,
    Files,
    Minutes,
    Precision,
    ProfileName,
    Setting,
    Workers,
    load,
    number,
)
from prunelib.errors import BadValueError
from prunelib.paths import check_writable


def figures(
    notebook: Annotated[
        list[str] | None, typer.Argument(help="names or beginnings, as 04; all by default")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-P", help="NAME=VALUE for every notebook, repeated"),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--setting", "-s", help="repeat for several: each notebook once for each"),
    ] = None,
    executed: Annotated[
        Path, typer.Option(metavar="FOLDER", help="where the executed notebooks go")
    ] = Path("out"),
    workers: Annotated[
        int, number(int, "--workers", help="notebooks at a time; each trains on all cores")
    ] = 1,
    in_place: Annotated[
        bool, typer.Option(help="refresh the notebooks themselves, with default parameters")
    ] = False,
    file: Files = None,
) -> None:
    """Execute notebooks with papermill; their figures go to figures/ (or PRUNELIB_FIGURES;
    with PRUNELIB_RESULTS, to a folder figures in there)."""
    values = dict(_parameter(text) for text in parameter or [])
    if in_place and (values or setting or file):
        raise BadValueError(
            "--in-place takes no parameters and no file: committed notebooks show the defaults"
        )
    folder = executed.resolve()
    if workers < 1:
        raise BadValueError(f"--workers {workers}: give a whole number from 1")
    load(file)  # here only to say what is wrong before any kernel starts
    from prunelib import settings
    from prunelib.pages import notebooks

    for name in setting or ():
        settings.get(name)

    chosen = [notebooks.find(n) for n in notebook] if notebook else notebooks.paths().values()
    jobs = [(path, None if in_place else folder / path.name, values) for path in chosen]
    if setting:
        jobs = [
            (path, output.with_stem(f"{output.stem}-{name}"), given | {"setting": name})
            for path, output, given in jobs
            for name in setting
        ]
    if not in_place:
        check_writable(folder, "executed notebooks")
    notebooks.execute_all(jobs, workers, file or ())


def _parameter(text: str) -> tuple[str, str | int | bool]:
    name, equals, value = text.partition("=")
    if not equals:
        raise BadValueError(f"parameter {text!r}: write NAME=VALUE, as setting=lenet_mnist")
    if value in ("True", "False"):
        return name, value == "True"
    return name, int(value) if value.isdecimal() else value


def report(
    facts: Annotated[
        bool, typer.Option("--facts", help="compute the ledger's exact numbers anew, a minute")
    ] = False,
) -> None:
    """Write README.md beside the results: what was run, what was not, and what it says; and the
    findings that the project's own README begins with, if these are its results."""
    from prunelib.findings import claims
    from prunelib.findings.facts import recorded
    from prunelib.pages import front, report
    from prunelib.paths import checkout, write_atomically
    from prunelib.results.store import Store

    if facts:
        print(f"Computed {recorded.record(claims.facts())} facts in {recorded.path()}")
    store = Store()
    write_atomically(store.root / "README.md", report.text(store))
    print(f"Wrote {store.root / 'README.md'}")
    root = checkout()
    if root and store.root == root / "results":
        readme = root / "README.md"
        write_atomically(readme, front.with_highlights(readme.read_text(encoding="utf-8"), store))
        print(f"Wrote {readme}")


def claims(
    section: Annotated[
        list[str] | None,
        typer.Option(
            "--section",
            help="repeat for several: 1, 3, 4, 5, 6, 7, A to G, I to M, S (Singh and Liu)",
        ),
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--setting", "-s", help="repeat for several")
    ] = None,
    verdict: Annotated[
        list[str] | None,
        typer.Option(
            help="repeat for several: supported, not supported, undecided, not run, agrees, differs"
        ),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format", help="table; json, whose schema --format schema prints; or csv, in full"
        ),
    ] = "table",
    file: Files = None,
) -> None:
    """Print the ledger: what the papers claim, and what the results say of it."""
    load(file)
    from prunelib.pages import verdicts

    print(verdicts.printed(section or (), setting or (), verdict or (), form))


def judge(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE.py", help="files of your own, which register the method"),
    ] = None,
    file: Files = None,
    method: Annotated[
        str | None,
        typer.Option("--method", "-m", help="its name; by default the one that the files register"),
    ] = None,
    setting: Setting = "resnet8_digits",
    profile: ProfileName = "quick",
    replicates: Annotated[
        int | None,
        number(int, "--replicates", "-r", help="how many; the profile's number by default"),
    ] = None,
    workers: Workers = None,
    device: Device = None,
    precision: Precision = None,
    minutes: Minutes = None,
    cluster: Cluster = None,
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="where to write the page and its JSON")
    ] = Path("out"),
) -> None:
    """Put a method of your own through the paper's sanity checks: one page, and its JSON. One of
    later papers, as --method erk, needs no file.

    What the checks need is trained first, the paper's methods included where the results have them
    not; stopped at any moment, the same command goes on.
    """
    from prunelib import own

    chosen = own.method((*(file or ()), *(files or ())), method)
    from prunelib.pages import judge

    made = judge.report(
        chosen,
        setting,
        profile,
        replicates,
        output,
        workers=workers,
        device=device,
        precision=precision,
        minutes=minutes,
        cluster=cluster,
    )
    print(made)
    if made.judgement.missing:
        print(f"{made.judgement.missing} networks and masks are left: the same command goes on.")
    print(f"The page: {made.path}")
