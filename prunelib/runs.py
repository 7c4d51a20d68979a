"""Run, a point in the space of the paper's experiments; and the Runs each figure needs."""

from dataclasses import asdict, dataclass, fields

from prunelib import networks, scores, settings
from prunelib.errors import BadValueError, UnknownNameError, check_name, check_sparsity

ABLATIONS = ("none", "shuffle", "reinit", "invert")


@dataclass(frozen=True)
class Run:
    """One trained network.

    `prune_at` is the step whose weights are scored, `weights_from` the step whose weights are
    then trained: an iteration, or "end". 0/0 is pruning at initialisation, k/k Section 6, end/end
    magnitude after training, end/k lottery ticket rewinding. The unpruned network has the method
    "dense" and sparsity 0.

    Raises:
        UnknownNameError, BadValueError: when made with a name or value that is not allowed.
    """

    setting: str
    profile: str
    method: str = "dense"
    sparsity: float = 0.0
    ablation: str = "none"
    prune_at: int | str = 0
    weights_from: int | str = 0
    init: str = "he"
    replicate: int = 0

    def __post_init__(self):
        settings.get(self.setting)
        settings.get_profile(self.profile)
        if self.method != "dense" and self.method not in scores.METHODS:
            raise UnknownNameError("method", self.method, ["dense", *scores.METHODS])
        check_name("ablation", self.ablation, ABLATIONS)
        check_name("init", self.init, networks.INITS)
        object.__setattr__(self, "sparsity", check_sparsity(self.sparsity))
        if type(self.replicate) is not int or self.replicate < 0:
            raise BadValueError(f"replicate {self.replicate!r} is not a whole number from 0")
        for name in ("prune_at", "weights_from"):
            step = getattr(self, name)
            last = settings.schedule(self.setting, self.profile).iterations
            if step != "end" and not (type(step) is int and 0 <= step < last):
                raise BadValueError(f"{name} {step!r} is not 'end' or a step in 0 … {last - 1}")
        plain = (self.sparsity, self.ablation, self.prune_at, self.weights_from)
        if self.method == "dense" and plain != (0.0, "none", 0, 0):
            raise BadValueError("method 'dense' is the unpruned network: it takes no sparsity, "
                                "ablation, prune_at or weights_from")  # fmt: skip

    def __lt__(self, other):
        """Field by field; among steps "end" comes last."""
        return self._order() < other._order()

    def _order(self):
        return [(isinstance(value, str), value) for value in vars(self).values()]

    @classmethod
    def recorded(cls, method, **values):
        """The Run of a record, whose method need not be registered where it is read."""
        known = method == "dense" or method in scores.METHODS
        run = cls(method=method if known else "random", **values)
        object.__setattr__(run, "method", method)
        return run

    @property
    def parent(self):
        """The dense run whose weights this one needs, or None."""
        if not self.parent_steps:
            return None
        return Run(self.setting, self.profile, init=self.init, replicate=self.replicate)

    @property
    def parent_steps(self):
        """The steps of the dense run whose states this one needs."""
        return {self.prune_at, self.weights_from} - {0}

    def record(self):
        """The fields as a dict, in order."""
        return asdict(self)


FIELDS = tuple(f.name for f in fields(Run))

EARLY_METHODS = ("magnitude", "snip", "grasp", "synflow")


@dataclass(frozen=True)
class Curve:
    """A line of a figure: what its Runs share; sparsity and replicate vary along it."""

    method: str
    ablation: str = "none"
    prune_at: int | str = 0
    weights_from: int | str = 0
    init: str = "he"

    def run(self, setting, profile, sparsity, replicate):
        return Run(
            setting, profile, self.method, sparsity, self.ablation, self.prune_at,
            self.weights_from, self.init, replicate,
        )  # fmt: skip


DENSE = Curve("dense")
AFTER = Curve("magnitude", prune_at="end", weights_from="end")


def _after(ablation):
    return Curve("magnitude", ablation, prune_at="end", weights_from="end")


# Each figure as panels of curves. Figure 3 has one panel a setting, Figure 4 one a method.
FIGURES = {
    3: {"": (AFTER, *(Curve(m) for m in (*EARLY_METHODS, "random")))},
    4: {
        **{
            method: (
                Curve(method),
                *(Curve(method, ablation) for ablation in ("shuffle", "reinit", "invert")),
                Curve(method, init="fixed_variance"),
            )
            for method in EARLY_METHODS
        },
        "magnitude after training": (AFTER, _after("shuffle"), _after("reinit")),
    },
}


def figure_runs(figure, setting, profile, replicates=None):
    """The Runs a figure needs, without repetition, most valuable first.

    One replicate of everything comes before the next, its unpruned network first.

    Args:
        figure: a number of `FIGURES`.
        setting, profile: names.
        replicates: how many; the profile's number by default.

    Raises:
        UnknownNameError, BadValueError: for a figure, setting, profile or number not allowed.
    """
    check_name("figure", figure, FIGURES)
    count = settings.replicates(setting, profile) if replicates is None else replicates
    if type(count) is not int or count < 1:
        raise BadValueError(f"replicates {count!r} is not a whole number from 1")
    runs = []
    for replicate in range(count):
        runs.append(DENSE.run(setting, profile, 0.0, replicate))
        for panel in FIGURES[figure].values():
            for curve in panel:
                for sparsity in settings.sparsities(setting, profile):
                    runs.append(curve.run(setting, profile, sparsity, replicate))
    return list(dict.fromkeys(runs))


def mask_runs(setting, methods=(*EARLY_METHODS, "random"), levels=None, replicates=None):
    """The Runs whose masks Figures 5, 15 and 16 read, unmodified and shuffled.

    Nothing is trained for them: they have the profile "paper" and prune at initialisation.

    Args:
        setting: a name.
        methods: names of methods.
        levels: which k of the sparsities 1 - 0.8^k; all that the paper considers by default.
        replicates: how many; the paper's number by default.
    """
    for method in methods:
        scores.get(method)
    highest = settings.get(setting).highest
    found = settings.sparsities(setting, "paper")
    if levels is not None:
        found = [settings.sparsity(level) for level in levels if level <= highest]
    count = settings.replicates(setting, "paper") if replicates is None else replicates
    return [
        Run(setting, "paper", method, sparsity, ablation, replicate=replicate)
        for replicate in range(count)
        for method in methods
        for sparsity in found
        for ablation in ("none", "shuffle")
    ]
