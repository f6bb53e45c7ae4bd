"""A query over the squares with a small detector that finds something, for strategies that run one."""

import torch
from squares import SIZE, squares

from mgral.config import Config
from mgral.models.build import build_detector
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.ssd import BACKGROUND_BIAS
from mgral.selection.query import Query

CONFIG = SmallSSDConfig(width=SIZE, height=SIZE, channels=4)


def eager_detector(config, classes):
    """Return a detector with random weights that takes some anchors for objects: untrained, it finds none."""
    detector = build_detector(config, classes, seed=0).eval()
    with torch.no_grad():
        for convolution in detector.ssd.head.classification_head.module_list:
            convolution.bias.view(-1, classes + 1)[:, 0] -= BACKGROUND_BIAS
    return detector


def squares_query(*, images=12, labelled=5, budget=4, **settings):
    """Return a query of which the first images are labelled."""
    dataset, cache = squares(images)
    detector = eager_detector(CONFIG, 1)
    with torch.no_grad():
        for _ in range(30):  # for the statistics of its normalisation, without which its maps are nearly constant
            detector.train().predictions(torch.from_numpy(cache.stored).permute(0, 3, 1, 2))
    given = {"seed": 0, "cycle": 0, "config": Config(detector=CONFIG, budget=budget), "images": cache} | settings
    ids = dataset.image_ids
    return Query(dataset, ids[:labelled], ids[labelled:], detector=detector.eval(), **given)
