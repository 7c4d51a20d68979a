"""Train one group of Runs as a program: begun or resumed, watched, and halved if need be."""

import contextlib
import gc
import time
from collections.abc import Mapping
from dataclasses import replace

import torch

from prunelib import compaction, datasets, masks, networks, scores, settings
from prunelib.engine import memory, programs, wide
from prunelib.engine.checkpoints import State, Tensors, dump
from prunelib.engine.groups import Task
from prunelib.engine.jobs import Advance, Done, Job
from prunelib.engine.starts import Starts
from prunelib.errors import BadValueError, PrunelibError
from prunelib.results.records import Trained

SAVE = 60  # seconds of training between checkpoints of a group, at least
COST = 50  # and so many times what the last checkpoint took, at least
COMPACT = "compact"  # marks the checkpoint of a group of small networks
LONG = 60  # seconds before the end of a budget in which a group is checkpointed when it may be cut


def train(task: Task, job: Job, states: Mapping[State, Tensors], advance: Advance) -> Done:
    """Train a group, as two groups where it does not fit into memory."""
    try:
        return _train_program(task, job, states, advance)
    except (RuntimeError, MemoryError) as error:
        if not memory.is_lacking(error):
            raise
        if len(task.runs) == 1:
            shorter = "" if job.precision == "bf16" else " --precision bf16,"
            raise PrunelibError(
                f"one network of {task.runs[0].setting} does not fit into the memory of "
                f"{job.device!r} in {job.precision}: finished runs are kept; give fewer workers,"
                f"{shorter} or a larger machine"
            ) from None
    gc.collect()  # what a compacted network refers to refers back to it
    # A half goes on from what the whole has checkpointed: evaluation may be what did not fit.
    own = job.checkpoints().group_path(task.runs)
    begun = own if own.exists() else task.begun
    done, middle = Done(), len(task.runs) // 2
    for runs in (task.runs[:middle], task.runs[middle:]):
        half = train(replace(task, runs=runs, begun=begun), job, states, advance)
        done.records += half.records
        done.states |= half.states
    return done


def _train_program(task: Task, job: Job, states: Mapping[State, Tensors], advance: Advance) -> Done:
    began = time.perf_counter()
    first = task.runs[0]
    schedule = settings.schedule(first.setting, first.profile)
    dataset = datasets.load(settings.get(first.setting).dataset).to(job.device)
    program, spent = _resumed(task, job, states, schedule)
    if program is None:
        program = _begun(task, job, states, schedule)
        if program is None:
            return Done()
    advance(program.count * program.done)
    watch = _Watch(task, job, program, began - spent, advance)
    outcomes = programs.train(program, dataset, first.replicate, watch.before)
    if outcomes is None:
        return Done(states=watch.states)
    shared = job.provenance(first, True) | {
        "epochs": schedule.epochs,
        "seconds": (time.perf_counter() - watch.began) / len(task.runs),
        "precision": job.precision,
    }
    records = [
        Trained(
            run=run,
            test_accuracy=outcome.test_accuracy,
            test_loss=outcome.test_loss,
            train_loss=outcome.train_loss,
            kept_weights=program.kept.get(k) or masks.kept(program.mask(k)),
            engine="compact" if k in program.kept else type(program).__name__.lower(),
            **shared,
        )
        for k, (run, outcome) in enumerate(zip(task.runs, outcomes, strict=True))
        if run in task.record
    ]
    return Done(records, watch.states)


def _begun(
    task: Task, job: Job, states: Mapping[State, Tensors], schedule: settings.Schedule
) -> programs.Program | None:
    """The program of a group at its first iteration; None if the job is over before that."""
    starts, made = Starts(states, job.device), []
    for run in task.runs:
        if job.is_over():
            return None
        with memory.scoring():
            made.append(starts.start(run))
    models, mask = (list(part) for part in zip(*made, strict=True))
    return _program(task, job, models, mask, schedule)


def _program(task, job, models, mask, schedule) -> programs.Program:
    """The program of these networks, or of the smaller ones that stand for them; `program.kept`
    says how many weights the masks of those keep, dead ones included."""
    kept = {}
    if job.compact and not wide.pays(models[0].network):
        for k, run in enumerate(task.runs):
            if run.method in scores.UNSCORED:
                continue
            with contextlib.suppress(BadValueError):  # cut in two, or of other parts: as it is
                small = compaction.compact(models[k], mask[k])
                kept[k], models[k], mask[k] = masks.kept(mask[k]), small.network, small.mask
    program = programs.make(models, mask, schedule, job.precision, _gradual(task))
    program.kept = kept
    return program


def _gradual(task: Task) -> list[float | None]:
    return [run.sparsity if run.method == "gradual" else None for run in task.runs]


def _resumed(
    task: Task, job: Job, states: Mapping[State, Tensors], schedule: settings.Schedule
) -> tuple[programs.Program | None, float]:
    """The program of an unfinished group where it was left, of the task's runs alone, and the
    seconds spent on it; None and 0 where there is none.

    The group may be one that the caller found (`task.begun`), or this very task, which another
    worker had begun before it was lost.
    """
    if not job.is_shared:
        return None, 0.0
    folder = job.checkpoints()
    for path in (folder.group_path(task.runs), task.begun):
        group = folder.read_group(path) if path else None
        if group and set(task.runs) <= set(group[2]):
            break
    else:
        return None, 0.0
    tensors, about, runs = group
    done = int(about["done"])
    passed = [s for s in task.keep if s[1] != "end" and s[1] < done and not folder.read(*s)]
    if passed and not task.record:  # trained for states alone, one of which it would not meet again
        return None, 0.0
    if (COMPACT in tensors) != job.compact:
        return None, 0.0
    if job.compact:  # what a small network is a part of is known from its mask alone
        program = _begun(task, job, states, schedule)
        if program is None:
            return None, 0.0
    else:
        network = settings.get(task.runs[0].setting).network
        models = [networks.build(network).to(job.device) for _ in task.runs]
        program = _program(task, job, models, [masks.full(m) for m in models], schedule)
    for k, run in enumerate(task.runs):
        prefix = f"{runs.index(run)}/"
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        program.unpack(k, own)
    program.done = done
    return program, float(about["seconds"]) * len(task.runs) / len(runs)


class _Watch:
    """Looks at a program before every iteration: keeps the dense states that are asked for,
    checkpoints the group now and then, and pauses it when the job is over."""

    def __init__(
        self, task: Task, job: Job, program: programs.Program, began: float, advance: Advance
    ):
        self.task, self.job, self.program, self.advance = task, job, program, advance
        self.began = began  # by time.perf_counter, time spent before a pause included
        self.behind = program.done
        self.states: dict[State, bytes] = {}
        self.saved = self.looked = time.time()
        self.slowest = 0.0  # seconds of an iteration
        self.cost = 0.0  # seconds of the last checkpoint

    def before(self, done: int) -> bool:
        """Whether to pause, `done` iterations after the beginning."""
        now, program = time.time(), self.program
        if done > self.behind:
            self.advance(program.count)
            self.slowest = max(self.slowest, now - self.looked)
        self.looked = now
        ended = done == program.schedule.iterations
        for run, step in self.task.keep:
            if step == ("end" if ended else done) and run in self.task.runs:
                state = program.state(self.task.runs.index(run))
                self.states[run, step] = dump(state, self.job.checkpoints().about(run, step))
        pause = not ended and self.job.is_over(self.slowest)
        # the masks of a group, or its evaluation, may take longer than what is left of the budget
        exposed = (ended or done == self.behind) and now + LONG >= self.job.deadline
        if pause or exposed or now >= self.saved + max(SAVE, COST * self.cost):
            self._save()
        return pause

    def _save(self):
        """Checkpoint the group, after the dense states that it has passed: killed in between, it
        would go on from behind them and not pass them again."""
        if not self.job.is_shared:
            return
        began, program = time.time(), self.program
        packed = {
            f"{k}/{name}": tensor
            for k in range(program.count)
            for name, tensor in program.pack(k).items()
        }
        if self.job.compact:
            packed[COMPACT] = torch.ones(1)
        folder = self.job.checkpoints()
        spent = time.perf_counter() - self.began
        for (run, step), content in self.states.items():
            folder.write(run, step, content)
        folder.write_group(self.task.runs, packed, program.done, spent)
        self.saved = time.time()
        self.cost = self.saved - began
