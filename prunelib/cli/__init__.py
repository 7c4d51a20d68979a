"""The command line: prunelib plan, run, merge, bench, figures, report, claims, judge, data.

What the commands need is imported inside them, since PyTorch takes seconds to import and help and
a mistyped option need none of it.
"""

import inspect
import re
import sys
from typing import Annotated

import typer

from prunelib import __version__
from prunelib.cli import showing, training
from prunelib.errors import PrunelibError, UnknownNameError, UserCodeError

INTERRUPTED = 130  # the status after Ctrl-C

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Prune and train networks as in 'Pruning Neural Networks at Initialization: Why Are We "
    "Missing the Mark?'. Results go to results/ (or PRUNELIB_RESULTS), data are read from data/ "
    "(or PRUNELIB_DATA).",
)
for _command in (
    training.plan,
    training.run,
    training.merge,
    training.bench,
    showing.figures,
    showing.report,
    showing.claims,
    showing.judge,
    training.data,
):
    # Lines of a docstring end where the source's do: those of help where the terminal's do.
    _parts = inspect.getdoc(_command).split("\n\n")
    app.command(help="\n\n".join(" ".join(part.split()) for part in _parts))(_command)


def _version(asked: bool) -> None:
    if asked:
        print(f"prunelib {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="say which this is")
    ] = False,
) -> None:
    """What stands before a command."""


def main() -> None:
    """Run the command line; bad input ends with one sentence and status 2, below the traceback of
    the user's own code if that is what failed, never with one of this package."""
    for stream in (sys.stdout, sys.stderr):  # what a terminal cannot show must not end the command
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except PrunelibError as error:
        if isinstance(error, UserCodeError):
            print(error.traceback, file=sys.stderr)
        own = isinstance(error, UnknownNameError) and "--file" not in sys.argv
        own = own and re.match("unknown (method|setting|network|dataset) ", str(error))
        more = "; one of your own needs its file, as --file mine.py" if own else ""
        print(f"prunelib: {error}{more}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # of whoever has read enough
        raise
    except OSError as error:
        print(f"prunelib: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # Typer ends so on Ctrl-C, and says nothing
            trains = {"run", "judge", "figures"} & set(sys.argv[1:2])
            kept = "; finished runs are kept, the same command goes on" if trains else ""
            print(f"prunelib: interrupted{kept}", file=sys.stderr)
        raise
