"""Appendix A as data: settings, profiles, sparsities, and the schedule they give.

`SETTINGS` and `PROFILES` are the tables, `STEPS` says when Figures 6 and 10 prune. A setting is
what the paper trains and a profile how much of it; the functions answer for a pair of names.
`register` adds a setting of one's own.
"""

import functools
import math
from dataclasses import dataclass, fields

from prunelib import provenance
from prunelib.errors import BadValueError, UnknownNameError, check_name
from prunelib.schedules import Schedule


@dataclass(frozen=True)
class Setting:
    """One row of the table in Appendix A.3: a network on a dataset, and how it is trained.

    Epochs, learning-rate drops and warm-up are in epochs; `rewind_step` is in iterations.
    `matching` is the k of the highest matching sparsity, 1 - 0.8^k, where the paper prints one
    (Section 4, footnote 2); of the miniature it is the one found on magnitude after training.
    `highest` is the k of the highest sparsity that is considered.
    `fully_connected` is true of LeNet, which the paper keeps apart for that reason (Appendix K).
    """

    name: str
    network: str
    dataset: str
    epochs: int
    batch_size: int
    learning_rate: float
    drops: tuple[int, ...]
    iterations_per_epoch: int
    rewind_step: int
    momentum: float = 0.9
    weight_decay: float = 1e-4
    drop_factor: float = 0.1
    warmup_epochs: int = 0
    replicates: int = 5
    matching: int | None = None
    highest: int = 18
    fully_connected: bool = False
    appears: str = "main body"

    @property
    def of_paper(self) -> bool:
        """Whether the paper has it: not this project, and not a user."""
        return self.appears.startswith(("main body", "Appendix"))


def _cifar10(name, network, appears, **changes):
    row = {
        "epochs": 160, "batch_size": 128, "learning_rate": 0.1, "drops": (80, 120),
        "iterations_per_epoch": 391, "rewind_step": 2000,
    }  # fmt: skip
    return Setting(name, network, "cifar10", appears=appears, **(row | changes))


def _tinyimagenet(name, network, dataset, **changes):
    # Warm-up: in the authors' code, not in the table.
    row = {
        "epochs": 200, "batch_size": 256, "learning_rate": 0.2, "drops": (100, 150),
        "iterations_per_epoch": 391, "rewind_step": 1000, "warmup_epochs": 5, "replicates": 3,
    }  # fmt: skip
    return Setting(name, network, dataset, **(row | changes))


def _lenet(name, network, dataset, iterations_per_epoch, appears):
    return Setting(
        name, network, dataset, epochs=40, batch_size=128, learning_rate=0.1, drops=(),
        iterations_per_epoch=iterations_per_epoch, rewind_step=0, momentum=0.0, weight_decay=0.0,
        fully_connected=True, appears=appears,
    )  # fmt: skip


# The recipes of Appendices B to D that the table leaves out are those of VGG-16, as D.3 says of
# VGG-11 and VGG-16; modified ResNet-18 on CIFAR-10 takes its learning rate and batch from Table 7.
# The two "tanaka" rows have the recipes that Table 7 says Tanaka et al. report; what it leaves out,
# and the shares of the schedule at which the rate drops, they have from modified ResNet-18's own.
SETTINGS = {
    s.name: s
    for s in (
        _lenet("lenet_mnist", "lenet", "mnist", 469, "Appendix K"),
        _cifar10("resnet20_cifar10", "resnet20", "main body", rewind_step=1000, matching=6),
        _cifar10("vgg16_cifar10", "vgg16", "main body", matching=12),
        _tinyimagenet("resnet18_tinyimagenet", "resnet18", "tinyimagenet", matching=15),
        _tinyimagenet(
            "modified_resnet18_tinyimagenet", "modified_resnet18", "modified_tinyimagenet",
            appears="Appendix L",
        ),
        # 1251 whole batches: the table leaves the last 143 of 1,281,167 images out of an epoch.
        Setting(
            "resnet50_imagenet", "resnet50", "imagenet", epochs=90, batch_size=1024,
            learning_rate=0.4, drops=(30, 60, 80), iterations_per_epoch=1251, rewind_step=6255,
            warmup_epochs=5, replicates=3, matching=5, highest=13,
        ),
        # Chosen on unpruned networks and magnitude after training alone: notebook A_settings.
        Setting(
            "resnet8_digits", "resnet8_8x8", "shifted_digits", epochs=40, batch_size=64,
            learning_rate=0.1, drops=(20, 30), iterations_per_epoch=21, rewind_step=21,
            matching=9, appears="this project: the paper in miniature",
        ),
        _lenet("lenet_digits", "lenet_8x8", "digits", 11, "this project: LeNet on 64 pixels"),
        _cifar10("vgg2_16_cifar10", "vgg2_16", "Appendix B"),
        _cifar10("wrn_14_8_cifar10", "wrn_14_8", "Appendix B"),
        _cifar10("wrn_14_10_cifar10", "wrn_14_10", "Appendix B"),
        _cifar10("wrn_20_8_cifar10", "wrn_20_8", "Appendix B"),
        _cifar10("vgg19_cifar10", "vgg19", "Appendix C"),
        _cifar10("wrn_32_2_cifar10", "wrn_32_2", "Appendix C"),
        _cifar10("vgg11_cifar10", "vgg11", "Appendix D"),
        _cifar10(
            "modified_resnet18_cifar10", "modified_resnet18_10", "Appendix D", batch_size=256,
            learning_rate=0.2, iterations_per_epoch=196,
        ),
        _cifar10(
            "modified_resnet18_cifar10_tanaka", "modified_resnet18_10", "Appendix D, Table 7",
            learning_rate=0.01, drop_factor=0.2,
        ),
        _tinyimagenet(
            "modified_resnet18_tinyimagenet_tanaka", "modified_resnet18", "modified_tinyimagenet",
            appears="Appendix D, Table 7", epochs=100, batch_size=128, learning_rate=0.01,
            drops=(50, 75), iterations_per_epoch=782,
        ),
    )
}  # fmt: skip


# The iterations at which Figures 6 and 10 prune, besides the first and the last: those that the
# text prints (Section 6, Appendix F.2), with the rewinding step, and this project's between them,
# the drops of the learning rate included, as the figures do not print theirs.
STEPS = {
    "resnet20_cifar10": (
        (1000, 5000, 25_000),
        (250, 500, 2000, 3500, 10_000, 15_000, 20_000, 31_280, 40_000, 46_920, 55_000),
    ),
    "vgg16_cifar10": (
        (2000, 10_000, 26_000),
        (250, 500, 1000, 5000, 15_000, 20_000, 23_000, 31_280, 40_000, 46_920, 55_000),
    ),
    "resnet18_tinyimagenet": (
        (1000, 4000, 36_000),
        (250, 500, 2000, 8000, 15_000, 22_000, 30_000, 39_100, 50_000, 58_650, 70_000),
    ),
    "resnet8_digits": (
        (21,),
        (4, 8, 12, 42, 63, 84, 126, 168, 210, 315, 420, 525, 630, 735),
    ),
    "resnet50_imagenet": (
        (6255,),
        (1251, 2502, 4000, 10_000, 15_000, 25_000, 37_530, 56_000, 75_060, 87_500, 100_080),
    ),
}  # fmt: skip
# Of other schedules, as shares of them.
SHARES = (.004, .008, .016, .05, .08, .16, .24, .32, .4, .5, .6, .7, .8, .9)  # fmt: skip


def get(name: str) -> Setting:
    """The setting of that name, or the newest of that plain name.

    Raises:
        UnknownNameError: there is none; the sentence lists the names.
    """
    key = recorded(name)
    if key not in SETTINGS:
        raise UnknownNameError("setting", name, provenance.labels(SETTINGS))
    return SETTINGS[key]


def recorded(name: str) -> str:
    """The name under which results of a setting are recorded; itself where there is no such
    setting."""
    return provenance.resolve("setting", name, SETTINGS)


def register(
    name: str,
    network: str,
    dataset: str,
    examples: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    **others,
) -> Setting:
    """Make a setting usable wherever a setting's name is.

        settings.register("my_net_blobs", network="my_net", dataset="blobs", examples=900,
                          epochs=20, batch_size=32, learning_rate=0.1, drops=(10, 15))

    Results are recorded under the name and a digest of the file that registers it, and of the names
    of a network or data that another file has (`provenance`).

    Args:
        name: a name that may be that of a folder: letters, digits and "_", no digit first.
        network, dataset: names, of `networks.register` and `datasets.register` or of the paper's.
        examples: how many training examples the dataset has.
        epochs, batch_size, learning_rate: how the network is trained, by SGD.
        others: `drops` and `warmup_epochs` in epochs, by default none; `rewind_step` in
            iterations, by default one epoch; `matching`, the k of the highest sparsity 1 - 0.8^k at
            which magnitude pruning after training matches full accuracy, where it is known; and
            whatever else `Setting` has.

    Raises:
        BadValueError: a name that is taken or cannot be recorded, or another value not allowed.
        UnknownNameError: an option that there is not.
    """
    provenance.check_new("setting", name, SETTINGS)
    counts = {"examples": examples, "epochs": epochs, "batch_size": batch_size}
    for what, number in counts.items():
        if type(number) is not int or number < 1:
            raise BadValueError(f"setting {name!r}, {what}={number!r}: give a whole number from 1")
    allowed = [f.name for f in fields(Setting)[8:] if f.name != "appears"]
    for what in others:
        check_name(f"option of setting {name!r}", what, ("drops", *allowed))
    per_epoch = math.ceil(examples / batch_size)
    rewind_step = min(per_epoch, epochs * per_epoch - 1)
    row = {"drops": (), "rewind_step": rewind_step, "appears": "a setting of one's own"} | others
    row["drops"] = tuple(row["drops"]) if isinstance(row["drops"], list) else row["drops"]
    drops = row["drops"] if isinstance(row["drops"], tuple) else (None,)
    numbers = {"learning_rate": (learning_rate,), "drops": drops} | {
        what: (row.get(what, 0),)
        for what in ("momentum", "weight_decay", "drop_factor", "warmup_epochs", "rewind_step")
    }
    for what, values in numbers.items():
        if not all(type(v) in (int, float) and 0 <= v < math.inf for v in values):
            said = row.get(what, learning_rate)
            raise BadValueError(f"setting {name!r}, {what}={said!r}: give finite numbers from 0")
    for what in ("drops", "warmup_epochs"):
        if any(v > epochs for v in numbers[what]):
            raise BadValueError(
                f"setting {name!r}, {what}={row[what]!r}: it is trained for {epochs} epochs"
            )
    for what, most in (("highest", 18), ("matching", 18), ("replicates", math.inf)):
        number = row.get(what, 1)
        unknown = what == "matching" and number is None
        if not unknown and not (type(number) is int and 1 <= number <= most):
            sparsity_ = "" if what == "replicates" else ", the k of the sparsity 1 - 0.8^k"
            limits = "from 1" if most == math.inf else f"from 1 to {most}"
            raise BadValueError(
                f"setting {name!r}, {what}={number!r}: give a whole number {limits}{sparsity_}"
            )
    if (row.get("matching") or 1) > row.get("highest", 18):
        raise BadValueError(
            f"setting {name!r}, matching={row['matching']}: the highest sparsity, "
            f"highest={row['highest']}, is lower"
        )
    if type(row.get("fully_connected", False)) is not bool:
        raise BadValueError(
            f"setting {name!r}, fully_connected={row['fully_connected']!r}: give True or False"
        )
    if type(row["rewind_step"]) is not int:
        raise BadValueError(
            f"setting {name!r}, rewind_step={row['rewind_step']!r}: give a whole number of "
            "iterations"
        )
    for kind, part in (("network", network), ("dataset", dataset)):
        ours = {getattr(s, kind) for s in SETTINGS.values()}
        if part not in ours and not provenance.is_registered(kind, part):
            raise BadValueError(
                f"setting {name!r}: there is no {kind} {part!r} yet: register it before the setting"
            )
    parts = provenance.newest("network", network), provenance.newest("dataset", dataset)
    values = (*parts, epochs, batch_size, learning_rate)
    key = provenance.record("setting", name, None, *values, examples, sorted(row.items()))
    SETTINGS[key] = Setting(key, *values, iterations_per_epoch=per_epoch, **row)
    return SETTINGS[key]


@dataclass(frozen=True)
class Profile:
    """How faithful a run is: the share of the schedule, the sparsities, the replicates.

    `levels` are the k of the sparsities 1 - 0.8^k, `halvings` those of 1 - 0.5^k (Figure 7). Of
    the steps of Figures 6 and 10, every `thinning`-th of those that the paper does not print is
    there. `iterations` replaces `scale` where it is given. `replicates` None means the
    paper's number. `test_examples` None means the whole test set; otherwise that many, evenly
    spaced.
    """

    name: str
    scale: float
    levels: tuple[int, ...]
    halvings: tuple[int, ...]
    thinning: int
    replicates: int | None = None
    iterations: int | None = None
    test_examples: int | None = None
    meaning: str = ""


PROFILES = {
    p.name: p
    for p in (
        Profile(
            "paper", 1.0, tuple(range(1, 19)), tuple(range(1, 11)), 1,
            meaning="the schedule of Appendix A, the replicates of Section 3",
        ),
        Profile(
            "quick", 0.1, (3, 6, 9, 12, 15, 18), (2, 4, 6, 8, 10), 3, replicates=3,
            meaning="the schedule scaled to a tenth of its iterations",
        ),
        Profile(
            "coarse", 1.0, (3, 9, 12, 15), (2, 4, 6, 8, 10), 7, replicates=2,
            meaning="the schedule of Appendix A at four sparsities, two replicates",
        ),
        Profile(
            "smoke", 0.0, (6, 15), (2, 8), 15, replicates=1, iterations=10,
            test_examples=500, meaning="ten iterations, to see that everything runs",
        ),
    )
}  # fmt: skip


def get_profile(name: str) -> Profile:
    """The profile of that name; raises UnknownNameError, which lists the names."""
    check_name("profile", name, PROFILES)
    return PROFILES[name]


def sparsity(level: int, base: float = 0.8) -> float:
    """The sparsity 1 - base^level, to six digits. The paper prints some of them, rounded to three;
    base 0.5 gives those of Figure 7."""
    return round(1 - base**level, 6)


def sparsities(setting: str, profile: str) -> list[float]:
    """The sparsities of a setting's figures at a profile, ascending; raises UnknownNameError for
    another setting or profile."""
    highest = get(setting).highest
    return [sparsity(level) for level in get_profile(profile).levels if level <= highest]


def halvings(profile: str) -> list[float]:
    """The sparsities of Figure 7 at a profile, ascending (Appendix D.4); raises UnknownNameError
    for another one."""
    return [sparsity(level, 0.5) for level in get_profile(profile).halvings]


def steps(setting: str, profile: str) -> list[int | str]:
    """The steps at which Figures 6 and 10 prune: iterations, ascending, and "end".

    The numbers of `STEPS`, or for other settings shares of the schedule, scaled as the profile
    scales the schedule; the rewinding step is among them, exactly that of `schedule`.
    Raises UnknownNameError for another setting or profile.
    """
    s, thinning = get(setting), get_profile(profile).thinning
    full = s.epochs * s.iterations_per_epoch
    last = schedule(setting, profile).iterations
    shares = tuple(round(share * full) for share in SHARES)
    printed, between = STEPS.get(setting, ((s.rewind_step,), shares))
    chosen = {0, *printed, *between[thinning // 2 :: thinning]}
    rewinding = schedule(setting, profile).rewind_step
    found = sorted({round(last / full * step) for step in chosen} | {rewinding})
    return [*(step for step in found if step < last), "end"]


def matching_level(setting: str) -> tuple[int, str]:
    """The k of the highest matching sparsity, 1 - 0.8^k, and where it is from.

    The one that the paper prints, or that was found for the miniature; where there is none, 93.1 %
    (k = 12) or the highest that the setting has.

    Returns:
        (k, a phrase that names the source).

    Raises:
        UnknownNameError: no setting of that name.
    """
    chosen = get(setting)
    if chosen.matching is None:
        return min(12, chosen.highest), "the paper prints no highest matching sparsity here"
    source = "found on magnitude after training, notebook A_settings"
    if chosen.appears == "main body":
        source = "Section 4, footnote 2"
    elif provenance.is_own(chosen.name):
        source = "as it was registered"
    return chosen.matching, f"the highest matching sparsity ({source})"


def replicates(setting: str, profile: str) -> int:
    """How many replicates a figure of this setting has at this profile; raises UnknownNameError for
    another setting or profile."""
    return get_profile(profile).replicates or get(setting).replicates


def schedule(setting: str, profile: str) -> Schedule:
    """The schedule of a setting at a profile.

    Args:
        setting, profile: names. Raises UnknownNameError for unknown ones.
    """
    return _schedule(get(setting), get_profile(profile))


@functools.cache
def _schedule(s: Setting, p: Profile) -> Schedule:
    full = s.epochs * s.iterations_per_epoch
    iterations = p.iterations or max(1, round(p.scale * full))
    scale = iterations / full
    epoch = scale * s.iterations_per_epoch
    return Schedule(
        iterations=iterations,
        iterations_per_epoch=s.iterations_per_epoch,
        batch_size=s.batch_size,
        learning_rate=s.learning_rate,
        drops=tuple(d * epoch for d in s.drops),
        drop_factor=s.drop_factor,
        warmup=s.warmup_epochs * epoch,
        momentum=s.momentum,
        weight_decay=s.weight_decay,
        rewind_step=min(round(scale * s.rewind_step), iterations - 1),
        test_examples=p.test_examples,
    )
