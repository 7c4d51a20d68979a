"""Train a masked network as a smaller one: without the channels that the mask leaves dead.

What is dead, and what becomes of it in training by SGD with momentum and weight decay:

1. A convolution's channel without incoming weights is 0. Batch norm makes it 0 / sqrt(0 + eps) *
   gamma + beta = beta, which begins at 0; ReLU passes 0, and no gradient, as its derivative at 0 is
   0 in PyTorch. So gamma's gradient is 0, beta's too, and the channel is 0 for good. The weights
   that lead from it multiply 0 and have no gradient either. What has none is moved by weight decay
   alone: after t iterations it is what it was at first times `decay`, one number for all.
   The same of a beta, or of a linear layer's bias before a ReLU, that begins below 0; one that
   begins above 0 opens the ReLU and learns: it is a channel without weights, and stays.
2. The last batch norm of a residual block adds to the shortcut. Where the sum varies, ReLU does
   pass a gradient to beta, of a dead channel too: beta stays, as a constant that is added, the
   convolution's channel goes. gamma has no gradient: its normalised input is 0.
3. What leads only to pruned weights, or to dead channels, changes no output and gets no gradient,
   and goes. The statistics of its batch norm depend on the images; they are not followed, and in
   the large network stay what they were.
4. A convolution with a bias b (VGG's) makes a dead channel b, the mean over a batch of which is b
   up to rounding; of the rounding error batch norm makes up to some 1e-6, beta + that, and if it is
   above 0 the ReLU opens, for all images at once, and beta begins to learn. What is meant is the
   limit without rounding, where the channel is 0 as in 1. A small network is that limit, and so
   not what a large one does: it is another network, without those betas that rounding set free.
   Only for the running mean does b matter, which follows it as it decays.

In evaluation mode, running mean and variance of a dead channel (1, 2) having gone to 0, or to b, by
batch norm's own momentum, a channel is beta again, with a bias up to what the running mean lags
behind it.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from prunelib import channels
from prunelib.channels import Channels, Mask, is_layer, operation
from prunelib.errors import BadValueError

Tensors = dict[str, Tensor]
SPARE = 0.25  # of a tensor's channels may be dead and stay, where leaving them out costs a copy
WIDTH = 8  # numbers of channels are multiples of it, as vectors are


@dataclass(frozen=True)
class Compact:
    """A smaller network, and where its parameters are in the large one.

    Attributes:
        network: computes what the large network does, in training and evaluation mode.
        mask: of its prunable weights, dict from name to bool tensor.
        places: by the name of each of its tensors, the name of the large network's tensor that it
            is a part of, and which rows, and columns, of it.
        channels: what was found of those of the large network.
    """

    network: nn.Module
    mask: Mask
    places: dict[str, tuple[str, tuple[Tensor, ...]]]
    channels: Channels


def compact(model: nn.Module, mask: Mask) -> Compact:
    """The smaller network that trains as a masked one does.

    Args:
        model: the network, as `channels.find` takes it, before training; not changed.
        mask: dict from parameter name to bool tensor, True where kept.

    Raises:
        BadValueError: a network of parts that `channels.find` does not know, or a mask under which
            nothing of the image reaches a layer that the output needs.
    """
    builder = _Builder(model, mask)
    for node in list(builder.graph.nodes):
        builder.convert(node)
    network = builder.finish()
    network.train(model.training).to(next(model.parameters()).device)
    for about in ("network", "input_shape", "memory_format"):
        if hasattr(model, about):
            setattr(network, about, getattr(model, about))
    tensors = network.state_dict()
    places = {name: at for name, at in builder.places.items() if name in tensors}
    masks = {name: m for name, m in builder.masks.items() if name in tensors}
    return Compact(network, masks, places, builder.found)


class _Builder:
    """Makes the graph of the small network from that of the large one, node by node."""

    def __init__(self, model: nn.Module, mask: Mask):
        self.mask, self.found = mask, channels.find(model, mask)
        self.network = fx.symbolic_trace(copy.deepcopy(model))
        self.graph = self.network.graph
        self.large = {node.name: node for node in self.found.graph.graph.nodes}
        self.wanted = _wanted(self.found)
        self.has: dict[fx.Node, Tensor] = {}  # by node of the new graph, its channels of the large
        self.places: dict[str, tuple[str, tuple[Tensor, ...]]] = {}
        self.masks: Mask = {}

    def finish(self) -> fx.GraphModule:
        """The network, without what is not needed any more."""
        self.graph.eliminate_dead_code()
        self.network.delete_all_unused_submodules()
        self.network.recompile()
        return self.network

    def convert(self, node: fx.Node) -> None:
        """Make one node smaller, those that it reads being small."""
        if node.op == "output":
            return
        if node.op == "placeholder":
            self.has[node] = torch.ones(channels.shape(self.large[node.name])[1]).bool()
        elif is_layer(node):
            self._layer(node)
        elif isinstance(operation(node), nn.BatchNorm2d):
            self._norm(node)
        elif operation(node) in channels.SUMS:
            self._sum(node)
        else:
            before = self.has[node.args[0]]
            size = len(self.found.needed[self.large[node.name]]) // len(before)
            self.has[node] = before.repeat_interleave(size)

    def _layer(self, node):
        """A convolution or linear layer of fewer rows, from fewer columns."""
        new, name = copy.copy(operation(node)), node.target
        rows = self.has[node] = self.wanted[self.large[node.name]]
        columns = self.found.columns[name]
        if not rows.any():
            return
        before = self.has[node.args[0]]
        if not before.any():
            raise BadValueError(f"the mask leaves no path from the image to layer {name!r}")
        columns = _widened(columns, before)
        node.args = (self._only(node.args[0], columns, node), *node.args[1:])
        at = _positions(rows), _positions(columns)
        if isinstance(new, nn.Linear):
            new.out_features, new.in_features = map(len, at)
        else:
            new.out_channels, new.in_channels = map(len, at)
        self._replace(name, new, {"weight": at, "bias": at[:1]})
        m = self.mask[f"{name}.weight"]
        self.masks[f"{name}.weight"] = _part(m, at)

    def _norm(self, node):
        """A batch norm of the channels that its convolution has; `extra` are the betas that enter a
        sum without it."""
        rows = self.has[node] = self.has[node.args[0]]
        new, name, at = copy.copy(operation(node)), node.target, (_positions(rows),)
        beta, new.num_features = new.bias.detach(), len(at[0])
        needed = self.found.needed[self.large[node.name]].clone()
        for user in filter(channels.is_sum, node.users):  # dead ones that stay are 0 with all betas
            needed |= self.wanted[self.large[user.name]] & (beta != 0).cpu()
        extra = (_positions(needed & ~rows),)
        self._replace(
            name, new, dict.fromkeys(("weight", "bias", "running_mean", "running_var"), at)
        )
        if len(extra[0]):
            new.extra = nn.Parameter(_part(beta, extra))
            self.places[f"{name}.extra"] = f"{name}.bias", extra

    def _sum(self, node):
        whole = self.has[node] = self.wanted[self.large[node.name]]
        values, have = [], []
        for x in node.args:
            if (own := self.has[x] & whole).any():
                values.append(self._only(x, own, node))
                have.append(own)
        if not values:
            raise BadValueError(f"the mask leaves no path from the image to {node.name!r}")
        for x in node.args:
            if (name := f"{x.target}.extra") in self.places:
                with self.graph.inserting_before(node):
                    values.append(self.graph.get_attr(name))
                have.append(torch.zeros_like(whole))
                have[-1][self.places[name][1][0]] = True
        at = [_positions(own[whole]) for own in have]
        node.replace_all_uses_with(new := self._call(_Sum(int(whole.sum()), at), values, node))
        self.has[new] = whole

    def _only(self, x, wanted, user):
        """Node x, or a node of those of its channels that are wanted."""
        if torch.equal(self.has[x], wanted):
            return x
        return self._call(_Only(_positions(wanted[self.has[x]])), [x], user)

    def _call(self, module, values, user):
        name = f"{type(module).__name__.strip('_').lower()}_{len(self.graph.nodes)}"
        self.network.add_submodule(name, module)
        with self.graph.inserting_before(user):
            return self.graph.call_module(name, tuple(values))

    def _replace(self, name, new, places):
        """Put a part of a layer in its place."""
        new._parameters, new._buffers = dict(new._parameters), dict(new._buffers)
        for kind, at in places.items():
            if getattr(new, kind, None) is not None:
                part = _part(getattr(new, kind).detach(), at)
                setattr(new, kind, nn.Parameter(part) if kind in new._parameters else part)
                self.places[f"{name}.{kind}"] = f"{name}.{kind}", at
        self.network.set_submodule(name, new)


def _wanted(found: Channels) -> dict[fx.Node, Tensor]:
    """Which channels layers and sums have in the small network: those that are needed, and some
    dead ones, which do no harm there either. The sums of a stage all have the same, so that a
    shortcut passes them on as they are."""
    wanted, stages = {}, {}
    for node in found.graph.graph.nodes:
        if channels.is_sum(node):
            above = [s for s in map(channels.summed, node.args) if s]
            stages[node] = stages[above[0]] if above else []
            stages[node].append(node)
    for node, stage in stages.items():
        needed = torch.stack([found.needed[n] for n in stage]).any(0)
        wanted[node] = _widened(needed, torch.ones_like(needed))
    for node in found.graph.graph.nodes:
        if is_layer(node):
            rows = wanted[node] = found.needed[node]
            sums = [user for norm in node.users for user in norm.users if user in stages]
            if sums:
                wanted[node] = _widened(rows, rows | wanted[sums[0]])
            elif operation(node).bias is None:  # else rounding sets dead ones free
                wanted[node] = _widened(rows, torch.ones_like(rows))
    return wanted


def _widened(some: Tensor, all_: Tensor) -> Tensor:
    """Some of all channels, and of the others all, where they are few, or else the first ones up to
    a multiple of `WIDTH`; none if there are none."""
    count = int(some.sum())
    if count >= (1 - SPARE) * int(all_.sum()) and count:
        return all_
    others = _positions(all_ & ~some)[: -count % WIDTH]
    some = some.clone()
    some[others] = True
    return some


def _positions(flags):
    return flags.nonzero().squeeze(1)


def _part(tensor, at):
    for dim, index in enumerate(at):
        tensor = tensor.index_select(dim, index.to(tensor.device))
    return tensor


class _Only(nn.Module):
    """Some channels of a tensor."""

    def __init__(self, at: Tensor):
        super().__init__()
        self.register_buffer("at", at, persistent=False)

    def forward(self, x):
        return x.index_select(1, self.at)


class _Sum(nn.Module):
    """A sum of tensors that have some of its channels each, and of constants."""

    def __init__(self, width: int, at: list[Tensor]):
        super().__init__()
        self.width = width
        for i, own in enumerate(at):
            self.register_buffer(f"at{i}", own, persistent=False)

    def forward(self, *values):
        pairs = [(getattr(self, f"at{i}"), x) for i, x in enumerate(values)]
        tensors = sorted((p for p in pairs if p[1].dim() > 1), key=lambda pair: -len(pair[0]))
        first, constants = tensors[0][1], [p for p in pairs if p[1].dim() == 1]
        if len(tensors[0][0]) < self.width:
            first = first.new_zeros(len(first), self.width, *first.shape[2:]).index_add(
                1, *tensors[0]
            )
        if constants:
            nothing = first.new_zeros(self.width)
            constant = sum(nothing.index_add(0, i, x.to(first.dtype)) for i, x in constants)
            first = first + constant[:, None, None]
        for at, x in tensors[1:]:
            first = first + x if len(at) == self.width else first.index_add(1, at, x)
        return first
