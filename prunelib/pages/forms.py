"""FORMS: which records the figure of a notebook rests on, and how it is drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure

from prunelib import grids, scores, settings
from prunelib.findings import curves, introduction
from prunelib.pages import draw, draw_masks, style
from prunelib.paths import data_root
from prunelib.results.records import END, MASK, START, TRAINED, Kind
from prunelib.runs import Run

if TYPE_CHECKING:
    from prunelib.pages.page import Page

WHEN = {"before training": START, "after training": END}


@dataclass(frozen=True)
class Form:
    """What a figure rests on and how it is made: records of some kinds; which Runs, and what
    numbers, as functions of a `Page`; its drawing, as one of a Page, the numbers and a title; and,
    where it reads masks, of which methods, if not of `grids.compared`."""

    kinds: tuple[Kind, ...]
    runs: Callable[["Page"], list[Run]]
    data: Callable[["Page"], pd.DataFrame]
    draw: Callable[["Page", pd.DataFrame, str], Figure]
    of: tuple[str, ...] = ()


def _of_masks(data, drawing, all_sparsities=False, after=False, of=()):
    def runs(page):
        levels = None if all_sparsities else settings.matching_level(page.setting)[:1]
        names = readable(page.setting, of)
        return grids.mask_runs(page.setting, names, levels, page.replicates, after)

    def draw(page, numbers, title):
        return drawing(numbers, title, page.asked, page.setting)

    return Form((MASK,), runs, data, draw, of)


ACCURACY = Form(
    (TRAINED,),
    lambda p: grids.figure_runs(p.figure, p.setting, p.profile, p.replicates),
    lambda p: p.accuracy_data(),
    lambda p, data, title: draw.accuracy(data, title, p.figure, p.setting, p.profile, p.replicates),
)
_STEPS = replace(
    ACCURACY,
    draw=lambda p, data, title: draw.steps(
        data, title, p.figure, p.setting, p.profile, p.replicates
    ),
)
_REMAINING = replace(
    ACCURACY,
    data=lambda p: introduction.remaining(
        p.table(), p.setting, p.profile, style.label, p.replicates
    ),
    draw=lambda p, data, title: draw.introduction(data, title, p.asked),
)
_WEIGHTS = Form(
    (START, END),
    lambda p: grids.weight_runs(p.setting, p.profile, replicates=p.replicates),
    lambda p: curves.weight_data({w: t for w, k in WHEN.items() if len(t := p.table(k))}),
    lambda p, data, title: draw_masks.weights(data, title, p.asked),
)
# Accuracy against sparsity or the step of pruning; weights remaining; what is read off masks; the
# follow-up's weights.
FORMS: dict[int | str, Form] = {
    **{f: _STEPS if g.along == "step" else ACCURACY for f, g in grids.FIGURES.items()},
    1: _REMAINING,
    5: _of_masks(lambda p: curves.collapse_data(p.table(), p.sparsity), draw_masks.collapse),
    15: _of_masks(
        lambda p: curves.layer_data(p.table(), p.setting, p.sparsity), draw_masks.layers, after=True
    ),
    16: _of_masks(lambda p: curves.ratio_data(p.table()), draw_masks.ratio, all_sparsities=True),
    "Y-collapse": _of_masks(
        lambda p: curves.collapse_data(p.table(), p.sparsity),
        draw_masks.collapse,
        of=("synflow", "random", *grids.LATER),
    ),
    "weights": _WEIGHTS,
}


def readable(setting: str, of: Sequence[str] = ()) -> tuple[str, ...]:
    """The methods (`of`, else `grids.compared`) whose masks can be made here: on ImageNet, where it
    is not at hand, only those that need no data."""
    known = settings.get(setting).dataset != "imagenet" or (data_root() / "imagenet").is_dir()
    return tuple(m for m in (of or grids.compared()) if known or not scores.get(m).needs_data)
