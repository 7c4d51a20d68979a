"""The command line: prunelib plan, run, merge, bench, figures, claims, report, judge,
data.

What the commands need is imported inside them, since PyTorch takes seconds to import and help and
a mistyped option need none of it.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunelib import settings
from prunelib.errors import BadValueError, PrunelibError, UserCodeError

if TYPE_CHECKING:
    from prunelib.runs import Run

INTERRUPTED = 130  # the status after Ctrl-C

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Prune and train networks as in 'Pruning Neural Networks at Initialization: Why Are We "
    "Missing the Mark?'. Results go to results/ (or PRUNELIB_RESULTS), data are read from data/ "
    "(or PRUNELIB_DATA).",
)


def _number(kind: type[int] | type[float], *names: str, help: str) -> Any:
    """An option for a number, whose sentence names a text that is none."""
    noun = "whole number" if kind is int else "number"

    def parse(text: str) -> int | float:
        try:
            return kind(text)
        except ValueError:
            # Not BadValueError: Typer would take a ValueError for its own, and not name the text.
            raise PrunelibError(f"{names[0]} {text!r} is not a {noun}") from None

    return typer.Option(*names, parser=parse, metavar="NUMBER", help=help)


Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--file",
        metavar="FILE.py",
        help="runs a file of your own first, which registers methods or settings; repeat for "
        "several",
    ),
]
# The names that help lists are written out where their modules import PyTorch; a test compares.
Setting = Annotated[str, typer.Option("--setting", "-s", help=", ".join(settings.SETTINGS))]
ProfileName = Annotated[
    str,
    typer.Option(
        "--profile",
        "-p",
        help="; ".join(f"{p.name}: {p.meaning}" for p in settings.PROFILES.values()),
    ),
]
Figures = Annotated[
    list[str] | None,
    typer.Option(
        "--figure",
        "-f",
        metavar="FIGURE",
        help="repeat for several: 1, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, Y (the ablations of "
        "later methods)",
    ),
]
Tables = Annotated[
    list[int] | None, _number(int, "--table", "-t", help="repeat for several: 2, 3, 5, 7")
]
Workers = Annotated[
    int | None,
    _number(
        int,
        "--workers",
        help="processes: one a core by default, one on a GPU; with --cluster slurm, jobs",
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; a GPU if there is one")]
Precision = Annotated[
    str | None,
    typer.Option(
        help="of the products: fp32, tf32 or bf16; by default bf16 on a CPU that has it, else fp32"
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        "-m",
        help="one pruned network: random, magnitude, snip, iterative_snip, grasp, "
        "grasp_magnitude, synflow, dense, gradual or, of later papers, erk, smart_ratios, "
        "igq, synflow_l2, force, prospr, ntk_sap, phew",
    ),
]
Sparsity = Annotated[
    float | None, _number(float, "--sparsity", help="with --method: fraction to prune, in [0, 1)")
]
Ablation = Annotated[str, typer.Option(help="with --method: none, shuffle, reinit, invert")]
Minutes = Annotated[
    float | None,
    _number(float, "--minutes", help="a budget; the same command later goes on from there"),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        help="train elsewhere: on the workers of a Dask scheduler, by its address, as "
        "tcp://host:8786, or in jobs of slurm, made as dask-jobqueue's own configuration file "
        "says. Who reaches a scheduler can run any program on its workers: it must not face "
        "an open network"
    ),
]
Replicates = Annotated[
    int | None,
    _number(
        int,
        "--replicates",
        "-r",
        help="how many; of a figure the profile's number by default, of --method 1",
    ),
]


def _load(files: list[Path] | None) -> None:
    """Run files of the user's own, so that what they register can be named."""
    if files:
        from prunelib import own

        for path in files:
            own.load(path)


def _chosen(
    setting: str,
    profile: str,
    figures: list[str] | None,
    tables: list[int] | None,
    method: str | None,
    sparsity: float | None,
    ablation: str,
    replicates: int | None,
) -> list["Run"]:
    """The Runs that the options of `plan` and `run` ask for, one replicate after the other."""
    if bool(figures or tables) == bool(method):
        raise BadValueError("say what to run: --figure or --table (or both), or --method")
    if not method and (sparsity is not None or ablation != "none"):
        raise BadValueError(
            "--sparsity and --ablation go with --method, not with figures or tables"
        )
    from prunelib import grids, provenance, runs, scores

    if method:
        known = (*provenance.labels(scores.METHODS), *scores.METHODS, "gradual")
        if sparsity is None and method in known:
            raise BadValueError(f"--method {method}: say how much to prune, as --sparsity 0.9")
        count = 1 if replicates is None else replicates
        if count < 1:
            raise BadValueError(f"replicates {count!r} is not a whole number from 1")
        return [
            runs.Run(setting, profile, method, sparsity or 0.0, ablation, replicate=r)
            for r in range(count)
        ]
    numbers = [int(name) if name.isdecimal() else name for name in figures or ()]
    found = [r for f in numbers for r in grids.figure_runs(f, setting, profile, replicates)]
    found += [r for t in tables or () for r in grids.table_runs(t, setting, profile, replicates)]
    return sorted(dict.fromkeys(found), key=lambda run: run.replicate)


@app.command()
def plan(
    setting: Setting = "lenet_digits",
    profile: ProfileName = "paper",
    figure: Figures = None,
    table: Tables = None,
    method: Method = None,
    sparsity: Sparsity = None,
    ablation: Ablation = "none",
    replicates: Replicates = None,
    device: Device = None,
    precision: Precision = None,
    file: Files = None,
) -> None:
    """Say what a figure or a run needs, what is done, and how long the rest will take."""
    _load(file)
    chosen = _chosen(setting, profile, figure, table, method, sparsity, ablation, replicates)
    from prunelib import engine
    from prunelib.results.store import Store

    print(engine.plan(chosen, Store(), device, precision))


@app.command()
def run(
    setting: Setting = "lenet_digits",
    profile: ProfileName = "paper",
    figure: Figures = None,
    table: Tables = None,
    method: Method = None,
    sparsity: Sparsity = None,
    ablation: Ablation = "none",
    replicates: Replicates = None,
    workers: Workers = None,
    device: Device = None,
    precision: Precision = None,
    minutes: Minutes = None,
    records: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="gets the new records too, for merge elsewhere"),
    ] = None,
    cluster: Cluster = None,
    file: Files = None,
    compact: Annotated[
        bool,
        typer.Option(
            "--compact", help="train masked networks without their dead channels, where that pays"
        ),
    ] = False,
) -> None:
    """Train what the store misses. Stopped at any moment, the same command goes on."""
    _load(file)
    chosen = _chosen(setting, profile, figure, table, method, sparsity, ablation, replicates)
    from prunelib import engine
    from prunelib.results.store import Store

    store = Store()
    missing = len(store.missing(chosen))
    print(f"{setting}, profile {profile}: {missing} of {len(chosen)} runs to train.", flush=True)
    trained = engine.train(
        chosen,
        store,
        workers,
        device,
        precision=precision,
        minutes=minutes,
        output=records,
        cluster=cluster,
        compact=compact,
    )
    print(f"Trained {trained} runs; results in {store.path(setting, profile)}")
    if left := len(store.missing(chosen)):
        print(f"{left} runs are left: the same command goes on.")


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(help="as run --records writes them")],
) -> None:
    """Add records from elsewhere to the store; those it has already are left as they are."""
    from prunelib.results.records import KINDS
    from prunelib.results.store import Store

    def waiting(sentence: str) -> None:
        print(f"prunelib: {sentence}", file=sys.stderr)

    for folder in folders:
        if not folder.is_dir():
            raise BadValueError(f"{folder} is not a folder: give what run --records was given")
        added = sum(Store(kind=kind).merge(folder, waiting) for kind in KINDS)
        print(f"{folder}: {added} new records")


@app.command()
def bench(
    setting: Annotated[
        list[str] | None,
        typer.Option("--setting", "-s", help="repeat for several; LeNet and ResNet-20 by default"),
    ] = None,
    count: Annotated[
        int | None,
        _number(int, "--count", help="networks a program; by default as many as run has in one"),
    ] = None,
    device: Device = None,
    precision: Precision = None,
    workers: Workers = None,
    repetitions: Annotated[
        int, _number(int, "--repetitions", help="the median of so many is printed")
    ] = 7,
) -> None:
    """Measure how fast this machine trains: the engine beside the plain loop in one process."""
    from prunelib import engine

    print(f"Model-images a second; medians of {repetitions} interleaved repetitions.")
    columns = "{:30} {:>8} {:>9} {:>12} {:>12} {:>6} {:>8}"
    heads = ("setting", "networks", "precision", "plain loop", "engine", "ratio", "TFLOP/s")
    print(columns.format(*heads))
    for name in setting or ("lenet_mnist", "resnet20_cifar10"):
        s = engine.bench(name, count, device, precision, workers, repetitions)
        speeds = (f"{s.plain:,.0f}", f"{s.engine:,.0f}", f"{s.ratio:.2f}", f"{s.tflops:.3f}")
        print(columns.format(s.setting, s.count, s.precision, *speeds), flush=True)


@app.command()
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
        int, _number(int, "--workers", help="notebooks at a time; each trains on all cores")
    ] = 1,
    in_place: Annotated[
        bool, typer.Option(help="refresh the notebooks themselves, with default parameters")
    ] = False,
) -> None:
    """Execute notebooks with papermill; their figures go to figures/ (or PRUNELIB_FIGURES)."""
    values = dict(_parameter(text) for text in parameter or [])
    if in_place and (values or setting):
        raise BadValueError("--in-place takes no parameters: committed notebooks show the defaults")
    folder = executed.resolve()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if not in_place and not existing.is_dir():
        raise BadValueError(f"--executed {executed}: {existing} is a file; give a folder")
    if workers < 1:
        raise BadValueError(f"--workers {workers}: give a whole number from 1")
    from prunelib.pages import notebooks

    chosen = [notebooks.find(n) for n in notebook] if notebook else notebooks.paths().values()
    jobs = [(path, None if in_place else folder / path.name, values) for path in chosen]
    if setting:
        jobs = [
            (path, output.with_stem(f"{output.stem}-{name}"), given | {"setting": name})
            for path, output, given in jobs
            for name in setting
        ]
    notebooks.execute_all(jobs, workers)


def _parameter(text: str) -> tuple[str, str | int | bool]:
    name, equals, value = text.partition("=")
    if not equals:
        raise BadValueError(f"parameter {text!r}: write NAME=VALUE, as setting=lenet_mnist")
    if value in ("True", "False"):
        return name, value == "True"
    return name, int(value) if value.isdecimal() else value


@app.command()
def report(
    facts: Annotated[
        bool, typer.Option("--facts", help="compute the ledger's exact numbers anew, a minute")
    ] = False,
) -> None:
    """Write README.md beside the results: what was run, what was not, and what it says; and the
    findings that the project's own README begins with, if these are its results."""
    from prunelib.findings import claims
    from prunelib.findings.facts import recorded
    from prunelib.pages import report
    from prunelib.paths import project_root, write_atomically
    from prunelib.results.store import Store

    if facts:
        print(f"Computed {recorded.record(claims.facts())} facts in {recorded.path()}")
    store = Store()
    write_atomically(store.root / "README.md", report.text(store))
    print(f"Wrote {store.root / 'README.md'}")
    front = project_root() / "README.md"
    if store.root == front.parent / "results":
        write_atomically(front, report.with_highlights(front.read_text(), store))
        print(f"Wrote {front}")


@app.command()
def claims(
    section: Annotated[
        list[str] | None,
        typer.Option("--section", help='repeat for several: 1 to 7, A to M, "S" (Singh and Liu)'),
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
    _load(file)
    from prunelib.pages import verdicts

    print(verdicts.printed(section or (), setting or (), verdict or (), form))


@app.command()
def judge(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE.py", help="files of your own, which register the method"),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option("--method", "-m", help="its name; by default the one that the files register"),
    ] = None,
    setting: Setting = "resnet8_digits",
    profile: ProfileName = "quick",
    replicates: Replicates = None,
    workers: Workers = None,
    device: Device = None,
    precision: Precision = None,
    minutes: Minutes = None,
    cluster: Cluster = None,
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="gets the page and its JSON")
    ] = Path("out"),
) -> None:
    """Put a method of your own through the paper's sanity checks: one page, and its JSON. One of
    later papers, as --method erk, needs no file.

    What the checks need is trained first, the paper's methods included where the results have them
    not; stopped at any moment, the same command goes on.
    """
    from prunelib import own

    found = [name for path in files or () for name in own.load(path).methods]
    if method is None and len(found) != 1:
        raise BadValueError(
            f"the files register {len(found)} methods: say which one to judge, as --method mine"
        )
    from prunelib.pages import judge

    made = judge.report(
        method or found[0],
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
    for answer in made.judgement.answers:
        print(answer.replace("**", ""))
    if made.judgement.missing:
        print(f"{made.judgement.missing} networks and masks are left: the same command goes on.")
    print(f"The page: {made.path}")


@app.command()
def data(names: Annotated[list[str], typer.Argument(help="mnist, cifar10, tinyimagenet")]) -> None:
    """Download datasets into the data root, every file checked against its known digest."""
    from prunelib import datasets

    for name in names:
        print(f"{name}: in {datasets.download(name)}")


def main() -> None:
    """Run the command line; bad input ends with one sentence and status 2, below the traceback of
    the user's own code if that is what failed, never with one of this package."""
    try:
        app()
    except PrunelibError as error:
        if isinstance(error, UserCodeError):
            print(error.traceback, file=sys.stderr)
        print(f"prunelib: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # Typer ends so on Ctrl-C, and says nothing
            print(
                "prunelib: interrupted; finished runs are kept, the same command goes on",
                file=sys.stderr,
            )
        raise
