"""States of dense networks, and of groups in training: found again, told apart, never trusted when
they are damaged."""

import contextlib
import os
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load

from campaigns.common import (
    GROUP,
    RUNS,
    STEP,
    WORK,
    assert_same,
    carry_out,
    dense,
    flip,
    go_on,
    results,
    run,
    same,
    states,
    train,
    unfinished,
)
from prunelib import architectures, datasets, networks, settings
from prunelib.engine import campaign, checkpoints, jobs, programs, trainer
from prunelib.results.store import Store

AFTER = {"prune_at": "end", "weights_from": "end"}
DAMAGES = ("truncated", "junk", "length", "about", "tensor")


def damage(path, how):
    content = path.read_bytes()
    if how in ("truncated", "junk"):
        path.write_bytes(content[: len(content) // 2] if how == "truncated" else b"junk")
    else:
        flip(path, how)


def narrow():
    """A LeNet under the same name, of other shapes."""
    model = architectures.LeNet(64)
    model.layers[0] = torch.nn.Linear(64, 30)
    model.layers[1] = torch.nn.Linear(30, 100)
    return model


def test_a_state_with_any_bit_flipped_is_not_read():
    tensors = {"weight": torch.rand(2, 3), "seen": torch.tensor(7), "mask": torch.tensor([True])}
    content = checkpoints.dump(tensors, {"run": "[1, 2]", "step": "end"})
    found, about = checkpoints.undump(content)
    assert same(found, tensors)
    assert about == {"run": "[1, 2]", "step": "end"}
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        assert checkpoints.undump(bytes(flipped)) is None, bit
    for end in range(len(content)):
        assert checkpoints.undump(content[:end]) is None


# ---------------------------------------------------------------------------------- dense networks


@pytest.mark.parametrize("how", ["missing", *DAMAGES])
def test_a_lost_state_is_made_again_without_doubling_its_run(store, tmp_path, how):
    assert train([dense(), run(**AFTER)], store) == 2
    (path,) = states(store)
    state = load(path.read_bytes())
    rows = store.path("lenet_digits", "smoke").read_text().splitlines()
    path.unlink() if how == "missing" else damage(path, how)
    assert train([run(sparsity=0.75, **AFTER)], store) == 1
    after = store.path("lenet_digits", "smoke").read_text().splitlines()
    assert len(after) == len(rows) + 1
    assert set(rows) < set(after)
    assert same(load(path.read_bytes()), state)
    other = Store(tmp_path / "undisturbed")
    train([run(sparsity=0.75, **AFTER)], other)
    assert results(store).items() >= results(other).items()


def test_states_of_one_network_at_several_steps(store):
    """Some are there already, some not: runs that need the latter wait for them."""
    train([run(**AFTER)], store)
    steps = ((3, 3), ("end", 3), ("end", "end"))
    more = [run(prune_at=at, weights_from=start, sparsity=0.9) for at, start in steps]
    assert train(more, store) == 3
    assert [path.stem.split("-")[2] for path in states(store)] == ["3", "end"]


def test_a_state_belongs_to_its_data_precision_schedule_and_network(store, monkeypatch):
    about = {"root": store.root, "precision": "bf16", "data": {"digits": "a"}}
    folder, state = checkpoints.Folder(**about), {"a": torch.ones(1)}
    folder.write(dense(), "end", checkpoints.dump(state, folder.about(dense(), "end")))
    assert folder.read(dense(), "end") is not None
    assert folder.read(dense(), 3) is None
    assert folder.read(dense(replicate=1), "end") is None
    for other in ({"precision": "fp32"}, {"data": {"digits": "b"}}, {"data": {}}):
        assert checkpoints.Folder(**about | other).read(dense(), "end") is None
    with monkeypatch.context() as patch:
        changed = replace(settings.get("lenet_digits"), learning_rate=0.2)
        patch.setitem(settings.SETTINGS, "lenet_digits", changed)
        assert folder.read(dense(), "end") is None
    assert folder.read(dense(), "end") is not None
    monkeypatch.setitem(networks.NETWORKS, "lenet_8x8", (narrow, (1, 8, 8)))
    assert folder.read(dense(), "end") is None


def test_a_state_under_the_name_of_another_is_not_read(store):
    folder = checkpoints.Folder(store.root, "fp32", {})
    content = checkpoints.dump({"a": torch.ones(1)}, folder.about(dense(), "end"))
    folder.write(dense(replicate=1), "end", content)
    assert folder.read(dense(replicate=1), "end") is None


def test_a_state_of_another_network_of_this_name_is_trained_anew(store, monkeypatch):
    train([run(**AFTER)], store)
    monkeypatch.setitem(networks.NETWORKS, "lenet_8x8", (narrow, (1, 8, 8)))
    assert train([run(sparsity=0.75, **AFTER)], store) == 1
    kept = store.table().query("sparsity == 0.75").kept_weights.item()
    total = 64 * 30 + 30 * 100 + 100 * 10
    assert kept == total - round(0.75 * total)


def test_a_run_starts_from_a_dense_network_of_its_own_precision(tmp_path):
    """Also where a dense network's states in another precision are there."""
    children, losses = [run(sparsity=s, **AFTER) for s in (0.5, 0.9)], []
    for before in (children[:1], []):
        store = Store(tmp_path / str(len(before)))
        train(before, store, precision="fp32")
        train(children[1:], store, precision="bf16")
        losses.append(store.table().query("sparsity == 0.9").test_loss.item())
    assert losses[0] == losses[1]


# ------------------------------------------------------------------------------- groups in training


class Clock:
    """A clock that strikes once at every look; seconds of the processor are real."""

    perf_counter = staticmethod(time.perf_counter)

    def __init__(self):
        self.now = 0

    def time(self):
        self.now += 1
        return self.now


def state(store, step):
    (path,) = (path for path in states(store) if path.stem.split("-")[2] == str(step))
    return load(path.read_bytes())


@pytest.mark.parametrize("pause", [2, 3, 7])
def test_a_paused_group_leads_to_the_same_result(store, whole, pause):
    """Also of a network that is pruned while it trains, and whether the state that later runs
    need was reached before the pause, at it or after it."""
    assert go_on(store, pause)[0] == 0
    assert len(unfinished(store)) == 1
    recorded, advances = go_on(store)
    assert (recorded, advances[0], sum(advances)) == (4, len(GROUP) * pause, WORK)
    assert results(store) == results(whole)
    assert same(state(store, STEP), state(whole, STEP))
    assert not unfinished(store)


@pytest.mark.parametrize("deadline", [12, 15, 20])
def test_a_spent_budget_leaves_a_checkpoint(store, whole, monkeypatch, deadline):
    monkeypatch.setattr(trainer, "time", Clock())
    monkeypatch.setattr(jobs, "time", trainer.time)
    assert go_on(store, deadline=deadline)[0] == 0
    assert len(unfinished(store)) == 1
    monkeypatch.undo()
    recorded, advances = go_on(store)
    assert recorded == 4
    assert 0 < advances[0] < WORK == sum(advances)
    assert results(store) == results(whole)


def crash(store, after):
    """Carry out GROUP until so much progress is told, and crash; returns what was told."""
    advances = []

    def advance(job, count):
        advances.append(count)
        if sum(advances) >= after:
            raise KeyError("crash")

    with pytest.raises(KeyError):
        carry_out(store, advance)
    return advances


def test_a_crash_costs_no_more_than_the_time_since_the_last_checkpoint(store, whole, monkeypatch):
    monkeypatch.setattr(trainer, "SAVE", 0)
    monkeypatch.setattr(trainer, "COST", 0)
    crash(store, 28)
    recorded, advances = go_on(store)
    assert (recorded, advances[0]) == (4, 24)
    assert results(store) == results(whole)


class Crash(Exception):
    pass


def crash_once(wanted, store, monkeypatch):
    """A campaign that crashes two iterations after it has begun or resumed a group."""
    train_program = programs.train

    def crashing(program, dataset, replicate, before):
        end = program.done + 2

        def look(done):
            if before(done):
                return True
            if done == end:
                raise Crash
            return False

        return train_program(program, dataset, replicate, look)

    with monkeypatch.context() as patch, contextlib.suppress(Crash):
        patch.setattr(programs, "train", crashing)
        train(wanted, store)


@pytest.mark.parametrize("lost", ["nothing", "states", "passed"])
def test_campaigns_that_crash_again_and_again_end(store, tmp_path, monkeypatch, lost):
    """Also where a dense network is recorded and only its states are lost; or where one of them was
    passed before it was asked for, so that the checkpoint is of no use."""
    late = [run(sparsity=0.9, prune_at=at, weights_from=at) for at in (3, "end")]
    monkeypatch.setattr(trainer, "SAVE", 0)
    monkeypatch.setattr(trainer, "COST", 0)
    if lost == "states":
        train([dense(), run(**AFTER)], store)
        states(store)[0].unlink()
    if lost == "passed":
        for _ in range(3):
            crash_once([run(**AFTER)], store, monkeypatch)
    crashes = 0
    while store.missing(late):
        crashes += 1
        assert crashes <= (15 if lost == "passed" else 12)  # of two programs, ten iterations each
        crash_once(late, store, monkeypatch)
    other = Store(tmp_path / "undisturbed")
    train(late, other)
    assert results(store).items() >= results(other).items()
    train([dense(), *late], store)
    assert not unfinished(store)


@pytest.mark.parametrize("how", [*DAMAGES, "precision", "data", "code", "network"])
def test_a_group_is_begun_again_where_its_checkpoint_does_not_fit(store, whole, monkeypatch, how):
    other = replace(datasets.load("digits"), fingerprint="other")
    with monkeypatch.context() as patch:
        if how == "data":
            patch.setattr(datasets, "load", lambda name: other)
        if how == "code":
            patch.setattr(checkpoints, "_code", lambda: "other")
        if how == "network":
            patch.setitem(networks.NETWORKS, "lenet_8x8", (narrow, (1, 8, 8)))
        go_on(store, 5, **{"precision": "bf16"} if how == "precision" else {})
    (path,) = unfinished(store)
    if how in DAMAGES:
        damage(path, how)
    recorded, advances = go_on(store)
    assert (recorded, advances[0]) == (4, 0)
    assert results(store) == results(whole)
    assert not unfinished(store)


def test_a_group_in_another_precision_leaves_the_checkpoint_of_the_first(store, whole):
    """As where a job that names none goes on, on another machine."""
    go_on(store, 5)
    assert go_on(store, 3, precision="bf16")[1][0] == 0
    assert len(unfinished(store)) == 2
    recorded, advances = go_on(store)
    assert (recorded, advances[0]) == (4, 20)
    assert_same(results(store), results(whole))
    assert not unfinished(store)


def test_a_group_of_which_some_were_finished_elsewhere_goes_on_without_them(store, whole):
    go_on(store, 5)
    train(GROUP[1:2], store)
    recorded, advances = go_on(store)
    assert recorded == 3
    assert 0 < advances[0] < 30 == sum(advances)
    assert_same(results(store), results(whole))
    assert not unfinished(store)


def test_what_is_left_of_a_finished_group_is_removed(store):
    """Its runs were recorded by somebody else, or the checkpoint outlived them."""
    go_on(store, 5)
    train(GROUP[1:], store, precision="bf16")
    assert len(unfinished(store)) == 1
    train(GROUP[:1], store, precision="bf16")
    train(RUNS[:9], store)
    assert not unfinished(store)


def test_a_checkpoint_that_cannot_be_read_for_now_stays(store, monkeypatch):
    """Fault: on a shared folder, while another campaign writes it."""

    def refuse(path):
        raise PermissionError(f"{path} is in use")

    go_on(store, pause=5)
    (path,) = unfinished(store)
    folder = campaign.make_job(GROUP, store, "cpu", "fp32").checkpoints()
    with monkeypatch.context() as patch:
        patch.setattr(type(path), "read_bytes", refuse)
        assert folder.begun({("lenet_digits", "smoke")}, store.missing) == []
        assert folder.read_group(path) is None
    assert path.exists()
    assert len(folder.begun({("lenet_digits", "smoke")}, store.missing)) == 1


def test_a_half_written_file_that_its_writer_ends_meanwhile_is_no_error(store, whole):
    """Fault: it is listed, and gone when it is looked at; here a link to nowhere."""
    go_on(store, pause=5)
    unfinished(store)[0].with_name(".0.safetensors.1").symlink_to("nowhere")
    assert go_on(store)[0] == 4
    assert_same(results(store), results(whole))


def test_of_half_written_files_the_old_ones_are_removed(store):
    """Whoever wrote them was killed; a fresh one may be in the making."""
    go_on(store, pause=5)
    (path,) = unfinished(store)
    old, fresh = (path.with_name(f".{n}.safetensors.1") for n in (0, 1))
    for half, age in ((old, 2 * checkpoints.STALE), (fresh, 0)):
        half.touch()
        os.utime(half, (time.time() - age,) * 2)
    folder = campaign.make_job(GROUP, store, "cpu", "fp32").checkpoints()
    folder.begun({("lenet_digits", "smoke")}, store.missing)
    assert (old.exists(), fresh.exists()) == (False, True)


def watched(monkeypatch, budget, **changes):
    """A watch over a group of a hundred iterations whose budget ends in so many seconds, with the
    clock that it reads; its checkpoints only add to `saves`."""
    clock, saves = SimpleNamespace(now=1000.0), []
    monkeypatch.setattr(trainer.time, "time", lambda: clock.now)
    job = SimpleNamespace(
        deadline=1000 + budget,
        is_over=lambda margin=0.0: clock.now + margin >= 1000 + budget,
    )
    program = SimpleNamespace(count=2, done=0, schedule=SimpleNamespace(iterations=100))
    watch = trainer._Watch(SimpleNamespace(keep=(), runs=()), job, program, 0.0, lambda n: None)
    monkeypatch.setattr(watch, "_save", lambda: saves.append(clock.now))
    for name, value in changes.items():
        setattr(watch, name, value)
    return watch, clock, saves


def test_a_group_is_checkpointed_when_its_budget_may_end_within_what_cannot_be_paused(monkeypatch):
    """Masks before the first iteration and the evaluation after the last may take a minute."""
    for budget, saved in ((30, 1), (600, 0)):
        watch, _, saves = watched(monkeypatch, budget)
        assert not watch.before(0)
        assert len(saves) == saved


def test_a_group_pauses_before_an_iteration_that_would_not_end_in_time(monkeypatch):
    """The slowest took five seconds."""
    for budget, pauses in ((9, True), (12, False)):
        watch, clock, _ = watched(monkeypatch, budget)
        watch.before(0)
        clock.now += 5
        assert watch.before(1) == pauses


def test_checkpoints_that_take_long_are_rare(monkeypatch):
    """At most a fiftieth of the time is spent on them, and at least a minute lies between."""
    for cost, wait in ((0.1, 60), (2.0, 100)):
        watch, clock, saves = watched(monkeypatch, 1e6, cost=cost)
        for second in range(wait + 1):
            clock.now = 1000.0 + second
            watch.before(min(second, 99))
        assert saves == [1000.0 + wait]


def test_half_a_group_goes_on_where_the_whole_was_left(store, whole, monkeypatch):
    make = programs.make

    def limited(models, *arguments, **options):
        if len(models) > 2:
            raise MemoryError
        return make(models, *arguments, **options)

    go_on(store, 5)
    monkeypatch.setattr(programs, "make", limited)
    recorded, advances = go_on(store)
    assert recorded == 4
    assert sum(advances) == WORK
    assert [a for a in advances if a != 2] == [10, 10]  # both halves begin there
    assert_same(results(store), results(whole))
    assert not unfinished(store)


def test_a_worker_that_does_not_see_the_folder_trains_without_checkpoints(store, whole):
    assert go_on(store, 5, token="of another folder")[0] == 0
    assert not unfinished(store)
    assert go_on(store, token="of another folder") == (4, [0] + [4] * 10)
    assert results(store) == results(whole)
    assert same(state(store, STEP), state(whole, STEP))
