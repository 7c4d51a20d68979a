"""The command line: prunelib plan / run / figures / data."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from prunelib import engine, runs, scores, settings
from prunelib.errors import BadValueError, PrunelibError
from prunelib.paths import project_root
from prunelib.store import Store

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
    typer.Option("--figure", "-f", help=f"repeat for several: {', '.join(map(str, runs.FIGURES))}"),
]
Method = Annotated[
    str | None,
    typer.Option("--method", "-m", help=f"one pruned network: {', '.join(scores.METHODS)}, dense"),
]
Sparsity = Annotated[float, typer.Option(help="with --method: fraction to prune, in [0, 1)")]
Ablation = Annotated[str, typer.Option(help=f"with --method: {', '.join(runs.ABLATIONS)}")]
Replicates = Annotated[
    int | None, typer.Option("--replicates", "-r", help="how many; the profile's number by default")
]


def _chosen(setting, profile, figures, method, sparsity, ablation, replicates):
    if bool(figures) == bool(method):
        raise BadValueError("say what to run: either --figure or --method")
    if figures:
        found = [r for f in figures for r in runs.figure_runs(f, setting, profile, replicates)]
        return list(dict.fromkeys(found))
    count = replicates if replicates is not None else 1
    return [
        runs.Run(setting, profile, method, sparsity, ablation, replicate=r) for r in range(count)
    ]


@app.command()
def plan(
    setting: Setting = "lenet_digits", profile: ProfileName = "paper", figure: Figures = None,
    method: Method = None, sparsity: Sparsity = 0.0, ablation: Ablation = "none",
    replicates: Replicates = None,
):  # fmt: skip
    """Say what a figure or a run needs, what is done, and how long the rest will take."""
    chosen = _chosen(setting, profile, figure, method, sparsity, ablation, replicates)
    print(engine.plan(chosen, Store()))


@app.command()
def run(
    setting: Setting = "lenet_digits", profile: ProfileName = "paper", figure: Figures = None,
    method: Method = None, sparsity: Sparsity = 0.0, ablation: Ablation = "none",
    replicates: Replicates = None,
    workers: Annotated[int | None, typer.Option(help="processes; one a core by default")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; a GPU if there is one")] = None,
):  # fmt: skip
    """Train what the store misses. Stopped at any moment, the same command goes on."""
    chosen = _chosen(setting, profile, figure, method, sparsity, ablation, replicates)
    store = Store()
    print(engine.plan(chosen, store), flush=True)
    trained = engine.train(chosen, store, workers, device)
    print(f"Trained {trained} runs; results in {store.path(setting, profile)}")


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
    from prunelib import notebooks

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
