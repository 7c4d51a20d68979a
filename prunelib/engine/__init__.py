"""The engine: many Runs on whatever hardware there is.

`train` trains what a store misses, `measure` makes and reads masks or compares weights, `plan` says
what is needed and how long it takes here, `bench` how fast this machine trains. Behind them:

- `starts`: the first weights and the mask of a Run
- `programs`: K networks trained as one program
- `groups`: Runs into tasks, in waves
- `tasks`: carry out a task and return its records
- `checkpoints`: states of dense networks, and of groups in training
- `executors`, `cluster`: where tasks run
- `campaign`: who hands them out and records what comes back
- `speed`: calibration
- `beside`: the loops that the engine is measured beside
"""

from pathlib import Path

from prunelib.engine import beside, campaign, speed
from prunelib.engine.executors import check_workers
from prunelib.errors import BadValueError
from prunelib.results.records import MASK, TRAINED
from prunelib.results.store import Store
from prunelib.runs import Run

__all__ = ["bench", "measure", "plan", "train"]


def train(
    runs: list[Run],
    store: Store | None = None,
    workers: int | None = None,
    device: str | None = None,
    progress: bool = True,
    precision: str | None = None,
    minutes: float | None = None,
    output: Path | None = None,
    cluster: str | None = None,
    compact: bool = False,
) -> int:
    """Train what the store misses, record each run when it ends; returns how many were recorded.

    Dense networks whose weights other runs need are trained first, and their states kept. Runs that
    share their data are trained as one program (`programs`): small networks, as LeNets and the
    miniature are, and on a GPU all. On a CPU programs run in processes of one thread each. Killed
    at any moment, this loses no finished run, and of groups in training what came after their last
    checkpoint, a minute or so; Ctrl-C and SIGTERM checkpoint them first. The same call goes on. A
    second campaign on the same results waits for this one, and says so.

    On a CPU a worker takes less than 2 GiB beside its dataset while it trains LeNets, a ResNet-20,
    a VGG or, on TinyImageNet, a ResNet-18; scoring takes more, see benchmarks/README.md. A group
    that does not fit is halved; when the system ends a worker for want of memory, half as many go
    on.

    Args:
        runs: Runs of any settings, most valuable first.
        store: a `Store` of trained networks; the default one if None.
        workers: processes; by default the number of cores, and on GPUs one for each. With
            cluster="slurm" the number of jobs, by default 1.
        device: "cpu" or "cuda"; by default a GPU if there is one, on a cluster "cpu".
        progress: whether to show a progress bar.
        precision: "fp32", "tf32" or "bf16", see `precision`; `default_precision` if None, on a
            cluster "fp32".
        minutes: a budget: when it is spent, what is in training is checkpointed, and this returns
            within 20 seconds.
        output: a folder to which new records also go, for `Store.merge` elsewhere.
        cluster: the address of a Dask scheduler, as "tcp://host:8786", or "slurm". Its workers
            need this package and the data, but no folder in common with this machine; where they
            see the store's folder, groups that a lost worker had begun go on from there.
        compact: whether a masked network is trained as the smaller one that `compaction` makes of
            it, where networks are not stacked; its record says so as its engine. Of a VGG that is
            another network, by rounding: see there.

    Raises:
        PrunelibError: whatever bad input met on the way; finished runs are kept.
        KeyboardInterrupt, SystemExit: on Ctrl-C and SIGTERM, after what was in training has been
            checkpointed.
    """
    store = store or Store()
    return campaign.run(
        runs, store, workers, device, progress, precision, minutes, output, cluster, compact
    )


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
    return campaign.run(runs, store, workers, "cpu", progress, **how)


def plan(
    runs: list[Run], store: Store, device: str | None = None, precision: str | None = None
) -> str:
    """What runs need: how many are in the store, how many are not, and how long these take.

    The time comes from a calibration of some seconds on this machine, of training and of scoring.

    Args:
        runs: of any settings. store: that holds, or is to hold, their records.
        device, precision: as for `train`.

    Returns:
        one line of text a setting and profile.

    Raises:
        DatasetError: data that they need are missing.
        StoreError: a record is damaged.
        UnknownNameError, BadValueError: another device or precision, or one that is not here.
    """
    device = campaign.check_device(device)
    if store.kind != TRAINED:
        device = "cpu"  # as in `measure`
    precision = campaign.check_precision(precision, device)
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
            campaign.fingerprints(left, store)  # data that are missing are told now
            line += f" ({speed.estimate(left, store, device, precision)})"
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
