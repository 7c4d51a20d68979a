"""Speed: what is counted, that what is measured is trained, and what a plan promises."""

import os
import re
import signal
import time
from dataclasses import replace

import loky
import pytest
import torch

from campaigns.common import run, train
from prunelib import datasets, engine, masks, networks, settings, training
from prunelib.engine import beside, programs, speed
from prunelib.errors import BadValueError, PrunelibError
from prunelib.results.records import END, MASK, START
from prunelib.results.store import Store
from prunelib.runs import Run


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(speed, "LEAST", 0.001)


def test_a_stretch_counts_what_it_trains(monkeypatch):
    """Three networks, every image of a batch counted for each; the clock around the stretch sees
    hardly more time than its own."""
    images = []
    step = programs.Program.step
    monkeypatch.setattr(speed, "LEAST", 0.4)
    monkeypatch.setattr(
        programs.Program, "step",
        lambda self, x, y: (images.append(self.count * len(y)), step(self, x, y)),
    )  # fmt: skip
    stretch = speed.stretch("lenet_digits", 3, "fp32", "cpu")
    images.clear()
    began = time.perf_counter()
    found = stretch()
    seen = sum(images) / (time.perf_counter() - began)
    assert max(images) == 3 * 128
    assert found == pytest.approx(seen, rel=0.2)


def test_the_summary_has_medians():
    """The median of the ratios is not the ratio of the medians; the best loop may be another in
    each repetition."""
    measured = [(10, 5, 30, 1.0), (20, 8, 20, 2.0), (15, 40, 160, 4.0)]
    names = (beside.PLAIN, beside.LAID_OUT, beside.ENGINE, beside.PEAK)
    pairs = [dict(zip(names, values, strict=True)) for values in measured]
    found = beside.summary("lenet_digits", 8, "fp32", pairs)
    assert found.loops == {"plain loop": 15, "channels last": 8}
    assert (found.engine, found.ratio, found.peak) == (30, 3, 2)
    layers = [64 * 300, 300 * 100, 100 * 10]
    flops = 2 * (2 * sum(layers) + sum(layers[1:]))  # no gradient of the first layer's inputs
    assert found.tflops == pytest.approx(30 * flops / 1e12)


def test_the_engine_is_measured_beside_other_loops(short, monkeypatch):
    monkeypatch.setattr(beside.shutil, "which", lambda name: None)
    found = engine.bench("lenet_digits", 2, "cpu", "fp32", workers=2, repetitions=1)
    assert (found.setting, found.count, found.precision) == ("lenet_digits", 2, "fp32")
    assert set(found.loops) == {"plain loop", "channels last"}
    assert min(*found.loops.values(), found.engine, found.ratio, found.peak) > 0


def test_the_loops_beside_the_engine_train_the_same_network():
    """Each fits the weights that the plain loop does, up to rounding: what is timed is no less
    work."""
    setting = settings.get("resnet8_digits")
    schedule = replace(settings.schedule("resnet8_digits", "smoke"), iterations=3)
    dataset = datasets.load(setting.dataset)
    found = []
    for prepared in (lambda m: m, lambda m: beside.laid_out(m, "fp32")):
        model = networks.build(setting.network, seed=0)
        mask = masks.prune(model, "random", 0.5, seed=0)
        training.train(prepared(model), dataset, schedule, 0, mask)
        found.append(model.state_dict())
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name].contiguous(), rtol=1e-3, atol=1e-4)


def test_the_loops_products_are_in_their_precision_backward_too(monkeypatch):
    """A loop that computes its gradients in fp32 would be slower than it need be."""
    seen = set()

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            seen.add(("forward", torch.get_float32_matmul_precision()))
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            seen.add(("backward", torch.get_float32_matmul_precision()))
            return gradient

    def watched(model):
        beside.laid_out(model, "tf32")
        forward = model.forward
        model.forward = lambda inputs: Watched.apply(forward(inputs))
        return model

    monkeypatch.setattr(speed, "LEAST", 1e-9)
    speed.stretch("lenet_digits", 1, "tf32", "cpu", watched)
    assert {("forward", "high"), ("backward", "high")} <= seen
    assert ("backward", "highest") not in seen


@pytest.mark.parametrize("options", [{"repetitions": 0}, {"count": 0}])
def test_bad_numbers_get_one_sentence(options):
    with pytest.raises(BadValueError, match=r" 0[:,]"):
        engine.bench("lenet_digits", device="cpu", **options)


def test_large_networks_are_measured_in_small_batches(monkeypatch):
    """A batch of 1024 for ResNet-50 does not fit into the memory of a laptop."""
    sizes = []
    monkeypatch.setattr(speed, "LEAST", 1e-9)
    monkeypatch.setattr(
        speed.training, "train",
        lambda model, dataset, schedule, *others: sizes.append(schedule.batch_size),
    )  # fmt: skip
    speed.stretch("modified_resnet18_tinyimagenet", 1, "fp32", "cpu", lambda model: model)
    speed.stretch("resnet20_cifar10", 1, "fp32", "cpu", lambda model: model)
    assert 1 <= sizes[0] < 256
    assert sizes[-1] == 128


@pytest.fixture
def fresh_width(monkeypatch):
    """As on a machine with a GPU, nothing being measured yet."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    speed.width.cache_clear()
    yield
    speed.width.cache_clear()


def test_the_width_on_a_gpu_grows_while_it_pays(monkeypatch, fresh_width):
    """Of 1, 2, 4 and 8 networks the fourth pays less than a twentieth more."""
    speeds = {1: 100, 2: 190, 4: 300, 8: 310}
    monkeypatch.setattr(speed, "speed", lambda setting, count, *others: speeds[count])
    assert speed.width("resnet20_cifar10", "cuda", "fp32") == 4


def test_the_width_on_a_gpu_ends_where_the_memory_does(monkeypatch, fresh_width):
    def measured(setting, count, *others):
        if count > 64:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return count

    monkeypatch.setattr(speed, "speed", measured)
    assert speed.width("lenet_mnist", "cuda", "fp32") == 64


def test_where_only_the_workers_of_a_cluster_have_a_gpu_nothing_is_measured(
    monkeypatch, fresh_width
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(speed, "speed", pytest.fail)
    assert speed.width("resnet20_cifar10", "cuda", "fp32") == 1
    assert speed.width("lenet_mnist", "cuda", "fp32") == speed.STACK


def test_a_speed_without_a_worker_that_died_is_not_reported(short, monkeypatch):
    monkeypatch.setattr(beside, "_measured", _dies)
    with pytest.raises(PrunelibError, match="a worker died in the measurement"):
        engine.bench("lenet_digits", 2, "cpu", "fp32", workers=2, repetitions=1)


def _dies(*about, advance):
    os.kill(os.getpid(), signal.SIGKILL)


# ------------------------------------------------------------------------------------------- plans


@pytest.fixture
def pace(monkeypatch):
    """Sets what the calibration is to find: images a second, and seconds of a scoring; two cores.
    The widths stay those of a CPU."""

    def pace(images=1e12, scoring=0.0):
        monkeypatch.setattr(speed, "speed", lambda *others: images)
        monkeypatch.setattr(speed, "_score", lambda *others: scoring)

    monkeypatch.setattr(loky, "cpu_count", lambda: 2)
    pace()
    return pace


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1.0 s"), (95, "95 s"), (101, "1.7 min"), (2400, "40 min"), (9000, "2.5 h")],
)
def test_the_time_that_a_plan_gives(pace, store, seconds, said):
    """One LeNet for the digits, 440 iterations of 128 images, by one of two workers."""
    pace(images=440 * 128 / seconds)
    planned = engine.plan([Run("lenet_digits", "paper")], store, "cpu", "fp32")
    assert f"(about {said} on this machine" in planned


def test_a_plan_reckons_with_the_workers_that_are_asked_for(pace, store):
    """Two networks of 100 s each, which one worker trains one after the other."""
    pace(images=440 * 128 / 100)
    runs = [Run("lenet_digits", "paper", replicate=r) for r in (0, 1)]
    planned = engine.plan(runs, store, "cpu", "fp32", workers=1)
    assert "(about 3.3 min on this machine: 563 images/s a process, 1 of them" in planned


def test_a_plan_counts_by_setting_and_profile_and_writes_nothing(pace, store, tmp_path):
    train([run(), run("snip")], store)
    more = [run("snip", profile="quick"), run(), run("snip"), run("grasp")]
    done, left = engine.plan(more, store, "cpu", "fp32").splitlines()[::-1]
    assert left.startswith("lenet_digits, profile quick: 1 trained networks needed, 0 in the")
    assert "profile smoke: 3 trained networks needed, 2 in the store, 1 to make (about" in done
    done = engine.plan([run()], store)
    assert done.endswith("smoke: 1 trained networks needed, 1 in the store, 0 to make.")
    nowhere = Store(tmp_path / "nowhere", MASK)
    assert "1 masks needed, 0 in the store, 1 to make" in engine.plan([run()], nowhere)
    assert not nowhere.root.exists()


def test_a_plan_says_where_a_network_does_not_fit(pace, store, monkeypatch):
    def measured(*about):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(speed, "speed", measured)
    planned = engine.plan([Run("lenet_digits", "paper")], store, "cpu", "fp32")
    assert "does not fit into the memory of 'cpu' in fp32, but may in bf16)." in planned
    monkeypatch.setattr(speed, "_score", measured)
    planned = engine.plan([run("snip")], store, "cpu", "bf16")
    assert "(how long is not known: a network does not fit into the memory of 'cpu' in bf16)." in (
        planned
    )


def test_a_plan_counts_the_decoding_of_images_that_are_not_kept(pace, store, monkeypatch):
    """One network of 440 iterations of 128 images, of which eight are decoded a second."""
    pace(images=1e12)
    monkeypatch.setattr(speed, "_decoded", lambda name: {"digits": 8}[name])
    planned = engine.plan([Run("lenet_digits", "paper")], store, "cpu", "fp32")
    assert f"(about {440 * 128 / 8 / 3600:.1f} h on this machine: 8 images/s" in planned
    # two workers share the cores that decode
    planned = engine.plan([Run("lenet_digits", "paper", replicate=r) for r in (0, 1)], store, "cpu")
    assert f"(about {2 * 440 * 128 / 8 / 3600:.1f} h on this machine: 4 images/s" in planned


def test_decoding_is_measured_on_the_images_of_the_folder(monkeypatch, tmp_path):
    made = datasets.FolderDataset("made", (), torch.zeros(1000), (), torch.zeros(1), "")
    asked = []

    def batch(self, draws):
        asked.append(len(draws.order))
        time.sleep(0.1)
        return None, draws.order

    monkeypatch.setattr(datasets.FolderDataset, "train_size", 1000)
    monkeypatch.setattr(datasets.FolderDataset, "train_batch", batch)
    monkeypatch.setattr(datasets, "load", lambda name: made)
    assert 0 < speed._decoded("made") <= speed.DECODED / 0.1
    assert asked == [speed.DECODED]


def test_a_plan_counts_the_scoring_of_masks(pace, store):
    """SNIP once for both sparsities and the shuffled masks of a replicate, SynFlow a hundred times
    for each sparsity; two workers, ten seconds a scoring. Random masks and magnitudes are scored
    too, dense networks are not."""
    pace(scoring=10)
    wanted = [run("snip", s, replicate=r) for s in (0.5, 0.9) for r in (0, 1)]
    wanted += [run("snip", ablation="shuffle"), run("synflow", 0.5), run("synflow", 0.9)]
    expected = f"about {(2 + 2 * 100) * 10 / 2 / 60:.0f} min on this machine: 2 at a time"
    assert expected in engine.plan(wanted, Store(store.root, MASK), "cpu", "fp32")
    assert "about 10 s" in engine.plan([run("snip"), run("grasp")], Store(store.root, START), "cpu")
    assert "about 1.0 s" in engine.plan([Run("lenet_digits", "smoke")], store, "cpu", "fp32")


@pytest.mark.parametrize(("kind", "networks"), [(MASK, 1), (START, 1), (END, 3)])
def test_a_plan_counts_the_networks_that_are_trained_for_others(pace, store, kind, networks):
    """The unpruned one, and where weights after training are compared, the run and the unmodified
    one; all of ten iterations of 128 images, at one a second."""
    pace(images=128)
    late = run(prune_at="end", weights_from="end", ablation="shuffle")
    planned = engine.plan([late], Store(store.root, kind), "cpu", "fp32")
    seconds = int(re.search(r"about (\d+) s", planned)[1])
    assert seconds == 10 * networks / (2 if networks > 1 else 1)
