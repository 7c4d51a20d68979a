"""Schedule: the iterations and learning rates of one training (Appendix A.3)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Iterations and learning rates of one training (Appendix A.3), scaled by a profile.

    `drops`, `warmup` and `rewind_step` are in iterations too, the first two perhaps fractional ones
    after scaling; `test_examples` is how many are looked at, all if None.
    """

    iterations: int
    iterations_per_epoch: int
    batch_size: int
    learning_rate: float
    drops: tuple[float, ...]
    drop_factor: float
    warmup: float
    momentum: float
    weight_decay: float
    rewind_step: int
    test_examples: int | None

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of iteration `step`, counted from 0; a warm-up is linear and begins
        with none, as in the code that the authors published (OpenLTH)."""
        rate = self.learning_rate * self.drop_factor ** sum(step >= d for d in self.drops)
        return rate * min(1.0, step / self.warmup) if self.warmup else rate

    def gradual_sparsity(self, step: int, final: float) -> float | None:
        """The sparsity that gradual pruning prunes to after `step` iterations; None if to none.

        final * (1 - (1 - t)^3) as in Zhu and Gupta (2018), t from 0 to 1 over the first half of
        the schedule in 100 updates. (The paper prints no such details of Figure 1; these are
        this project's.)
        """
        half = self.iterations // 2
        if not 0 < step <= half or 100 * step // half == 100 * (step - 1) // half:
            return None
        return final * (1 - (1 - (100 * step // half) / 100) ** 3)

    def iteration(self, step: int | str) -> int:
        """The iteration that a step names: the last one for "end"."""
        return self.iterations if step == "end" else step

    @property
    def epochs(self) -> float:
        """The length in epochs, which a scaled schedule need not end whole."""
        return self.iterations / self.iterations_per_epoch
