"""The training loop for one network: plain and readable, the reference for the engine.

`train` is the paper's recipe from top to bottom; what the engine does faster is held to give the
same numbers.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from prunelib import masks
from prunelib.datasets import Dataset, FolderDataset
from prunelib.masks import Mask
from prunelib.precision import products
from prunelib.settings import Schedule


@dataclass
class Outcome:
    """What a training leaves: figures of merit at its end, and the states asked for.

    Accuracies are fractions in [0, 1], losses mean cross-entropies in nats; `train_loss` is the
    mean over the last epoch as it was trained. `states` maps a step to a state dict on the CPU.
    """

    test_accuracy: float
    test_loss: float
    train_loss: float
    states: dict = field(default_factory=dict)


@products("fp32")
def train(
    model: nn.Module,
    dataset: Dataset | FolderDataset,
    schedule: Schedule,
    replicate: int,
    mask: Mask | None = None,
    keep: Collection[int | str] = (),
    on_step: Callable[[], None] | None = None,
    gradual: float | None = None,
) -> Outcome:
    """Train a network by the paper's recipe (Appendix A.3), in place.

    SGD with the schedule's momentum, weight decay on every parameter, no Nesterov; the last,
    short batch of an epoch is kept, unless the schedule's `iterations_per_epoch` ends before it, as
    ImageNet's does. The mask is applied before the first step and after every
    one, which keeps pruned weights at exactly zero and gives the kept ones the same values as
    masking in the forward pass.

    Args:
        model: the network, its initial weights in place.
        dataset: on the device of the model. schedule: as `settings.schedule` gives it.
        replicate: keys the order of the data and its augmentation.
        mask: dict from parameter name to bool tensor, or None.
        keep: steps whose state is kept, counted in iterations done, and "end".
        on_step: called after every iteration.
        gradual: the sparsity to prune to while training, by magnitude (Figure 1), or None.

    Raises:
        BadValueError: a mask of another network.
    """
    device = next(model.parameters()).device
    mask = mask or masks.full(model)
    masks.check_mask(model, mask)
    mask = {name: m.to(device) for name, m in mask.items()}
    masks.apply(model, mask)
    model.train()
    optimiser = _optimiser(model, schedule)
    states, losses = {}, []
    for step in range(schedule.iterations):
        if gradual and (sparsity := schedule.gradual_sparsity(step, gradual)):
            mask = masks.remove({n: model.get_parameter(n).abs() for n in mask}, sparsity, mask)
            masks.apply(model, mask)
        if step in keep:
            states[step] = snapshot(model)
        epoch, position = divmod(step, schedule.iterations_per_epoch)
        if position == 0:
            draws = dataset.draws(replicate, epoch)
            losses = []
        start = position * schedule.batch_size
        inputs, targets = dataset.train_batch(draws.part(start, start + schedule.batch_size))
        for group in optimiser.param_groups:
            group["lr"] = schedule.learning_rate_at(step)
        optimiser.zero_grad()
        loss = F.cross_entropy(model(inputs.to(next(model.parameters()).dtype)), targets)
        loss.backward()
        optimiser.step()
        masks.apply(model, mask)
        losses.append(loss.detach() * len(targets))
        if on_step:
            on_step()
    seen = min(len(losses) * schedule.batch_size, dataset.train_size)
    if "end" in keep:
        states["end"] = snapshot(model)
    accuracy, test_loss = evaluate(model, dataset, schedule.test_examples)
    return Outcome(accuracy, test_loss, float(sum(losses)) / seen, states)


def _optimiser(model, schedule):
    return torch.optim.SGD(
        model.parameters(),
        lr=schedule.learning_rate,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
    )


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the state of a model, on the CPU, batch-norm statistics included."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }


@torch.no_grad()
@products("fp32")
def evaluate(
    model: nn.Module, dataset: Dataset | FolderDataset, limit: int | None = None
) -> tuple[float, float]:
    """Accuracy in [0, 1] and mean cross-entropy on the test set, batch norm in evaluation mode.

    Args:
        limit: how many test examples, evenly spaced; None is all of them.
    """
    training = model.training
    model.eval()
    correct = loss = count = 0
    for inputs, targets in dataset.test_batches(limit):
        logits = model(inputs.to(next(model.parameters()).dtype))
        correct += int((logits.argmax(1) == targets).sum())
        loss += float(F.cross_entropy(logits, targets, reduction="sum"))
        count += len(targets)
    model.train(training)
    return correct / count, loss / count
