"""The engine: masks and weights of every kind of Run, and campaigns that are killed, interrupted,
paused, doubled and damaged."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load

from prunelib import datasets, engine, networks, scores
from prunelib.engine import programs
from prunelib.errors import BadValueError, DatasetError, PrunelibError, StoreError
from prunelib.grids import figure_runs
from prunelib.results.store import Store
from prunelib.runs import FIELDS, Run

LAYERS = ("layers.0.weight", "layers.1.weight", "layers.2.weight")


def run(method="magnitude", sparsity=0.5, **fields):
    return Run("lenet_digits", "smoke", method, sparsity, **fields)


def dense(**fields):
    return Run("lenet_digits", "smoke", **fields)


def train(runs, store, workers=1, **options):
    """In fp32: which machine runs the tests must not matter."""
    options = {"precision": "fp32", "device": "cpu", "progress": False} | options
    return engine.train(runs, store, workers, **options)


def results(store):
    """What a store holds, without what no two campaigns share."""
    table = store.table().drop(columns=["seconds"])
    return {tuple(row[: len(FIELDS)]): row for row in table.itertuples(index=False, name=None)}


def assert_same(found, expected):
    """Results are equal but for rounding, which depends on how many networks are stacked."""
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        for value, other in zip(found[key], row, strict=True):
            if isinstance(other, float):
                assert value == pytest.approx(other, rel=1e-3, abs=0.005)
            else:
                assert value == other


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As in a worker: the number of threads changes rounding."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def registry():
    before = dict(scores.METHODS)
    yield
    scores.METHODS.clear()
    scores.METHODS.update(before)


# ------------------------------------------------------- where a Run's mask and weights are from


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    """The maker of masks for two dense networks, one for all that follows, as it keeps masks; and
    their checkpoints, read here by safetensors itself."""
    store = Store(tmp_path_factory.mktemp("parents"))
    children = [
        run(prune_at=at, weights_from=start, init=init)
        for init in ("he", "fixed_variance")
        for at, start in ((3, 3), ("end", "end"))
    ]
    train(children, store)
    folder = store.root / ".checkpoints" / "lenet_digits" / "smoke"
    states = {
        (init, step): load(next(folder.glob(f"{init}-r0-{step}-*.safetensors")).read_bytes())
        for init in ("he", "fixed_variance")
        for step in (3, "end")
    }
    for init in ("he", "fixed_variance"):
        states[init, 0] = networks.build("lenet_8x8", 0, init).state_dict()
    return engine.MaskMaker(store, precision="fp32"), states


def largest(state, sparsity=0.5):
    """The mask of the largest magnitudes over all layers, by numpy."""
    values = np.concatenate([np.abs(state[n].numpy()).ravel() for n in LAYERS])
    cut = np.sort(values)[round(sparsity * len(values))]
    return {n: torch.from_numpy(np.abs(state[n].numpy()) >= cut) for n in LAYERS}


@pytest.mark.parametrize("init", ["he", "fixed_variance"])
@pytest.mark.parametrize(
    ("prune_at", "weights_from"),
    [(0, 0), (3, 3), ("end", "end"), ("end", 0), ("end", 3), (0, "end")],
)
def test_the_weights_scored_and_the_weights_trained(parents, init, prune_at, weights_from):
    """Fault: scores of other weights than those of `prune_at`, training of others than those of
    `weights_from`."""
    maker, states = parents
    assert len({float(states[init, s]["layers.1.weight"].sum()) for s in (0, 3, "end")}) == 3
    wanted = run(prune_at=prune_at, weights_from=weights_from, init=init)
    model, mask = maker.start(wanted)
    assert same(mask, largest(states[init, prune_at]))
    assert same(model.state_dict(), states[init, weights_from])


def test_a_dense_run_starts_whole(parents):
    maker, states = parents
    model, mask = maker.start(dense(init="fixed_variance"))
    assert same(model.state_dict(), states["fixed_variance", 0])
    assert all(m.all() for m in mask.values())


@pytest.mark.parametrize("step", [0, "end"])
def test_shuffling_keeps_the_weights_and_moves_the_mask(parents, step):
    maker, states = parents
    _, plain = maker.start(run(prune_at=step, weights_from=step))
    model, mask = maker.start(run(ablation="shuffle", prune_at=step, weights_from=step))
    assert same(model.state_dict(), states["he", step])
    for name in LAYERS:
        assert mask[name].sum() == plain[name].sum() == largest(states["he", step])[name].sum()
        assert (mask[name] != plain[name]).float().mean() > 0.2
    _, again = maker.start(run(prune_at=step, weights_from=step))
    assert same(again, plain)  # what is shared is not shuffled along


@pytest.mark.parametrize("init", ["he", "fixed_variance"])
def test_reinitialising_keeps_the_mask_and_draws_the_weights_anew(parents, init):
    maker, states = parents
    for step in (0, "end"):
        reinit = run(ablation="reinit", prune_at=step, weights_from=step, init=init)
        model, mask = maker.start(reinit)
        assert same(mask, largest(states[init, step]))
        for name in LAYERS:
            old, new = states[init, 0][name].flatten(), model.get_parameter(name).detach().flatten()
            assert abs(float(torch.corrcoef(torch.stack([old, new]))[0, 1])) < 0.15
            assert float(new.std() / old.std()) == pytest.approx(1, abs=0.15)  # of the same scheme
    other, _ = maker.start(run(sparsity=0.9, ablation="reinit", replicate=1, init=init))
    assert not torch.equal(other.layers[0].weight, model.layers[0].weight)


def test_inverting_prunes_the_largest(parents):
    maker, states = parents
    _, mask = maker.start(run(ablation="invert"))
    assert same(mask, {n: ~m for n, m in largest(states["he", 0]).items()})


def test_scores_of_data_come_from_the_scoring_batch_of_the_replicate(store):
    for replicate in (0, 1):
        _, mask = engine.MaskMaker(store).start(run("snip", replicate=replicate))
        x, y = datasets.scoring_batch("lenet_digits", replicate)
        model = networks.build("lenet_8x8", replicate)
        logits = model(x)
        loss = (logits.exp().sum(1).log() - logits[torch.arange(100), y]).mean()
        weights = [model.get_parameter(n) for n in LAYERS]
        products = [
            w.detach() * g for w, g in zip(weights, torch.autograd.grad(loss, weights), strict=True)
        ]
        expected = largest(dict(zip(LAYERS, products, strict=True)))
        for name in LAYERS:
            assert (mask[name] == expected[name]).float().mean() > 0.999  # rounding aside


# ------------------------------------------------------------------------------------- campaigns

# A script as a user may write it, without `if __name__ == "__main__"`. Where asked to, it first
# wants runs of a method that never ends, and so is in the middle of its work whenever one looks.
CAMPAIGN = """
import sys, time
print("started", flush=True)
from prunelib import engine, scores
from prunelib.grids import figure_runs
from prunelib.runs import Run
from prunelib.results.store import Store
runs = figure_runs(3, "lenet_digits", "smoke", replicates=5)
if sys.argv[3] == "endless":
    scores.register("endless", needs_data=False)(lambda model, batch: time.sleep(3600))
    runs = [Run("lenet_digits", "smoke", "endless", 0.5, replicate=r) for r in range(5)] + runs
print(engine.train(runs, Store(sys.argv[1]), int(sys.argv[2]), "cpu", False, "fp32"), flush=True)
"""
RUNS = figure_runs(3, "lenet_digits", "smoke", replicates=5)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("undisturbed"))
    assert train(RUNS, store) == len(RUNS) == 5 * 13
    return results(store)


@contextlib.contextmanager
def campaign(store, workers, kind="ordinary"):
    script = store.root.parent / "script.py"
    script.write_text(CAMPAIGN)
    process = subprocess.Popen(
        [sys.executable, script, store.root, str(workers), kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_for_a_record(store, process):
    path = store.path("lenet_digits", "smoke")
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def test_a_campaign_is_complete_and_nothing_is_trained_twice(undisturbed, store):
    assert set(undisturbed) == {tuple(r.record().values()) for r in RUNS}
    total = 64 * 300 + 300 * 100 + 100 * 10
    for r in RUNS:
        accuracy, _, _, kept = undisturbed[tuple(r.record().values())][len(FIELDS) :][:4]
        assert kept == total - round(r.sparsity * total)
        assert accuracy > 0.5 or r.method != "dense"  # ten iterations beat a guess by far
    assert train(RUNS[:3], store) == 3
    path = store.path("lenet_digits", "smoke")
    before = path.read_bytes()
    assert train(RUNS[:3], store) == 0
    assert path.read_bytes() == before


def test_two_workers_give_the_same_results(undisturbed, store, registry):
    """Also of a method that the user has registered, which the workers cannot import. It sends
    them what Ctrl-C sends to all processes of a terminal: they leave that to their parent."""

    @scores.register("users_own", needs_data=False)
    def users_own(model, batch):
        if multiprocessing.parent_process():
            os.kill(os.getpid(), signal.SIGINT)
        names = networks.prunable(model)
        return {n: torch.full_like(model.get_parameter(n), i) for i, n in enumerate(names)}

    own = [run("users_own", replicate=r) for r in range(2)]
    assert train([*RUNS, *own], store, workers=2) == len(RUNS) + 2
    alone = Store(store.root.parent / "alone")
    assert train(own, alone) == 2
    assert_same(results(store), undisturbed | results(alone))


def test_results_do_not_depend_on_what_is_trained_together(undisturbed, store):
    for r in (RUNS[5], RUNS[3], RUNS[0]):
        train([r], store)
    assert_same(results(store), {key: undisturbed[key] for key in results(store)})


def test_networks_that_cannot_be_stacked_are_trained_side_by_side(undisturbed, store, monkeypatch):
    monkeypatch.setattr(programs, "make", programs.Several)
    monkeypatch.setattr(engine, "_width", lambda *arguments: 3)
    chosen = [r for r in RUNS[:13] if r.sparsity < 0.8]  # checkpoints of the dense one included
    assert train(chosen, store) == len(chosen) == 7
    assert set(store.table()["engine"]) == {"several"}
    for key, row in results(store).items():
        expected = undisturbed[key]
        losses = slice(len(FIELDS) + 1, len(FIELDS) + 3)
        assert row[losses] == pytest.approx(expected[losses], rel=1e-3)
        assert row[: len(FIELDS)] == expected[: len(FIELDS)]
        assert row[-3:] == expected[-3:]


def test_a_killed_campaign_loses_no_run_and_goes_on(undisturbed, store):
    with campaign(store, 2, "endless") as process:
        wait_for_a_record(store, process)
        process.kill()
        # Its pipes close when the workers have ended as well: none is left behind.
        process.communicate(timeout=60)
    before = results(store)
    assert 0 < len(before) < len(RUNS)
    left = len(RUNS) - len(before)
    assert train(RUNS, store) == left
    assert_same(results(store), undisturbed)


def test_an_interrupted_campaign_ends_at_once_and_goes_on(undisturbed, store):
    with campaign(store, 2, "endless") as process:
        wait_for_a_record(store, process)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal, to parent and workers
        output, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert output == "started\n"  # once: the workers do not run the script again
    assert errors.count("Traceback") == 1  # the caller's own KeyboardInterrupt, none of workers
    assert "KeyboardInterrupt" in errors
    before = results(store)
    assert 0 < len(before) < len(RUNS)
    assert train(RUNS, store) == len(RUNS) - len(before)
    assert_same(results(store), undisturbed)


def test_two_campaigns_on_one_store_share_the_work(undisturbed, store):
    trained = 0
    with campaign(store, workers=1) as one, campaign(store, workers=1) as other:
        for process in (one, other):
            output, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
            trained += int(output.split()[1])
    assert trained == len(RUNS)
    assert_same(results(store), undisturbed)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_ends_a_campaign_with_a_sentence_and_costs_no_record(
    undisturbed, store, full_disk, workers
):
    """Room for a part of the records."""
    trained = train([r for r in RUNS if r.method == "dense"], store)
    path = store.path("lenet_digits", "smoke")
    with full_disk(path.stat().st_size + 4000), pytest.raises(StoreError) as error:
        train([r for r in RUNS if not r.parent], store, workers)
    assert "cannot be written" in str(error.value)
    assert "\n" not in str(error.value)
    before = results(store)
    assert trained < len(before) < len(RUNS)
    assert train(RUNS, store, workers) == len(RUNS) - len(before)
    assert_same(results(store), undisturbed)


@pytest.mark.parametrize(("room", "save", "file"), [(50_000, 600, "-end-"), (200_000, 0, "unfin")])
def test_a_disk_too_full_for_a_state_or_for_a_group_in_training(
    undisturbed, store, full_disk, monkeypatch, room, save, file
):
    monkeypatch.setattr(engine, "SAVE", save)
    with full_disk(room), pytest.raises(StoreError, match=f"{file}.*cannot be written"):
        train(RUNS, store)
    left = len(store.missing(RUNS))
    assert train(RUNS, store) == left
    assert_same(results(store), undisturbed)


# ----------------------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("damage", ["missing", "truncated", "junk"])
def test_a_lost_checkpoint_is_made_again_without_doubling_its_run(store, damage):
    at = {"prune_at": "end", "weights_from": "end"}
    assert train([dense(), run(**at)], store) == 2
    (path,) = (store.root / ".checkpoints").rglob("*.safetensors")
    state = load(path.read_bytes())
    rows = store.path("lenet_digits", "smoke").read_text().splitlines()
    if damage == "missing":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"junk")
    assert train([run(sparsity=0.75, **at)], store) == 1
    after = store.path("lenet_digits", "smoke").read_text().splitlines()
    assert len(after) == len(rows) + 1
    assert set(rows) < set(after)
    assert same(load(path.read_bytes()), state)


def test_states_of_one_network_at_several_steps(store):
    """Some have their checkpoint already, some not: runs that need the latter wait for them."""
    train([run(prune_at="end", weights_from="end")], store)
    more = [
        run(prune_at=at, weights_from=start, sparsity=0.9)
        for at, start in ((3, 3), ("end", 3), ("end", "end"))
    ]
    job = engine.Job(store.root, "cpu", "fp32")
    assert [t.runs for t in engine._with_parents(more, store, job, 1)] == [[more[2]]]
    assert train(more, store) == 3


# --------------------------------------------------------------------------------- what goes wrong


@pytest.mark.timeout(120)
def test_an_error_reaches_the_caller_in_its_own_words_and_ends_the_other_workers(store, registry):
    @scores.register("broken", needs_data=False)
    def broken(model, batch):
        return {n: model.get_parameter(n) * float("nan") for n in networks.prunable(model)}

    @scores.register("endless", needs_data=False)
    def endless(model, batch):
        time.sleep(3600)

    with pytest.raises(BadValueError) as error:
        train([run("endless"), run("broken", replicate=1)], store, workers=2)
    assert str(error.value) == "method 'broken' gave scores of layers.0.weight that are not finite"


def test_finished_runs_outlive_an_error(store, registry):
    @scores.register("broken", needs_data=False)
    def broken(model, batch):
        return {}

    wanted = [run(), run("broken", replicate=1), run(replicate=2)]
    with pytest.raises(BadValueError, match="must score exactly the prunable weights"):
        train(wanted, store)
    assert store.missing(wanted) == wanted[1:]
    assert train(wanted[::2], store) == 1


def test_a_worker_that_dies_is_told_and_does_not_hang(store, registry):
    @scores.register("deadly", needs_data=False)
    def deadly(model, batch):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(PrunelibError, match=r"a worker process died.* the only one") as error:
        train([run("deadly")], store, workers=2)
    assert "\n" not in str(error.value)


def test_when_a_worker_dies_half_as_many_go_on(undisturbed, store, registry, capsys, monkeypatch):
    """As with the system's killing of a process where two do not fit into memory."""
    grouped, numbers = engine._grouped, []
    monkeypatch.setattr(engine, "_grouped", lambda *a: (numbers.append(a[3]), grouped(*a))[1])
    marker = store.root.parent / "died"

    @scores.register("snip")
    def greedy(model, batch):
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return scores.snip(model, batch)

    train(RUNS, store, workers=2)
    assert_same(results(store), undisturbed)
    assert "going on with 1 of 2 workers" in capsys.readouterr().err
    assert numbers[0] == 2
    assert numbers[-1] == 1


def test_missing_data_is_told_before_anything_is_trained(store, tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNELIB_DATA", str(tmp_path / "nowhere"))
    wanted = [dense(), Run("lenet_mnist", "smoke")]
    with pytest.raises(DatasetError, match="mnist"):
        train(wanted, store)
    assert store.table().empty


def test_a_damaged_record_stops_a_campaign_and_stays(store):
    train([dense()], store)
    path = store.path("lenet_digits", "smoke")
    path.write_text(path.read_text().replace(",he,", ",she,"))
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"smoke\.csv, line 2: .*'she'"):
        train([run()], store)
    assert path.read_bytes() == before


def test_a_run_of_any_sparsity_is_trained_once(store):
    """Written with too few digits it would not be found again, and be trained for ever."""
    assert train([run(sparsity=0.123456789012)], store) == 1
    assert train([run(sparsity=0.123456789012)], store) == 0


@pytest.mark.parametrize(
    ("count", "workers", "sizes"),
    [(90, 2, [23, 23, 23, 21]), (18, 2, [9, 9]), (33, 1, [17, 16]), (5, 8, [1] * 5)],
)
def test_stacks_are_of_like_size_for_every_worker(store, count, workers, sizes):
    runs = [Run("lenet_digits", "smoke", "snip", round(0.01 * i, 2)) for i in range(count)]
    tasks = engine._grouped(runs, store, engine.Job(store.root, "cpu", "fp32"), workers, {})
    assert [len(task.runs) for task in tasks] == sizes
    assert [run for task in tasks for run in task.runs] == runs


def test_convolutional_networks_are_tasks_of_their_own_on_a_cpu(store):
    runs = [Run("vgg16_cifar10", "smoke", "snip", s) for s in (0.2, 0.5, 0.9)]
    tasks = engine._grouped(runs, store, engine.Job(store.root, "cpu", "fp32"), 2, {})
    assert [task.runs for task in tasks] == [[run] for run in runs]


def test_a_checkpoint_belongs_to_the_data_and_the_precision_it_was_trained_with(store, monkeypatch):
    parent, state = Run("lenet_digits", "smoke"), networks.build("lenet_8x8").state_dict()
    engine._write_checkpoint(store, "bf16", parent, "end", state)
    assert engine._read_checkpoint(store, "bf16", parent, "end") is not None
    assert engine._read_checkpoint(store, "fp32", parent, "end") is None
    other = replace(datasets.load("digits"), fingerprint="other")
    monkeypatch.setattr(datasets, "load", lambda name: other)
    assert engine._read_checkpoint(store, "bf16", parent, "end") is None


def test_a_run_starts_from_a_dense_network_of_its_own_precision(tmp_path):
    """Also where a dense network's states in another precision are there."""
    children, losses = [run(sparsity=s, prune_at="end", weights_from="end") for s in (0.5, 0.9)], []
    for before in (children[:1], []):
        store = Store(tmp_path / str(len(before)))
        train(before, store, precision="fp32")
        train(children[1:], store, precision="bf16")
        losses.append(store.table().query("sparsity == 0.9").test_loss.item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"device": "tpu"}, "unknown device 'tpu'; choose from cpu, cuda"),
        ({"workers": 0}, "workers=0"),
        ({"workers": 1.5}, "workers=1.5"),
    ],
)
def test_bad_hardware_gets_one_sentence(store, options, sentence):
    with pytest.raises(PrunelibError, match=sentence):
        engine.train([dense()], store, progress=False, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(store):
    with pytest.raises(BadValueError, match="no GPU"):
        engine.train([dense()], store, device="cuda", progress=False)


# ------------------------------------------------------------------- budgets, and groups that wait


class Clock:
    """A clock that strikes once at every look; seconds of the processor are real."""

    perf_counter = staticmethod(time.perf_counter)

    def __init__(self):
        self.now = 0

    def time(self):
        self.now += 1
        return self.now


GROUP = [dense(), run("magnitude", 0.9), run("snip", 0.5), run("gradual", 0.8)]


def group_of(store, **conditions):
    """Call the tasks of GROUP, as one worker does; returns (recorded, iterations begun at)."""
    job = engine.Job(store.root, "cpu", **{"precision": "fp32"} | conditions)
    missing, recorded, advances = store.missing(GROUP), 0, []
    for task in engine._grouped(missing, store, job, 1, {GROUP[0]: {3}}):
        recorded += engine._carry_out(task, job, advances.append)
    return recorded, advances


def unfinished(store):
    return list((store.root / ".checkpoints").rglob("unfinished/*.safetensors"))


def checkpoint(store, step):
    return engine._read_checkpoint(store, "fp32", GROUP[0], step)


@pytest.fixture
def whole(tmp_path):
    """GROUP trained without a pause."""
    store = Store(tmp_path / "whole")
    assert group_of(store)[0] == 4
    return store


@pytest.mark.parametrize("pause", [8, 11, 14])
def test_a_spent_budget_leaves_a_checkpoint_that_leads_to_the_same_result(
    store, whole, monkeypatch, pause
):
    """Also of a network that is pruned while it trains, and whether the state that later runs
    need was reached before the pause or after it."""
    monkeypatch.setattr(engine, "time", Clock())
    assert group_of(store, deadline=pause)[0] == 0
    assert len(unfinished(store)) == 1
    monkeypatch.undo()
    recorded, advances = group_of(store)
    assert recorded == 4
    assert 0 < advances[0] < 40 == sum(advances)  # of four networks with ten iterations each
    assert results(store) == results(whole)
    assert same(checkpoint(store, 3), checkpoint(whole, 3))
    assert not unfinished(store)


def test_a_crash_costs_no_more_than_the_time_since_the_last_checkpoint(store, whole, monkeypatch):
    def advance(count):
        advances.append(count)
        if sum(advances) >= 28:
            raise KeyError("crash")

    advances = []
    monkeypatch.setattr(engine, "SAVE", 0)
    job = engine.Job(store.root, "cpu", "fp32")
    with pytest.raises(KeyError):
        engine._carry_out(engine.Task(GROUP, {GROUP[0]: {3}}), job, advance)
    recorded, advances = group_of(store)
    assert (recorded, advances[0]) == (4, 24)
    assert results(store) == results(whole)


@pytest.mark.parametrize("damage", ["truncated", "junk", "other precision", "other data"])
def test_a_group_is_begun_again_where_its_checkpoint_does_not_fit(
    store, whole, monkeypatch, damage
):
    monkeypatch.setattr(engine, "time", Clock())
    other = {"precision": "bf16"} if damage == "other precision" else {}
    if damage == "other data":
        monkeypatch.setattr(engine, "_conditions", lambda setting, job: {"data": "other"})
    group_of(store, deadline=12, **other)
    monkeypatch.undo()
    (path,) = unfinished(store)
    content = path.read_bytes()
    if damage in ("truncated", "junk"):
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"junk")
    recorded, advances = group_of(store)
    assert (recorded, advances[0]) == (4, 0)
    assert results(store) == results(whole)


def test_a_group_of_which_some_were_finished_elsewhere_goes_on_without_them(
    store, whole, monkeypatch
):
    monkeypatch.setattr(engine, "time", Clock())
    group_of(store, deadline=12)
    monkeypatch.undo()
    train(GROUP[1:2], store)
    recorded, advances = group_of(store)
    assert recorded == 3
    assert 0 < advances[0] < 30 == sum(advances)
    assert_same(results(store), results(whole))
    assert not unfinished(store)


def test_what_is_left_of_a_finished_group_is_removed(store, whole, monkeypatch):
    """Its runs were recorded by somebody else, or the checkpoint outlived them."""
    monkeypatch.setattr(engine, "time", Clock())
    group_of(store, deadline=12)
    monkeypatch.undo()
    train(GROUP[1:], store, precision="bf16")
    train(GROUP[:1], store, precision="bf16")
    assert len(unfinished(store)) == 1
    train(RUNS[:9], store)
    assert not unfinished(store)


def test_half_a_group_goes_on_where_the_whole_was_left(store, whole, monkeypatch):
    make = programs.make

    def limited(models, *arguments):
        if len(models) > 2:
            raise MemoryError
        return make(models, *arguments)

    monkeypatch.setattr(engine, "time", Clock())
    group_of(store, deadline=14)
    monkeypatch.undo()
    monkeypatch.setattr(programs, "make", limited)
    recorded, advances = group_of(store)
    assert recorded == 4
    assert sum(advances) == 40
    assert [a for a in advances if a != 2] == advances[:1] * 2  # both halves begin there
    assert_same(results(store), results(whole))
    assert not unfinished(store)


@pytest.mark.timeout(200)
def test_a_call_with_a_budget_ends_in_time_and_the_next_one_goes_on(store):
    wanted = figure_runs(3, "lenet_digits", "paper", 1)
    began = time.monotonic()
    first = train(wanted, store, minutes=0.1)
    assert time.monotonic() - began < 6 + 20
    assert len(store.missing(wanted)) == len(wanted) - first
    assert train(wanted, store, workers=2) == len(wanted) - first
    assert not store.missing(wanted)


@pytest.mark.timeout(120)
def test_what_cannot_be_paused_is_ended(store, registry, monkeypatch):
    @scores.register("endless", needs_data=False)
    def endless(model, batch):
        time.sleep(3600)

    monkeypatch.setattr(engine, "GRACE", 1)
    began = time.monotonic()
    assert train([run("endless")], store, minutes=0.05) == 0
    assert time.monotonic() - began < 3 + 20


def test_new_records_go_to_the_output_too(undisturbed, store, tmp_path):
    train(RUNS[:4], store)
    output = tmp_path / "output"
    assert train(RUNS[:9], store, output=output) == 5
    assert not Store(output).missing(RUNS[4:9])
    home = Store(tmp_path / "home")
    train(RUNS[8:9], home)
    kept = results(home)
    assert home.merge(output) == 4
    assert home.merge(output) == 0
    assert results(home).items() >= kept.items()
    assert_same(results(home), {k: v for k, v in undisturbed.items() if k in results(home)})
    assert not home.missing(RUNS[4:9])


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory."), MemoryError(),
     RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
     RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")],
)  # fmt: skip
@pytest.mark.parametrize("room", [2, 1, 0])
def test_a_group_that_does_not_fit_into_memory_is_halved(
    undisturbed, store, monkeypatch, error, room
):
    make = programs.make

    def limited(models, *arguments):
        if len(models) > room:
            raise error
        return make(models, *arguments)

    monkeypatch.setattr(programs, "make", limited)
    if room == 0:
        with pytest.raises(PrunelibError, match="one network of lenet_digits does not fit"):
            train(RUNS[:7], store)
        return
    assert train(RUNS[:7], store) == 7
    assert_same(results(store), {k: undisturbed[k] for k in results(store)})


@pytest.mark.parametrize(
    "words",
    ["shapes do not match", "Unsupported memory format",
     "CUDA error: an illegal memory access was encountered"],
)  # fmt: skip
def test_other_errors_are_not_taken_for_a_lack_of_memory(store, monkeypatch, words):
    def broken(*arguments):
        raise RuntimeError(words)

    monkeypatch.setattr(programs, "make", broken)
    with pytest.raises(RuntimeError, match=words):
        train(RUNS[:3], store)


def test_a_lack_of_memory_is_seen_behind_the_error_of_a_capture():
    covered = RuntimeError("CUDA error: operation failed due to a previous error")
    covered.__context__ = torch.OutOfMemoryError("CUDA out of memory.")
    assert engine._is_lack_of_memory(covered)


def test_prepare_makes_lost_states_and_records_nothing(store):
    wanted = [run(prune_at="end", weights_from="end"), run(prune_at=3, weights_from=3)]
    engine.prepare([*wanted, run()], store, workers=1, progress=False)
    engine.MaskMaker(store).start(wanted[0])
    assert store.missing(wanted) == wanted
    for path in (store.root / ".checkpoints").rglob("*.safetensors"):
        path.unlink()
    with pytest.raises(PrunelibError, match="replicate 0, at step end is not there"):
        engine.MaskMaker(store).start(wanted[0])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"precision": "fp8"}, "unknown precision 'fp8'; choose from fp32, tf32, bf16"),
        ({"minutes": 0}, "minutes=0: give a number above 0"),
        ({"minutes": -1.0}, "minutes=-1.0"),
    ],
)
def test_bad_options_get_one_sentence(store, options, sentence):
    with pytest.raises(PrunelibError, match=sentence):
        train([dense()], store, **options)
