"""Checkpoint folders of small models of the DETR family, as `save_pretrained` writes them."""

import json
from pathlib import Path
from typing import Any

import torch

CLASSES = 5
"""Of the checkpoints."""


def write_checkpoint(folder: Path, kind: str, **settings: Any) -> Path:
    """Write a folder with a small model of this type, with random weights."""
    import transformers as package

    package.logging.disable_progress_bar()
    config = _config(package, kind, settings)
    config.num_labels = CLASSES
    with torch.random.fork_rng():
        torch.manual_seed(0)
        package.AutoModelForObjectDetection.from_config(config).save_pretrained(folder)
    return folder


def change_json(path: Path, **values: Any) -> None:
    """Set keys of a JSON file; None removes one."""
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({key: one for key, one in (known | values).items() if one is not None}))


def _config(package: Any, kind: str, settings: dict[str, Any]) -> Any:
    stages = {"embedding_size": 16, "depths": [1, 1, 1, 1], "hidden_sizes": [16, 32, 64, 128], "layer_type": "basic"}
    if kind in ("rt_detr", "rt_detr_v2", "d_fine"):
        backbone = package.RTDetrResNetConfig(**stages, out_features=["stage2", "stage3", "stage4"])
        given = {
            "backbone_config": backbone,
            "encoder_in_channels": [32, 64, 128],
            "encoder_hidden_dim": 64,
            "d_model": 64,
            "encoder_ffn_dim": 128,
            "decoder_ffn_dim": 128,
            "decoder_layers": 2,
            "num_queries": 50,
            "decoder_in_channels": [64] * 3,
            "num_feature_levels": 3,
            "decoder_attention_heads": 4,
            "encoder_attention_heads": 4,
            "num_denoising": 20,
            **({"decoder_n_points": [3, 6, 3]} if kind == "d_fine" else {}),
        }
    elif kind == "yolos":
        given = {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "image_size": [64, 64],
            "num_detection_tokens": 20,
        }
    elif kind == "rf_detr":
        given = {"num_queries": 20, "decoder_layers": 1}
    else:
        last = ["stage2", "stage3", "stage4"] if kind == "deformable_detr" else ["stage4"]
        given = {
            "backbone_config": package.ResNetConfig(**stages, out_features=last),
            "hidden_size" if kind == "dab-detr" else "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 2,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "num_queries": 20,
        }
    return package.CONFIG_MAPPING[kind](**{**given, **settings})
