"""Run, a point in the space of the paper's experiments; Curve, a line of a figure.

A Run says everything that a trained network depends on; what it needs from another Run, the
states of its unpruned network, it names as its parent. A Curve is what the Runs along a line
share, and makes them.
"""

import re
from dataclasses import asdict, dataclass, fields, replace

import prunelib.later  # noqa: F401  (its methods enter the table of methods)
from prunelib import networks, provenance, scores, settings
from prunelib.errors import BadValueError, UnknownNameError, check_name, check_sparsity

ABLATIONS = ("none", "shuffle", "reinit", "invert")


@dataclass(frozen=True)
class Run:
    """One trained network.

    `prune_at` is the step whose weights are scored, `weights_from` the step whose weights are
    then trained: an iteration, or "end". 0/0 is pruning at initialisation, k/k Section 6, end/end
    magnitude after training, end/k lottery ticket rewinding. The unpruned network has the method
    "dense" and sparsity 0; "gradual" is magnitude pruning while training (Figure 1). The plain name
    of a method of one's own means the newest one; the Run holds the name that is recorded, which
    has a digest of the method's source (`provenance`). So it is with a setting of one's own.

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
        object.__setattr__(self, "setting", settings.get(self.setting).name)
        settings.get_profile(self.profile)
        if self.method not in scores.UNSCORED:
            self._check_method()
        check_name("ablation", self.ablation, ABLATIONS)
        check_name("init", self.init, networks.INITS)
        object.__setattr__(self, "sparsity", check_sparsity(self.sparsity))
        if type(self.replicate) is not int or self.replicate < 0:
            raise BadValueError(f"replicate {self.replicate!r} is not a whole number from 0")
        last = settings.schedule(self.setting, self.profile).iterations
        for name in ("prune_at", "weights_from"):
            step = getattr(self, name)
            if step != "end" and not (type(step) is int and 0 <= step < last):
                raise BadValueError(f"{name} {step!r} is not 'end' or a step in 0 … {last - 1}")
        plain = (self.sparsity, self.ablation, self.prune_at, self.weights_from)
        if self.method == "dense" and plain != (0.0, "none", 0, 0):
            raise BadValueError(
                "method 'dense' is the unpruned network: it takes no sparsity, ablation, prune_at "
                "or weights_from"
            )
        if self.method == "gradual" and plain[1:] != ("none", 0, 0):
            raise BadValueError(
                "method 'gradual' prunes while it trains: it takes no ablation, prune_at or "
                "weights_from"
            )

    def _check_method(self):
        try:
            chosen = scores.get(self.method)
        except UnknownNameError:
            known = [*scores.UNSCORED, *provenance.labels(scores.METHODS)]
            raise UnknownNameError("method", self.method, known) from None
        if self.ablation == "invert" and chosen.kind == "mask":
            raise BadValueError(
                f"method {chosen.label!r} gives whole masks: it has no ranking that could be "
                "inverted"
            )
        object.__setattr__(self, "method", chosen.name)

    def __lt__(self, other):
        """Field by field; among steps "end" comes last."""
        return self._order() < other._order()

    def _order(self):
        return [(isinstance(value, str), value) for value in vars(self).values()]

    @classmethod
    def recorded(cls, **values) -> "Run":
        """The Run of a record, whose method and setting need not be known where it is read.

        The other fields are checked as ever, but for the last step of an unknown setting.
        """
        stand_in = {}
        if values["method"] not in (*scores.UNSCORED, *scores.METHODS):
            if not values["method"].isidentifier():
                raise BadValueError(f"method {values['method']!r} is not a method's name")
            stand_in["method"] = "random"
        if values["setting"] not in settings.SETTINGS:
            if not values["setting"].isidentifier():  # it becomes the name of a folder
                raise BadValueError(f"setting {values['setting']!r} is not a setting's name")
            stand_in["setting"] = next(iter(settings.SETTINGS))
            for name in ("prune_at", "weights_from"):
                if type(values[name]) is int:
                    stand_in[name] = min(values[name], 1)
        run = cls(**values | stand_in)
        for name in stand_in:
            object.__setattr__(run, name, values[name])
        return run

    @property
    def parent(self) -> "Run | None":
        """The dense run whose weights this one needs, or None."""
        if not self.parent_steps:
            return None
        return Run(self.setting, self.profile, init=self.init, replicate=self.replicate)

    @property
    def parent_steps(self) -> set[int | str]:
        """The steps of the dense run whose states this one needs."""
        return {self.prune_at, self.weights_from} - {0}

    def record(self) -> dict[str, str | int | float]:
        """The fields as a dict, in order."""
        return asdict(self)


FIELDS = tuple(f.name for f in fields(Run))

_NOTATION = re.compile(
    r"(?P<method>\w+)(\+(?P<ablation>\w+))?(@(?P<prune_at>\w+)(/(?P<weights_from>\w+))?)?"
    r"(~(?P<init>\w+))?"
)

EARLY_METHODS = ("magnitude", "snip", "grasp", "synflow")


@dataclass(frozen=True)
class Curve:
    """A line of a figure: what its Runs share; sparsity or step, and replicate vary along it.

    Steps are those of a Run, or "k" where the step varies along the line, or "rewind" for the
    rewinding step of the setting. The method is named as in a Run.
    """

    method: str
    ablation: str = "none"
    prune_at: int | str = 0
    weights_from: int | str = 0
    init: str = "he"

    def __post_init__(self):
        name = provenance.resolve("method", self.method, scores.METHODS)
        object.__setattr__(self, "method", name)

    @classmethod
    def parse(cls, text: str) -> "Curve":
        """The curve of a notation: `method[+ablation][@prune_at[/weights_from]][~init]`.

        So "snip+shuffle", "magnitude@end", "magnitude@end/rewind" (lottery ticket rewinding),
        "synflow@k", "magnitude~fixed_variance"; "unpruned" is the unpruned network.

        Raises:
            BadValueError: for text of another form.
        """
        found = _NOTATION.fullmatch(text)
        if not found:
            raise BadValueError(f"curve {text!r} is not method[+ablation][@step[/step]][~init]")
        said = {name: value for name, value in found.groupdict().items() if value}
        if said["method"] == "unpruned":
            said["method"] = "dense"
        said.setdefault("weights_from", said.get("prune_at", "0"))
        return cls(**{n: int(v) if v.isdecimal() else v for n, v in said.items()})

    def __str__(self) -> str:
        """Its notation, see `parse`."""
        steps = dict.fromkeys((self.prune_at, self.weights_from))
        return (
            ("unpruned" if self.method == "dense" else self.method)
            + (f"+{self.ablation}" if self.ablation != "none" else "")
            + ("@" + "/".join(map(str, steps)) if set(steps) != {0} else "")
            + (f"~{self.init}" if self.init != "he" else "")
        )

    def at(self, setting: str, profile: str, step: int | str = 0) -> "Curve":
        """The same curve with its steps as numbers: "k" is `step`."""
        if not {"k", "rewind"} & {self.prune_at, self.weights_from}:
            return self
        known = {"k": step, "rewind": settings.schedule(setting, profile).rewind_step}
        return replace(
            self,
            prune_at=known.get(self.prune_at, self.prune_at),
            weights_from=known.get(self.weights_from, self.weights_from),
        )

    def run(
        self, setting: str, profile: str, sparsity: float, replicate: int, step: int | str = 0
    ) -> Run:
        """The Run at a sparsity, replicate and, where the curve has "k", step."""
        shared = vars(self.at(setting, profile, step))
        return Run(setting, profile, sparsity=sparsity, replicate=replicate, **shared)


DENSE = Curve("dense")
AFTER = Curve("magnitude", prune_at="end", weights_from="end")
REWOUND = Curve("magnitude", prune_at="end", weights_from="rewind")
RANDOM = Curve("random")
