"""The engine: train many Runs on whatever hardware there is, record each when it ends, resume."""

import math
import os
import platform
import time
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from tqdm.auto import tqdm

from prunelib import datasets, masks, networks, scores, settings, training
from prunelib.errors import BadValueError, DatasetError, check_name
from prunelib.runs import Run
from prunelib.store import Store, commit, write_atomically
from prunelib.workers import POLL, Pool

STACK = 32  # LeNets trained as one batched program; more gain nothing on a CPU


@dataclass
class Task:
    """A group of Runs of one setting, profile and replicate that one worker trains together.

    `keep` are the steps of a dense run whose states later runs need.
    """

    runs: list[Run]
    keep: set = field(default_factory=set)


def train(runs, store=None, workers=None, device=None, progress=True):
    """Train what the store misses, record each run when it ends; returns how many were trained.

    Dense networks whose weights other runs need are trained first, and checkpointed. LeNets are
    stacked and trained as one batched program; other networks train one by one. On a CPU tasks
    run in processes of one thread each. Killed at any moment, this loses no finished run; the
    same call goes on. Runs that another process is training are waited for.

    Args:
        runs: Runs of any settings.
        store: a `Store`; the default one if None.
        workers: processes; by default the number of cores, and 1 on a GPU.
        device: "cpu" or "cuda"; by default a GPU if there is one.
        progress: whether to show a progress bar.

    Raises:
        PrunelibError: whatever bad input met on the way; finished runs are kept.
    """
    store = store or Store()
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if check_name("device", device, ("cpu", "cuda")) == "cuda" and not torch.cuda.is_available():
        raise BadValueError("device 'cuda': PyTorch finds no GPU on this machine; use 'cpu'")
    if workers is None:
        workers = 1 if device == "cuda" else os.cpu_count()
    if not isinstance(workers, int) or workers < 1:
        raise BadValueError(f"workers={workers!r}: give a whole number from 1")
    total = len(store.missing(runs))
    if not total:
        return 0
    for setting in {run.setting for run in runs}:
        _check_data(settings.get(setting))  # bad data are reported before any worker starts
    work = sum(settings.schedule(r.setting, r.profile).iterations for r in store.missing(runs))
    trained = 0
    with (
        Pool(workers) as pool,
        tqdm(total=work, disable=not progress, unit="it", unit_scale=True) as bar,
    ):
        while missing := store.missing(runs):
            bar.set_description(f"{total - len(missing)}/{total} runs")
            done = 0
            for tasks in (_without_parents, _with_parents):
                for finished in pool.run(
                    _carry_out, tasks(missing, store, workers), bar, store.root, device
                ):
                    done += finished
                    bar.set_description(f"{min(total, trained + done)}/{total} runs")
            trained += done
            if not done and store.missing(runs):
                time.sleep(POLL)  # the rest is in the hands of another process
        bar.update(work - bar.n)
    return trained


def _check_data(setting):
    """Raise DatasetError if the dataset is missing, or has too few examples for the schedule."""
    dataset = datasets.load(setting.dataset)
    whole = setting.iterations_per_epoch * setting.batch_size
    if not whole - setting.batch_size < dataset.train_size < whole + setting.batch_size:
        raise DatasetError(
            f"dataset {dataset.name!r} has {dataset.train_size} training examples, {setting.name} "
            f"has {setting.iterations_per_epoch} batches of {setting.batch_size} an epoch: the "
            "dataset is incomplete; unpack or download it again"
        )


def _without_parents(missing, store, workers):
    """Tasks of dense runs, whose states others need, and of runs that need no dense run."""
    keep = {}
    for run in missing:
        if run.parent:
            keep.setdefault(run.parent, set()).update(run.parent_steps)
    wanted = {run for run in missing if run.method == "dense"}
    wanted |= {
        parent
        for parent, steps in keep.items()
        if any(_read_checkpoint(store, parent, step) is None for step in steps)
    }
    pruned = [run for run in missing if run.method != "dense" and not run.parent]
    return [Task([run], keep.get(run, set())) for run in sorted(wanted)] + _grouped(pruned, workers)


def _with_parents(missing, store, workers):
    """Tasks of runs that start from states of a dense run, as far as those are there."""
    starts = {run: {(run.parent, step) for step in run.parent_steps} for run in missing}
    there = {s for s in set().union(*starts.values()) if _read_checkpoint(store, *s) is not None}
    return _grouped([run for run in missing if starts[run] and starts[run] <= there], workers)


def _grouped(runs, workers):
    """Tasks of runs that can be trained together, in their order, of like size for each worker."""
    groups = {}
    for run in runs:
        groups.setdefault((run.setting, run.profile, run.replicate), []).append(run)
    tasks = []
    for (setting, _, _), members in groups.items():
        most = STACK if _is_stackable(setting) else 1
        rounds = math.ceil(len(members) / (most * workers))
        size = min(most, math.ceil(len(members) / (rounds * workers)))
        tasks += [Task(members[i : i + size]) for i in range(0, len(members), size)]
    return tasks


def _is_stackable(setting):
    return settings.get(setting).network.startswith("lenet")


def _carry_out(task, root, device, advance):
    """Train and record those runs of a task that nobody else has; returns how many."""
    store = Store(root)
    with store.claim(task.runs) as todo:
        first = task.runs[0]
        lost = any(_read_checkpoint(store, first, step) is None for step in task.keep)
        again = task.runs if lost and not store.missing(task.runs) else []
        if not todo and not again:
            return 0
        schedule = settings.schedule(first.setting, first.profile)
        dataset = datasets.load(settings.get(first.setting).dataset).to(device)
        maker = MaskMaker(store)
        began = time.perf_counter()
        started = [maker.start(run) for run in todo or again]
        models = [model.to(device) for model, _ in started]
        mask = [mask for _, mask in started]
        stacked = _is_stackable(first.setting)
        if stacked:
            outcomes = train_stacked(
                models, dataset, schedule, first.replicate, mask, task.keep, advance
            )
        else:
            model = models[0].to(memory_format=torch.channels_last)
            outcomes = [
                training.train(
                    model, dataset, schedule, first.replicate, mask[0], task.keep,
                    lambda: advance(1),
                )
            ]  # fmt: skip
        seconds = (time.perf_counter() - began) / len(outcomes)
        for step, state in outcomes[0].states.items():
            _write_checkpoint(store, first, step, state)
        store.add(
            run.record()
            | {
                "test_accuracy": outcome.test_accuracy,
                "test_loss": outcome.test_loss,
                "train_loss": outcome.train_loss,
                "kept_weights": masks.kept(m),
                "epochs": schedule.epochs,
                "seconds": seconds,
                "engine": "stacked" if stacked else "plain",
                "precision": "fp32",
                "device": _device_name(device),
                "dataset": f"{dataset.name}@{dataset.fingerprint}",
                "torch": torch.__version__.split("+")[0],
                "commit": commit(),
            }
            for run, outcome, m in zip(todo, outcomes, mask, strict=False)
        )
        return len(todo)


class MaskMaker:
    """Initial weights and masks of runs; what several runs share is computed once."""

    def __init__(self, store):
        self.store = store
        self.masks, self.rankings = {}, {}

    def start(self, run):
        """The network that a run trains, its weights in place, and its mask."""
        if run.method == "dense":
            model = self.network(run, 0)
            return model, masks.full(model)
        mask = self.mask(run)
        if run.ablation == "shuffle":
            mask = masks.shuffle(mask, run.replicate)
        if run.ablation == "reinit":
            network = settings.get(run.setting).network
            return networks.build(network, run.replicate, run.init, "reinit"), mask
        return self.network(run, run.weights_from), mask

    def mask(self, run):
        """The mask before the ablation that shuffles it; on the CPU."""
        invert = run.ablation == "invert"
        key = replace(run, ablation="invert" if invert else "none", weights_from=0)
        if key not in self.masks:
            if scores.get(run.method).iterations == 1:
                self.masks[key] = masks.remove(self.ranking(key), run.sparsity)
            else:
                self.masks[key] = masks.prune(
                    self.network(run, run.prune_at), run.method, run.sparsity,
                    self.batch(run), invert=invert, seed=run.replicate,
                )  # fmt: skip
        return self.masks[key]

    def ranking(self, run):
        """What a one-shot method ranks weights by: the same for all sparsities."""
        key = replace(run, sparsity=0.0)
        if key not in self.rankings:
            self.rankings[key] = masks.rank(
                self.network(run, run.prune_at), run.method, self.batch(run),
                run.ablation == "invert", run.replicate,
            )  # fmt: skip
        return self.rankings[key]

    def batch(self, run):
        if not scores.get(run.method).needs_data:
            return None
        return datasets.scoring_batch(run.setting, run.replicate)

    def network(self, run, step):
        """A fresh copy of the dense network at a step of its training."""
        model = networks.build(settings.get(run.setting).network, run.replicate, run.init)
        if step != 0:
            model.load_state_dict(_read_checkpoint(self.store, run.parent, step))
        return model


def train_stacked(models, dataset, schedule, replicate, mask, keep=(), advance=None):
    """Train K LeNets as one batched program; the same recipe as `training.train`.

    All see the same batches, so their first layers are one matrix product and the others batched
    ones. The loss is the sum over models of each model's mean: models do not touch each other.

    Args:
        models: K networks of one architecture, without momentum or weight decay in the schedule.
        dataset: on the device of the models.
        schedule: a `settings.Schedule`.
        replicate: keys the order of the data.
        mask: K dicts from parameter name to bool tensor.
        keep: steps of the first model whose state is kept, counted in iterations, and "end".
        advance: called with the number of models after every iteration.

    Returns:
        K Outcomes.
    """
    if schedule.momentum or schedule.weight_decay:
        raise NotImplementedError("stacked training has plain SGD only")
    count, depth = len(models), len(models[0].layers)
    weights = [torch.stack([m.layers[i].weight.detach() for m in models]) for i in range(depth)]
    biases = [torch.stack([m.layers[i].bias.detach() for m in models]) for i in range(depth)]
    masked = [
        torch.stack([m[f"layers.{i}.weight"] for m in mask]).to(weights[i]) for i in range(depth)
    ]
    for w, m in zip(weights, masked, strict=True):
        w.mul_(m)
    parameters = [p.requires_grad_() for p in (*weights, *biases)]
    states, losses = {}, []

    def state():
        for i, layer in enumerate(models[0].layers):
            layer.weight.data.copy_(weights[i][0])
            layer.bias.data.copy_(biases[i][0])
        return training.snapshot(models[0])

    for step in range(schedule.iterations):
        if step in keep:
            states[step] = state()
        epoch, position = divmod(step, schedule.iterations_per_epoch)
        if position == 0:
            draws = dataset.draws(replicate, epoch)
            losses, seen = [], 0
        start = position * schedule.batch_size
        inputs, targets = dataset.train_batch(draws, start, start + schedule.batch_size)
        loss = _stacked_loss(weights, biases, inputs, targets) / len(targets)
        gradients = torch.autograd.grad(loss.sum(), parameters)
        rate = schedule.learning_rate_at(step)
        with torch.no_grad():
            for w, m, g in zip(weights, masked, gradients, strict=False):
                w.addcmul_(g, m, value=-rate)
            for b, g in zip(biases, gradients[depth:], strict=True):
                b.sub_(g, alpha=rate)
        losses.append(loss.detach() * len(targets))
        seen += len(targets)
        if advance:
            advance(count)
    if "end" in keep:
        states["end"] = state()
    train_loss = torch.stack(losses).sum(0) / seen
    correct = torch.zeros(count, device=inputs.device)
    test_loss, tested = torch.zeros_like(train_loss), 0
    with torch.no_grad():
        for inputs, targets in dataset.test_batches(schedule.test_examples):
            logits = _stacked_logits(weights, biases, inputs)
            correct += (logits.argmax(2) == targets).sum(1)
            test_loss += _cross_entropy(logits, targets)
            tested += len(targets)
    outcomes = zip(
        (correct / tested).tolist(), (test_loss / tested).tolist(), train_loss.tolist(), strict=True
    )
    return [
        training.Outcome(*values, states if k == 0 else {}) for k, values in enumerate(outcomes)
    ]


def _stacked_logits(weights, biases, inputs):
    """Logits [K, n, classes] of K stacked networks on inputs [n, …]."""
    x = inputs.flatten(1).to(weights[0].dtype)
    count = len(weights[0])
    hidden = F.linear(x, weights[0].flatten(0, 1), biases[0].flatten())
    hidden = hidden.view(len(x), count, -1).transpose(0, 1)
    for w, b in zip(weights[1:], biases[1:], strict=True):
        hidden = torch.baddbmm(b[:, None], hidden.relu(), w.transpose(1, 2))
    return hidden


def _cross_entropy(logits, targets):
    """Cross-entropies summed over examples, one a model: [K, n, classes], [n] -> [K]."""
    each = F.cross_entropy(logits.flatten(0, 1), targets.repeat(len(logits)), reduction="none")
    return each.view(len(logits), -1).sum(1)


def _stacked_loss(weights, biases, inputs, targets):
    return _cross_entropy(_stacked_logits(weights, biases, inputs), targets)


def _device_name(device):
    return torch.cuda.get_device_name() if device == "cuda" else f"cpu {platform.machine()}"


def _checkpoint_path(store, run, step):
    data = datasets.load(settings.get(run.setting).dataset).fingerprint
    name = f"{run.init}-r{run.replicate}-{step}-{data}.safetensors"
    return store.root / ".checkpoints" / run.setting / run.profile / name


def _write_checkpoint(store, run, step, state):
    write_atomically(_checkpoint_path(store, run, step), save(state))


def _read_checkpoint(store, run, step):
    """The state of a dense run at a step, or None where there is none that can be read."""
    try:
        with safe_open(_checkpoint_path(store, run, step), "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None


def plan(runs, store):
    """What runs need: how many are in the store, how many to train, and how long that takes.

    The time comes from what the store's runs of the same setting took, scaled by epochs and
    divided by the workers of this machine.

    Returns:
        one line of text a setting and profile.
    """
    missing = set(store.missing(runs))
    groups, lines = {}, []
    for run in runs:
        groups.setdefault((run.setting, run.profile), []).append(run)
    for (setting, profile), members in groups.items():
        left = [run for run in members if run in missing]
        line = f"{setting}, profile {profile}: {len(members)} runs needed, "
        line += f"{len(members) - len(left)} in the store, {len(left)} to train"
        if left:
            line += f" ({_estimate(setting, profile, len(left), store)})"
        lines.append(line + ".")
    return "\n".join(lines)


def _estimate(setting, profile, count, store):
    table = store.table(setting)
    if table.empty:
        return "no run of this setting is recorded yet, so no estimate of the time"
    per_epoch = table["seconds"].sum() / table["epochs"].sum()
    seconds = per_epoch * settings.schedule(setting, profile).epochs * count / os.cpu_count()
    unit, size = ("s", 1) if seconds < 100 else ("min", 60) if seconds < 6000 else ("h", 3600)
    return f"about {seconds / size:.0f} {unit} at the speed of the {len(table)} recorded runs"
