"""Weights trained on ImageNet, as torchvision publishes them."""

import re

from torchvision.models import get_weight

from mgral.data.download.archives import Checksum, Published
from mgral.errors import InputError


def published_weights(name: str) -> Published:
    """Return where torchvision has weights such as `VGG16_Weights.IMAGENET1K_FEATURES`.

    Their SHA-256 starts with the digits that, by the convention of `torch.hub`, their file name ends in.
    """
    url = str(get_weight(name).url)
    digits = re.search(r"-([0-9a-f]{8,})\.pth$", url)
    if digits is None:
        raise InputError(f"{name}: {url} names no checksum, so it cannot be verified; choose another detector")
    return Published(url, Checksum("sha256", digits[1]))
