"""Settings and profiles by name, and what they give: sparsities, steps, replicates, schedules.

A setting is what the paper trains, a row of `SETTINGS`; a profile, of `PROFILES`, is how much of
it. The functions answer for a pair of names. `register` adds a setting of one's own.
"""

import functools
import math
from dataclasses import dataclass, fields

from prunelib import provenance
from prunelib.errors import BadValueError, UnknownNameError, check_name
from prunelib.recipes import SETTINGS, SHARES, STEPS, Setting
from prunelib.schedules import Schedule


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
# Those that say something about accuracy, the nearest to the paper's recipe first.
NEAREST_FIRST = ("paper", "coarse", "quick")


def papers_convolutional() -> list[str]:
    """The settings of the paper's networks but LeNet, which it keeps apart, in its order."""
    return [name for name, s in SETTINGS.items() if s.of_paper and not s.fully_connected]


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


def highest_matching(setting: str) -> float:
    """The sparsity of `matching_level`, in [0, 1); raises what that does."""
    return sparsity(matching_level(setting)[0])


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
