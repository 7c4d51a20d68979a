"""Files of one's own, the names that their results have, networks, data and settings in them."""

import functools
import inspect
import math
import random
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import torch
from conftest import trained
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from typer.testing import CliRunner

from prunelib import cli, datasets, masks, networks, own, paths, provenance, scores, settings
from prunelib.engine import checkpoints, data, programs, wide
from prunelib.errors import BadValueError, DatasetError, PrunelibError, UserCodeError
from prunelib.findings import ledger, quantities, reported
from prunelib.findings.facts import architectures
from prunelib.findings.measures import Results
from prunelib.grids import figure_runs, mask_runs, weight_runs
from prunelib.pages import style
from prunelib.pages.page import Page
from prunelib.results.store import Store
from prunelib.runs import Curve, Run

pytestmark = pytest.mark.usefixtures("registry")
FILE = Path(__file__).parent / "own_file.py"

SMALL = """
from prunelib import networks, scores
@scores.register("small", needs_data=False)
def small(model, batch):
    return {n: model.get_parameter(n).abs() for n in networks.prunable(model)}
"""


@pytest.fixture
def file(tmp_path):
    """Writes a file and loads it."""

    def write(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(text)
        return own.load(path)

    return write


# ----------------------------------------------------------------------------------------- loading


def test_a_file_says_what_it_registers():
    found = own.load(FILE)
    assert found.path == FILE
    kinds = ("score", "force", "batches", "mask")
    assert found.methods == tuple(f"own_{kind}_{found.digest}" for kind in kinds)
    assert found.settings == (f"own_setting_{found.digest}",)
    assert re.fullmatch("[0-9a-f]{8}", found.digest)
    assert scores.get("own_mask").name == found.methods[-1]
    assert Run("own_setting", "smoke", "own_mask", 0.5).setting == found.settings[0]


def test_loading_a_file_twice_is_harmless():
    first, count = own.load(FILE), len(scores.METHODS)
    assert own.load(FILE) == first
    assert len(scores.METHODS) == count


def test_comments_and_formatting_change_no_name_and_code_does(file):
    plain = file(SMALL)
    spaced = SMALL.replace("(model, batch):", "( model,\n    batch ):  # of the network\n")
    assert file(spaced).methods == plain.methods
    changed = file(SMALL.replace(".abs()", ".abs() ** 2"))
    assert changed.methods != plain.methods
    assert scores.get("small").name == changed.methods[0]
    again = file(SMALL)  # the user has taken the change back
    assert scores.get("small").name == again.methods[0] == plain.methods[0]
    assert scores.get(changed.methods[0]).label == "small"


def test_a_change_elsewhere_in_the_file_changes_its_names(file):
    """A method may use whatever stands in its file."""
    assert file(SMALL + "x = 1\n").methods != file(SMALL + "x = 2\n").methods


def test_two_files_may_have_things_of_one_name(file):
    """Each setting has the network of its own file."""
    text = """
from torch import nn
from prunelib import networks, settings
networks.register("net", input_shape=(2,))(lambda: nn.Linear(2, {0}))
settings.register("with_{0}", "net", "digits", examples=10, epochs=1, batch_size=5, learning_rate=1)
"""
    for classes in (3, 4):
        file(text.format(classes), f"{classes}.py")
    found = [networks.classes(settings.get(f"with_{n}").network) for n in (3, 4)]
    assert found == [3, 4]


@pytest.mark.parametrize(
    ("text", "words", "traced"),
    [
        ("def broken(:\n", "is not Python: .*line 1", "def broken(:"),
        ("import torch\nx = 1 / 0\n", "cannot be imported: ZeroDivisionError", "x = 1 / 0"),
        ("import nowhere_to_be_found\n", "ModuleNotFoundError.*nowhere", "import nowhere"),
        ("import sys\nsys.exit(3)\n", "cannot be imported: SystemExit: 3", "sys.exit(3)"),
        ("from prunelib import scores\nscores.register('')\n", "method name ''", "register('')"),
    ],
)
def test_a_file_that_does_not_run_gets_one_sentence_and_its_own_traceback(
    file, tmp_path, text, words, traced
):
    path = tmp_path / "mine.py"
    with pytest.raises(UserCodeError, match=words) as error:
        file(text)
    assert "\n" not in str(error.value)
    assert "mine.py" in str(error.value)
    assert traced in error.value.traceback
    assert "mine.py" in error.value.traceback
    assert f"{Path(own.__file__).parent}/" not in error.value.traceback
    assert error.value.traceback.count("  File ") == error.value.traceback.count('mine.py", line')
    assert not any(getattr(m, "__file__", None) == str(path) for m in sys.modules.values())


def test_a_file_that_is_missing_or_registers_nothing(file, tmp_path):
    with pytest.raises(BadValueError, match=r"nowhere\.py cannot be read \(No such file"):
        own.load(tmp_path / "nowhere.py")
    with pytest.raises(BadValueError, match=r"mine\.py registers nothing"):
        file("x = 1\n")
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadValueError, match=r"bytes\.py cannot be read"):
        own.load(tmp_path / "bytes.py")


def test_a_method_without_data_that_reads_its_batch_is_told_why_that_is_none(file):
    file(SMALL.replace("return {", "batch[0]\n    return {"))
    with pytest.raises(UserCodeError, match=r"TypeError.* it was registered with needs_data=False"):
        masks.prune(nn.Linear(2, 2), "small", 0.5)


def test_a_bad_value_that_a_method_gives_is_told_with_its_name(file):
    """As densities that do not sum to the sparsity, with the way to such as do."""
    file(
        "from prunelib import masks\n@masks.register('quota', needs_data=False)\n"
        "def quota(model, sparsity, seed):\n"
        "    return masks.from_densities(model, {'weight': 1.0}, sparsity, seed)\n"
    )
    with pytest.raises(BadValueError, match=r"^method 'quota': the densities keep 8 .*fitted"):
        masks.prune(nn.Linear(4, 2), "quota", 0.75)


def test_an_exception_in_a_method_of_a_file_shows_its_line(file):
    file(SMALL.replace("return {", "raise ValueError('too\\nbad')\n    return {"))
    with pytest.raises(UserCodeError) as error:
        masks.prune(nn.Linear(2, 2), "small", 0.5)
    assert str(error.value) == "method 'small' raised ValueError: too bad"
    assert "raise ValueError('too\\nbad')" in error.value.traceback
    assert "methods.py" not in error.value.traceback
    copy = cloudpickle.loads(cloudpickle.dumps(error.value))  # as from a worker
    assert (str(copy), copy.traceback) == (str(error.value), error.value.traceback)


def test_digests_hang_on_no_field_that_newer_pythons_add():
    """Empty fields of syntax trees are left out: 3.12 added type_params, always empty before."""
    text = "def f(x):\n    return x\n"
    form = repr(provenance._form(__import__("ast").parse(text)))
    assert "type_params" not in form
    assert "[]" not in form.replace("['posonlyargs', []]", "")


# ------------------------------------------------------------------------------------- to workers


def luggage(methods=(), names=()):
    return own.pack([scores.get(m).name for m in methods], names)


def test_files_travel_as_text_and_the_rest_pickled():
    own.load(FILE)

    @scores.register("elsewhere", needs_data=False)
    def elsewhere(model, batch):
        return {}

    packed = luggage(["own_score", "elsewhere"], ["own_setting"])
    assert [file.source for file in packed.files] == [FILE.read_text()]
    names = {key for _, key in cloudpickle.loads(packed.pickled)}
    assert scores.get("elsewhere").name in names
    assert not any(name.startswith("own_") for name in names)
    assert packed.fault == ""
    assert "prunelib.scores" in packed.modules


def test_what_cannot_be_pickled_is_told_only_where_it_is_needed():
    lock = threading.Lock()
    scores.register("locked", needs_data=False)(lambda model, batch: lock.locked())
    assert luggage().fault == ""
    packed = luggage(["locked"])
    assert re.match(r"method 'locked' cannot be sent to workers \(.*lock.*--file", packed.fault)
    with pytest.raises(BadValueError, match="cannot be sent to workers"):
        own.unpack(packed)


def test_a_setting_has_another_name_when_its_network_in_another_file_changes(file):
    """One of the same file has that file's digest in any case."""
    net = (
        "from torch import nn\nfrom prunelib import networks, scores, settings\n"
        "networks.register('far', input_shape=(1, 8, 8))(\n"
        "    lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, {width}), nn.Linear({width}, 10)))\n"
    )
    about = (
        "from prunelib import settings\n"
        "settings.register('far_digits', 'far', 'digits', 1438, 4, 60, 0.1)\n"
    )
    found = []
    for width in (8, 16, 8):
        file(net.format(width=width) + SMALL, "net.py")
        found.append(file(about, "about.py").settings[0])
    assert found[0] == found[2] != found[1]
    together = file(net.format(width=8) + about, "both.py")
    assert together.settings[0] == f"far_digits_{together.digest}"


def test_files_travel_in_the_order_in_which_they_were_run(file):
    """The one with a method needs the network of the other; also when that has changed."""
    net = (
        "from torch import nn\nfrom prunelib import networks\n"
        "networks.register('near', input_shape=(1, 8, 8))(\n"
        "    lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))\n"
    )
    about = (
        "from prunelib import settings\n"
        "settings.register('near_digits', 'near', 'digits', 1438, 4, 60, 0.1)\n"
    )
    for change in ("", "x = 1\n", ""):
        file(net + change + SMALL.replace("small", "beside"), "net.py")
        file(about + SMALL, "about.py")
        packed = own.pack([scores.get("small").name], ["near_digits"])
        assert [Path(each.path).name for each in packed.files][-2:] == ["net.py", "about.py"]


def test_old_versions_of_a_file_stay_behind_unless_needed(file):
    old = file(SMALL).methods[0]
    file(SMALL + "x = 1\n")
    assert len(luggage(["small"]).files) == 1
    assert len(own.pack([old, scores.get("small").name], []).files) == 2


def test_unpacking_registers_under_the_same_names():
    """In a fresh process, where the file is not."""
    own.load(FILE)
    packed = luggage(["own_mask"], ["own_setting"])
    code = (
        "import sys, cloudpickle; from prunelib import own, scores, settings, datasets\n"
        "own.unpack(cloudpickle.load(sys.stdin.buffer))\n"
        "print(scores.get('own_mask').name, settings.get('own_setting').name)\n"
        "print(datasets.load(settings.get('own_setting').dataset).fingerprint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=cloudpickle.dumps(packed), capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    method, setting, fingerprint = done.stdout.decode().split()
    assert (method, setting) == (scores.get("own_mask").name, settings.get("own_setting").name)
    assert fingerprint == datasets.load(settings.get("own_setting").dataset).fingerprint


# --------------------------------------------------------------------------------- a network


def test_what_is_known_of_a_network_of_ones_own():
    """6 inputs, 16 hidden units, 3 classes: forward 2 * (96 + 48), thrice, less the first layer's
    gradient of its inputs, 2 * 96."""
    own.load(FILE)
    assert networks.flops("own_net") == 3 * 288 - 192
    assert networks.classes("own_net") == 3
    model = networks.build("own_net", seed=1)
    assert networks.prunable(model) == ["hidden.weight", "output.weight"]
    assert model.input_shape == (6,)
    assert model.network == settings.get("own_setting").network
    assert torch.equal(networks.build("own_net", 1).hidden.weight, model.hidden.weight)
    fixed = networks.build("own_net", 0, "fixed_variance")
    deviation = ((2 / 6) * (2 / 16)) ** 0.25  # the geometric mean of the layers'
    drawn = torch.cat([w.flatten() for w in (fixed.hidden.weight, fixed.output.weight)])
    assert float(drawn.detach().std()) == pytest.approx(deviation, rel=0.2)
    assert quantities.classes("own_setting") == 3


class Called(nn.Module):
    """Two layers: whether the last is registered first, whether it is called as a module, and
    whether it has the weight of the first."""

    def __init__(self, backwards, called, tied):
        super().__init__()
        for name in ("head", "body")[:: 1 if backwards else -1]:
            setattr(self, name, nn.Linear(4, 4))
        self.called = called
        if tied:
            self.head.weight = self.body.weight

    def forward(self, x):
        x = self.body(x).relu()
        return self.head(x) if self.called else nn.functional.linear(x, self.head.weight)


class Drawing(nn.Linear):
    """Adds noise that a function draws."""

    def __init__(self, draw):
        super().__init__(4, 4)
        self.draw = draw

    def forward(self, x):
        return super().forward(x) + self.draw()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: 3, "network 'bad' is int, expected a torch.nn.Module"),
        (lambda: nn.ReLU(), "'bad' has no convolution or linear layer"),
        (lambda: nn.Linear(3, 2), r"'bad', on inputs of shape \(4,\), raised RuntimeError"),
        (lambda: nn.Sequential(nn.Linear(4, 2), nn.Flatten(0)), r"'bad' makes \(2,\) of one"),
        (lambda: 1 / 0, "network 'bad' raised ZeroDivisionError"),
        (lambda: Called(False, False, False), "'bad' has 'head.weight', whose layer the forward"),
        (lambda: Called(True, True, False), "in another order than it calls them"),
        (lambda: Called(False, True, True), "'head.weight' is no parameter of its own"),
        (
            lambda: nn.Sequential(weight_norm(nn.Linear(4, 2))),
            "'0.weight' is no parameter of its own",
        ),
        (
            lambda: nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 4), nn.Flatten()),
            "'bad' has a Conv1d, whose weights no method would prune",
        ),
        (lambda: nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 2)), "'bad' draws when it is trained"),
        (lambda: nn.Sequential(nn.RReLU(), nn.Linear(4, 2)), "'bad' draws when it is trained"),
        (lambda: Drawing(lambda: random.random()), "'bad' draws when it is trained"),
        (lambda: Drawing(lambda: np.random.rand()), "'bad' draws when it is trained"),
        (lambda: nn.Sequential(nn.LazyLinear(2)), "'bad' has a lazy layer: give it the size"),
        (lambda: nn.Sequential(nn.LSTM(4, 2)), "'bad' has a LSTM, whose weights no method would"),
    ],
)
def test_networks_that_are_none_get_one_sentence(make, words):
    networks.register("bad", input_shape=(4,))(make)
    for use in (networks.classes, networks.build):
        with pytest.raises(PrunelibError, match=words):
            use("bad")


def test_dropout_at_rate_zero_is_none():
    networks.register("dry", input_shape=(4,))(
        lambda: nn.Sequential(nn.Dropout(0), nn.Linear(4, 2))
    )
    assert networks.classes("dry") == 2


def test_batch_norm_of_ones_own_network():
    """Two-dimensional or not, with parameters of its own or without: initialised where there is
    something to initialise, and all weights have the deviation of networks with batch norm."""
    layers = (nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.BatchNorm1d(64, affine=False))
    make = lambda: nn.Sequential(nn.Linear(4, 64), *layers)  # noqa: E731
    networks.register("normed", input_shape=(4,))(make)
    model = networks.build("normed", 0, "fixed_variance")
    assert not (model[1].weight == 1).any()
    assert float(model[3].weight.detach().std()) == pytest.approx(0.1, rel=0.1)


def test_names_of_ones_own_are_new_and_can_be_recorded():
    for register, taken in (
        (lambda name: networks.register(name, (1,)), "lenet"),
        (datasets.register, "digits"),
        (lambda name: settings.register(name, "lenet", "mnist", 1, 1, 1, 0.1), "lenet_mnist"),
    ):
        with pytest.raises(BadValueError, match=f"{taken!r} is one of this project's"):
            register(taken)
        for name in ("../up", "", "two words", 3):
            with pytest.raises(BadValueError, match=f"name {re.escape(repr(name))}: give letters"):
                register(name)
        with pytest.raises(BadValueError, match="'mine_20240101' ends as recorded names do"):
            register("mine_20240101")  # of which the plain name would be "mine"
    for shape in ((), (0,), (1.5,), "a"):
        with pytest.raises(BadValueError, match="input_shape="):
            networks.register("net", shape)


def mixed(*layers):
    networks.register("mixed", input_shape=(1, 6, 6))(lambda: nn.Sequential(*layers))
    return wide.pays(networks.find("mixed"))


def test_networks_of_ones_own_are_stacked_only_where_that_computes_the_same():
    end = (nn.Flatten(), nn.Linear(4 * 16, 3))
    assert mixed(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), *end)
    assert not mixed(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), *end)  # parameters of another kind
    assert not mixed(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3, bias=False))
    assert not mixed(nn.Conv2d(1, 4, 3), nn.Softmax(1), *end)  # mixes channels
    assert not mixed(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1, groups=2), *end)


class Viewed(nn.Module):
    """A convolution and a linear layer; `flat` makes a vector of what is between them."""

    def __init__(self, flat):
        super().__init__()
        self.body, self.head, self.flat = nn.Conv2d(1, 4, 3), nn.Linear(64, 3), flat

    def forward(self, x):
        return self.head(self.flat(self.body(x).relu()))


@pytest.mark.parametrize("stacked", [True, False])
def test_a_network_may_ask_for_images_in_order(stacked):
    """`view` raises where channels are last, and flattening does not: both train to the same, the
    one in the order in which images are, the other in the faster one."""
    schedule, found = settings.schedule("lenet_digits", "quick"), {}
    for name, flat in (("viewed", lambda x: x.view(len(x), -1)), ("flat", lambda x: x.flatten(1))):
        networks.register(name, input_shape=(1, 6, 6))(functools.partial(Viewed, flat))
        models = [networks.build(name, seed) for seed in range(2)]
        found[name], before = models[0].memory_format, models[1].body.weight.detach().clone()
        program = programs.make(models, [masks.full(m) for m in models], schedule, stacked=stacked)
        stream = torch.Generator().manual_seed(0)
        program.rate.fill_(0.1)
        for _ in range(4):
            program.step(torch.randn(8, 1, 6, 6, generator=stream), torch.arange(8) % 3)
        found[name + " weights"] = program.state(1)["body.weight"]
        assert not torch.allclose(found[name + " weights"], before, atol=1e-3)
    assert found["viewed"] == torch.contiguous_format
    assert found["flat"] == torch.channels_last
    assert torch.allclose(found["viewed weights"], found["flat weights"], atol=1e-6)


# ------------------------------------------------------------------------------------- a dataset


def dataset(*found, **options):
    datasets.register("made", **options)(lambda: found)
    return datasets.load("made")


def test_bytes_are_scaled_by_the_training_images_and_floats_are_as_they_are():
    images = torch.tensor([0, 255, 255, 0], dtype=torch.uint8).view(1, 1, 2, 2).repeat(2, 2, 1, 1)
    images[:, 1] = 51  # a channel that is constant
    labels = torch.tensor([0, 1], dtype=torch.int32)
    found = dataset(images, labels, images[:1], labels[:1])
    inputs, targets = found.train_examples(torch.tensor([0]))
    assert inputs[0, 0].flatten().tolist() == pytest.approx([-1, 1, 1, -1])  # mean and deviation .5
    assert inputs[0, 1].flatten().tolist() == pytest.approx([0] * 4, abs=1e-6)
    assert targets.dtype == torch.int64
    assert found.name == datasets.load("made").name != "made"
    floats = torch.randn(4, 7, dtype=torch.float64)
    found = dataset(floats, torch.arange(4), floats, torch.arange(4))
    draws = found.draws(0, 0)
    inputs, targets = found.train_batch(draws)
    assert torch.equal(inputs, floats.float()[draws.order])
    assert torch.equal(targets, draws.order)


def test_datasets_as_torchvision_has_them():
    from torchvision.transforms.v2 import functional as TF

    pixels = torch.arange(75, dtype=torch.uint8).view(3, 5, 5)

    class Pairs:
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return TF.to_pil_image(pixels + 10 * i), i % 2

    found = dataset(Pairs(), Pairs(), augmentation="crop")
    assert torch.equal(found.train_images[2], pixels + 20)
    assert found.test_labels.tolist() == [0, 1, 0]
    assert found.augmentation == "crop"


def test_pairs_may_have_arrays_and_what_is_no_number_is_told_as_such():
    pairs = [(np.full((1, 4, 4), value, np.float32), 0) for value in (1.0, 2.0)]
    assert dataset(pairs, pairs).train_images.mean() == 1.5
    bad = [(torch.full((1, 4, 4), math.nan), 0)]
    with pytest.raises(DatasetError, match="inputs that are not finite"):
        dataset(bad, bad)
    with pytest.raises(DatasetError, match="must be four tensors"):
        dataset([], [])


def test_images_behind_a_random_transform_are_refused():
    class Moving:
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return torch.randn(1, 4, 4), i % 2

    with pytest.raises(DatasetError, match=r"images differ each time .* an augmentation"):
        dataset(Moving(), Moving())


def test_arrays_are_taken_as_tensors_are():
    images, labels = torch.arange(32.0).view(2, 1, 4, 4), torch.tensor([0, 1])
    found = dataset(*(t.numpy() for t in (images.double(), labels.int(), images.double(), labels)))
    assert torch.equal(found.train_images, images)
    assert found.train_labels.tolist() == [0, 1]


IMAGES, LABELS = torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.arange(3)


@pytest.mark.parametrize(
    ("found", "options", "words"),
    [
        ((IMAGES, LABELS, IMAGES), {}, "must be four tensors"),
        ((IMAGES, LABELS, IMAGES, [0, 1, 2]), {}, "must be four tensors"),
        (((IMAGES, LABELS), (IMAGES, LABELS)), {}, "must be four tensors"),
        ((IMAGES, LABELS), {}, "must be four tensors"),
        (([{"image": IMAGES[0], "label": 0}],) * 2, {}, "must be four tensors"),
        ((IMAGES, LABELS[:2], IMAGES, LABELS), {}, r"training: 3 inputs, targets of shape \(2,\)"),
        ((IMAGES, LABELS, IMAGES, LABELS.float()), {}, "test: .*float32; expected .* whole"),
        ((IMAGES, LABELS - 1, IMAGES, LABELS), {}, "training: the label -1 is below 0"),
        ((IMAGES[:, 0], LABELS, IMAGES, LABELS), {}, "training: inputs of shape .*expected uint8"),
        ((IMAGES, LABELS, IMAGES[..., :3], LABELS), {}, "one shape and type to train"),
        ((IMAGES / 0, LABELS, IMAGES / 1, LABELS), {}, "training: inputs that are not finite"),
        ((IMAGES[:0], LABELS[:0], IMAGES, LABELS), {}, "training: 0 inputs"),
        (
            (IMAGES.float(), LABELS, IMAGES.float(), LABELS),
            {"augmentation": "resized_crop"},
            "for which augmentation 'resized_crop' is not made",
        ),
    ],
)
def test_data_that_are_none_get_one_sentence(found, options, words):
    with pytest.raises(DatasetError, match=words) as error:
        dataset(*found, **options)
    assert str(error.value).startswith("dataset 'made'")


def test_an_exception_in_a_dataset_is_told():
    datasets.register("made")(lambda: 1 / 0)
    with pytest.raises(UserCodeError, match="dataset 'made' raised ZeroDivisionError"):
        datasets.load("made")


# ------------------------------------------------------------------------------------- a setting


def made_setting(**changes):
    row = {
        "network": "own_net", "dataset": "own_data", "examples": 200, "epochs": 10,
        "batch_size": 16, "learning_rate": 0.1,
    }  # fmt: skip
    return settings.register("made", **row | changes)


def test_a_setting_has_its_schedule_and_its_figures():
    """200 examples in batches of 16 are 13 an epoch."""
    own.load(FILE)
    made = made_setting(drops=(5,), warmup_epochs=1, replicates=3)
    assert made == settings.get("made")
    schedule = settings.schedule("made", "paper")
    assert (schedule.iterations, schedule.drops, schedule.rewind_step) == (130, (65,), 13)
    runs = figure_runs(3, "made", "paper")
    assert len(runs) == 3 * (1 + 6 * 18)
    assert {run.setting for run in runs} == {made.name}
    assert figure_runs(6, "made", "quick")
    assert mask_runs("made", ("own_mask",), replicates=1)
    assert style.title("made") == "own_net on own_data"
    assert Curve("own_mask").run("made", "smoke", 0.5, 0).setting == made.name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"examples": 0}, "setting 'made', examples=0: give a whole number from 1"),
        ({"epochs": 1.5}, r"epochs=1\.5"),
        ({"momentun": 0.9}, "unknown option of setting 'made' 'momentun'; .*momentum"),
        ({"iterations_per_epoch": 3}, "unknown option of setting 'made' 'iterations_per_epoch'"),
        ({"drops": 2}, r"setting 'made', drops=2: give finite numbers from 0"),
        ({"drops": (5, 11)}, r"setting 'made', drops=\(5, 11\): it is trained for 10 epochs"),
        ({"warmup_epochs": 11}, "setting 'made', warmup_epochs=11: it is trained for 10 epochs"),
        ({"matching": 0.866}, r"matching=0\.866: give a whole number from 1 to 18, the k of the"),
        ({"highest": 19}, "highest=19: give a whole number from 1 to 18"),
        ({"replicates": "5"}, "replicates='5': give a whole number from 1$"),
        ({"replicates": None}, "replicates=None: give a whole number from 1$"),
        ({"matching": 12, "highest": 9}, "matching=12: the highest sparsity, highest=9, is lower"),
        ({"appears": "main body"}, "unknown option of setting 'made' 'appears'"),
        ({"fully_connected": "no"}, "fully_connected='no': give True or False"),
        ({"rewind_step": 2.5}, r"rewind_step=2\.5: give a whole number of iterations"),
        ({"learning_rate": "0.1"}, r"learning_rate='0\.1': give finite numbers from 0"),
        ({"momentum": -1}, r"momentum=-1: give"),
        ({"network": "later_net"}, "there is no network 'later_net' yet: register it before"),
        ({"dataset": "later_data"}, "there is no dataset 'later_data' yet"),
    ],
)
def test_a_setting_that_makes_no_sense(changes, words):
    own.load(FILE)
    with pytest.raises(PrunelibError, match=words):
        made_setting(**changes)


def test_records_are_found_by_the_plain_name_of_a_setting(tmp_path):
    own.load(FILE)
    run = figure_runs(3, "own_setting", "smoke")[0]
    Store(tmp_path).add([trained(run, 0.5)])
    assert list(Store(tmp_path).records("own_setting", "smoke")) == [run]


def test_a_setting_of_few_sparsities_reads_its_masks_at_the_highest():
    own.load(FILE)
    made_setting(highest=5)
    assert settings.matching_level("made")[0] == 5
    assert Page("made", "smoke", train=False, figure=5).evidence().wanted
    assert {run.method for run in reported.runs([2], "made", "smoke")} == {"dense"}
    with pytest.raises(BadValueError, match="sparsities or replicates that the setting does not"):
        Page("made", "smoke", train=False, figure="weights").draw()


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [("dataset", "3net", "no digit first"), ("network", "a_0123abcd", "eight hexadecimal digits")],
)
def test_names_that_cannot_be_recorded(kind, name, words):
    with pytest.raises(BadValueError, match=words):
        provenance.check_new(kind, name, ())


@pytest.mark.parametrize("shape", [64, (), (1, 0), "64"])
def test_shapes_that_are_none(shape):
    with pytest.raises(BadValueError, match="give positive whole numbers, as"):
        networks.register("shapeless", input_shape=shape)


@pytest.mark.parametrize("count", [0, -1, 1.0])
def test_fewer_replicates_than_one_are_none(count):
    for runs in (mask_runs, weight_runs):
        with pytest.raises(BadValueError, match=f"replicates {count} is not a whole number from 1"):
            runs("lenet_digits", replicates=count)


def test_the_shortest_settings_can_be_trained_and_rewound():
    """One epoch of four iterations; a tenth of it is one, which nothing can be rewound within."""
    own.load(FILE)
    made_setting(examples=64, epochs=1, drops=[1])
    found = [settings.schedule("made", profile) for profile in ("paper", "quick")]
    assert [(s.iterations, s.rewind_step) for s in found] == [(4, 3), (1, 0)]
    assert found[0].drops == (4,)
    made_setting(examples=336, epochs=1)  # 21 iterations; ten of them, rewound to the last but one
    assert settings.steps("made", "smoke") == [0, 3, 9, "end"]
    for profile in ("paper", "quick"):
        assert figure_runs(8, "made", profile)
        assert figure_runs(6, "made", profile)


def test_a_network_that_computes_as_it_is_made_has_checkpoints_and_claims(tmp_path):
    own.load(FILE)

    @networks.register("graded", input_shape=(6,))
    class Graded(nn.Module):
        def __init__(self):
            super().__init__()
            self.shares = [share.item() for share in torch.linspace(0, 0.1, 3)]
            self.output = nn.Linear(6, 3)

        def forward(self, x):
            return self.output(x)

    made = made_setting(network="graded")
    run = Run(made.name, "smoke", "dense", 0.0)
    about = checkpoints.Folder(tmp_path, "fp32", {}).about(run, 0)
    assert about["network"].startswith("graded_")
    assert architectures.shapes(made.name) == {"output.weight": (3, 6)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"examples": 400}, "'own_data' has 200 training examples, made has 25 .*examples=200"),
        ({"network": "lenet_8x8"}, r"takes inputs of shape \(1, 8, 8\), those .* have \(6,\)"),
        ({"network": "two"}, "has the label 2, the network tells 2 classes apart"),
        (
            {"network": "normed", "batch_size": 199},
            "a batch of one example, as the last of an epoch",
        ),
        ({"network": "normed", "batch_size": 1}, "a batch of one example"),
    ],
)
def test_data_that_do_not_fit_are_told_before_anything_is_trained(changes, words):
    own.load(FILE)
    networks.register("two", input_shape=(6,))(lambda: nn.Linear(6, 2))
    normed = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3))
    networks.register("normed", input_shape=(6,))(lambda: normed)
    assert data.check(made_setting(batch_size=199)).train_size == 200
    with pytest.raises(DatasetError, match=words):
        data.check(made_setting(**changes))


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_dataset_of_the_paper_with_other_numbers_of_examples_is_refused(monkeypatch, part):
    whole = datasets.load("digits")
    assert data.check(settings.get("lenet_digits")) is whole
    fewer = {f"{part}_images": whole.test_images[1:], f"{part}_labels": whole.test_labels[1:]}
    monkeypatch.setattr(datasets, "load", lambda name: replace(whole, **fewer))
    found = {"train": "499 training and 500 test", "test": "1,297 training and 499 test"}[part]
    with pytest.raises(DatasetError, match=f"has {found} examples, of 1,297 and 500: it is inc"):
        data.check(settings.get("lenet_digits"))


# --------------------------------------------------------------------------- where names are given


def test_the_command_line_runs_a_file_first(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNELIB_RESULTS", str(tmp_path))
    command = ["run", "--file", str(FILE), "-s", "own_setting", "-p", "smoke", "-m", "own_mask",
               "--sparsity", "0.5", "--workers", "1"]  # fmt: skip
    done = CliRunner().invoke(cli.app, command, catch_exceptions=False)
    assert "1 runs are new" in done.stdout
    table = Store(tmp_path).table("own_setting", "smoke")
    assert table["method"].tolist() == [scores.get("own_mask").name]
    assert table["kept_weights"].tolist() == [72]
    command[0] = "plan"
    done = CliRunner().invoke(cli.app, command[:-2], catch_exceptions=False)
    assert "1 trained networks needed, 1 in the store" in done.stdout


def test_the_command_line_shows_the_users_traceback_and_none_of_ours(tmp_path):
    (tmp_path / "broken.py").write_text(SMALL.replace("return {", "return 1 / 0 or {"))
    code = "from prunelib.cli import main; main()"
    arguments = ["run", "--file", str(tmp_path / "broken.py"), "-m", "small", "--sparsity", "0.5",
                 "-p", "smoke", "--workers", "1"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True,
        env=__import__("os").environ | {"PRUNELIB_RESULTS": str(tmp_path / "results")},
    )  # fmt: skip
    assert done.returncode == 2
    assert "return 1 / 0 or {" in done.stderr
    assert f"{Path(inspect.getfile(own)).parent}/" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "prunelib: method 'small' raised ZeroDivisionError: division by zero"
    )


def test_methods_outside_the_paper_have_looks_of_their_own():
    own.load(FILE)
    names = [scores.get(f"own_{kind}").name for kind in ("score", "force", "batches", "mask")]
    looks = [style.look(3, Curve(name)) for name in names]
    assert [look.label for look in looks] == ["own_score", "own_force", "own_batches", "own_mask"]
    known = {look.colour for look in style.METHODS.values()}
    assert len({look.colour for look in looks} - known) == 4
    assert style.method("gone_0123abcd").label == "gone"  # registered by another process
    assert style.method(f"{names[0]} shuffle").label == "own_score, shuffled"
    assert style.ordered([names[1], "synflow", "magnitude"]) == ["magnitude", "synflow", names[1]]


def test_the_ledger_takes_a_setting_of_ones_own(tmp_path):
    from conftest import trained

    own.load(FILE)
    store = Store(tmp_path)
    store.add(trained(run) for run in figure_runs(3, "own_setting", "quick"))
    name = settings.get("own_setting").name
    found = [e for e in ledger.entries(Results(tmp_path)) if e.setting == name]
    assert len(found) > 3
    assert all(not entry.named for entry in found)


@pytest.mark.parametrize(
    ("prefix", "encoding"), [("\ufeff", "utf-8"), ("# coding: latin-1\n", "latin-1")]
)
def test_a_file_is_read_in_the_encoding_that_it_names(tmp_path, registry, prefix, encoding):
    """As Python reads it: with the mark of a Windows editor, or a cookie."""
    path = tmp_path / "mine.py"
    source = "from prunelib import scores\n\n@scores.register('mine_é', needs_data=False)\n"
    source += "def mine(model, batch):\n    return {}\n"
    path.write_text(prefix + source, encoding=encoding)
    (name,) = own.load(path).methods
    assert name.startswith("mine_é_")


def test_names_and_expressions_have_an_end(tmp_path):
    with pytest.raises(BadValueError, match="has 65 letters: give at most 64"):
        scores.register("m" * 65, needs_data=False)
    path = tmp_path / "deep.py"
    path.write_text("x = " + "+".join(["'a'"] * 20_000))
    with pytest.raises(BadValueError, match=r"deep\.py has an expression of so many parts"):
        own.load(path)


def test_a_home_that_nobody_has_is_a_folder_that_is_not_there(monkeypatch):
    with pytest.raises(BadValueError, match=r"~nobody-here/mine\.py cannot be read"):
        own.load("~nobody-here/mine.py")
    monkeypatch.setenv("PRUNELIB_RESULTS", "~nobody-here/results")
    assert paths.results_root().name == "results"
