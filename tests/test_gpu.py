"""Programs on a GPU that computes nothing: where tensors are, and what the host waits for.

PyTorch knows of each tensor its device, type and shape without a GPU (`FakeTensorMode`): to mix
devices raises there as on a real one.
"""

from unittest.mock import MagicMock

import pytest
import torch
from test_programs import KINDS, ingredients
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from prunelib.engine import programs
from prunelib.precision import PRECISIONS


class Pretended(FakeTensorMode):
    """Counts the numbers that the host reads, each of which is 0."""

    reads = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            self.reads += 1
            return 0
        if "_fused_sgd_" in str(function):  # has no fake kernel; this is what the real one asks for
            assert (kwargs["lr"].device.type, kwargs["lr"].dtype) == ("cuda", torch.float32)
            for group in zip(*filter(None, args[:3]), strict=True):
                assert len({(t.device, t.dtype, t.stride()) for t in group}) == 1
            return None
        return super().__torch_dispatch__(function, types, args, kwargs)


def moved(module, function, recurse=True):
    """`Module._apply` for tensors of another kind, which PyTorch's own does not put in place."""
    for part in module.modules():
        for name, p in part._parameters.items():
            part._parameters[name] = None if p is None else nn.Parameter(function(p.detach()))
        for name, b in part._buffers.items():
            part._buffers[name] = None if b is None else function(b)
    return module


def differentiated(loss):
    """`Tensor.backward` without autograd's engine, which wants a real device: gradients are made,
    and not computed."""
    nodes = [loss.grad_fn]
    for node in nodes:
        nodes += [n for n, _ in node.next_functions if n is not None and n not in nodes]
    for leaf in (node.variable for node in nodes if hasattr(node, "variable")):
        leaf.grad = torch.empty_like(leaf)


@pytest.fixture
def gpu(monkeypatch):
    for name in ("Stream", "current_stream", "stream"):
        monkeypatch.setattr(torch.cuda, name, MagicMock())
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(nn.Module, "_apply", moved)
    monkeypatch.setattr(torch.Tensor, "backward", differentiated)
    return Pretended(allow_non_fake_inputs=True)


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_iteration_stays_on_the_gpu_and_waits_for_nothing(kind, precision, gpu):
    models, mask, schedule, dataset = ingredients(kind, dtype=torch.float32)
    with gpu:
        models = [model.to("cuda") for model in models]
        made = programs.make(models, mask, schedule, precision, stacked=kind != "several")
        draws = dataset.to("cuda").draws(0, 0).part(0, 8)
        gpu.reads = 0
        made.step(*dataset.to("cuda").train_batch(draws))
        assert gpu.reads == 0
        live = [t for k in range(3) for t in (*made.tensors(k).values(), *made.mask(k).values())]
        assert {t.device.type for t in (*live, made.total)} == {"cuda"}
        made.evaluate(dataset.to("cuda"))


def test_a_mask_that_was_left_on_the_cpu_is_found(gpu):
    models, mask, schedule, dataset = ingredients("several", dtype=torch.float32)
    with gpu:
        models = [model.to("cuda") for model in models]
        made = programs.make(models, mask, schedule, stacked=False)
        made.masked = [(p, torch.ones(p.shape)) for p, _ in made.masked]
        with pytest.raises(RuntimeError, match="two different devices cuda:0, cpu"):
            made.step(*dataset.to("cuda").train_batch(dataset.to("cuda").draws(0, 0).part(0, 8)))
