"""Samples: the values of one measure, and contrasts of curves that a few replicates can narrow.

A contrast weighs the points along a curve: equal weights give a mean over sparsities, those of a
fitted line a trend. (Weights by how well each point is known would give shorter intervals, but of a
quantity that no claim is about, and of another one for every pair of curves.) Its standard error is
pooled: three replicates of one curve say little of its spread, those of all curves of a setting and
profile together say much. Curves that guess, and those whose spread is out of the ordinary, stay
out of the pool; so do those that are the same at all points, whose mean over points is no better
known than one of them, and the unpruned network, which stands at every point, to be compared with,
but was pruned at none. Methods that are not the paper's stay out, too: they may take the pool's
spread, but what is run of them changes no verdict on the paper.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from prunelib import provenance
from prunelib.findings.statistics import Effect, combined, exact
from prunelib.grids import LATER
from prunelib.runs import DENSE, Curve

# The level of Cochran's test, by which ISO 5725-2 tells which spreads do not belong in a pool.
OUTLYING = 0.01

_CURVE = ["method", "ablation", "prune_at", "weights_from", "init"]


@dataclass(frozen=True)
class Difference:
    """Of two curves, or what one curve has, in the unit of the measure.

    `effect` is the contrast over points, `each` has the difference at each of these, and
    `left_out` are those that are not compared, as networks of either curve guess there or have
    nothing to tell: see `difference`.
    """

    effect: Effect
    each: dict[float, float] = field(default_factory=dict)
    left_out: tuple[float, ...] = ()


class Spread(NamedTuple):
    """How much a weighted sum over points varies between replicates: its variance, and the degrees
    of freedom behind that."""

    variance: float
    freedom: int


class Samples:
    """Values of a measure of a setting at a profile, to compare curves in.

    Args:
        values: dict from a curve to its values, a row a replicate, a column a point (a sparsity, or
            a step), NaN where there is none, and infinite where what was run has none to tell.
        guess: a value up to which a network does no better than guessing.
        pooled: whether curves share their spread; those of masks do not, whose spread is a
            property of the method.
    """

    def __init__(
        self, values: Mapping[Curve, pd.DataFrame], guess: float = -math.inf, pooled: bool = True
    ):
        self.values, self._guess, self._pooled = dict(values), guess, pooled
        self._arrays = {
            key: dict(zip(frame.columns, frame.to_numpy(float).T, strict=True))
            for key, frame in values.items()
        }
        self._known = {}

    def apart(self) -> "Samples":
        """The same values, with each curve's own spread in place of the pooled one."""
        return Samples(self.values, self._guess, pooled=False)

    def count(self, curve: Curve, point: float) -> int:
        """How many replicates a curve has at a point."""
        found = self._arrays.get(curve, {}).get(point)
        return 0 if found is None else int((~np.isnan(found)).sum())

    def contrast(
        self,
        curve: Curve,
        against: Curve | None,
        weights: Mapping[float, float],
        less: tuple[Curve, Curve] | None = None,
    ) -> Difference:
        """The weighted sum over points of a curve's values, minus another's.

        Used are the replicates that have all points. They are not paired: sharing initial weights
        and the order of data explains next to nothing of their spread, and pairing would leave too
        little to estimate it from.

        Args:
            against: None compares with nothing.
            weights: dict from point to weight; where they add up to 0 the contrast is a trend.
            less: two curves whose own difference is taken off.
        """
        curves = [c for c in (curve, against, *(less or ())) if c is not None]
        points = list(weights)
        rows = [self._rows(own, points) for own in curves]
        n = min(map(len, rows))
        if not points or n < 1:
            return Difference(_nothing(n))
        means = [row.mean(axis=0) for row in rows]
        each = sum(sign * mean for sign, mean in zip((1, -1, -1, 1), means, strict=False))
        mean = float(each @ np.array([weights[p] for p in points]))
        error, freedom = self._error(curves, weights) if n > 1 else (math.nan, 0)
        return Difference(
            Effect(mean, error, freedom, n), dict(zip(points, each.tolist(), strict=True))
        )

    def difference(
        self,
        curve: Curve,
        against: Curve | None,
        points: Sequence[float],
        less: tuple[Curve, Curve] | None = None,
    ) -> Difference:
        """How much more a curve has than another, averaged over some points, all of which count
        alike.

        Nothing is said where a point lacks two replicates of either curve: the mean over a range
        is not that over what was run of it so far. Compared are the points at which no network
        guesses. If one curve guesses wherever the other does not, there is nothing else to go by,
        and these are compared.

        Args:
            less: two curves whose own difference is taken off, see `contrast`.
        """
        curves = [c for c in (curve, against, *(less or ())) if c is not None]
        both = [p for p in points if all(self.count(own, p) > 1 for own in curves)]
        guess = {p: sum(self._guesses(own, p) for own in curves) for p in both}
        if len(both) < len(points):
            return Difference(_nothing(min(self.count(own, p) for own in curves for p in points)))
        compared = [p for p in both if not guess[p]]
        if not compared and against is not None:
            compared = [
                p for p in both if guess[p] == 1 and not any(self._void(c, p) for c in curves)
            ]
        left_out = tuple(p for p in both if p not in compared)
        if not compared:
            n = min((self.count(own, p) for own in curves for p in both), default=0)
            error = math.inf if left_out else math.nan
            return Difference(Effect(math.nan, error, 0, n), left_out=left_out)
        weights = dict.fromkeys(compared, 1 / len(compared))
        found = self.contrast(curve, against, weights, less)
        return Difference(found.effect, found.each, left_out)

    def largest(self, curve: Curve, points: Sequence[float]) -> Effect:
        """The largest value of any replicate of a curve at some points, exact; NaN where one of the
        points has none."""
        rows = [self._rows(curve, [point]) for point in points]
        n = min(map(len, rows), default=0)
        return replace(exact(max(map(np.max, rows))), n=n) if n else _nothing(0)

    def _guesses(self, curve, point):
        found = self._arrays[curve][point]
        return bool(np.nanmin(found) <= self._guess or self._void(curve, point))

    def _void(self, curve, point):
        return bool(np.isinf(self._arrays[curve][point]).any())

    def _rows(self, curve, points):
        """The values of the replicates of a curve that has all of the points."""
        own = self._arrays.get(curve, {})
        if not points or any(p not in own for p in points):
            return np.empty((0, len(points)))
        rows = np.stack([own[p] for p in points], axis=1)
        return rows[np.isfinite(rows).all(axis=1)]

    def _error(self, curves, weights):
        """Standard error of the contrast of curves, degrees of freedom.

        A curve that belongs to the pool takes its variance, another its own (Satterthwaite, 1946).
        One that is the same at all points, as the unpruned network is, has one network a replicate
        however many points there are: it varies as at one of them, and has no trend.
        """
        first, total = next(iter(weights)), round(sum(weights.values()), 9)
        still = [curve for curve in curves if self._still(curve, weights)]
        moving = [curve for curve in curves if curve not in still]
        terms = self._terms(moving, weights) + self._terms(still if total else [], {first: total})
        return combined(terms)

    def _still(self, curve, points):
        """Whether a curve is the unpruned network's, or has the same values at all of several
        points."""
        rows = self._rows(curve, list(points))
        same = len(points) > 1 and bool((rows == rows[:, :1]).all())
        return same or curve.method == DENSE.method

    def _terms(self, curves, weights):
        """(squared error, degrees of freedom) of what each curve's weighted mean adds."""
        spreads, shared, belonging = self._spreads(weights)
        pooled, terms = 0.0, []
        for curve in curves:
            replicates = spreads[curve].freedom + 1
            if curve in belonging:
                pooled += shared.variance / replicates
            else:
                terms.append((spreads[curve].variance / replicates, spreads[curve].freedom))
        return [*terms, (pooled, shared.freedom)]

    def _spreads(self, weights):
        """The spread of each curve's weighted sum; that of the pool; which curves take the
        pool's."""
        key = tuple(weights.items())
        if key not in self._known:
            points, factors = list(weights), np.array(list(weights.values()))
            spreads, steady = {}, {}
            for curve in self._arrays:
                rows = self._rows(curve, points)
                if len(rows) > 1:
                    spreads[curve] = Spread(float((rows @ factors).var(ddof=1)), len(rows) - 1)
                    steadily = rows.min() > self._guess and not self._still(curve, points)
                    if self._pooled and steadily:
                        steady[curve] = spreads[curve]
            foreign = {curve: steady.pop(curve) for curve in list(steady) if _is_foreign(curve)}
            pool = _belonging(steady)
            shared, own = _together(pool.values()), len(pool)
            like = {
                c for c, spread in foreign.items() if pool and not _outlies(spread, shared, own)
            }
            self._known[key] = spreads, shared, pool.keys() | like
        return self._known[key]


def _nothing(n):
    return Effect(math.nan, math.nan, 0, n)


def _is_foreign(curve):
    """Whether its method is not the paper's: a later one, or one's own."""
    return curve.method in LATER or provenance.is_own(curve.method)


def _together(spreads: Collection[Spread]) -> Spread:
    """The spread of all taken together."""
    freedom = sum(own.freedom for own in spreads)
    squares = sum(own.variance * own.freedom for own in spreads)
    return Spread(squares / freedom if freedom else 0.0, freedom)


def _belonging(spreads):
    """Those spreads that belong together: the largest goes while Cochran's test finds it outlying.

    The test compares it with all others together, for unequal numbers of replicates too.
    """
    spreads = dict(spreads)
    while len(spreads) > 1:
        largest = max(spreads, key=lambda key: spreads[key].variance)
        others = {key: own for key, own in spreads.items() if key != largest}
        if not _outlies(spreads[largest], _together(others.values()), len(others)):
            break
        spreads = others
    return spreads


def _outlies(spread: Spread, others: Spread, count: int) -> bool:
    """Whether a spread is larger than so many others together let expect, were it the largest by
    chance."""
    variance, expected = spread.variance, others.variance
    ratio = variance / expected if expected else math.inf if variance else 1
    beyond = stats.f.sf(ratio, spread.freedom, others.freedom)
    return bool((count + 1) * beyond <= OUTLYING)


def by_curve(table: pd.DataFrame, values: pd.Series) -> dict[Curve, pd.DataFrame]:
    """Values of records by their curves.

    Args:
        table: rows of one setting and profile. values: one a row.

    Returns:
        dict from curve to data frame: a row a replicate, a column a sparsity. The unpruned
        network's values stand at every sparsity, to be compared with.
    """
    about = list(zip(*(table[name].tolist() for name in _CURVE), strict=True))
    curves = {own: Curve(*own) for own in dict.fromkeys(about)}
    named = {str(curve): curve for curve in curves.values()}  # in whose order the table stands
    names = [str(curves[own]) for own in about]
    rows = table[["replicate", "sparsity"]].assign(curve=names, value=values.astype(float))
    wide = rows.pivot(index=["curve", "replicate"], columns="sparsity", values="value")
    array, replicates = wide.to_numpy(), wide.index.get_level_values("replicate")
    found = {}
    for name, places in wide.groupby(level="curve", sort=False).indices.items():
        own = array[places]
        there = ~np.isnan(own).all(axis=0)
        found[named[name]] = pd.DataFrame(own[:, there], replicates[places], wide.columns[there])
    sparsities = sorted({s for wide in found.values() for s in wide if s})
    for curve, wide in found.items():
        if curve.method == DENSE.method and 0.0 in wide:
            found[curve] = pd.DataFrame(dict.fromkeys((0.0, *sparsities), wide[0.0]))
    return found


def guessing(chance: float) -> float:
    """Up to which accuracy a network does no better than guessing, all in [0, 1]: twice the chance,
    as test sets have more of some classes than of others, but never more than half of the way from
    chance to 1, which is less where there are two classes."""
    return min(2 * chance, (1 + chance) / 2)


class Accuracies(Samples):
    """The test accuracies of a setting at a profile, all in [0, 1].

    Args:
        table: a results table of one setting and profile.
        chance: the accuracy of guessing; up to which accuracy a network does, says `guessing`.
    """

    def __init__(self, table: pd.DataFrame, chance: float):
        super().__init__(by_curve(table, table["test_accuracy"]), guessing(chance))
