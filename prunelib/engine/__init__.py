"""The engine: many Runs on whatever hardware there is.

`train` trains what a store misses, `measure` makes and reads masks or compares weights, `plan` says
what is needed and how long it takes here, `bench` how fast this machine trains. Behind them:

- `starts`: the first weights and the mask of a Run
- `programs`: K networks trained as one program
- `groups`: Runs into tasks, in waves
- `data`: whether the data are there and fit
- `tasks`: carry out a task and return its records
- `checkpoints`: states of dense networks, and of groups in training
- `executors`, `cluster`: where tasks run
- `campaign`: who hands them out and records what comes back
- `speed`: calibration
- `beside`: the loops that the engine is measured beside
"""

from pathlib import Path

from prunelib.engine import beside, campaign, data, speed
from prunelib.engine.campaign import train
from prunelib.engine.executors import check_workers
from prunelib.errors import BadValueError
from prunelib.results.records import MASK, TRAINED
from prunelib.results.store import Store
from prunelib.runs import Run

__all__ = ["bench", "measure", "plan", "train"]


def measure(
    runs: list[Run],
    store: Store | None = None,
    workers: int | None = None,
    progress: bool = True,
    minutes: float | None = None,
    cluster: str | None = None,
    output: Path | None = None,
) -> int:
    """Make and read the masks, or the weights they keep, that the store misses; returns how many
    were recorded.

    A one-shot method scores once for all its sparsities. Dense networks that are needed are trained
    first. Everything else as in `train`, but that what is stopped begins again: nothing of a mask,
    or of the training behind weights after it, is kept until it is recorded.

    Args:
        runs: Runs as `grids.mask_runs` or `grids.weight_runs` lists them.
        store: that holds, or is to hold, their records, of masks or of weights before or after
            training; that of masks in results/ if None.
        workers, progress, minutes, cluster, output: as for `train`; all is made on the CPU.
    """
    how = {"minutes": minutes, "cluster": cluster, "output": output}
    store = store or Store(kind=MASK)
    return train(runs, store, workers, "cpu", progress, **how)


def plan(
    runs: list[Run],
    store: Store,
    device: str | None = None,
    precision: str | None = None,
    workers: int | None = None,
) -> str:
    """What runs need: how many are in the store, how many are not, and how long these take.

    The time comes from a calibration of some seconds on this machine, of training and of scoring.

    Args:
        runs: of any settings. store: that holds, or is to hold, their records.
        device, precision, workers: as for `train`.

    Returns:
        one line of text a setting and profile.

    Raises:
        DatasetError: data that they need are missing.
        StoreError: a record is damaged.
        UnknownNameError, BadValueError: another device, precision or number, or one that is not
            here.
    """
    device = campaign.check_device(device)
    if store.kind != TRAINED:
        device = "cpu"  # as in `measure`
    precision = campaign.check_precision(precision, device)
    workers = check_workers(workers, device)
    missing = set(store.missing(runs))
    pairs: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        pairs.setdefault((run.setting, run.profile), []).append(run)
    lines = []
    for (setting, profile), members in pairs.items():
        left = [run for run in members if run in missing]
        line = f"{setting}, profile {profile}: {len(members)} {store.kind.name} needed, "
        line += f"{len(members) - len(left)} in the store, {len(left)} to make"
        if left:
            data.fingerprints(left, store)  # data that are missing are told now
            line += f" ({speed.estimate(left, store, device, precision, workers)})"
        lines.append(line + ".")
    return "\n".join(lines)


def bench(
    setting: str,
    count: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    workers: int | None = None,
    repetitions: int = 7,
) -> beside.Speed:
    """How fast this machine trains a setting: the engine beside the loops that one would write.

    The plain loop of `training` runs in this process, in fp32, with all the threads that PyTorch
    takes; the others and the engine's programs in its workers, all at a time. See `beside`.

    Args:
        setting: a name.
        count: networks in each program; by default as many as `train` puts into one.
        device, precision, workers: as for `train`.
        repetitions: how many stretches of each, interleaved.

    Raises:
        UnknownNameError, BadValueError: another setting, device, precision or number.
        PrunelibError: a worker died.
    """
    device = campaign.check_device(device)
    precision = campaign.check_precision(precision, device)
    workers = check_workers(workers, device)
    count = speed.width(setting, device, precision) if count is None else count
    if count < 1 or repetitions < 1:
        raise BadValueError(f"count {count}, repetitions {repetitions}: give numbers from 1")
    return beside.compare(setting, count, device, precision, workers, repetitions)
