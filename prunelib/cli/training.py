"""The commands that fill the store: plan, run, merge, bench and data."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prunelib.cli.options import (
    Ablation,
    Claims,
    Cluster,
    Device,
    Figures,
    Files,
    Methods,
    Minutes,
    Precision,
    ProfileName,
    Replicates,
    SettingNames,
    Sparsity,
    Tables,
    Workers,
    load,
    number,
)
from prunelib.errors import BadValueError

if TYPE_CHECKING:
    from prunelib.results.records import Kind
    from prunelib.results.store import Store
    from prunelib.runs import Run

SETTING = "lenet_digits"  # where none is named
NOTHING = "Nothing is missing for that: prunelib claims shows the verdicts."


def _wanted(
    claims: list[str] | None, names: list[str] | None, profile: str, *about
) -> list[tuple["Kind", str, list["Run"]]]:
    """The kind of record, setting and Runs that the options of `plan` and `run` ask for; `about` is
    what `_chosen` takes."""
    from prunelib.results.records import TRAINED

    if not claims:
        return [(TRAINED, name, _chosen(name, profile, *about)) for name in names or [SETTING]]
    if any(value not in (None, "none") for value in about):
        raise BadValueError(
            "--claim says by itself what to run: leave --figure, --table, --method, --sparsity, "
            "--ablation and --replicates out"
        )
    from prunelib.findings import ledger

    return [found for name in names or [None] for found in ledger.lacking(claims, name, profile)]


def _chosen(
    setting: str,
    profile: str,
    figures: list[str] | None,
    tables: list[int] | None,
    methods: list[str] | None,
    sparsity: float | None,
    ablation: str,
    replicates: int | None,
) -> list["Run"]:
    """The Runs that the options of `plan` and `run` ask for, one replicate after the other."""
    if (figures or tables) and methods:
        raise BadValueError(
            "--method names single networks, --figure and --table have their own: give one or the "
            "other"
        )
    if not methods and (sparsity is not None or ablation != "none"):
        raise BadValueError(
            "--sparsity and --ablation go with --method, not with figures or tables"
        )
    if not (figures or tables or methods):
        raise BadValueError(
            "say what to run: --figure or --table (or both), or --method, or --claim"
        )
    from prunelib import grids, provenance, runs, scores

    if methods:
        known = (*provenance.labels(scores.METHODS), *scores.METHODS, "gradual")
        for method in methods:
            if sparsity is None and method in known:
                raise BadValueError(f"--method {method}: say how much to prune, as --sparsity 0.9")
        count = 1 if replicates is None else replicates
        if count < 1:
            raise BadValueError(f"--replicates {count}: give a whole number from 1")
        return [
            runs.Run(setting, profile, method, sparsity or 0.0, ablation, replicate=r)
            for r in range(count)
            for method in methods
        ]
    numbers = [int(name) if name.isdecimal() else name for name in figures or ()]
    found = [r for f in numbers for r in grids.figure_runs(f, setting, profile, replicates)]
    found += [r for t in tables or () for r in grids.table_runs(t, setting, profile, replicates)]
    return sorted(dict.fromkeys(found), key=lambda run: run.replicate)


def _show(store: "Store", chosen: list["Run"]) -> None:
    """Print the mean test accuracy of each method that was named."""
    from prunelib.runs import Curve

    curves = {}
    for run in chosen:
        if record := store.records(run.setting, run.profile).get(run):
            about = Curve(run.method, run.ablation), run.sparsity
            curves.setdefault(about, []).append(record.test_accuracy)
    for (curve, sparsity), found in curves.items():
        print(
            f"{curve} at {100 * sparsity:.1f} % sparsity: test accuracy "
            f"{100 * sum(found) / len(found):.1f} % (replicates: {len(found)})"
        )


def plan(
    setting: SettingNames = None,
    profile: ProfileName = "paper",
    figure: Figures = None,
    table: Tables = None,
    claim: Claims = None,
    method: Methods = None,
    sparsity: Sparsity = None,
    ablation: Ablation = "none",
    replicates: Replicates = None,
    device: Device = None,
    precision: Precision = None,
    workers: Workers = None,
    file: Files = None,
) -> None:
    """Say what a figure, a claim or a run needs, what is done, and how long the rest will take."""
    load(file)
    about = (figure, table, method, sparsity, ablation, replicates)
    wanted = _wanted(claim, setting, profile, *about)
    from prunelib import engine
    from prunelib.results.store import Store

    for kind, _, chosen in wanted:
        print(engine.plan(chosen, Store(kind=kind), device, precision, workers))
    if not wanted:
        print(NOTHING)


def run(
    setting: SettingNames = None,
    profile: ProfileName = "paper",
    figure: Figures = None,
    table: Tables = None,
    claim: Claims = None,
    method: Methods = None,
    sparsity: Sparsity = None,
    ablation: Ablation = "none",
    replicates: Replicates = None,
    workers: Workers = None,
    device: Device = None,
    precision: Precision = None,
    minutes: Minutes = None,
    records: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="gets the new records too, for prunelib merge elsewhere"
        ),
    ] = None,
    cluster: Cluster = None,
    file: Files = None,
    compact: Annotated[
        bool,
        typer.Option(
            "--compact",
            help="train masked networks without the channels that pruning has disconnected; small "
            "networks, where that costs more than it saves, as they are",
        ),
    ] = False,
) -> None:
    """Train the networks that results/ lacks, or make the masks and weights that a claim lacks.
    Stopped at any moment, the same command goes on."""
    load(file)
    about = (figure, table, method, sparsity, ablation, replicates)
    wanted = _wanted(claim, setting, profile, *about)
    from prunelib import engine
    from prunelib.results.records import END, TRAINED
    from prunelib.results.store import Store

    early = wanted and all(kind not in (TRAINED, END) for kind, _, _ in wanted)
    if early and (device or precision or compact):
        raise BadValueError(
            "--device, --precision and --compact are of training, and what these claims lack is "
            "made before it, on the CPU: leave them out"
        )
    began, budget = time.monotonic(), minutes
    for kind, name, chosen in wanted:
        store, verb, noun = Store(kind=kind), "made", kind.name
        if kind == TRAINED:
            verb, noun = "trained", "runs"
        count = f"{len(store.missing(chosen))} of {len(chosen)} {noun}"
        print(f"{name}, profile {profile}: {count} to be {verb}.", flush=True)
        how = {"workers": workers, "cluster": cluster, "minutes": budget, "output": records}
        if kind == TRAINED:
            how |= {"device": device, "precision": precision, "compact": compact}
            new = engine.train(chosen, store, **how)
        else:
            new = engine.measure(chosen, store, **how)
        print(f"{new} {noun} are new; results in {store.path(name, profile)}")
        if left := len(store.missing(chosen)):
            print(f"{left} {noun} are left: the same command goes on.")
        if method:
            _show(store, chosen)
        if minutes is not None:
            budget = max(minutes - (time.monotonic() - began) / 60, 0.01)
    if not wanted:
        print(NOTHING)


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
        held = any(Store(folder, kind).pairs() for kind in KINDS)
        print(f"{folder}: {added} new records" if held else f"{folder} holds no records")


def bench(
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--setting",
            "-s",
            help="repeat for several; two small ones and ResNet-20 by default",
        ),
    ] = None,
    count: Annotated[
        int | None,
        number(
            int,
            "--count",
            help="networks trained as one program; by default as many as run has",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda: by default a GPU if there is one")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="of the engine: fp32, tf32 or bf16; by default as of run")
    ] = None,
    workers: Annotated[
        int | None,
        number(int, "--workers", help="processes: by default one a core, or one a GPU"),
    ] = None,
    repetitions: Annotated[
        int, number(int, "--repetitions", help="the median of so many is printed")
    ] = 7,
) -> None:
    """Measure how fast this machine trains: the engine beside the loops that one would write.

    The plain loop runs in one process, in fp32; the same with channels last in the engine's
    precision, and compiled, in as many processes as the engine. The peak is that of square matrix
    products.
    """
    from prunelib import engine

    print(f"Model-images a second; medians of {repetitions} interleaved repetitions.")
    columns = "{:30} {:>8} {:>9} {:>10} {:>13} {:>10} {:>10} {:>13} {:>8} {:>8}"
    heads = ("plain loop", "channels last", "compiled", "engine", "ratio to best", "TFLOP/s")
    print(columns.format("setting", "networks", "precision", *heads, "of peak"))
    for name in setting or ("lenet_mnist", "resnet8_digits", "resnet20_cifar10"):
        s = engine.bench(name, count, device, precision, workers, repetitions)
        loops = [f"{s.loops[n]:,.0f}" if n in s.loops else "no compiler" for n in heads[:3]]
        found = (
            f"{s.engine:,.0f}",
            f"{s.ratio:.2f}",
            f"{s.tflops:.3f}",
            f"{s.tflops / s.peak:.0%}",
        )
        print(columns.format(s.setting, s.count, s.precision, *loops, *found), flush=True)


def data(names: Annotated[list[str], typer.Argument(help="mnist, cifar10, tinyimagenet")]) -> None:
    """Download datasets into the data root, every archive checked against its known digest."""
    from prunelib import datasets

    for name in names:
        print(f"{name}: in {datasets.download(name)}")
