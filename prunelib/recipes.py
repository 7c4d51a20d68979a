"""Appendix A as data: `SETTINGS`, what the paper trains and how, and `STEPS`, when Figures 6 and 10
prune."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """One row of the table in Appendix A.3: a network on a dataset, and how it is trained.

    Epochs, learning-rate drops and warm-up are in epochs; `rewind_step` is in iterations.
    `matching` is the k of the highest matching sparsity, 1 - 0.8^k, where the paper prints one
    (Section 4, footnote 2); of the miniature it is the one found on magnitude after training.
    `highest` is the k of the highest sparsity that is considered.
    `fully_connected` is true of LeNet, which the paper keeps apart for that reason (Appendix K).
    """

    name: str
    network: str
    dataset: str
    epochs: int
    batch_size: int
    learning_rate: float
    drops: tuple[int, ...]
    iterations_per_epoch: int
    rewind_step: int
    momentum: float = 0.9
    weight_decay: float = 1e-4
    drop_factor: float = 0.1
    warmup_epochs: int = 0
    replicates: int = 5
    matching: int | None = None
    highest: int = 18
    fully_connected: bool = False
    appears: str = "main body"

    @property
    def of_paper(self) -> bool:
        """Whether the paper has it: not this project, and not a user."""
        return self.appears.startswith(("main body", "Appendix"))


def _cifar10(name, network, appears, **changes):
    row = {
        "epochs": 160, "batch_size": 128, "learning_rate": 0.1, "drops": (80, 120),
        "iterations_per_epoch": 391, "rewind_step": 2000,
    }  # fmt: skip
    return Setting(name, network, "cifar10", appears=appears, **(row | changes))


def _tinyimagenet(name, network, dataset, **changes):
    # Warm-up: in the authors' code, not in the table.
    row = {
        "epochs": 200, "batch_size": 256, "learning_rate": 0.2, "drops": (100, 150),
        "iterations_per_epoch": 391, "rewind_step": 1000, "warmup_epochs": 5, "replicates": 3,
    }  # fmt: skip
    return Setting(name, network, dataset, **(row | changes))


def _lenet(name, network, dataset, iterations_per_epoch, appears):
    return Setting(
        name, network, dataset, epochs=40, batch_size=128, learning_rate=0.1, drops=(),
        iterations_per_epoch=iterations_per_epoch, rewind_step=0, momentum=0.0, weight_decay=0.0,
        fully_connected=True, appears=appears,
    )  # fmt: skip


# The recipes of Appendices B to D that the table leaves out are those of VGG-16, as D.3 says of
# VGG-11 and VGG-16; modified ResNet-18 on CIFAR-10 takes its learning rate and batch from Table 7.
# The two "tanaka" rows have the recipes that Table 7 says Tanaka et al. report; what it leaves out,
# and the shares of the schedule at which the rate drops, they have from modified ResNet-18's own.
SETTINGS = {
    s.name: s
    for s in (
        _lenet("lenet_mnist", "lenet", "mnist", 469, "Appendix K"),
        _cifar10("resnet20_cifar10", "resnet20", "main body", rewind_step=1000, matching=6),
        _cifar10("vgg16_cifar10", "vgg16", "main body", matching=12),
        _tinyimagenet("resnet18_tinyimagenet", "resnet18", "tinyimagenet", matching=15),
        _tinyimagenet(
            "modified_resnet18_tinyimagenet", "modified_resnet18", "modified_tinyimagenet",
            appears="Appendix L",
        ),
        # 1251 whole batches: the table leaves the last 143 of 1,281,167 images out of an epoch.
        Setting(
            "resnet50_imagenet", "resnet50", "imagenet", epochs=90, batch_size=1024,
            learning_rate=0.4, drops=(30, 60, 80), iterations_per_epoch=1251, rewind_step=6255,
            warmup_epochs=5, replicates=3, matching=5, highest=13,
        ),
        # Chosen on unpruned networks and magnitude after training alone: notebook A_settings.
        Setting(
            "resnet8_digits", "resnet8_8x8", "shifted_digits", epochs=40, batch_size=64,
            learning_rate=0.1, drops=(20, 30), iterations_per_epoch=21, rewind_step=21,
            matching=9, appears="this project: the paper in miniature",
        ),
        _lenet("lenet_digits", "lenet_8x8", "digits", 11, "this project: LeNet on 64 pixels"),
        _cifar10("vgg2_16_cifar10", "vgg2_16", "Appendix B"),
        _cifar10("wrn_14_8_cifar10", "wrn_14_8", "Appendix B"),
        _cifar10("wrn_14_10_cifar10", "wrn_14_10", "Appendix B"),
        _cifar10("wrn_20_8_cifar10", "wrn_20_8", "Appendix B"),
        _cifar10("vgg19_cifar10", "vgg19", "Appendix C"),
        _cifar10("wrn_32_2_cifar10", "wrn_32_2", "Appendix C"),
        _cifar10("vgg11_cifar10", "vgg11", "Appendix D"),
        _cifar10(
            "modified_resnet18_cifar10", "modified_resnet18_10", "Appendix D", batch_size=256,
            learning_rate=0.2, iterations_per_epoch=196,
        ),
        _cifar10(
            "modified_resnet18_cifar10_tanaka", "modified_resnet18_10", "Appendix D, Table 7",
            learning_rate=0.01, drop_factor=0.2,
        ),
        _tinyimagenet(
            "modified_resnet18_tinyimagenet_tanaka", "modified_resnet18", "modified_tinyimagenet",
            appears="Appendix D, Table 7", epochs=100, batch_size=128, learning_rate=0.01,
            drops=(50, 75), iterations_per_epoch=782,
        ),
    )
}  # fmt: skip


# The iterations at which Figures 6 and 10 prune, besides the first and the last: those that the
# text prints (Section 6, Appendix F.2), with the rewinding step, and this project's between them,
# the drops of the learning rate included, as the figures do not print theirs.
STEPS = {
    "resnet20_cifar10": (
        (1000, 5000, 25_000),
        (250, 500, 2000, 3500, 10_000, 15_000, 20_000, 31_280, 40_000, 46_920, 55_000),
    ),
    "vgg16_cifar10": (
        (2000, 10_000, 26_000),
        (250, 500, 1000, 5000, 15_000, 20_000, 23_000, 31_280, 40_000, 46_920, 55_000),
    ),
    "resnet18_tinyimagenet": (
        (1000, 4000, 36_000),
        (250, 500, 2000, 8000, 15_000, 22_000, 30_000, 39_100, 50_000, 58_650, 70_000),
    ),
    "resnet8_digits": (
        (21,),
        (4, 8, 12, 42, 63, 84, 126, 168, 210, 315, 420, 525, 630, 735),
    ),
    "resnet50_imagenet": (
        (6255,),
        (1251, 2502, 4000, 10_000, 15_000, 25_000, 37_530, 56_000, 75_060, 87_500, 100_080),
    ),
}  # fmt: skip
# Of other schedules, as shares of them.
SHARES = (.004, .008, .016, .05, .08, .16, .24, .32, .4, .5, .6, .7, .8, .9)  # fmt: skip
