"""A detector on timm's network as it is built, in place of this project's."""

import timm
import torch
from torch import Tensor, nn

from mgral.models.timm_detectors import TimmSSD


def use_as_built(detector: TimmSSD, backbone: str, layout: torch.memory_format = torch.contiguous_format) -> None:
    """Give a detector timm's network as it is built, with its own weights, in one layout; in place."""
    detector.pyramid.register_module("body", _AsBuilt(detector.pretrained, backbone, layout))
    detector.to(detector.anchors.device, memory_format=layout)


class _AsBuilt(nn.Module):
    """A backbone as timm builds it, with the weights of another."""

    def __init__(self, like: nn.Module, name: str, layout: torch.memory_format) -> None:
        super().__init__()
        self.layout = layout
        self.network = timm.create_model(name, features_only=True, out_indices=(1, 2, 3, 4))
        own, given = self.network.state_dict(), like.get_submodule("stages").state_dict()
        self.network.load_state_dict(dict(zip(own, given.values(), strict=True)))
        for buffer in ("mean", "deviation"):
            self.register_buffer(buffer, like.get_buffer(buffer), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of images, [B, 3, H, W] in 0..255."""
        normal = (images.float() - self.mean) / self.deviation
        maps: list[Tensor] = self.network(normal.contiguous(memory_format=self.layout))
        return maps
