"""Campaigns that are complete, killed, doubled, out of disk, and given what they cannot use."""

import os
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import cloudpickle
import pytest
import torch
from tqdm import tqdm

from campaigns.common import (
    RUNS,
    assert_same,
    dense,
    go_on,
    results,
    run,
    script,
    train,
    unfinished,
    wait_for,
)
from prunelib import datasets, engine, networks, scores
from prunelib.engine import campaign, executors, groups, programs, speed, trainer, wide
from prunelib.engine.checkpoints import Folder
from prunelib.errors import BadValueError, DatasetError, PrunelibError, StoreError
from prunelib.own import Luggage, unpack
from prunelib.results import records
from prunelib.results.store import Store
from prunelib.runs import FIELDS, Run


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


def test_progress_that_cannot_be_told_costs_no_result(tmp_path):
    """It goes through a file, on a disk that may be full."""
    (tmp_path / "progress").symlink_to("/dev/full")

    def work(advance):
        advance(3.0)
        return "done"

    assert executors._in_process(tmp_path, work) == "done"


def test_precision_is_by_default_what_suits_the_device(store, monkeypatch):
    """Where none is named the device is a CPU on machines without a GPU, whatever that CPU has."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(campaign, "default_precision", {"cpu": "bf16"}.__getitem__)
    assert engine.train([run()], store, workers=1, progress=False) == 1
    (record,) = store.records("lenet_digits", "smoke").values()
    assert record.precision == "bf16"


def test_networks_in_another_precision_are_told_once(store, capsys):
    for replicate in range(2):
        engine.train([run(replicate=replicate)], store, 1, "cpu", False, "fp32")
    assert capsys.readouterr().err == ""
    engine.train([run(replicate=r) for r in range(4)], store, 1, "cpu", False, "bf16")
    (line,) = capsys.readouterr().err.splitlines()
    assert "lenet_digits at profile smoke are there in fp32, these are trained in bf16" in line
    assert "--precision" in line
    engine.train([run(replicate=r) for r in range(4)], store, 1, "cpu", False, "fp32")
    assert capsys.readouterr().err == ""  # nothing is trained


def test_two_workers_give_the_same_results(undisturbed, store, registry):
    """Also of a method that the user has registered, which the workers cannot import. It sends
    them what Ctrl-C sends to all processes of a terminal: they leave that to their parent."""
    parent = os.getpid()

    @scores.register("users_own", needs_data=False)
    def users_own(model, batch):
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGINT)
        names = networks.prunable(model)
        return {n: torch.full_like(model.get_parameter(n), i) for i, n in enumerate(names)}

    own = [run("users_own", replicate=r) for r in range(2)]
    assert train([*RUNS, *own], store, workers=2) == len(RUNS) + 2
    alone = Store(store.root.parent / "alone")
    assert train(own, alone) == 2
    assert_same(results(store), undisturbed | results(alone))


def test_images_that_are_not_kept_are_looked_at_once_before_training(store, monkeypatch):
    """ImageNet's, at whose test images a training ends; a damaged one ends it before it begins."""
    looked = []

    class Folder(datasets.FolderDataset):
        fingerprint = "f"

        def __init__(self):
            pass

        def check_test_images(self, progress):
            looked.append(progress)
            if len(looked) == 1:
                raise DatasetError("1.JPEG cannot be read")

    monkeypatch.setattr(
        campaign, "make_job", lambda *about: SimpleNamespace(folder=store.root, name="")
    )
    monkeypatch.setattr(datasets, "load", lambda name: Folder())
    store.root.mkdir(exist_ok=True)
    quick = [run(profile="quick")]
    with pytest.raises(DatasetError, match="cannot be read"):
        train(quick, store)
    monkeypatch.setattr(campaign, "_place", Mock(side_effect=KeyboardInterrupt))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(quick, store)
    assert looked == [False, False]


def test_workers_take_turns_at_the_gpus_that_are_visible(monkeypatch):
    """Each sees one, and a third worker shares the first one's."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5a")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert executors.check_workers(None, "cuda") == 2
    place = executors.Processes(3)
    try:
        with tqdm(disable=True) as bar:
            calls = 3 * [(_visible, place.folder)]
            found = list(executors.results(place, calls, bar))
    finally:
        place.close()
    assert sorted(found) == ["3", "3", "GPU-5a"]


def _visible(folder, advance):
    """What a worker sees, once all three have come here."""
    (folder / f"there.{os.getpid()}").touch()
    while len(list(folder.glob("there.*"))) < 3:
        time.sleep(0.01)
    return os.environ["CUDA_VISIBLE_DEVICES"]


def test_results_do_not_depend_on_what_is_trained_together(undisturbed, store):
    for r in (RUNS[5], RUNS[3], RUNS[0]):
        train([r], store)
    assert_same(results(store), {key: undisturbed[key] for key in results(store)})


def test_networks_that_cannot_be_stacked_are_trained_side_by_side(undisturbed, store, monkeypatch):
    monkeypatch.setattr(wide, "pays", lambda network: False)
    monkeypatch.setattr(speed, "width", lambda *arguments, **options: 3)
    chosen = [r for r in RUNS[:13] if r.sparsity < 0.8]  # states of the dense one included
    assert train(chosen, store) == len(chosen) == 7
    assert set(store.table()["engine"]) == {"several"}
    for key, row in results(store).items():
        expected = undisturbed[key]
        losses = slice(len(FIELDS) + 1, len(FIELDS) + 3)
        assert row[losses] == pytest.approx(expected[losses], rel=1e-3)
        assert row[: len(FIELDS)] == expected[: len(FIELDS)]
        assert row[-3:] == expected[-3:]


def test_the_worker_in_this_process_has_one_thread_while_it_works(store, monkeypatch):
    seen, make = [], programs.make

    def look(*arguments, **options):
        seen.append(torch.get_num_threads())
        return make(*arguments, **options)

    monkeypatch.setattr(programs, "make", look)
    torch.set_num_threads(2)
    try:
        train([dense()], store)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert seen == [1]


def test_a_run_of_any_sparsity_is_trained_once(store):
    """Written with too few digits it would not be found again, and be trained for ever."""
    assert train([run(sparsity=0.123456789012)], store) == 1
    assert train([run(sparsity=0.123456789012)], store) == 0


# ------------------------------------------------------------------------------------------- kills


@pytest.mark.parametrize("moment", ["results/.locks/*", "results/*/smoke.csv"])
def test_a_killed_campaign_loses_no_run_and_goes_on(undisturbed, store, moment):
    """While its workers start, and when there is a record; its pipes close when the workers have
    ended as well, so that none is left behind."""
    with script(store, 2, "endless") as process:
        wait_for(store, process, moment)
        process.kill()
        output, _ = process.communicate(timeout=60)
    assert output == "started\n"  # once: the workers do not run the script again
    before = results(store)
    assert len(before) < len(RUNS)
    assert before or not moment.endswith("csv")
    assert train(RUNS, store) == len(RUNS) - len(before)
    assert_same(results(store), undisturbed)


def once(root, signal_number, iteration):
    """A method that lets its worker send a signal to itself, once, before an iteration of what it
    trains next; every iteration that it trains leaves a byte in a file."""

    def scored(model, batch):
        from prunelib.engine import programs

        step = programs.Program.step

        def told(program, *batch):
            marker = root / f"signalled-{signal_number}"
            if program.done == iteration and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal_number)
            with open(root / "trained", "ab") as file:
                file.write(b"." * program.count)
            step(program, *batch)

        if step.__name__ == "step":
            programs.Program.step = told
        return scores.magnitude(model)

    return scored


def test_when_a_worker_dies_half_as_many_go_on(undisturbed, store, registry, capsys, monkeypatch):
    """As with the system's killing of a process where two do not fit into memory."""
    first, numbers = groups.first, []
    monkeypatch.setattr(groups, "first", lambda *a: (numbers.append(a[1].workers), first(*a))[1])
    scores.register("deadly", needs_data=False)(once(store.root.parent, signal.SIGKILL, 2))
    train([run("deadly"), *RUNS], store, workers=2)
    assert (store.root.parent / "signalled-9").exists()
    found = results(store)
    own = [found.pop(key)[2] for key in found.keys() - undisturbed.keys()]
    assert own == [scores.get("deadly").name]
    assert_same(found, undisturbed)
    assert "going on with 1 of 2" in capsys.readouterr().err
    assert numbers[0] == 2
    assert numbers[-1] == 1


def test_what_can_begin_does_not_wait_for_networks_that_it_does_not_start_from(store, monkeypatch):
    """The states that pruning after training takes are there for one replicate: it is handed out
    beside the unpruned network of another."""
    late = [run(prune_at="end", weights_from="end", replicate=r) for r in (0, 1)]
    train([replace(late[0], sparsity=0.2)], store)
    handed, results_of = [], executors.results

    def watched(place, calls, *others):
        calls = list(calls)
        handed.append([task.runs for _, task, *_ in calls])
        return results_of(place, iter(calls), *others)

    monkeypatch.setattr(executors, "results", watched)
    assert train(late, store) == 2
    unpruned = (dense(replicate=1),)
    assert [sorted(wave) for wave in handed if wave] == [
        sorted([unpruned, (late[0],)]),
        [(late[1],)],
    ]


def test_a_worker_that_is_told_to_end_checkpoints_and_its_group_goes_on(store, registry):
    """SIGTERM to a worker alone, of which the campaign knows nothing: no iteration is lost, and it
    is complete."""
    scores.register("terminated", needs_data=False)(once(store.root.parent, signal.SIGTERM, 6))
    wanted = [run("terminated", s) for s in (0.2, 0.5, 0.9)]
    assert train(wanted, store, workers=1, minutes=5) == 3
    assert (store.root.parent / "signalled-15").exists()
    assert len((store.root.parent / "trained").read_bytes()) == 3 * 10
    assert not unfinished(store)


def test_a_worker_that_dies_is_told_and_does_not_hang(store, registry):
    @scores.register("deadly", needs_data=False)
    def deadly(model, batch):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(PrunelibError, match=r"a worker died.* the only one") as error:
        train([run("deadly")], store, workers=2)
    assert "\n" not in str(error.value)


def test_a_worker_takes_the_method_of_the_campaign_that_it_works_for(registry):
    """Fault: of two campaigns with methods of one name, both get the later one's."""
    pickled = []
    for sign in (1, -1):
        own = scores.register("ones_own", needs_data=False)(lambda model, batch, sign=sign: sign)
        method = replace(scores.get("ones_own"), name="ones_own")
        pickled.append(Luggage((), (), cloudpickle.dumps({("method", "ones_own"): method})))
        assert own(None, None) == sign
    for which, sign in ((0, 1), (1, -1), (0, 1), (0, 1)):
        unpack(pickled[which])
        assert scores.METHODS["ones_own"].function(None, None) == sign


def test_campaigns_that_begin_at_one_time_have_one_token(tmp_path, monkeypatch):
    """Fault: each writes its own, and the first no longer knows its folder for its own."""
    write, found = campaign.write_atomically, []

    def slowly(path, content):
        time.sleep(0.2)
        write(path, content)

    monkeypatch.setattr(campaign, "write_atomically", slowly)
    others = [
        threading.Thread(target=lambda: found.append(campaign._token(tmp_path))) for _ in range(2)
    ]
    for other in others:
        other.start()
        time.sleep(0.1)
    for other in others:
        other.join()
    assert found[0] == found[1] == (tmp_path / "token").read_text()


# ------------------------------------------------------------------------- two campaigns, one store


def test_a_second_campaign_waits_and_finds_what_is_left(undisturbed, store):
    """It says for whom it waits, and does the rest: nothing is doubled."""
    with script(store, 1) as process:
        with store.hold([("lenet_digits", "smoke")]):
            sentence = process.stderr.readline()
            assert train(RUNS[:20], store) == 20
        output, errors = process.communicate(timeout=120)
    path = store.path("lenet_digits", "smoke")
    assert f"{path} is held by another campaign (process {os.getpid()} " in sentence
    assert (process.returncode, errors) == (0, "")
    assert output.split() == ["started", str(len(RUNS) - 20)]
    assert_same(results(store), undisturbed)


def test_two_campaigns_on_one_store_share_the_work(undisturbed, store):
    with script(store, 1) as one, script(store, 1) as other:
        found = [process.communicate(timeout=120) for process in (one, other)]
    assert [process.returncode for process in (one, other)] == [0, 0], found
    trained = [int(output.split()[1]) for output, _ in found]
    assert sorted(trained) == [0, len(RUNS)]  # the second finds nothing left to do
    assert_same(results(store), undisturbed)


# ------------------------------------------------------------------------------- disks and outputs


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
    monkeypatch.setattr(trainer, "SAVE", save)
    with full_disk(room), pytest.raises(StoreError, match=f"{file}.*cannot be written"):
        train(RUNS, store)
    left = len(store.missing(RUNS))
    assert train(RUNS, store) == left
    assert_same(results(store), undisturbed)


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


@pytest.mark.parametrize("where", ["file", "file/below", "store"])
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_trained(
    store, tmp_path, monkeypatch, where
):
    (tmp_path / "file").write_text("a file")
    monkeypatch.setattr(programs, "make", None)  # whatever is trained fails
    bad, output = (Store(tmp_path / "file"), None) if where == "store" else (store, where)
    with pytest.raises(StoreError) as error:
        train([dense()], bad, output=output and tmp_path / output)
    assert str(tmp_path / "file") in str(error.value)
    assert "\n" not in str(error.value)
    assert (tmp_path / "file").read_text() == "a file"


def test_a_state_that_cannot_be_written_costs_no_record(store, monkeypatch):
    def fails(*arguments):
        raise StoreError("the disk is full")

    monkeypatch.setattr(Folder, "write", fails)
    with pytest.raises(StoreError, match="the disk is full"):
        train([dense(), run(prune_at="end", weights_from="end")], store)
    assert not store.missing([dense()])


def test_an_output_that_fails_later_costs_no_record(store, tmp_path, monkeypatch):
    output, add = tmp_path / "output", Store.add

    def fails(self, records):
        if self.root == output:
            raise StoreError("the disk is gone")
        add(self, records)

    monkeypatch.setattr(Store, "add", fails)
    with pytest.raises(StoreError, match="the disk is gone"):
        train([dense()], store, output=output)
    assert not store.missing([dense()])


# -------------------------------------------------------------------------------- what goes wrong


@pytest.mark.timeout(300)
def test_an_error_reaches_the_caller_in_its_own_words_and_ends_the_other_workers(store, registry):
    @scores.register("broken", needs_data=False)
    def broken(model, batch):
        return {n: model.get_parameter(n) * float("nan") for n in networks.prunable(model)}

    @scores.register("endless", needs_data=False)
    def endless(model, batch):
        time.sleep(3600)

    with pytest.raises(BadValueError) as error:
        train([run("endless"), run("broken", replicate=1)], store, workers=2)
    assert str(error.value) == (
        "method 'broken' gave scores of layers.0.weight that are not finite, 19,200 of 19,200: "
        "look for divisions by zero and the like, or say what they are to count as, by "
        "torch.nan_to_num"
    )


def test_finished_runs_outlive_an_error(store, registry):
    @scores.register("broken", needs_data=False)
    def broken(model, batch):
        return {}

    wanted = [run(), run("broken", replicate=1), run(replicate=2)]
    with pytest.raises(BadValueError, match="must score the prunable weights: it"):
        train(wanted, store)
    assert store.missing(wanted) == wanted[1:]
    assert train(wanted[::2], store) == 1


@pytest.mark.parametrize("call", [train, engine.plan])
def test_missing_data_is_told_before_anything_is_trained_or_timed(
    store, tmp_path, monkeypatch, call
):
    monkeypatch.setenv("PRUNELIB_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setattr(programs, "make", None)
    monkeypatch.setattr(speed, "estimate", None)
    with pytest.raises(DatasetError, match="mnist"):
        call([Run("lenet_mnist", "smoke"), dense()], store)
    assert store.table().empty


def test_a_worker_with_other_data_says_so(store):
    other = {"digits": "0123"}
    with pytest.raises(DatasetError, match=r"of a worker has the fingerprint .*caller's has 0123"):
        go_on(store, data=other)
    assert store.table().empty


def test_a_damaged_record_stops_a_campaign_and_stays(store):
    train([dense()], store)
    path = store.path("lenet_digits", "smoke")
    path.write_text(path.read_text().replace(",he,", ",she,"))
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"smoke\.csv, line 2: .*'she'"):
        train([run()], store)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"device": "tpu"}, "unknown device 'tpu'; choose from cpu, cuda"),
        ({"workers": 0}, "workers=0"),
        ({"workers": 1.5}, "workers=1.5"),
        ({"workers": 0, "cluster": "tcp://127.0.0.1:1"}, "workers=0"),
        ({"cluster": ""}, "cluster='': give the address"),
        ({"precision": "fp8"}, "unknown precision 'fp8'; choose from fp32, tf32, bf16"),
        ({"minutes": 0}, "minutes=0: give a number above 0"),
        ({"minutes": -1.0}, "minutes=-1.0"),
    ],
)
def test_bad_options_get_one_sentence(store, options, sentence):
    with pytest.raises(PrunelibError, match=sentence):
        train([dense()], store, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(store):
    with pytest.raises(BadValueError, match="no GPU"):
        train([dense()], store, device="cuda")


def test_a_method_of_the_callers_own_process_is_itself(store, registry):
    """A copy would count in a list of its own."""
    seen = []

    @scores.register("counting", needs_data=False)
    def counting(model, batch):
        seen.append(1)
        return scores.magnitude(model)

    assert train([run("counting")], store, workers=1) == 1
    assert len(seen) == 1
    assert scores.get("counting").function is counting


def test_what_a_record_says_of_its_training(store):
    """Ten of eleven iterations of an epoch; its share of the time that its group took."""
    train([run(sparsity=0.3)], store)  # whatever is loaded once
    wanted = [run(sparsity=0.4, replicate=r) for r in range(8)]
    began = time.perf_counter()
    train(wanted, store)
    took = time.perf_counter() - began
    table = store.table()
    assert table["epochs"].tolist() == pytest.approx([10 / 11] * 9, abs=1e-4)
    assert set(table["commit"]) == {records.commit()}
    own = table[table["sparsity"] == 0.4]["seconds"]
    assert (own > 0).all()
    assert own.sum() <= took
