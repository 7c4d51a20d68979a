"""What `prunelib bench` prints: the engine beside the loops that one would write without it.

`LOOPS` are one network a process, by the recipe of `training`. The first is that loop as it is; the
others are what a knowledgeable user makes of it today, in the engine's own place: as many processes
as it has, each of one thread, which keep the memory that they free.
"""

import functools
import logging
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from tqdm.auto import tqdm

from prunelib import networks, settings
from prunelib.engine import executors, speed
from prunelib.errors import PrunelibError
from prunelib.precision import products, short

PLAIN, LAID_OUT, COMPILED = LOOPS = ("plain loop", "channels last", "compiled")
ENGINE, PEAK = "engine", "peak"
COMPILERS = {"cpu": ["c++"], "cuda": ["gcc", "clang"]}  # of which PyTorch needs one
SIDE = {"cpu": 2048, "cuda": 8192}  # of the square matrices whose product is the peak


@dataclass(frozen=True)
class Speed:
    """Medians over interleaved repetitions, of one setting.

    Attributes:
        loops: model-images a second by the name of a loop, all processes together; `LOOPS` but for
            "compiled" where there is no compiler.
        engine: the engine's.
        ratio: the engine's to the fastest loop's, of each repetition.
        tflops: TFLOP a second of the engine, see `networks.flops`.
        peak: TFLOP a second of square matrix products in the same precision and processes.
    """

    setting: str
    count: int
    precision: str
    loops: dict[str, float]
    engine: float
    ratio: float
    tflops: float
    peak: float


def summary(setting: str, count: int, precision: str, found: list[dict[str, float]]) -> Speed:
    """A Speed from what each repetition measured: by the name of a loop, `ENGINE` or `PEAK`."""
    loops = [name for name in found[0] if name in LOOPS]
    middle = {name: statistics.median(each[name] for each in found) for name in found[0]}
    ratio = statistics.median(each[ENGINE] / max(each[n] for n in loops) for each in found)
    tflops = middle[ENGINE] * networks.flops(settings.get(setting).network) / 1e12
    fastest = {name: middle[name] for name in loops}
    return Speed(setting, count, precision, fastest, middle[ENGINE], ratio, tflops, middle[PEAK])


def compare(
    setting: str, count: int, device: str, precision: str, workers: int, repetitions: int
) -> Speed:
    """Measure the loops, the engine and the peak in turn, `repetitions` times.

    Args:
        setting: a name. count: how many networks each of the engine's programs trains.
        device, precision: of the engine and of the loops but the plain one, which is in fp32 and
            in this process, with all the threads that PyTorch takes.
        workers: how many processes measure at a time.
        repetitions: how many of each.

    Raises:
        PrunelibError: a worker died.
    """
    place = executors.Processes(workers)
    try:

        def together(name):
            call = (_measured, name, setting, count, precision, device)
            with tqdm(disable=True) as bar:
                speeds = list(executors.results(place, [call] * workers, bar))
            if len(speeds) < workers:
                raise PrunelibError("a worker died in the measurement: give fewer workers")
            return sum(speeds)

        here = speed.stretch(setting, 1, "fp32", device, prepared=lambda model: model)
        measures: dict[str, Callable[[], float]] = {PLAIN: here}
        compiled = [COMPILED] if any(map(shutil.which, COMPILERS[device])) else []
        for name in (LAID_OUT, *compiled, ENGINE, PEAK):
            measures[name] = functools.partial(together, name)
        with tqdm(total=(repetitions + 1) * len(measures), desc=setting, leave=False) as bar:

            def once(measure):
                bar.update()
                return measure()

            found = [
                {name: once(measure) for name, measure in measures.items()}
                for _ in range(repetitions + 1)  # the first starts the workers and warms them
            ]
    finally:
        place.close()
    return summary(setting, count, precision, found[1:])


def _measured(name, setting, count, precision, device, advance):
    return _kept(name, setting, count, precision, device)()


@functools.cache
def _kept(name, setting, count, precision, device):
    """A worker keeps what it measures, warm."""
    if name == PEAK:
        return functools.partial(peak, precision, device)
    if name == ENGINE:
        return speed.stretch(setting, count, precision, device)
    prepared = functools.partial(laid_out, precision=precision, compiled=name == COMPILED)
    return speed.stretch(setting, 1, precision, device, prepared)


def laid_out(model: nn.Module, precision: str, compiled: bool = False) -> nn.Module:
    """Let a network compute with channels last and in bf16 if that is its precision, compiled if
    asked for; in place, so that `training.train` trains it as it does any other."""
    model.to(memory_format=torch.channels_last)
    device = next(model.parameters()).device
    # The compiler warns of machines without a GPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    # Each size of batch has a program of its own: one for all sizes is slower.
    forward = torch.compile(model.forward, dynamic=False) if compiled else model.forward

    def fast(inputs):
        if inputs.dim() == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with short(precision, device):
            return forward(inputs).float()

    model.forward = fast
    return model


def peak(precision: str, device: str) -> float:
    """TFLOP a second of square matrix products in a precision, of one process."""
    side = SIDE[device]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))

    def synchronised():
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    with products(precision):
        a @ b
        began, count = synchronised(), 0
        while (now := synchronised()) < began + speed.LEAST or not count:
            a @ b
            count += 1
    return count * 2 * side**3 / (now - began) / 1e12
