"""The paper's networks (Appendix A.1) before they are initialised: `NETWORKS`, by name."""

import torchvision
from torch import nn


class LeNet(nn.Module):
    """LeNet-300-100: two fully connected hidden layers with ReLU."""

    def __init__(self, inputs: int = 784, classes: int = 10):
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Linear(inputs, 300), nn.Linear(300, 100), nn.Linear(100, classes)]
        )

    def forward(self, x):
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)


class _Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + self.shortcut(x)).relu()


class CifarResNet(nn.Module):
    """The CIFAR ResNet of He et al. (2016) with 6n + 2 layers, `width` channels at first."""

    def __init__(self, depth: int, width: int, classes: int = 10, channels: int = 3):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        blocks, inputs = [], width
        for stage in range(3):
            for i in range((depth - 2) // 6):
                outputs = width * 2**stage
                blocks.append(_Block(inputs, outputs, 2 if stage and i == 0 else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.blocks(self.bn(self.conv(x)).relu())
        return self.fc(x.mean((2, 3)))


class VGG(nn.Module):
    """A CIFAR VGG (Lee et al., 2019): `groups` of (convolutions, channels), pooling between."""

    def __init__(
        self, groups: tuple[tuple[int, int], ...], linear_layers: int = 1, classes: int = 10
    ):
        super().__init__()
        layers, inputs = [], 3
        for g, (count, channels) in enumerate(groups):
            if g:
                layers.append(nn.MaxPool2d(2))
            for _ in range(count):
                layers += [
                    nn.Conv2d(inputs, channels, 3, padding=1),
                    nn.BatchNorm2d(channels),
                    nn.ReLU(),
                ]
                inputs = channels
        self.features = nn.Sequential(*layers, nn.AvgPool2d(2))
        hidden = [m for _ in range(linear_layers - 1) for m in (nn.Linear(512, 512), nn.ReLU())]
        self.classifier = nn.Sequential(*hidden, nn.Linear(512, classes))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def _modified_resnet18(classes):
    """ResNet-18 as Tanaka et al. (2020) modify it: 3x3 stem of stride 1, no max pool (Table 6)."""
    model = torchvision.models.resnet18(num_classes=classes)
    model.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    model.maxpool = nn.Identity()
    return model


_VGG11 = ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512))
_VGG16 = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
_VGG19 = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))

# name: (constructor, shape of one input)
NETWORKS = {
    "lenet": (lambda: LeNet(784), (1, 28, 28)),
    "lenet_8x8": (lambda: LeNet(64), (1, 8, 8)),
    "resnet8_8x8": (lambda: CifarResNet(8, 8, channels=1), (1, 8, 8)),
    "resnet20": (lambda: CifarResNet(20, 16), (3, 32, 32)),
    "wrn_14_8": (lambda: CifarResNet(14, 128), (3, 32, 32)),
    "wrn_14_10": (lambda: CifarResNet(14, 160), (3, 32, 32)),
    "wrn_20_8": (lambda: CifarResNet(20, 128), (3, 32, 32)),
    "wrn_32_2": (lambda: CifarResNet(32, 32), (3, 32, 32)),
    "vgg11": (lambda: VGG(_VGG11), (3, 32, 32)),
    "vgg16": (lambda: VGG(_VGG16), (3, 32, 32)),
    "vgg19": (lambda: VGG(_VGG19), (3, 32, 32)),
    "vgg2_16": (lambda: VGG(_VGG16, linear_layers=2), (3, 32, 32)),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=200), (3, 64, 64)),
    "modified_resnet18": (lambda: _modified_resnet18(200), (3, 64, 64)),
    "modified_resnet18_10": (lambda: _modified_resnet18(10), (3, 32, 32)),
    "resnet50": (lambda: torchvision.models.resnet50(num_classes=1000), (3, 224, 224)),
}
