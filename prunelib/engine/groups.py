"""Runs into tasks: which of them one worker carries out together, and in which order.

Pure functions. A figure is one large job rather than hundreds of small ones: Runs that share their
data are trained as one program, one-shot masks of one ranking are read together, and the weights of
an ablation are compared where those of its unmodified Run are at hand.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prunelib import scores
from prunelib.engine.checkpoints import State
from prunelib.results.records import MASK, TRAINED, Kind
from prunelib.runs import Run


@dataclass(frozen=True)
class Task:
    """What one worker does in one piece.

    Attributes:
        kind: what it records: trained networks, masks, or distributions of unpruned weights.
        runs: of one setting, profile and replicate.
        record: those of them that get a record; dense networks whose states alone were lost, and
            the unmodified network that others are compared with, do not.
        keep: dense states to hand back, as later Runs start from them.
        begun: the checkpoint that the group goes on from.
    """

    kind: Kind
    runs: tuple[Run, ...]
    record: frozenset[Run]
    keep: frozenset[State] = frozenset()
    begun: Path | None = None

    @property
    def starts(self) -> tuple[State, ...]:
        """The dense states that its Runs start from."""
        return starts(self.runs)


def starts(runs: Collection[Run]) -> tuple[State, ...]:
    """The dense states that Runs start from, in an order of their own."""
    return tuple(dict.fromkeys((run.parent, step) for run in runs for step in steps(run)))


def steps(run: Run) -> list[int | str]:
    """The steps of its dense Run that a Run needs, "end" last."""
    return sorted(run.parent_steps, key=lambda step: (isinstance(step, str), step))


@dataclass(frozen=True)
class Stock:
    """What a campaign has to make tasks with.

    Attributes:
        kind: what it records.
        width: how many networks of a setting are trained as one program.
        workers: among how many the work is shared.
        there: dense states that are at hand.
        begun: unfinished groups: their checkpoint and the runs in it that are left to train.
    """

    kind: Kind
    width: Callable[[str], int]
    workers: int
    there: Collection[State] = ()
    begun: Sequence[tuple[Path, tuple[Run, ...]]] = ()


def first(missing: list[Run], stock: Stock) -> list[Task]:
    """Tasks of dense networks, whose states others need, and of Runs that need none; `missing` are
    Runs to record, in the order of their value."""
    needed = [state for state in starts(missing) if state not in stock.there]
    dense = list(dict.fromkeys(run for run, _ in needed))
    alone = [run for run in missing if not run.parent]
    if stock.kind != TRAINED:
        return _training(dense, set(), needed, stock) + _others(alone, stock.kind)
    record = set(missing)
    dense = sorted({*dense, *(run for run in alone if run.method == "dense")})
    pruned = [run for run in alone if run.method != "dense"]
    needed += [state for state in starts(missing) if state[0] in record]
    return _training(dense + pruned, record, needed, stock)


def second(missing: list[Run], stock: Stock) -> list[Task]:
    """Tasks of Runs that start from dense states, as far as those are there; else as `first`."""
    ready = [run for run in missing if run.parent and set(starts([run])) <= set(stock.there)]
    if stock.kind != TRAINED:
        return _others(ready, stock.kind)
    return _training(ready, set(ready), [], stock)


def _training(
    runs: list[Run], record: Collection[Run], keep: Collection[State], stock: Stock
) -> list[Task]:
    """Groups of like size for each worker, so that all end at about the same time; groups that
    were begun go on as they are."""
    tasks, left = [], dict.fromkeys(runs)

    def add(members, path=None):
        kept = frozenset(state for state in keep if state[0] in members)
        tasks.append(Task(TRAINED, tuple(members), frozenset(record) & {*members}, kept, path))

    for path, group in stock.begun:
        if members := [run for run in group if run in left]:
            add(members, path)
            left = {run: None for run in left if run not in members}
    groups: dict[tuple, list[Run]] = {}
    for run in left:
        groups.setdefault((run.setting, run.profile, run.replicate), []).append(run)
    for (setting, _, _), members in groups.items():
        most = stock.width(setting)
        rounds = math.ceil(len(members) / (most * stock.workers))
        size = min(most, math.ceil(len(members) / (rounds * stock.workers)))
        for i in range(0, len(members), size):
            add(members[i : i + size])
    return tasks


def _others(runs: list[Run], kind: Kind) -> list[Task]:
    """Tasks that read masks or compare weights, the longest first."""
    groups: dict[Run, list[Run]] = {}
    for run in runs:
        key = replace(run, ablation="none")
        if kind == MASK and scores.get(run.method).ranks_once:
            key = replace(key, sparsity=0.0)
        groups.setdefault(key, []).append(run)
    if kind == MASK:
        longest = sorted(groups.values(), key=lambda g: -scores.get(g[0].method).iterations)
        return [Task(kind, tuple(group), frozenset(group)) for group in longest]
    return [
        Task(kind, tuple(dict.fromkeys([unmodified, *group])), frozenset(group))
        for unmodified, group in groups.items()
    ]
