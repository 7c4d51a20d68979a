"""The default precision of a device."""

import pytest
import torch

from prunelib import precision


@pytest.fixture
def cpu(monkeypatch):
    """A function that gives the CPU some capabilities, and a speed to its products."""

    def give(fp32_seconds, bf16_seconds, **capabilities):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
        seconds = {torch.float32: fp32_seconds, torch.bfloat16: bf16_seconds}
        monkeypatch.setattr(precision, "_product_seconds", lambda: seconds)
        precision.default_precision.cache_clear()
        return precision.default_precision("cpu")

    yield give
    precision.default_precision.cache_clear()


def test_bf16_where_it_is_native_and_faster(cpu):
    assert cpu(2e-3, 1e-3, avx512_bf16=True) == "bf16"
    assert cpu(8e-3, 1e-3, amx_bf16=True) == "bf16"


def test_fp32_where_native_bf16_is_slower(cpu):
    """As on an Intel CPU that has AVX-512's instruction and not AMX."""
    assert cpu(1e-3, 2e-3, avx512_bf16=True) == "fp32"


def test_fp32_without_native_bf16(cpu):
    assert cpu(2e-3, 1e-3, avx512=True) == "fp32"


def test_fp32_on_a_gpu():
    assert precision.default_precision("cuda") == "fp32"


SWITCHES = (
    torch.backends, torch.backends.cuda.matmul, torch.backends.cudnn.conv,
    torch.backends.cudnn.rnn, torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv,
    torch.backends.mkldnn.rnn,
)  # fmt: skip


@pytest.fixture
def untouched():
    """PyTorch's switches, as they were, after a test."""
    matmul, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    newer = [switch.fp32_precision for switch in SWITCHES]
    yield
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = cudnn
    for switch, value in zip(SWITCHES, newer, strict=True):
        switch.fp32_precision = value


@pytest.mark.parametrize("matmul", [None, "high", "highest"])
@pytest.mark.parametrize("turned", [(), (0,), (1,), (2,), (5,), (0, 1, 2, 3, 4, 5, 6)])
def test_full_precision_is_full_and_leaves_the_callers_switches(matmul, turned, untouched):
    """Whichever of PyTorch's two kinds of switches a caller has turned to TF32 before."""
    if matmul:
        torch.set_float32_matmul_precision(matmul)
    for place in turned:
        SWITCHES[place].fp32_precision = "tf32"
    before = [switch.fp32_precision for switch in SWITCHES]
    for name, value in (("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")):
        with precision.products(name):
            with precision.products("tf32"):
                pass
            assert [switch.fp32_precision for switch in SWITCHES[1:]] == [value] * 6
            older = torch.get_float32_matmul_precision()
            assert older == ("high" if value == "tf32" else "highest")
        assert [switch.fp32_precision for switch in SWITCHES] == before


def test_what_is_global_stays_so_for_switches_that_follow_it(untouched):
    torch.backends.fp32_precision = "tf32"
    with precision.products("fp32"):
        pass
    torch.backends.fp32_precision = "ieee"
    followed = (torch.backends.cuda.matmul, torch.backends.mkldnn.conv)
    assert [switch.fp32_precision for switch in followed] == ["ieee", "ieee"]


def test_larger_products_take_longer():
    small, large = (precision._product_seconds(side, 3) for side in (32, 512))
    for dtype, seconds in small.items():
        assert 0 < seconds < large[dtype]
