"""Steps of training on a CUDA device: the next batch is simulated beside each, and both are one CUDA graph."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from lib.draem.simulation import Simulated, sent
from lib.execution.progress import say

WARM = 3  # steps before a capture: by then Adam's moments and all cached tables exist


class Ahead:
    """Learns from one batch while the next is simulated; both change tensors on `device` only, and wait for nothing.

    After `WARM` steps, `capture` records them as a CUDA graph. Where that fails, they are launched one by one, as on
    devices other than CUDA, which do the same in turn. The numbers are the same.
    """

    def __init__(
        self,
        learn: Callable[[Simulated], None],
        simulate: Callable[..., Simulated],
        device: torch.device,
        first: tuple[Tensor, ...],
        *,
        capture: bool,
    ) -> None:
        self.learn, self.simulate, self.capture = learn, simulate, capture
        self.aside = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.inputs = [sent(values, device) for values in first]
        self.batch = simulate(*self.inputs)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.steps = 0

    def step(self, following: tuple[Tensor, ...]) -> None:
        """Learn from the batch at hand, and simulate the next from tensors on the CPU, of the shapes of `first`."""
        for held, values in zip(self.inputs, following, strict=True):
            held.copy_(values.pin_memory() if self.aside else values, non_blocking=True)
        if self.capture and self.aside and self.steps == WARM:
            self._capture()
        self.steps += 1
        if self.graph is None:
            self._both()
        else:
            self.graph.replay()

    def _both(self) -> None:
        """Leave the next batch in the place of the one that was learnt from."""
        if self.aside:
            self.aside.wait_stream(torch.cuda.current_stream())
        self.learn(self.batch)  # first, so that the device has work while the many small kernels are launched
        with torch.cuda.stream(self.aside) if self.aside else nullcontext():
            following = self.simulate(*self.inputs)
        if self.aside:
            torch.cuda.current_stream().wait_stream(self.aside)
        for held, values in zip(self.batch, following, strict=True):
            held.copy_(values)

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._both()  # recorded, not done
            self.graph = graph
        except RuntimeError as error:  # too little memory for a graph, too
            say(f"no CUDA graph of a training step, which goes on without ({str(error).splitlines()[0]})")
