"""Judge a method of one's own: train what its checks need, and show what comes out as one page.

`report` is the whole of it, behind `prunelib judge` and the notebook X_your_method: it trains what
the store misses, holds the paper's claims against the results (`findings.judge`), draws the paper's
figures with the method in them, and writes a page that needs nothing beside it, and its JSON.
"""

import base64
import io
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display
from matplotlib.figure import Figure

from prunelib import engine, grids, masks, networks, provenance, scores, settings
from prunelib.errors import BadValueError
from prunelib.findings import curves, judge
from prunelib.findings.judge import Judgement
from prunelib.findings.measures import Results
from prunelib.pages import draw, draw_masks, style, verdicts
from prunelib.pages.evidence import Evidence, basis
from prunelib.pages.page import JUDGED, PARAMETERS, enter_notebook
from prunelib.pages.shown import in_words
from prunelib.paths import check_writable, write_atomically
from prunelib.results.records import MASK
from prunelib.results.store import Store
from prunelib.runs import Curve, Run

DPI = 130


@dataclass(frozen=True)
class Drawing:
    """A figure of the page: its heading, what to see in it, and the figure; None if not run."""

    heading: str
    see: str
    figure: Figure | None


@dataclass(frozen=True, repr=False)
class Report:
    """What a judgement is shown as; a notebook and a terminal show its answers by themselves."""

    judgement: Judgement
    drawings: tuple[Drawing, ...]
    evidence: tuple[str, ...]
    code: str
    path: Path | None = None

    @property
    def basis(self) -> str:
        """What the judgement rests on, in a line."""
        about = self.judgement
        told = f"{about.replicates} replicates; more of them make intervals shorter"
        if about.replicates == 1:
            told = "one replicate, of which nothing can be told: ask for two or more"
        meaning = settings.get_profile(about.profile).meaning
        said = f"{about.label} on {style.title(about.setting)}, profile {about.profile}, {meaning}"
        return " ".join(filter(None, (f"{said}; {told}.", self.caution)))

    @property
    def caution(self) -> str:
        """What a schedule shorter than the paper's does to the answers, in a sentence; else ""."""
        profile = settings.get_profile(self.judgement.profile)
        if profile.iterations:
            return (
                f"After {profile.iterations} iterations of training the answers say nothing of a "
                "method: this profile tries whether everything runs."
            )
        return f"{draw.TWICE[0].upper()}{draw.TWICE[1:]}." if profile.scale < 1 else ""

    def __repr__(self) -> str:
        return "\n".join([self.basis, *self.judgement.answers]).replace("**", "")

    def _repr_markdown_(self) -> str:
        answers = "\n".join(f"1. {answer}" for answer in self.judgement.answers)
        return f"{answers}\n\n{self.basis}"

    def table(self) -> pd.DataFrame:
        """Every check with its verdict, as the notebooks show claims."""
        return verdicts.table(self.judgement.entries).drop(columns=["setting", "profile"])

    def show(self) -> None:
        """Show every figure under its heading, with what to see in it."""
        for drawing in self.drawings:
            display(Markdown(f"### {drawing.heading}\n\n{drawing.see}"))
            display(in_words(drawing.figure) if drawing.figure else "Not run.")
            plt.close(drawing.figure)


def trained_runs(
    method: str, setting: str, profile: str, replicates: int | None = None
) -> list[Run]:
    """The Runs that are trained to judge a method: Figure 3 with it, its part of Figure 4, and its
    line of Figure 6.

    Raises:
        PrunelibError: a name or number that is not allowed.
    """
    name = grids.include(method)
    asked = (setting, profile, replicates)
    late = Curve(name, prune_at="k", weights_from="k")
    points = grids.FIGURES[6].points(setting, profile)
    count = replicates or grids.FIGURES[6].count(setting, profile)
    runs = grids.figure_runs(3, *asked) + grids.figure_runs(name, *asked)
    runs += [late.run(setting, profile, s, r, step) for r in range(count) for s, step in points]
    return sorted(dict.fromkeys(runs), key=lambda run: run.replicate)


def mask_runs(method: str, setting: str, profile: str, replicates: int | None = None) -> list[Run]:
    """The Runs whose masks are read: Figures 5, 15 and 16 with the method, at the sparsities of the
    profile and the one that the first two show; of the method itself at all sparsities."""
    name, about = grids.include(method), settings.get(setting)
    levels = {settings.matching_level(setting)[0]}
    levels |= {k for k in settings.get_profile(profile).levels if k <= about.highest}
    count = replicates or settings.replicates(setting, profile)
    others = [other for other in grids.compared() if other != name]
    own = grids.mask_runs(setting, [name], replicates=count)
    return own + grids.mask_runs(setting, others, sorted(levels), count)


def report(
    method: str,
    setting: str = "resnet8_digits",
    profile: str = "quick",
    replicates: int | None = None,
    folder: Path | str | None = None,
    train: bool = True,
    **how,
) -> Report:
    """Judge a method by the paper's checks; what the store misses is trained first.

    Args:
        method: a registered name, also the plain one of a method of one's own.
        setting, profile: names; see `prunelib.settings`.
        replicates: how many; the profile's own by default.
        folder: gets NAME-SETTING-PROFILE.html and .json; None writes nothing.
        train: whether to train what is missing; without, what there is gets judged.
        how: as for `engine.train`: workers, device, precision, minutes (of all that this does),
            cluster, progress.

    Raises:
        PrunelibError: bad input, or a method that does not keep to what it promised; one sentence.
    """
    enter_notebook((*PARAMETERS, *JUDGED))
    began, minutes = time.monotonic(), how.pop("minutes", None)

    def left() -> float | None:  # of one budget for all; a moment, where it is spent
        return minutes and max(minutes - (time.monotonic() - began) / 60, 0.01)

    if folder is not None:
        check_writable(Path(folder), "pages")
    _check(method, setting, profile, minutes)
    runs = trained_runs(method, setting, profile, replicates)
    read = mask_runs(method, setting, profile, replicates)
    store = Store()
    if train:
        if not how.get("cluster") and store.missing(runs):
            here = {n: how.get(n) for n in ("device", "precision", "workers")}
            print(engine.plan(runs, store, **here), flush=True)
        shared = {n: v for n, v in how.items() if n in ("workers", "cluster", "progress")}
        engine.train(runs, store, minutes=left(), **how)
        engine.measure(read, Store(kind=MASK), minutes=left(), **shared)
    found = _report(scores.get(method), setting, profile, replicates, runs, read)
    if folder is None:
        return found
    name = f"{found.judgement.label}-{provenance.label(setting)}-{profile}"
    path = Path(folder) / re.sub(r"[^\w.-]", "_", f"{name}.html")
    write_atomically(path, page(found))
    write_atomically(path.with_suffix(".json"), found.judgement.model_dump_json(indent=1) + "\n")
    return replace(found, path=path)


def _check(method, setting, profile, minutes):
    """That a method gives the same again, at half of the weights and at the highest sparsity if it
    is told these, before hours of training rest on it; and within a budget, if there is one."""

    def stop(*_):
        raise BadValueError(
            f"method {provenance.label(method)!r} had not pruned a network twice when the budget "
            f"of {minutes:g} minutes was spent, and nothing was trained: give more minutes"
        )

    if minutes is not None and not 0 < minutes < 1e7:
        raise BadValueError(f"minutes={minutes!r}: give a number above 0, and less than ten years'")
    model = networks.build(settings.get(setting).network, 0)
    timed = minutes is not None and threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, stop) if timed else None
    try:
        if timed:
            others = signal.setitimer(signal.ITIMER_REAL, 60 * minutes)
        highest = settings.sparsities(setting, profile)[-1:]
        for sparsity in [0.5, *highest] if scores.get(method).takes("sparsity") else [0.5]:
            masks.check(model, method, scores.data(method, setting), sparsity)
    finally:
        if timed:
            signal.setitimer(signal.ITIMER_REAL, *others)
            signal.signal(signal.SIGALRM, before)


def _report(method, setting, profile, replicates, runs, read):
    results = Results(Store().root)
    found = judge.entries(method.name, results, setting, profile)
    trained, seen = Evidence.read(runs, Store()), Evidence.read(read, Store(kind=MASK))
    parts = judge.parts(method.name, results, setting, profile)
    judgement = Judgement(
        method=method.name,
        label=method.label,
        source=method.name.removeprefix(method.label).strip("_"),
        setting=setting,
        profile=profile,
        replicates=len({run.replicate for run in runs}),
        answers=judge.answers(found, parts, method.label),
        entries=found,
        missing=len(trained.missing) + len(seen.missing),
    )
    drawings = _drawings(method, setting, profile, replicates, seen)
    evidence = (str(trained), str(seen), *_made_by(trained))
    return Report(judgement, drawings, evidence, provenance.code(method.function))


def _made_by(trained):
    """What trained the networks, in a sentence; none where none was."""
    if trained.records:
        commits, torch, devices = (
            ", ".join(trained.values(name)) for name in ("commit", "torch", "device")
        )
        yield f"Trained with {commits} of this project and PyTorch {torch}, on {devices}."


def _drawings(method, setting, profile, replicates, seen):
    sparsity = settings.highest_matching(setting)
    title, at = style.title(setting), f" at {100 * sparsity:.1f} % sparsity"

    def accuracies(figure, drawing: Callable) -> Figure | None:
        runs = grids.figure_runs(figure, setting, profile, replicates)
        own = Evidence.read(runs, Store())
        about = (setting, profile, style.label, replicates)
        data = curves.accuracy_data(figure, own.table, *about)
        if style.is_unpruned(data["line"]).all():
            return None
        return drawing(data, f"{title}\n{basis([own], profile)}", figure, *about[:2], replicates)

    def of_masks(data, drawing, where="") -> Figure | None:
        asked = len({run.replicate for run in seen.wanted})
        name = f"{title}{where}\n{basis([seen])}"
        return drawing(data, name, asked, setting) if len(data) else None

    table = seen.table
    return (
        Drawing(
            "Accuracy against sparsity (Figure 3)",
            f"See how near {method.label} comes to magnitude pruning after training, the mark, and "
            "whether it leaves the band of the paper's early methods.",
            accuracies(3, draw.accuracy),
        ),
        Drawing(
            "Shuffled, reinitialised, inverted, fixed variance (Figure 4)",
            "If shuffling its mask within layers or drawing the weights anew changes nothing, what "
            "the method chooses is how many weights each layer keeps.",
            accuracies(method.name, draw.accuracy),
        ),
        Drawing(
            "Pruned after initialisation (Figure 6)",
            f"See from which step on {method.label} approaches lottery ticket rewinding. Lines of "
            "other methods are shown where the store has them.",
            accuracies(6, draw.steps),
        ),
        Drawing(
            "Neuron collapse (Figure 5)",
            "The further right a curve stays up, the more neurons lose all or most of their "
            "weights.",
            of_masks(curves.collapse_data(table, sparsity), draw_masks.collapse, at),
        ),
        Drawing(
            "Layerwise proportions (Figure 15)",
            "Methods that prune layers alike differ in little else, if within layers any weights "
            "do.",
            of_masks(curves.layer_data(table, setting, sparsity), draw_masks.layers, at),
        ),
        Drawing(
            "Effective sparsity (Figure 16)",
            "Above 1, shuffling the mask reconnects weights that lay on no path from input to "
            "output.",
            of_masks(curves.ratio_data(table), draw_masks.ratio),
        ),
    )


def page(report: Report) -> str:
    """A judgement as one HTML page that reads without kernel, network or other files."""
    return style.TEMPLATES.get_template("judge.html").render(
        j=report.judgement,
        counted=verdicts.counted(report.judgement.entries),
        effect=verdicts.effect,
        interval=verdicts.interval,
        short=verdicts.short,
        looks={name: colour for name, (colour, _) in verdicts.LOOKS.items()},
        setting=style.title(report.judgement.setting),
        meaning=settings.get_profile(report.judgement.profile).meaning,
        drawings=[
            (d, d.figure and draw.described(d.figure), _image(d.figure)) for d in report.drawings
        ],
        caution=report.caution,
        evidence=report.evidence,
        code=report.code,
    )


def _image(figure):
    if figure is None:
        return ""
    buffer = io.BytesIO()
    with matplotlib.rc_context(style.RC):
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()
