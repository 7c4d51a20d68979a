"""Runs into tasks, by hand."""

from pathlib import Path

import pytest

from campaigns.common import dense, run
from prunelib.engine import groups
from prunelib.results.records import END, MASK, START, TRAINED
from prunelib.runs import Run

AFTER = {"prune_at": "end", "weights_from": "end"}
PATH = Path("unfinished.safetensors")


def stock(kind=TRAINED, there=(), begun=(), width=32, workers=1):
    return groups.Stock(kind, lambda setting: width, workers, set(there), list(begun))


def first(missing, *what, **how):
    return groups.first(missing, stock(*what, **how))


def second(missing, *what, **how):
    return groups.second(missing, stock(*what, **how))


def plain(tasks):
    """The parts of tasks that the cases below speak of."""
    return [(task.runs, set(task.record), set(task.keep), task.begun) for task in tasks]


@pytest.mark.parametrize(
    ("count", "workers", "sizes"),
    [(90, 2, [23, 23, 23, 21]), (18, 2, [9, 9]), (33, 1, [17, 16]), (5, 8, [1] * 5)],
)
def test_groups_are_of_like_size_for_every_worker(count, workers, sizes):
    runs = [run("snip", round(0.01 * i, 2)) for i in range(count)]
    tasks = first(runs, workers=workers)
    assert [len(task.runs) for task in tasks] == sizes
    assert [run for task in tasks for run in task.runs] == runs


def test_networks_that_gain_nothing_from_company_are_tasks_of_their_own():
    runs = [Run("vgg16_cifar10", "smoke", "snip", s) for s in (0.2, 0.5, 0.9)]
    assert [task.runs for task in first(runs, width=1, workers=2)] == [(run,) for run in runs]


def test_a_group_shares_setting_profile_and_replicate():
    runs = [run("snip"), run("snip", profile="quick"), run("snip", replicate=1)]
    assert [task.runs for task in first(runs)] == [(run,) for run in runs]


def test_dense_networks_come_first_and_keep_what_others_start_from():
    late, rewound = run(**AFTER), run(prune_at="end", weights_from=3)
    missing = [late, run("snip"), rewound, dense()]
    expected = (dense(), run("snip")), {dense(), run("snip")}, {(dense(), 3), (dense(), "end")}
    assert plain(first(missing)) == [(*expected, None)]
    assert second(missing) == []
    there = {(dense(), "end")}
    assert plain(second(missing, there=there)) == [((late,), {late}, set(), None)]
    (task,) = second(missing, there=there | {(dense(), 3)})
    assert task.runs == (late, rewound)
    assert task.starts == ((dense(), "end"), (dense(), 3))


def test_a_dense_network_whose_states_alone_are_lost_gets_no_record():
    missing = [run(**AFTER), run(prune_at=3, weights_from=3)]
    there = {(dense(), 3)}
    assert plain(first(missing, there=there)) == [((dense(),), set(), {(dense(), "end")}, None)]
    assert first(missing, there={*there, (dense(), "end")}) == []


def test_groups_that_were_begun_go_on_as_they_are():
    """Without those of their runs that are not missing any more, and nothing is trained twice."""
    a, b, c, late = run("snip", 0.1), run("snip", 0.2), run("snip", 0.3), run(**AFTER)
    missing, begun = [a, b, c, late], [(PATH, (c, a)), (Path("other"), (a,))]
    assert plain(first(missing, begun=begun, there={(dense(), "end")})) == [
        ((c, a), {a, c}, set(), PATH),
        ((b,), {b}, set(), None),
    ]
    begun = [(PATH, (late,))]
    assert second(missing, begun=begun) == []  # its state is lost
    (task,) = second(missing, begun=begun, there={(dense(), "end")})
    assert (task.runs, task.begun) == ((late,), PATH)


def test_one_shot_masks_of_a_replicate_are_read_together_and_iterative_ones_first():
    shots = [run("snip", s, ablation=a) for a in ("none", "shuffle") for s in (0.2, 0.5)]
    iterative = [run("synflow", s) for s in (0.2, 0.5)]
    late, other = run(**AFTER), run("snip", replicate=1)
    missing = [*shots, *iterative, late, other]
    dense_first, *masks = first(missing, MASK)
    assert plain([dense_first]) == [((dense(),), set(), {(dense(), "end")}, None)]
    assert [task.kind for task in masks] == [MASK] * 4
    assert [task.runs for task in masks] == [*((i,) for i in iterative), tuple(shots), (other,)]
    (task,) = second(missing, MASK, there={(dense(), "end")})
    assert (task.kind, task.runs) == (MASK, (late,))


@pytest.mark.parametrize("kind", [START, END])
def test_weights_are_compared_with_those_of_the_unmodified_run(kind):
    shuffled, other = run("snip", ablation="shuffle"), run("snip", 0.9, ablation="reinit")
    assert plain(first([shuffled, other], kind)) == [
        ((run("snip"), shuffled), {shuffled}, set(), None),
        ((run("snip", 0.9), other), {other}, set(), None),
    ]
