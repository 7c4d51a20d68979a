"""Grids: which Runs each figure and table of the paper is made of.

`FIGURES` and `TABLES` hold what the paper shows, as curves; `figure_runs` and `table_runs` list
the Runs that train for them, `mask_runs` and `weight_runs` those that are only measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prunelib import networks, provenance, scores, settings
from prunelib.errors import BadValueError, check_name
from prunelib.runs import AFTER, DENSE, EARLY_METHODS, RANDOM, REWOUND, Curve, Run

WEIGHT_LEVELS = (6, 12, 18)  # the k at which unpruned weights are compared
SYNFLOW_RUNS = ("vgg11_cifar10", "vgg16_cifar10", "modified_resnet18_cifar10",
                "modified_resnet18_tinyimagenet")  # fmt: skip
GRASP_RUNS = dict.fromkeys(("vgg19_cifar10", "wrn_32_2_cifar10"), (0.9, 0.95, 0.98)) | {
    "resnet50_imagenet": (0.6, 0.8, 0.9)
}
TABLE_7 = (*SYNFLOW_RUNS, "modified_resnet18_cifar10_tanaka",
           "modified_resnet18_tinyimagenet_tanaka")  # fmt: skip


@dataclass(frozen=True)
class Grid:
    """The Runs of a figure or table: panels of curves, and what varies along the curves.

    `along` is "sparsity" (1 - 0.8^k), "halving" (1 - 0.5^k), "step" (at the highest matching
    sparsity), or a dict from setting to the sparsities of a table. `paper` names the settings that
    the paper shows it for; `only` those that it can be made for, all of them if None.
    `replicates` is the paper's number where it is not the one of the setting.
    """

    panels: dict[str, tuple[Curve, ...]]
    along: str | dict = "sparsity"
    paper: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    replicates: int | None = None

    def shows(self, setting: str) -> bool:
        """Whether the paper shows it for a setting."""
        return setting in (self.along if isinstance(self.along, dict) else self.paper)

    @property
    def about(self) -> tuple[str, ...]:
        """The names of the settings that it is about."""
        return (
            tuple(self.along)
            if isinstance(self.along, dict)
            else self.only or tuple(settings.SETTINGS)
        )

    def count(self, setting: str, profile: str) -> int:
        """How many replicates it has of a setting at a profile."""
        own = settings.get_profile(profile).replicates or self.replicates
        return own or settings.replicates(setting, profile)

    def points(self, setting: str, profile: str) -> list[tuple[float, int | str]]:
        """The (sparsity, step) of the points along each curve."""
        if self.along == "step":
            matching = settings.highest_matching(setting)
            return [(matching, step) for step in settings.steps(setting, profile)]
        if self.along == "halving":
            return [(s, 0) for s in settings.halvings(profile)]
        if self.along == "sparsity":
            return [(s, 0) for s in settings.sparsities(setting, profile)]
        return [(s, 0) for s in self.along[setting]]


def _variants(method, ablations, **steps):
    return tuple(Curve(method, ablation, **steps) for ablation in ablations)


def _plain(*methods, **steps):
    return tuple(Curve(method, **steps) for method in methods)


_END = {"prune_at": "end", "weights_from": "end"}
_K = {"prune_at": "k", "weights_from": "k"}
_RANDOMISED = ("none", "shuffle", "reinit")
_LATE = Curve("magnitude", prune_at="end", weights_from="k")
NO_IMAGENET = ("resnet20_cifar10", "vgg16_cifar10", "resnet18_tinyimagenet")
MAIN = (*NO_IMAGENET, "resnet50_imagenet")
_LENET, _MODIFIED = ("lenet_mnist",), ("modified_resnet18_tinyimagenet",)

# Section, or appendix, of each: 1, 4, 5, 6, D, E, F, F, G, G, H, I.
FIGURES: dict[int | str, Grid] = {
    1: Grid({"": (AFTER, REWOUND, Curve("gradual"), RANDOM)}, paper=("resnet50_imagenet",)),
    3: Grid(
        {"": (AFTER, *_plain(*EARLY_METHODS), RANDOM)}, paper=(*MAIN, *_LENET, *_MODIFIED)
    ),
    4: Grid(
        {
            **{
                method: (
                    *_variants(method, (*_RANDOMISED, "invert")),
                    Curve(method, init="fixed_variance"),
                )
                for method in EARLY_METHODS
            },
            "magnitude after training": _variants("magnitude", _RANDOMISED, **_END),
        },
        paper=(*MAIN, *_LENET, *_MODIFIED),
    ),
    6: Grid({"": (_LATE, *_plain(*EARLY_METHODS, "random", **_K))}, "step", NO_IMAGENET),
    7: Grid({"": _plain(*EARLY_METHODS, "random")}, "halving", SYNFLOW_RUNS, SYNFLOW_RUNS),
    8: Grid(
        {"": (AFTER, REWOUND, Curve("magnitude"), RANDOM)}, paper=(*MAIN, *_LENET, *_MODIFIED)
    ),
    9: Grid(
        {method: _variants(method, _RANDOMISED, **_END) for method in EARLY_METHODS},
        paper=(*NO_IMAGENET, *_LENET, *_MODIFIED),
    ),
    10: Grid(
        {method: _variants(method, _RANDOMISED, **_K) for method in EARLY_METHODS}, "step",
        NO_IMAGENET,
    ),
    11: Grid({"": _plain("snip", "iterative_snip")}, paper=(*MAIN, *_LENET)),
    12: Grid(
        {method: _variants(method, _RANDOMISED) for method in ("snip", "iterative_snip")},
        paper=NO_IMAGENET,
    ),
    13: Grid(
        {"": (Curve("grasp"), Curve("grasp", "invert"), Curve("grasp_magnitude"))},
        paper=(*MAIN, *_LENET, *_MODIFIED),
    ),
    14: Grid(
        {
            "": (
                AFTER, *_plain("magnitude", "snip", "grasp_magnitude"),
                Curve("synflow", "shuffle"), RANDOM,
            )
        },
        paper=MAIN,
    ),
}  # fmt: skip

READ_OFF = {5: "05", 15: "J", 16: "M"}  # figures of masks alone, and the notebooks of them

TABLES = {
    2: Grid(
        {"": _plain("snip")},
        {"vgg16_cifar10": (0.97,)}
        | {f"{n}_cifar10": (0.95,) for n in ("vgg2_16", "wrn_14_8", "wrn_14_10", "wrn_20_8")},
    ),
    3: Grid({"": _plain("snip")}, GRASP_RUNS, replicates=5),
    5: Grid({"": _plain("grasp")}, GRASP_RUNS, replicates=5),  # C.4: five, ResNet-50 too
    7: Grid({"": ()}, dict.fromkeys(TABLE_7, ())),  # unpruned networks
}


# The methods after the paper, those that give whole masks first. What the paper's checks on them
# take besides Figure 3 is a figure of its own, of the notebook Y_later_methods.
LATER = ("erk", "smart_ratios", "igq", "phew", "synflow_l2", "force", "prospr", "ntk_sap")


def _ablated(name):
    """A method's part of Figure 4: a whole mask has no ranking that could be inverted."""
    ablations = _RANDOMISED if scores.get(name).kind == "mask" else (*_RANDOMISED, "invert")
    return (*_variants(name, ablations), Curve(name, init="fixed_variance"))


FIGURES["Y"] = Grid({name: _ablated(name) for name in LATER})

_own: list[str] = []  # methods that `include` was called with


def compared() -> tuple[str, ...]:
    """The methods whose masks and curves are shown side by side: the paper's early ones, those of
    one's own that `include` was called with, and random pruning."""
    return (*EARLY_METHODS, *_own, "random")


def include(method: str) -> str:
    """Show a method of one's own, from now on and in this process, beside the paper's: as a line of
    Figures 3 and 6 and among the masks of Figures 5, 15 and 16; its part of Figure 4 becomes a
    figure of its own, by the method's recorded name.

    Returns:
        the name that it is recorded under.

    Raises:
        UnknownNameError: there is no such method.
        BadValueError: it is one of those that the figures show already.
    """
    chosen = scores.get(method)
    if chosen.name in (*EARLY_METHODS, "random"):
        raise BadValueError(
            f"method {method!r} is one that the paper's figures show already: see prunelib claims, "
            "and the notebooks of Sections 4 to 6"
        )
    if chosen.name in _own:
        return chosen.name
    for name in [name for name in _own if provenance.label(name) == chosen.label]:
        _leave_out(name)  # it was changed since
    _own.append(chosen.name)
    for figure, steps in ((3, {}), (6, _K)):
        lines = FIGURES[figure].panels[""]
        panels = {"": (*lines[:-1], Curve(chosen.name, **steps), lines[-1])}
        FIGURES[figure] = replace(FIGURES[figure], panels=panels)
    FIGURES[chosen.name] = Grid({chosen.name: _ablated(chosen.name)})
    return chosen.name


def _leave_out(method):
    """Undo `include`."""
    _own.remove(method)
    del FIGURES[method]
    for figure in (3, 6):
        lines = [line for line in FIGURES[figure].panels[""] if line.method != method]
        FIGURES[figure] = replace(FIGURES[figure], panels={"": tuple(lines)})


def figure_runs(
    figure: int | str, setting: str, profile: str, replicates: int | None = None
) -> list[Run]:
    """The Runs a figure needs, without repetition, most valuable first.

    One replicate of everything comes before the next, its unpruned network first, of every
    initialisation in the figure: what pruning costs is a difference from the same start.

    Args:
        figure: a key of `FIGURES`.
        setting, profile: names.
        replicates: how many; the grid's number at the profile by default.

    Raises:
        UnknownNameError, BadValueError: for a figure, setting, profile or number not allowed, a
            figure that nothing is trained for, or a setting that it is not about.
    """
    if figure == 2:
        raise BadValueError(
            "figure 2 compares networks that other figures train, 3, 4 and 8: prunelib figures 01"
        )
    if figure in READ_OFF:
        raise BadValueError(
            f"figure {figure} is read off masks, and takes no training: "
            f"prunelib figures {READ_OFF[figure]}"
        )
    check_name("figure", figure, FIGURES)
    return _grid_runs(f"figure {figure}", FIGURES[figure], setting, profile, replicates)


def table_runs(table: int, setting: str, profile: str, replicates: int | None = None) -> list[Run]:
    """The Runs a table needs, a number of `TABLES`; else as `figure_runs`."""
    check_name("table", table, TABLES)
    return _grid_runs(f"table {table}", TABLES[table], setting, profile, replicates)


def _grid_runs(name, grid, setting, profile, replicates):
    setting = settings.get(setting).name
    if setting not in grid.about:
        raise BadValueError(
            f"{name} is not about {setting!r}: name another --setting, {', '.join(grid.about)}"
        )
    count = _checked(grid.count(setting, profile) if replicates is None else replicates)
    points = grid.points(setting, profile)
    curves = [curve for panel in grid.panels.values() for curve in panel]
    inits = dict.fromkeys([DENSE.init, *(curve.init for curve in curves)])
    runs = []
    for replicate in range(count):
        dense = [replace(DENSE, init=init) for init in inits]
        runs += [curve.run(setting, profile, 0.0, replicate) for curve in dense]
        for curve in curves:
            runs += [curve.run(setting, profile, s, replicate, step) for s, step in points]
    return list(dict.fromkeys(runs))


def _checked(replicates):
    if type(replicates) is not int or replicates < 1:
        raise BadValueError(f"replicates {replicates!r} is not a whole number from 1")
    return replicates


def cost(setting: str, profile: str, count: int = 1) -> float:
    """The PFLOP, 10^15 floating-point operations, of training `count` networks: forward and
    backward, pruned weights included."""
    schedule = settings.schedule(setting, profile)
    images = count * schedule.iterations * schedule.batch_size
    return images * networks.flops(settings.get(setting).network) / 1e15


def mask_runs(
    setting: str,
    methods: Sequence[str] | None = None,
    levels: Sequence[int] | None = None,
    replicates: int | None = None,
    after: bool = False,
) -> list[Run]:
    """The Runs whose masks Figures 5, 15 and 16 read, unmodified and shuffled.

    They have the profile "paper" and prune at initialisation, so that nothing is trained for them.
    Figure 15 also shows magnitude pruning after training (Appendix J), for which the unpruned
    network is trained.

    Args:
        setting: a name.
        methods: names of methods; those of `compared` by default.
        levels: which k of the sparsities 1 - 0.8^k; all that the paper considers by default.
        replicates: how many; the paper's number by default.
        after: whether to have magnitude pruning after training, unmodified, too.

    Raises:
        UnknownNameError: another setting or method. BadValueError: less than one replicate.
    """
    methods = [scores.get(name).name for name in (methods or compared())]
    highest = settings.get(setting).highest
    found = settings.sparsities(setting, "paper")
    if levels is not None:
        found = [settings.sparsity(level) for level in levels if level <= highest]
    count = _checked(settings.replicates(setting, "paper") if replicates is None else replicates)
    curves = [c for method in methods for c in _variants(method, ("none", "shuffle"))]
    return [
        curve.run(setting, "paper", sparsity, replicate)
        for replicate in range(count)
        for curve in [*curves, *([AFTER] if after else [])]
        for sparsity in found
    ]


def weight_runs(
    setting: str,
    profile: str = "paper",
    levels: Sequence[int] = WEIGHT_LEVELS,
    replicates: int | None = None,
) -> list[Run]:
    """The Runs whose unpruned weights are compared: unmodified, shuffled and reinitialised, of the
    early methods, random pruning, and magnitude pruning after training, the contrast.

    Args:
        setting, profile: names.
        levels: which k of the sparsities 1 - 0.8^k.
        replicates: how many; the profile's number by default.

    Raises:
        UnknownNameError: another setting or profile. BadValueError: less than one replicate.
    """
    count = _checked(settings.replicates(setting, profile) if replicates is None else replicates)
    curves = [c for m in (*EARLY_METHODS, "random") for c in _variants(m, _RANDOMISED)]
    curves += _variants("magnitude", _RANDOMISED, **_END)
    sparsities = [settings.sparsity(k) for k in levels if k <= settings.get(setting).highest]
    return [
        curve.run(setting, profile, sparsity, replicate)
        for replicate in range(count)
        for curve in curves
        for sparsity in sparsities
    ]
