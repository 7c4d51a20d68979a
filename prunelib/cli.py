"""The command line: prunelib plan / run / merge / bench / figures / report / data."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from prunelib import engine, grids, runs, scores, settings
from prunelib.errors import BadValueError, PrunelibError
from prunelib.paths import project_root
from prunelib.results.store import KINDS, Store, write_atomically

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Prune and train networks as in 'Pruning Neural Networks at Initialization: Why Are We "
    "Missing the Mark?'. Results go to results/ (or PRUNELIB_RESULTS), data are read from data/ "
    "(or PRUNELIB_DATA).",
)  # fmt: skip

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
    list[int] | None,
    typer.Option(
        "--figure", "-f", help=f"repeat for several: {', '.join(map(str, grids.FIGURES))}"
    ),
]
Tables = Annotated[
    list[int] | None,
    typer.Option("--table", "-t", help=f"repeat for several: {', '.join(map(str, grids.TABLES))}"),
]
Workers = Annotated[
    int | None, typer.Option(help="processes; by default one a core, and one on a GPU")
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
        "--method", "-m", help=f"one pruned network: {', '.join(scores.METHODS)}, dense, gradual"
    ),
]
Sparsity = Annotated[float | None, typer.Option(help="with --method: fraction to prune, in [0, 1)")]
Ablation = Annotated[str, typer.Option(help=f"with --method: {', '.join(runs.ABLATIONS)}")]
Replicates = Annotated[
    int | None,
    typer.Option(
        "--replicates",
        "-r",
        help="how many; of a figure the profile's number by default, of --method 1",
    ),
]


def _chosen(setting, profile, figures, tables, method, sparsity, ablation, replicates):
    if bool(figures or tables) == bool(method):
        raise BadValueError("say what to run: --figure or --table (or both), or --method")
    if not method and (sparsity is not None or ablation != "none"):
        raise BadValueError(
            "--sparsity and --ablation go with --method, not with figures or tables"
        )
    if method:
        if sparsity is None and method in (*scores.METHODS, "gradual"):
            raise BadValueError(f"--method {method}: say how much to prune, as --sparsity 0.9")
        count = 1 if replicates is None else replicates
        if count < 1:
            raise BadValueError(f"replicates {count!r} is not a whole number from 1")
        return [
            runs.Run(setting, profile, method, sparsity or 0.0, ablation, replicate=r)
            for r in range(count)
        ]
    found = [r for f in figures or () for r in grids.figure_runs(f, setting, profile, replicates)]
    found += [r for t in tables or () for r in grids.table_runs(t, setting, profile, replicates)]
    return sorted(dict.fromkeys(found), key=lambda run: run.replicate)


@app.command()
def plan(
    setting: Setting = "lenet_digits", profile: ProfileName = "paper", figure: Figures = None,
    table: Tables = None, method: Method = None, sparsity: Sparsity = None,
    ablation: Ablation = "none", replicates: Replicates = None, device: Device = None,
    precision: Precision = None,
):  # fmt: skip
    """Say what a figure or a run needs, what is done, and how long the rest will take."""
    chosen = _chosen(setting, profile, figure, table, method, sparsity, ablation, replicates)
    print(engine.plan(chosen, Store(), device, precision))


@app.command()
def run(
    setting: Setting = "lenet_digits", profile: ProfileName = "paper", figure: Figures = None,
    table: Tables = None, method: Method = None, sparsity: Sparsity = None,
    ablation: Ablation = "none", replicates: Replicates = None,
    workers: Workers = None, device: Device = None, precision: Precision = None,
    minutes: Annotated[
        float | None, typer.Option(help="a budget; the same command later goes on from there")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="a folder that also gets the new records, for merge")
    ] = None,
):  # fmt: skip
    """Train what the store misses. Stopped at any moment, the same command goes on."""
    chosen = _chosen(setting, profile, figure, table, method, sparsity, ablation, replicates)
    store = Store()
    missing = len(store.missing(chosen))
    print(f"{setting}, profile {profile}: {missing} of {len(chosen)} runs to train.", flush=True)
    trained = engine.train(
        chosen, store, workers, device, precision=precision, minutes=minutes, output=output
    )
    print(f"Trained {trained} runs; results in {store.path(setting, profile)}")
    if left := len(store.missing(chosen)):
        print(f"The budget is spent; {left} runs are left: the same command goes on.")


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(help="as run --output writes them")],
):
    """Add records from elsewhere to the store; those it has already are left as they are."""
    for folder in folders:
        if not folder.is_dir():
            raise BadValueError(f"{folder} is not a folder: give what run --output was given")
        added = sum(Store(kind=kind).merge(folder) for kind in KINDS)
        print(f"{folder}: {added} new records")


@app.command(name="bench")
def bench_(
    setting: Annotated[
        list[str] | None,
        typer.Option("--setting", "-s", help="repeat for several; LeNet and ResNet-20 by default"),
    ] = None,
    count: Annotated[
        int | None, typer.Option(help="networks a program; by default as many as run has in one")
    ] = None,
    device: Device = None, precision: Precision = None, workers: Workers = None,
    repetitions: Annotated[int, typer.Option(help="the median of so many is printed")] = 7,
):  # fmt: skip
    """Measure how fast this machine trains: the engine beside the plain loop in one process."""
    print(f"Model-images a second; medians of {repetitions} interleaved repetitions.")
    print(f"{'setting':30} {'networks':>8} {'precision':>9} {'plain loop':>12} {'engine':>12} "
          f"{'ratio':>6} {'TFLOP/s':>8}")  # fmt: skip
    for name in setting or ("lenet_mnist", "resnet20_cifar10"):
        s = engine.measure(name, count, device, precision, workers, repetitions)
        print(f"{s.setting:30} {s.count:8} {s.precision:>9} {s.plain:12,.0f} {s.engine:12,.0f} "
              f"{s.ratio:6.2f} {s.tflops:8.3f}", flush=True)  # fmt: skip


@app.command()
def figures(
    notebook: Annotated[
        list[str] | None, typer.Argument(help="names or beginnings, as 04; all by default")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-P", help="NAME=VALUE for every notebook, repeated"),
    ] = None,
    output: Annotated[Path, typer.Option(help="folder for the executed notebooks")] = Path("out"),
    in_place: Annotated[
        bool, typer.Option(help="refresh the notebooks themselves, with default parameters")
    ] = False,
):
    """Execute notebooks with papermill; their figures go to figures/ (or PRUNELIB_FIGURES)."""
    from prunelib.pages import notebooks

    chosen = [notebooks.find(n) for n in notebook] if notebook else notebooks.paths().values()
    values = dict(_parameter(text) for text in parameter or [])
    if in_place and values:
        raise BadValueError("--in-place takes no parameters: committed notebooks show the defaults")
    for path in chosen:
        print(path.name, flush=True)
        if in_place:
            notebooks.refresh(path)
        else:
            notebooks.execute(path, (project_root() / output).resolve() / path.name, values)


def _parameter(text):
    name, equals, value = text.partition("=")
    if not equals:
        raise BadValueError(f"parameter {text!r}: write NAME=VALUE, as setting=lenet_mnist")
    if value in ("True", "False"):
        return name, value == "True"
    return name, int(value) if value.isdecimal() else value


@app.command()
def report():
    """Write README.md beside the results: what was run, what was not, and what it says."""
    from prunelib.pages import report

    store = Store()
    write_atomically(store.root / "README.md", report.text(store))
    print(f"Wrote {store.root / 'README.md'}")


@app.command()
def data(
    names: Annotated[list[str], typer.Argument(help="mnist, cifar10, tinyimagenet")],
):
    """Download datasets into the data root, every file checked against its known digest."""
    from prunelib import datasets

    for name in names:
        print(f"{name}: in {datasets.download(name)}")


def main():
    """Run the command line; bad input ends with one sentence and status 2, never a traceback."""
    try:
        app()
    except PrunelibError as error:
        print(f"prunelib: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("prunelib: interrupted; finished runs are kept, the same command goes on",
              file=sys.stderr)  # fmt: skip
        sys.exit(130)
