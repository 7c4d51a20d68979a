"""Later methods: the paper's checks on all of them, and the answer to its question in words."""

import math
from collections.abc import Callable, Mapping, Sequence

from prunelib import settings
from prunelib.findings import decisions, judge, statistics
from prunelib.findings.judge import INITIAL, LAYERS, WEIGHTS, WHATEVER
from prunelib.findings.ledger import Entry
from prunelib.findings.measures import Results
from prunelib.findings.statistics import Effect, Region
from prunelib.grids import LATER
from prunelib.runs import AFTER, EARLY_METHODS, Curve

NOT_RUN = "not run"
UNSURE, YET = "it cannot be told", "It cannot be told yet"
# Whether shuffling its mask within layers harms a method, and drawing the weights anew changes it,
# by what it chooses.
_MEANS = {
    WHATEVER: "weights whatever their values, so that only shuffling matters",
    INITIAL: "layers and their initial values, so that only new weights matter",
    LAYERS: "layers, so that neither matters",
}
# Where only one of the two can be told.
_HALF = {
    (False, None): "weights, and whether their values matter cannot be told",
    (True, None): "layers, and whether their initial values matter cannot be told",
    (None, False): "new weights change it, and whether shuffling does cannot be told",
    (None, True): "new weights do not change it, and whether shuffling does cannot be told",
}
# Methods that never see the weights of the network, which new ones cannot change, therefore; all
# but the last draw at random within layers, which shuffling does again.
DRAWN = ("erk", "smart_ratios", "igq")
BLIND = (*DRAWN, "ntk_sap")
# As accurate as what prunes after training: within what counts as matching full accuracy.
MATCHED = Region("not lower", 100 * statistics.TOLERANCE)
Label = Callable[[str], str]


def entries(
    results: Results, setting: str, profile: str, names: Sequence[str] = LATER
) -> dict[str, list[Entry]]:
    """The paper's checks on some methods, see `judge.entries`."""
    return {name: judge.entries(name, results, setting, profile) for name in names}


def answers(
    found: Mapping[str, Sequence[Entry]],
    results: Results,
    setting: str,
    profile: str,
    label: Label,
) -> list[tuple[str, list[str]]]:
    """Which methods choose weights, which beat random pruning in the same proportions, and how near
    the best comes to magnitude pruning after training, with what the same checks say of the paper's
    own methods: three questions, and the sentences that answer each.

    The first is told of the sparsities up to the highest matching one and of those beyond, where
    networks are nearly empty in the end; of all together where no matching one is known.

    Args:
        found: as `entries` returns them. results, setting, profile: what they rest on.
        label: the name of a method for people.
    """
    early = entries(results, setting, profile, EARLY_METHODS)
    about = results, setting, profile
    return [
        ("Do they choose weights or layers?", _chosen(found, early, *about, label)),
        (
            "Do they beat random pruning in the same proportions?",
            [_beating(found, early, label)],
        ),
        ("How near do they come to the mark?", [_nearest(*about, label)]),
    ]


def agenda(results: Results, setting: str, profile: str, label: Label) -> str:
    """Whether a later method has answered the paper's question: loses accuracy when it is shuffled,
    where networks match, and matches magnitude pruning after training; a sentence, "" where no
    matching sparsity is known, or nothing was run there.

    Args:
        results, setting, profile: what it rests on. label: the name of a method for people.
    """
    if settings.get(setting).matching is None:
        return ""
    point = settings.highest_matching(setting)
    samples = results.samples("accuracy", setting, profile)
    able, choosing, matching, run = 0, [], [], 0
    for name in LATER:
        effect = samples.difference(Curve(name), AFTER, [point]).effect
        shuffled, _ = judge.ablated(name, results, setting, profile, "matching")
        if not math.isfinite(effect.mean) or shuffled.effect is None:
            continue
        run += 1
        if name not in DRAWN:
            able += 1
            choosing += [name] if judge.holds(shuffled) is False else []
        if decisions.decide(decisions.Part(name, effect, MATCHED)).verdict == "supported":
            matching.append(name)
    if not run:
        return ""
    both = [name for name in choosing if name in matching]
    head = f"Yes: {_names(both, label)}" if both else "No later method is shown to have answered"
    at = f"{100 * point:.1f} %"
    return (
        f"**{head}.** Up to {at} sparsity, of {able} that do not draw at random within layers, "
        f"{_shown(choosing, label)} to lose accuracy when shuffled; at {at}, of {run}, "
        f"{_shown(matching, label)} to be as accurate as magnitude pruning after training, within "
        f"{MATCHED.bound:g} points."
    )


def schedule(results: Results, setting: str, profile: str, label: Label) -> str:
    """Of which of the paper's methods a shorter schedule tells the contrary of what the paper's
    does; a sentence, "" if of none."""
    if settings.get_profile(profile).scale == 1:
        return ""
    here, whole = (entries(results, setting, own, EARLY_METHODS) for own in (profile, "paper"))
    told = [
        f"{label(n)}: here {_choice(here[n])}, there {_choice(whole[n])}"
        for n in here
        if any(
            {ours, theirs} == {True, False}
            for ours, theirs in zip(_holds(here[n]), _holds(whole[n]), strict=True)
        )
    ]
    if not told:
        return ""
    return (
        "By the whole schedule the same checks say the contrary of some of the paper's own methods "
        f"({'; '.join(told)}). What they say of later ones here may be the shorter schedule's."
    )


def _shown(names, label):
    return f"{_names(names, label)} {'are' if len(names) > 1 else 'is'} shown"


def _names(names, label):
    return ", ".join(map(label, names)) or "none"


def _entry(own, check):
    return next(e for e in own if e.id == check)


def _effects(found, check):
    """Of each method of which a check was run, its effect in points."""
    own = {name: _entry(entries, check).effect for name, entries in found.items()}
    return {name: f"{e:+z.1f}" for name, e in own.items() if e is not None}


def _holds(entries):
    """Whether shuffling leaves a method as accurate, and whether new weights do."""
    return tuple(judge.holds(_entry(entries, c)) for c in (judge.SHUFFLED, judge.REINITIALISED))


def _choice(entries):
    """What a method chooses, as far as that can be told."""
    return judge.choice(entries) or _HALF.get(_holds(entries), UNSURE)


def _blind(entries):
    """The same of a method that new weights cannot change."""
    shuffled, _ = _holds(entries)
    return {True: LAYERS, False: WHATEVER}.get(shuffled, UNSURE)


def _ran(found):
    """The methods of which both ablations were run."""
    shuffled, anew = (_effects(found, c) for c in (judge.SHUFFLED, judge.REINITIALISED))
    return [name for name in found if name in shuffled and name in anew]


def _chosen(found, early, results, setting, profile, label):
    ran = _ran(found)
    if not ran:
        return [f"{YET}."]
    parts, null = [], []
    for words, over in judge.ranges(setting, profile).items():
        own = {n: judge.ablated(n, results, setting, profile, over) for n in (*ran, *early)}
        there = _ran(own)
        told = _grouped({n: own[n] for n in ran if n not in DRAWN}, there, label)
        theirs = {n: _choice(own[n]) for n in early if n in there}
        parts.append(_with_early([f"{words}: {told}"], theirs, label))
        null += [judge.holds(_entry(own[n], c)) for n, c in _NULL if n in there]
    if drawn := [n for n in DRAWN if n in ran]:
        parts.append(f"{_names(drawn, label)}: layers by construction, as within them they draw.")
    if null:
        parts.append(
            f"Of {len(null)} cases in which by construction nothing can matter, the checks say so "
            f"in {null.count(True)}, that it does in {null.count(False)}, and leave "
            f"{null.count(None)} undecided."
        )
    if missing := [n for n in found if n not in ran]:
        parts.append(f"Not run: {_names(missing, label)}.")
    return parts


_NULL = [(n, c) for n in DRAWN for c in (judge.SHUFFLED, judge.REINITIALISED)]
_NULL += [(n, judge.REINITIALISED) for n in BLIND if n not in DRAWN]


def _grouped(own, there, label):
    """What methods choose, those that choose weights first; `there` are those with effects."""
    shuffled, anew = _effects(own, judge.SHUFFLED), _effects(own, judge.REINITIALISED)
    said = {n: f"{shuffled[n]} shuffled, {anew[n]} reinitialised" for n in own if n in there}
    kinds = {n: _blind(own[n]) if n in BLIND else _choice(own[n]) for n in said}
    choosing = [n for n in kinds if kinds[n] == WEIGHTS]
    parts = ["**of none is it shown that both shuffling and new weights matter**"] if kinds else []
    if choosing:
        parts = [
            f"**weights and their values, so that both matter: {_listed(choosing, label, said)}**"
        ]
    for word, meaning in (_MEANS | {word: word for word in (*_HALF.values(), UNSURE)}).items():
        group = [n for n in kinds if kinds[n] == word]
        parts += [f"{meaning}: {_listed(group, label, said)}"] if group else []
    left = [n for n in own if n not in there]
    parts += [f"nothing to compare: {_names(left, label)}"] if left else []
    return "; ".join(parts) or "none was run that could choose weights"


def _beating(found, early, label):
    words = {True: "yes", False: "no", None: UNSURE}

    def told(methods):
        said = _effects(methods, judge.PROPORTIONS)
        return said, {n: words[judge.holds(_entry(methods[n], judge.PROPORTIONS))] for n in said}

    said, verdicts = told(found)
    parts = [] if "yes" in verdicts.values() else ["**None is shown to**" if verdicts else YET]
    for word in words.values():
        own = _listed([n for n in verdicts if verdicts[n] == word], label, said)
        parts += [f"**Yes: {own}**" if word == "yes" else f"{word}: {own}"] if own else []
    parts += _not_run([n for n in found if n not in said], label)
    return _with_early(parts, told(early)[1], label)


def _listed(names, label, said):
    return ", ".join(f"{label(n)} ({said[n]})" for n in names)


def _not_run(names, label):
    return [f"{NOT_RUN}: {', '.join(map(label, names))}"] if names else []


def _with_early(parts, theirs, label):
    groups = {word: [n for n in theirs if theirs[n] == word] for word in theirs.values()}
    said = "; ".join(f"{word}: {', '.join(map(label, own))}" for word, own in groups.items())
    text = "; ".join(parts)
    return f"{text}. By the same checks, of the paper's own: {said}." if said else f"{text}."


def _nearest(results, setting, profile, label):
    """The later method and the paper's early one that come nearest to the mark at the highest
    matching sparsity."""
    level, source = settings.matching_level(setting)
    point = settings.sparsity(level)
    if point not in settings.sparsities(setting, profile):
        return f"Profile {profile} has no networks at {100 * point:.1f} % sparsity."
    at = f"At {100 * point:.1f} % sparsity ({source.partition(' (')[0]})"
    samples = results.samples("accuracy", setting, profile)

    def effects(names: Sequence[str], against: Curve | None) -> dict[str, Effect]:
        compared = {n: samples.difference(Curve(n), against, [point]).effect for n in names}
        return {n: e for n, e in compared.items() if math.isfinite(e.mean)}

    ours, theirs = (effects(names, AFTER) for names in (LATER, EARLY_METHODS))
    if not ours:
        return f"{YET}."
    best = max(ours, key=lambda n: ours[n].mean)
    low, high = ours[best].interval()
    reached = effects([best], None)[best].mean
    said = (
        f"{at} **{label(best)} {_place(ours[best])}, {ours[best].mean:+z.1f} points from magnitude "
        f"pruning after training** (interval {low:+z.1f} to {high:+z.1f}, n = {ours[best].n}: "
        f"{reached:.1f} % against {reached - ours[best].mean:.1f} %"
        f"{', which is no ceiling here' if low > 0 else ''})"
    )
    if theirs:
        other = max(theirs, key=lambda n: theirs[n].mean)
        said += f"; of the paper's own {label(other)} {_place(theirs[other])}, "
        said += f"{theirs[other].mean:+z.1f}"
    return "; ".join([said, *_not_run([n for n in LATER if n not in ours], label)]) + "."


def _place(effect):
    return "lies highest" if effect.mean > 0 else "comes nearest"
