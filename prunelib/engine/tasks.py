"""Carry out one task and return its records: train networks, read masks, compare weights.

A task is a function from Runs, and the dense states that they start from, to records and dense
states. It writes no results: the caller of the engine does, so that a worker may be in this
process, in another one or on another machine. All that it leaves on disk is the checkpoint of a
group in training, and that only where the worker sees the caller's folder.

Training pauses where the budget is spent or the job is stopped (`jobs.stop`, or SIGTERM to the
worker): the group is checkpointed and nothing is returned.
"""

import time
from collections.abc import Mapping

import torch

from prunelib import analysis, datasets, scores, settings
from prunelib.engine import jobs, memory, programs, trainer
from prunelib.engine.checkpoints import State, Tensors, undump
from prunelib.engine.groups import Task
from prunelib.engine.jobs import Advance, Done, Job
from prunelib.engine.starts import Starts
from prunelib.errors import BadValueError, DatasetError, PrunelibError
from prunelib.own import unpack
from prunelib.results.records import END, MASK, TRAINED, Mask, Weights
from prunelib.runs import Run


def carry_out(task: Task, job: Job, *contents: bytes, advance: Advance) -> Done:
    """Carry out a task, in any process that has this package and the data.

    Args:
        task, job: what to do, and what it has in common with others.
        contents: the dense states `task.starts`, in that order.
        advance: told of progress: iterations of networks, masks or comparisons.

    Raises:
        PrunelibError: whatever bad input met on the way; data other than the caller's.
    """
    if job.is_over():
        return Done()
    if job.caller != jobs.this_process():  # there they are themselves, with what they close over
        unpack(job.own)
    if job.device == "cuda" and not torch.cuda.is_available():
        raise BadValueError("device 'cuda': PyTorch finds no GPU where this worker is; use 'cpu'")
    _check_data(task.runs[0].setting, job)
    states = {}
    for state, content in zip(task.starts, contents, strict=True):
        found = undump(content)
        if found is None or found[1] != job.checkpoints().about(*state):
            raise PrunelibError(
                f"the state at step {state[1]} of {state[0].setting}'s unpruned network is damaged "
                "or of another network: give the same command again, and it is trained anew"
            )
        states[state] = found[0]
    if task.kind == TRAINED:
        return trainer.train(task, job, states, advance)
    with memory.scoring():
        return (_read if task.kind == MASK else _compare)(task, job, states, advance)


def _check_data(setting: str, job: Job) -> None:
    name = settings.get(setting).dataset
    if name not in job.data:
        return  # masks that need none
    found = datasets.load(name).fingerprint
    if found != job.data[name]:
        raise DatasetError(
            f"dataset {name!r} of a worker has the fingerprint {found}, the caller's has "
            f"{job.data[name]}: give both the same files"
        )


# --------------------------------------------------------------------------------------- read masks


def _read(task: Task, job: Job, states: Mapping[State, Tensors], advance: Advance) -> Done:
    starts, done = Starts(states, job.device), Done()
    for run in task.runs:
        if job.is_over():
            return done
        began = time.perf_counter()
        model, mask = starts.start(run)
        about = analysis.read(model, mask) | job.provenance(run, needs_data(run))
        done.records.append(Mask(run=run, seconds=time.perf_counter() - began, **about))
        advance(1)
    return done


def needs_data(run: Run) -> bool:
    """Whether a Run's mask and first weights depend on a dataset."""
    return run.parent is not None or scores.get(run.method).needs_data


# ---------------------------------------------------------------------------------- compare weights


def _compare(task: Task, job: Job, states: Mapping[State, Tensors], advance: Advance) -> Done:
    """The distributions of the unpruned weights of a Run and its ablations, before training or
    after it, and how far they are from those of the first, the unmodified Run."""
    began, first = time.perf_counter(), task.runs[0]
    starts = Starts(states, job.device)
    models, mask = (list(part) for part in zip(*map(starts.start, task.runs), strict=True))
    trained = task.kind == END
    if trained:
        schedule = settings.schedule(first.setting, first.profile)
        dataset = datasets.load(settings.get(first.setting).dataset).to(job.device)
        program = programs.make(models, mask, schedule, job.precision)
        if programs.train(program, dataset, first.replicate, lambda done: job.is_over()) is None:
            return Done()
        weights = [program.tensors(k) for k in range(len(task.runs))]
    else:
        weights = [model.state_dict() for model in models]
    samples = [analysis.unpruned(w, m) for w, m in zip(weights, mask, strict=True)]
    done = Done()
    for run, own in zip(task.runs, samples, strict=True):
        if run in task.record:
            found = analysis.moments(own) | analysis.distances(samples[0], own)
            about = job.provenance(run, trained or needs_data(run)) | {
                "precision": job.precision if trained else "fp32",
                "seconds": time.perf_counter() - began,
            }
            done.records.append(Weights(run=run, **found, **about))
            advance(1)
    return done
