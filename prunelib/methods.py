"""The one table of pruning methods, and how a method's function is called.

A method gives a score of each weight (`scores.register`) or a whole mask (`masks.register`). Both
kinds stand in `METHODS`, and are called by `call` on a copy of the network.
"""

import copy
import importlib
import inspect
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prunelib import provenance, seeds
from prunelib.errors import BadValueError, UnknownNameError
from prunelib.networks import prunable
from prunelib.precision import products, short

Batch = tuple[Tensor, Tensor]  # inputs [n, C, H, W] and targets [n]
Data = Batch | list[Batch]  # what a method is given: a scoring batch, or some training batches

UNSCORED = ("dense", "gradual")  # methods of a Run that have no mask before training


@dataclass(frozen=True)
class Method:
    """How a method prunes.

    Attributes:
        name: as it is recorded; of a user's own, with the digest of its source.
        function: its score or its mask.
        prunes: "lowest" or "highest": which scores go first.
        iterations: how often it scores and removes.
        needs_data: whether it needs a batch.
        kind: "score", or "mask" where the function returns a whole mask.
        revives: whether every iteration ranks pruned weights too, so that they may come back.
        batches: how many training batches it is given in place of the scoring batch.
    """

    name: str
    function: Callable[..., Any]
    prunes: str = "lowest"
    iterations: int = 1
    needs_data: bool = True
    kind: str = "score"
    revives: bool = False
    batches: int | None = None

    @property
    def label(self) -> str:
        """Its plain name."""
        return provenance.label(self.name)

    def takes(self, parameter: str) -> bool:
        """Whether its function has a parameter of that name."""
        return parameter in inspect.signature(self.function).parameters

    @property
    def ranks_once(self) -> bool:
        """Whether one ranking gives its masks at all sparsities."""
        return self.kind == "score" and self.iterations == 1 and not self.takes("sparsity")


METHODS: dict[str, Method] = {}


def add(
    name: str,
    kind: str,
    prunes: str = "lowest",
    iterations: int = 1,
    needs_data: bool = True,
    revives: bool = False,
    batches: int | None = None,
) -> Callable[[Callable], Callable]:
    """The decorator behind `scores.register` and `masks.register`, with their arguments.

    Raises:
        BadValueError: a name that is taken or cannot be recorded, or another value not allowed.
    """
    provenance.check_new("method", name, UNSCORED)
    _check_free(name)
    if prunes not in ("lowest", "highest"):
        raise BadValueError(f"prunes={prunes!r}: choose 'lowest' or 'highest'")
    check_iterations(iterations)
    if batches is not None and (type(batches) is not int or batches < 1 or not needs_data):
        raise BadValueError(
            f"batches={batches!r}, needs_data={needs_data!r}: give a whole number of training "
            "batches from 1, or leave it out"
        )
    options = (prunes, iterations, needs_data, kind, revives, batches)

    def decorate(function: Callable) -> Callable:
        if not callable(function):
            raise BadValueError(f"method {name!r} is {function!r}, expected a function")
        if not provenance.is_ours_as(function, name):
            _complete()
            _check_free(name)
        made = Method(name, function, *options)
        _check_signature(made)
        if revives and not made.takes("mask"):
            raise BadValueError(
                f"method {name!r} lets pruned weights come back, but its function does not ask "
                "which are pruned: give it a parameter 'mask'"
            )
        key = provenance.record("method", name, function, *options)
        METHODS[key] = Method(key, function, *options)
        return function

    return decorate


def _check_signature(method):
    """BadValueError where a function cannot be called with what methods are given."""
    positional = ("model", "batch") if method.kind == "score" else ()
    offered = ("seed", "sparsity", *(("mask",) if positional else ("model", "batch")))
    try:
        signature = inspect.signature(method.function)
        for p in list(signature.parameters.values())[len(positional) :]:
            required = p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
            if required and p.name not in offered:
                raise BadValueError(
                    f"method {method.name!r} asks for {p.name!r}, which methods are not given: ask "
                    f"for {', '.join((*positional, *offered))}, or give the parameter a default"
                )
        signature.bind(*positional, **{name: None for name in offered if method.takes(name)})
    except BadValueError:
        raise
    except (TypeError, ValueError) as error:
        kind = "(model, batch)" if positional else "model=… and sparsity=…, as far as it has them"
        raise BadValueError(
            f"method {method.name!r} cannot be called with {kind}: {error}"
        ) from None


def _check_free(name):
    if name in METHODS:
        raise BadValueError(
            f"method {name!r} is one of the paper's, or of those after it: register under another "
            "name"
        )


def _complete():
    """Have the later methods in the table, which stand above this module: they enter themselves."""
    importlib.import_module("prunelib.later")


def check_iterations(iterations: int) -> int:
    """Return a number of pruning iterations; raise BadValueError if it is not one."""
    if type(iterations) is not int or iterations < 1:
        raise BadValueError(f"iterations={iterations!r}: give a whole number from 1")
    return iterations


def get(name: str) -> Method:
    """The method of that name, or the newest of that plain name.

    Raises:
        UnknownNameError: there is none; the sentence lists the names.
    """
    _complete()
    key = provenance.resolve("method", name, METHODS)
    if key not in METHODS:
        raise UnknownNameError("method", name, provenance.labels(METHODS))
    return METHODS[key]


def call(method: Method, model: nn.Module, batch: Data | None, seed: int, **offered: Any) -> Any:
    """What a method's function returns for a copy of the model, in full precision; the model comes
    back untouched, with its mode and its gradients, and so do the global generators of torch, NumPy
    and Python.

    Args:
        method: of the table.
        model: a network on any device.
        batch: as the method asks for it; None where it needs none.
        seed: the replicate.
        offered: what else the function may ask for by the names of its parameters.

    Raises:
        BadValueError: what the method needs is not there, or it has changed its batch.
        UserCodeError: an exception in a method of a user's own.
    """
    _check_batch(method, batch, getattr(model, "input_shape", None))
    if method.takes("sparsity") and offered.get("sparsity") is None:
        raise BadValueError(f"method {method.label!r} asks for the sparsity: pass sparsity=0.9")
    work = copy.deepcopy(model)
    for p in work.parameters():
        p.requires_grad_().grad = None
    offered["seed"] = seed
    if method.kind == "mask":
        positional, offered = (), offered | {"model": work, "batch": batch}
    else:
        positional = (work, batch)
    if offered.get("mask") is not None:  # the caller's stays as it is, whatever is done to this one
        offered["mask"] = {name: m.clone() for name, m in offered["mask"].items()}
    named = {name: value for name, value in offered.items() if method.takes(name)}
    device = next(work.parameters()).device
    versions = _versions(method, batch)
    unasked = " (its batch is None, as it was registered with needs_data=False)"
    unasked = "" if method.needs_data or batch is not None else unasked
    with (
        seeds.restored(device),
        torch.enable_grad(),
        products("fp32"),
        short("fp32", device.type),
        provenance.running(f"method {method.label!r}", method.function, unasked),
    ):
        # Seeded, so that draws whose seed a method forgot can be repeated all the same.
        own = seeds.seed(seed, f"scores/{method.label}")
        torch.manual_seed(own)
        random.seed(own)
        np.random.seed(own % 2**32)
        found = method.function(*positional, **named)
    if _versions(method, batch) != versions:
        raise BadValueError(
            f"method {method.label!r} changes its batch in place, which other masks are made from: "
            "let it change a copy, as inputs.clone()"
        )
    return found


def _versions(method, batch):
    """How often the tensors of a batch have been changed in place, as far as they count it."""
    pairs = batch if method.batches else [batch] if batch is not None else []
    return [t._version for pair in pairs for t in pair if not t.is_inference()]


def _check_batch(method, batch, shape):
    count = method.batches
    if count and not (isinstance(batch, list | tuple) and len(batch) == count and all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in batch
    )):  # fmt: skip
        raise BadValueError(
            f"method {method.label!r} needs a list of {count} training batches: pass "
            f"batch=datasets.training_batches(setting, seed, {count})"
        )
    if method.needs_data and batch is None:
        raise BadValueError(
            f"method {method.label!r} needs a scoring batch: pass "
            "batch=datasets.scoring_batch(setting)"
        )
    for pair in batch if count else [batch] if batch is not None else []:
        if not (isinstance(pair, list | tuple) and all(isinstance(t, Tensor) for t in pair)) or (
            len(pair) != 2 or not len(pair[0]) == len(pair[1]) > 0
        ):
            raise BadValueError(
                f"method {method.label!r}: a batch is a pair of tensors, inputs and as many targets"
            )
        if shape is not None and tuple(pair[0].shape[1:]) != tuple(shape):
            raise BadValueError(
                f"method {method.label!r}: the batch has inputs of shape "
                f"{tuple(pair[0].shape[1:])}, the network takes {tuple(shape)}"
            )


def unlike(found: Collection[str], names: Collection[str]) -> str:
    """What is wrong with names that should be those of the prunable weights."""
    more, less = (", ".join(sorted(map(str, set(a) - set(b)))) for a, b in
                  ((found, names), (names, found)))  # fmt: skip
    wrong = [f"it has {more}, which networks.prunable(model) does not name"] if more else []
    wrong += [f"it lacks {less}"] if less else []
    return ", and ".join(wrong)


def check_tensors(method: Method, model: nn.Module, found: Any) -> None:
    """Check that a method returned one tensor for each prunable weight, of its shape: scores that
    can be ranked, or truth values.

    Raises:
        BadValueError: it did not; the sentence names the weight.
    """
    verb, names = method.kind, prunable(model)
    said, did = f"method {method.label!r}", f"{verb}d" if verb[-1] == "e" else f"{verb}ed"
    if not isinstance(found, dict):
        raise BadValueError(
            f"{said} returned {type(found).__name__}, expected a dict from the names that "
            "networks.prunable(model) gives to tensors"
        )
    if set(found) != set(names):
        spared = (
            " (a layer to be spared gets higher ones than all others)" if verb == "score" else ""
        )
        raise BadValueError(
            f"{said} must {verb} the prunable weights: {unlike(found, names)}{spared}"
        )
    for name in names:
        given, shape = found[name], model.get_parameter(name).shape
        if not isinstance(given, Tensor):
            kind = type(given).__name__
            raise BadValueError(f"{said} {did} {name} with {kind}, expected a tensor")
        if given.shape != shape:
            raise BadValueError(
                f"{said} {did} {name} with shape {tuple(given.shape)}, the weight has "
                f"{tuple(shape)}: return it in that one"
            )
        if verb == "mask" and given.dtype != torch.bool:
            raise BadValueError(
                f"{said} masked {name} with numbers of type {given.dtype}, expected bool: True "
                "where a weight is kept"
            )
        if verb == "score" and given.is_complex():
            raise BadValueError(
                f"{said} scored {name} with complex numbers, which have no order: return their "
                "absolute values, or their real parts"
            )
        if verb == "score" and not (finite := torch.isfinite(given)).all():
            raise BadValueError(
                f"{said} gave scores of {name} that are not finite, {int((~finite).sum()):,} of "
                f"{given.numel():,}: look for divisions by zero and the like, or say what they are "
                "to count as, by torch.nan_to_num"
            )
