"""The difference of two curves' accuracies, with an interval that a few replicates can narrow.

An effect is taken at each sparsity, and their mean is the summary. Its standard error is pooled:
three replicates of one curve say little of its spread, those of all curves of a setting and
profile together say much. Curves that guess, and those whose spread is out of the ordinary, stay
out of the pool.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
from scipy import stats

from prunelib.findings.statistics import Effect, select
from prunelib.runs import Curve

# The level of Cochran's test, by which ISO 5725-2 tells which spreads do not belong in a pool.
OUTLYING = 0.01

_OTHERS = ["ablation", "prune_at", "weights_from", "init"]  # beside the method, of a curve


@dataclass(frozen=True)
class Difference:
    """Of accuracies, one curve's minus another's, all in [-1, 1].

    `effect` is the mean over sparsities, `each` has the difference at each of these, and
    `left_out` are those at which a network of either curve guesses.
    """

    effect: Effect
    each: dict[float, float] = field(default_factory=dict)
    left_out: tuple[float, ...] = ()


class Accuracies:
    """The test accuracies of a setting at a profile, to compare curves in.

    Args:
        table: a results table of one setting and profile.
        chance: the accuracy of guessing, in [0, 1]; a network guesses up to twice that, as test
            sets have more of some classes than of others.
    """

    def __init__(self, table: pd.DataFrame, chance: float):
        accuracies = pd.DataFrame(
            {
                "curve": table["method"].str.cat(
                    [table[name].astype(str) for name in _OTHERS], " "
                ),
                "replicate": table["replicate"],
                "sparsity": table["sparsity"],
                "accuracy": table["test_accuracy"].astype(float),
            }
        )
        # a row a curve and replicate, a column a sparsity
        self._wide = accuracies.pivot(
            index=["curve", "replicate"], columns="sparsity", values="accuracy"
        )
        self._curves = dict(list(self._wide.groupby(level="curve")))
        self._guess = 2 * chance
        self._known = {}

    def difference(
        self, curve: Curve, against: Curve, sparsities: Sequence[float], weighted: bool = False
    ) -> Difference:
        """How much more accurate `curve` is than `against`, over some sparsities.

        Compared are those at which both curves have two replicates or more and no network
        guesses, and the replicates that have all of them. If one curve guesses wherever the other
        does not, there is nothing else to go by, and these are compared. Replicates are not
        paired: sharing initial weights and the order of data explains next to nothing of their
        spread, and pairing would leave too little to estimate it from.

        Args:
            weighted: whether a sparsity counts by how well its difference is known (the inverse
                of its variance). A direction is then told by where it can be seen; that nothing
                changes is a claim about the unsteady sparsities too, and all must count alike.
        """
        keys = [
            " ".join(str(getattr(c, n)) for n in ("method", *_OTHERS)) for c in (curve, against)
        ]
        pair = [self._curves.get(key, self._wide[:0]) for key in keys]
        both = [s for s in sparsities if s in self._wide and all(a[s].count() > 1 for a in pair)]
        guess = {s: sum(bool(a[s].min() <= self._guess) for a in pair) for s in both}
        compared = [s for s in both if not guess[s]] or [s for s in both if guess[s] == 1]
        left_out = tuple(s for s in both if s not in compared)
        ours, theirs = (accuracies[compared].dropna() for accuracies in pair)
        n = min(len(ours), len(theirs)) if both else 0
        if not compared or n < 2:
            error = math.inf if left_out and not compared else math.nan
            return Difference(Effect(math.nan, error, 0, n), left_out=left_out)
        each = ours.mean() - theirs.mean()
        weights = pd.Series(1 / len(compared), index=compared)
        if weighted:
            alone = {s: self._error(keys, pd.Series({s: 1.0}))[0] ** 2 for s in compared}
            if all(alone.values()):
                weights = 1 / pd.Series(alone)
                weights /= weights.sum()
        effect = Effect(float(each @ weights), *self._error(keys, weights), n)
        return Difference(effect, each.to_dict(), left_out)

    def _error(self, keys, weights):
        """Standard error of the difference of two curves' weighted means, degrees of freedom.

        A curve in the pool takes the pool's variance, another its own (Satterthwaite, 1946).
        """
        spreads, pool, shared = self._spreads(weights)
        pooled, terms = 0.0, []
        for key in keys:
            variance, freedom = spreads.loc[key]
            if key in pool.index:
                pooled += shared / (freedom + 1)
            else:
                terms.append((variance / (freedom + 1), freedom))
        terms.append((pooled, pool["freedom"].sum()))
        total = sum(term for term, _ in terms)
        if not total:
            return 0.0, math.inf
        parts = [term**2 / freedom for term, freedom in terms if term]
        return math.sqrt(total), total**2 / sum(parts)

    def _spreads(self, weights):
        """Variance and degrees of freedom of each curve's weighted mean; those of the pool, and
        the variance that it shares."""
        key = tuple(weights.items())
        if key not in self._known:
            accuracies = self._wide[weights.index].dropna()
            groups = (accuracies @ weights).groupby(level="curve")
            spreads = pd.DataFrame({"variance": groups.var(), "freedom": groups.size() - 1})
            lowest = accuracies.min(axis=1).groupby(level="curve").min()
            told = spreads["freedom"] > 0
            pool = _pooled(spreads[told & (lowest > self._guess)])
            self._known[key] = spreads[told], pool, _variance(pool)
        return self._known[key]


def _variance(spreads):
    freedom = spreads["freedom"].sum()
    return (spreads["variance"] * spreads["freedom"]).sum() / freedom if freedom else 0.0


def _pooled(spreads):
    """Those spreads that belong together: the largest goes while Cochran's test finds it outlying.

    The test compares it with all others together, for unequal numbers of replicates too.
    """
    while len(spreads) > 1:
        largest = spreads["variance"].idxmax()
        others = spreads.drop(index=largest)
        variance, freedom = spreads.loc[largest]
        expected = _variance(others)
        ratio = variance / expected if expected else math.inf if variance else 1
        if len(spreads) * stats.f.sf(ratio, freedom, others["freedom"].sum()) > OUTLYING:
            break
        spreads = others
    return spreads


def mixed_precision(table: pd.DataFrame, curve: Curve, against: Curve) -> tuple[int, int]:
    """How many pairs of runs, one of each curve at a sparsity and replicate, had two precisions.

    Returns:
        (count, number of pairs).
    """
    keys = ["replicate", "sparsity"]
    ours, theirs = (select(table, c).set_index(keys)["precision"] for c in (curve, against))
    pairs = pd.concat([ours, theirs], axis=1, join="inner").set_axis(["ours", "theirs"], axis=1)
    return int((pairs["ours"] != pairs["theirs"]).sum()), len(pairs)
