"""CUDA graphs: the iteration of a program, recorded once and replayed.

What a small network costs on a GPU is the launching of its kernels; a graph launches them all at
once. Everything that changes between iterations, draws and learning rate, is copied into tensors
that the graph reads.
"""

import torch

from prunelib.engine import memory
from prunelib.errors import PrunelibError


class Captured:
    """The iteration of a program, gathering and augmentation included, as a CUDA graph; the
    short last batch of an epoch has a graph of its own.

    It does not keep the program: with one referring to the other, neither would be freed, and a
    graph that the garbage collector frees during a later capture spoils that."""

    def __init__(self, program, dataset):
        self.dataset, self.graphs = dataset, {}
        batch = program.schedule.batch_size
        draws = dataset.draws(0, 0)
        sizes = {min(batch, dataset.train_size), dataset.train_size % batch or batch}
        live = [program.total]
        for k in range(program.count):
            live += [*program.tensors(k).values(), *program.momenta(k).values()]
        saved = [t.clone() for t in live]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for size in sizes:
                for _ in range(3):  # libraries choose their kernels before anything is captured
                    program.step(*dataset.train_batch(draws.part(0, size)))
        torch.cuda.current_stream().wait_stream(side)
        for tensor, value in zip(live, saved, strict=True):
            tensor.copy_(value)

    def step(self, program, part):
        """One iteration of the program on the examples of these draws."""
        if len(part.order) not in self.graphs:
            self.graphs[len(part.order)] = self._capture(program, part)
        graph, static = self.graphs[len(part.order)]
        for name, mine in static.tensors().items():
            mine.copy_(part.tensors()[name])
        graph.replay()

    def _capture(self, program, part):
        program.optimiser.zero_grad()
        static, graph, here = part.clone(), torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        pool = next(iter(self.graphs.values()))[0].pool() if self.graphs else None
        try:
            with torch.cuda.graph(graph, pool=pool):  # records, and changes nothing
                program.step(*self.dataset.train_batch(static))
        except RuntimeError as error:
            torch.cuda.set_stream(here)  # where the end of a capture fails, its own stays current
            if memory.is_lacking(error):
                raise
            first = error.__context__ or error  # which the end of the capture has covered
            raise PrunelibError(
                f"an iteration cannot be recorded as a CUDA graph ({str(first).splitlines()[0]}): "
                "on a GPU a network must not wait for a number in its forward pass, as with "
                ".item(), torch.tensor(…, device=…) or a batch norm of momentum=None; write it "
                "without, or use --device cpu"
            ) from error
        return graph, static
