"""Options that several commands have, and the files of the user's own that they run first."""

from pathlib import Path
from typing import Annotated, Any

import typer

from prunelib import settings
from prunelib.errors import PrunelibError


def number(kind: type[int] | type[float], *names: str, help: str) -> Any:
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
        help="runs a file of your own first, which registers methods, networks, data or settings; "
        "repeat for several",
    ),
]
# The names that help lists are written out where their modules import PyTorch; a test compares.
_NAMES = ", ".join(settings.SETTINGS)
Setting = Annotated[
    str, typer.Option("--setting", "-s", help=f"the network and its data: one of {_NAMES}")
]
SettingNames = Annotated[
    list[str] | None,
    typer.Option(
        "--setting",
        "-s",
        help="the networks and their data, repeat for several: lenet_digits by default, of --claim "
        f"each setting that it speaks of; one of {_NAMES}",
    ),
]
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
    list[int] | None, number(int, "--table", "-t", help="repeat for several: 2, 3, 5, 7")
]
Claims = Annotated[
    list[str] | None,
    typer.Option(
        "--claim",
        "-c",
        metavar="ID",
        help="what the verdict on a claim still lacks, by its id in prunelib claims, as 5.17; "
        "repeat for several",
    ),
]
Workers = Annotated[
    int | None,
    number(
        int,
        "--workers",
        help="processes: by default one a core, or one a GPU; with --cluster slurm, jobs",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(help="cpu or cuda: by default a GPU if there is one, with --cluster the CPU"),
]
Precision = Annotated[
    str | None,
    typer.Option(
        help="precision of matrix products: fp32, tf32 or bf16; by default bf16 on a CPU that is "
        "faster with it, otherwise, and with --cluster, fp32"
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        "-m",
        help="networks pruned at initialisation to one --sparsity, repeat for several: random, "
        "magnitude, snip, iterative_snip, grasp, grasp_magnitude, synflow, dense, gradual or, of "
        "later papers, erk, smart_ratios, igq, synflow_l2, force, prospr, ntk_sap, phew",
    ),
]
Sparsity = Annotated[
    float | None, number(float, "--sparsity", help="with --method: fraction to prune, in [0, 1)")
]
Ablation = Annotated[str, typer.Option(help="with --method: none, shuffle, reinit, invert")]
Minutes = Annotated[
    float | None,
    number(float, "--minutes", help="stop after so many; the same command later goes on"),
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
    number(
        int,
        "--replicates",
        "-r",
        help="how many: by default the profile's number for figures and tables, 1 for --method",
    ),
]


def load(files: list[Path] | None) -> None:
    """Run files of the user's own, so that what they register can be named."""
    if files:
        from prunelib import own

        for path in files:
            own.load(path)
