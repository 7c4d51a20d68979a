"""Programs that train K networks of one architecture at once, by the recipe of `training`.

`Stacked` makes one wide network of K small ones, `Several` trains any networks side by side; `make`
chooses. `train` runs either, on a GPU as captured CUDA graphs: what a small network costs there is
the launching of its kernels, and a graph launches them all at once.
"""

from collections import deque
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunelib import datasets, masks, networks, training
from prunelib.engine import wide
from prunelib.engine.graphs import Captured
from prunelib.errors import check_name
from prunelib.precision import PRECISIONS, products, short
from prunelib.settings import Schedule

AnyDataset = datasets.Dataset | datasets.FolderDataset
Tensors = dict[str, Tensor]  # of one network, by name


class Program:
    """K networks in training: one forward and backward pass and one optimiser for all of them.

    No network touches another: the loss is the sum over networks of each one's mean. Pruned
    weights are exactly zero after every iteration. Weights, momentum, batch-norm statistics and
    loss are in the networks' own precision, whatever the products are computed in. An iteration
    waits for nothing from the device, so that it can be captured as a CUDA graph.

    Args:
        models: K networks of one architecture on one device; a program may take their tensors.
        mask: K dicts from parameter name to bool tensor, True where kept.
        schedule: a `settings.Schedule`.
        precision: the precision of the products: "fp32" (the networks' own), "tf32" or "bf16".
        gradual: the sparsity that each network is pruned to while it trains, or None for each.
    """

    def __init__(
        self,
        models: list[nn.Module],
        mask: list[Tensors],
        schedule: Schedule,
        precision: str = "fp32",
        gradual: list[float | None] | None = None,
    ):
        self.precision = check_name("precision", precision, PRECISIONS)
        self.count, self.schedule = len(models), schedule
        self.gradual = gradual or [None] * len(models)
        first = next(models[0].parameters())
        self.device = first.device
        self.done = 0  # iterations
        self.captured = None
        self.total = torch.zeros(len(models), dtype=first.dtype, device=first.device)
        rate = torch.float32 if first.is_cuda else first.dtype  # a GPU's optimiser reads no other
        self.rate = torch.zeros((), dtype=rate, device=first.device)
        self.parameters, self.masked = self._take(models, mask)
        for p, m in self.masked:
            p.data.mul_(m)
        self.optimiser = torch.optim.SGD(
            self.parameters,
            lr=self.rate,
            momentum=schedule.momentum,
            weight_decay=schedule.weight_decay,
            fused=True,
        )
        if schedule.momentum:
            for p in self.parameters:
                self.optimiser.state[p]["momentum_buffer"] = torch.zeros_like(p)

    def step(self, inputs: Tensor, targets: Tensor) -> None:
        """One iteration on a batch, at the learning rate in `self.rate`; adds to `self.total`."""
        self.optimiser.zero_grad()
        with products(self.precision):
            with short(self.precision, self.device):
                logits = self.logits(inputs.to(self.total.dtype))
            losses = _cross_entropy(logits, targets)
            (losses / len(targets)).sum().backward()
        self.optimiser.step()
        with torch.no_grad():
            for p, m in self.masked:
                p.mul_(m)
            self.total += losses.detach()

    @torch.no_grad()
    def prune_gradually(self) -> None:
        """Prune further those networks that are pruned while they train, where it is time to."""
        for k, final in enumerate(self.gradual):
            if final and (sparsity := self.schedule.gradual_sparsity(self.done, final)):
                mask = self.mask(k)
                # The weights of a network that diverged have no order: they are pruned in any.
                weights = {
                    name: w.abs().nan_to_num(nan=torch.inf)
                    for name, w in self.tensors(k).items()
                    if name in mask
                }
                kept = masks.remove(weights, sparsity, {n: m.bool() for n, m in mask.items()})
                for name, m in mask.items():
                    m.copy_(kept[name])
                    self.tensors(k)[name].mul_(m)

    @torch.no_grad()
    @products("fp32")
    def evaluate(self, dataset: AnyDataset) -> tuple[list[float], list[float]]:
        """Test accuracy in [0, 1] and mean cross-entropy of each network, two lists; in the
        networks' own precision, batch norm in evaluation mode."""
        correct, loss, tested = torch.zeros_like(self.total), torch.zeros_like(self.total), 0
        self.mode(training=False)
        for inputs, targets in dataset.test_batches(self.schedule.test_examples):
            logits = self.logits(inputs.to(self.total.dtype))
            correct += (logits.argmax(2) == targets).sum(1)
            loss += _cross_entropy(logits, targets)
            tested += len(targets)
        self.mode(training=True)
        return (correct / tested).tolist(), (loss / tested).tolist()

    def state(self, k: int) -> Tensors:
        """A copy of the state dict of network k, on the CPU."""
        return {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in self.tensors(k).items()
        }

    def pack(self, k: int) -> Tensors:
        """What network k needs to go on: kept weights and their momentum, all other tensors, and
        its mask in bits; dict from name to a tensor on the CPU."""
        mask, packed = self.mask(k), {"total": self.total[k].cpu()}
        for kind, tensors in (("state", self.tensors(k)), ("momentum", self.momenta(k))):
            for name, value in tensors.items():
                kept = value.detach()[mask[name].bool()] if name in mask else value.detach()
                packed[f"{kind}/{name}"] = kept.cpu().contiguous()
        for name, m in mask.items():
            packed[f"mask/{name}"] = _bits(m)
        return packed

    @torch.no_grad()
    def unpack(self, k: int, packed: Tensors) -> None:
        """Put network k where `pack` found it."""
        mask = self.mask(k)
        self.total[k] = packed["total"]
        for name, m in mask.items():
            m.copy_(_unbits(packed[f"mask/{name}"], m.shape))
        for kind, tensors in (("state", self.tensors(k)), ("momentum", self.momenta(k))):
            for name, value in tensors.items():
                saved = packed[f"{kind}/{name}"].to(value.device)
                if name in mask:
                    value.zero_()[mask[name].bool()] = saved
                else:
                    value.copy_(saved)


class Stacked(Program):
    """K small networks as one wide network: their convolutions are the groups of one convolution,
    their linear layers one batched product. All see the same batch."""

    def _take(self, models, mask):
        self.shapes = {name: value.shape for name, value in models[0].state_dict().items()}
        self.wide = wide.widened(models).to(memory_format=models[0].memory_format).train()
        self.masks = {}
        for name in mask[0]:
            p = self.wide.get_parameter(name)
            own = torch.stack([m[name].to(p.device) for m in mask]).view(p.shape)
            self.masks[name] = _beside(p, own)
        masked = [(self.wide.get_parameter(name), m) for name, m in self.masks.items()]
        return list(self.wide.parameters()), masked

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits [K, n, classes] on inputs [n, …]."""
        return self.wide(networks.arranged(self.wide, inputs))

    def mode(self, training: bool) -> None:
        """Batch norm in training or in evaluation mode."""
        self.wide.train(training)

    def tensors(self, k: int) -> Tensors:
        """The live tensors of network k, batch-norm statistics included, by name."""
        return self._own(k, self.wide.state_dict(keep_vars=True))

    def mask(self, k: int) -> Tensors:
        """The live mask of network k, of numbers."""
        return self._own(k, self.masks)

    def momenta(self, k: int) -> Tensors:
        """The live momentum buffers of network k, by name."""
        state, named = self.optimiser.state, self.wide.named_parameters()
        return self._own(k, {n: state[p]["momentum_buffer"] for n, p in named if p in state})

    def _own(self, k, wide):
        """The part of network k in tensors of the wide one."""
        return {n: t.detach().view(self.count, *self.shapes[n])[k] for n, t in wide.items()}


class Several(Program):
    """K networks as they are, side by side; on a GPU each in a stream of its own."""

    def _take(self, models, mask):
        self.models = [m.to(memory_format=m.memory_format).train() for m in models]
        self.masks = [
            {n: _beside(model.get_parameter(n), m) for n, m in own.items()}
            for model, own in zip(self.models, mask, strict=True)
        ]
        if self.device.type == "cuda":
            self.streams = [torch.cuda.Stream() for _ in models]
        parameters = [p for model in self.models for p in model.parameters()]
        masked = [
            (model.get_parameter(n), m)
            for model, own in zip(self.models, self.masks, strict=True)
            for n, m in own.items()
        ]
        return parameters, masked

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits [K, n, classes] on inputs [n, …]."""
        inputs = networks.arranged(self.models[0], inputs)
        if self.device.type != "cuda":
            return torch.stack([model(inputs) for model in self.models])
        here, found = torch.cuda.current_stream(), []
        for model, stream in zip(self.models, self.streams, strict=True):
            stream.wait_stream(here)
            with torch.cuda.stream(stream):
                found.append(model(inputs))
        for stream in self.streams:
            here.wait_stream(stream)
        return torch.stack(found)

    def mode(self, training: bool) -> None:
        """Batch norm in training or in evaluation mode."""
        for model in self.models:
            model.train(training)

    def tensors(self, k: int) -> Tensors:
        """The live tensors of network k, batch-norm statistics included, by name."""
        return {n: t.detach() for n, t in self.models[k].state_dict(keep_vars=True).items()}

    def mask(self, k: int) -> Tensors:
        """The live mask of network k, of numbers."""
        return self.masks[k]

    def momenta(self, k: int) -> Tensors:
        """The live momentum buffers of network k, by name."""
        state = self.optimiser.state
        named = self.models[k].named_parameters()
        return {n: state[p]["momentum_buffer"] for n, p in named if p in state}


def _beside(parameter, mask):
    """A mask in numbers, in the type and the order in memory of its parameter."""
    return torch.empty_like(parameter, requires_grad=False).copy_(mask)


def make(
    models: list[nn.Module],
    mask: list[Tensors],
    schedule: Schedule,
    precision: str = "fp32",
    gradual: list[float | None] | None = None,
    stacked: bool | None = None,
) -> Program:
    """The program for these networks: stacked into one, or side by side; by default stacked where
    that pays."""
    if stacked is None:
        stacked = wide.pays(models[0].network)
    return (Stacked if stacked else Several)(models, mask, schedule, precision, gradual)


@products("fp32")  # of the augmentation: a program's own are as it was told
def train(
    program: Program,
    dataset: AnyDataset,
    replicate: int,
    before: Callable[[int], bool] | None = None,
) -> list[training.Outcome] | None:
    """Train a program's networks to the end of their schedule; the recipe of `training.train`.

    Args:
        program: a Program, fresh or unpacked; `program.done` iterations are behind it.
        dataset: on the device of the networks.
        replicate: keys the order of the data and its augmentation.
        before: called with the number of iterations done before every iteration and after the
            last; where it returns True, training pauses.

    Returns:
        an Outcome for each network, without states; None where it paused.
    """
    schedule, draws, behind = program.schedule, None, deque()
    on_gpu = program.device.type == "cuda"
    if on_gpu and program.captured is None and isinstance(dataset, datasets.Dataset):
        program.captured = Captured(program, dataset)
    while True:
        program.prune_gradually()
        if before and before(program.done):
            return None
        if program.done == schedule.iterations:
            break
        epoch, position = divmod(program.done, schedule.iterations_per_epoch)
        if position == 0:
            program.total.zero_()
        if position == 0 or draws is None:
            draws = dataset.draws(replicate, epoch)
        part = draws.part(position * schedule.batch_size, (position + 1) * schedule.batch_size)
        program.rate.fill_(schedule.learning_rate_at(program.done))
        if program.captured:
            program.captured.step(program, part)
        else:
            program.step(*dataset.train_batch(part))
        if on_gpu:  # the host stays two iterations ahead, so that it knows the time
            behind.append(torch.cuda.current_stream().record_event())
            if len(behind) > 2:
                behind.popleft().synchronize()
        program.done += 1
    seen = ((schedule.iterations - 1) % schedule.iterations_per_epoch + 1) * schedule.batch_size
    train_loss = (program.total / min(seen, dataset.train_size)).tolist()
    program.captured = None  # its memory is needed
    program.optimiser.zero_grad()
    accuracy, test_loss = program.evaluate(dataset)
    return [training.Outcome(*v) for v in zip(accuracy, test_loss, train_loss, strict=True)]


def _cross_entropy(logits, targets):
    """Cross-entropies summed over examples, one a network: [K, n, classes], [n] -> [K]."""
    flat = logits.flatten(0, 1)
    flat = flat.float() if flat.dtype == torch.bfloat16 else flat
    each = F.cross_entropy(flat, targets.repeat(len(logits)), reduction="none")
    return each.view(len(logits), -1).sum(1)


def _bits(mask):
    """A mask as bits, eight a byte."""
    flat = mask.bool().flatten().cpu().numpy()
    return torch.from_numpy(np.packbits(flat, bitorder="little"))


def _unbits(bits, shape):
    flat = np.unpackbits(bits.numpy(), count=shape.numel(), bitorder="little")
    return torch.from_numpy(flat).view(shape).bool()
