"""MGRAL: performance-guided reinforced active learning for object detection.

The names below are for notebooks and other programs; docs/api.md shows them in use. The first use of a name imports
what it needs: torch alone takes seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mgral.config import Config, load_config
    from mgral.data.derive import derive_settings
    from mgral.data.image_set import load_image_set
    from mgral.data.read import read_data
    from mgral.evaluation.evaluate import evaluate_detector as evaluate
    from mgral.method.agent.network import load_agent
    from mgral.method.agent.validated import train_validated_agent as train_agent
    from mgral.method.lut.build import build_table
    from mgral.models.build import load_detector, save_detector
    from mgral.selection.embeddings import load_embeddings
    from mgral.selection.features import embed_images
    from mgral.selection.heads import load_head, train_head
    from mgral.selection.object_counts import count_again
    from mgral.selection.pool import add_selection, draw_initial, load_labelled, unlabelled
    from mgral.selection.selecting import select
    from mgral.selection.spending import in_images, pay
    from mgral.training.detector import train_cycle_detector as train_detector

__all__ = [
    "Config",
    "add_selection",
    "build_table",
    "count_again",
    "derive_settings",
    "draw_initial",
    "embed_images",
    "evaluate",
    "in_images",
    "load_agent",
    "load_config",
    "load_detector",
    "load_embeddings",
    "load_head",
    "load_image_set",
    "load_labelled",
    "pay",
    "read_data",
    "save_detector",
    "select",
    "train_agent",
    "train_detector",
    "train_head",
    "unlabelled",
]

_PLACES = {
    "Config": "mgral.config",
    "add_selection": "mgral.selection.pool",
    "build_table": "mgral.method.lut.build",
    "count_again": "mgral.selection.object_counts",
    "derive_settings": "mgral.data.derive",
    "draw_initial": "mgral.selection.pool",
    "embed_images": "mgral.selection.features",
    "evaluate": "mgral.evaluation.evaluate:evaluate_detector",
    "in_images": "mgral.selection.spending",
    "load_agent": "mgral.method.agent.network",
    "load_config": "mgral.config",
    "load_detector": "mgral.models.build",
    "load_embeddings": "mgral.selection.embeddings",
    "load_head": "mgral.selection.heads",
    "load_image_set": "mgral.data.image_set",
    "load_labelled": "mgral.selection.pool",
    "pay": "mgral.selection.spending",
    "read_data": "mgral.data.read",
    "save_detector": "mgral.models.build",
    "select": "mgral.selection.selecting",
    "train_agent": "mgral.method.agent.validated:train_validated_agent",
    "train_detector": "mgral.training.detector:train_cycle_detector",
    "train_head": "mgral.selection.heads",
    "unlabelled": "mgral.selection.pool",
}
"""Module of each name, and its name there where that is another."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'mgral' has no attribute {name!r}")
    module, _, original = _PLACES[name].partition(":")
    return getattr(import_module(module), original or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
