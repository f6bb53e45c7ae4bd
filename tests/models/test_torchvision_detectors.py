"""SSD300 and RetinaNet: torchvision's numbers, mirrors, planted boxes, training."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from slow import slow
from squares import squares
from torch import Tensor
from torchvision.models import resnet50
from torchvision.models.detection import ssd300_vgg16
from torchvision.ops import box_iou

from mgral.artefacts.files import read_json, write_json
from mgral.cli.main import mgral
from mgral.config import AugmentationConfig, EmbeddingConfig, TrainingConfig, resolve_config
from mgral.config.canvas import Canvas
from mgral.data.images import Images
from mgral.errors import InputError
from mgral.models import suppression
from mgral.models.build import build_detector, load_detector, random_detector, save_detector
from mgral.models.detectors.retinanet import RetinaNetConfig
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.detectors.ssd300 import SSD300Config
from mgral.models.focal import match_anchors
from mgral.models.interface import Predictions, Targets
from mgral.models.ssd300 import GRIDS
from mgral.models.suppression import Limits
from mgral.selection.features import extract_features, project
from mgral.selection.strategies.entropy import mean_entropy
from mgral.training.batches import training_images
from mgral.training.consistency import consistency_loss, prediction_distance
from mgral.training.loop import train_detector

CLASSES = 3
CONFIGS = {
    "ssd300": SSD300Config(name="ssd300_vgg16", weights=None),
    "retinanet": RetinaNetConfig(name="retinanet_resnet50_fpn", weights=None, canvas=128),
}
BUILT = {}


@pytest.fixture(params=CONFIGS)
def detector(request):
    """Built once, as VGG16 takes seconds; tests leave its weights as they are."""
    if request.param not in BUILT:
        BUILT[request.param] = build_detector(CONFIGS[request.param], CLASSES, seed=1).eval()
    return BUILT[request.param]


def test_encoded_boxes_are_decoded_again(detector):
    anchors = detector.anchors[::7]
    boxes = anchors + torch.tensor([1.0, -2.0, 3.0, 5.0])
    torch.testing.assert_close(detector.decode(detector.encode(boxes, anchors), anchors), boxes, rtol=1e-4, atol=1e-3)


def test_ssd300_is_torchvisions():
    """Its function is called without VGG16's classifier, which takes seconds to draw."""
    own = random_detector(CONFIGS["ssd300"], CLASSES, seed=1)
    with torch.device("meta"):
        theirs = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=CLASSES + 1)
    shapes = {name: values.shape for name, values in theirs.state_dict().items()}
    assert {name: values.shape for name, values in own.ssd.state_dict().items()} == shapes
    for name in ("scales", "aspect_ratios", "steps", "clip"):
        assert getattr(own.ssd.anchor_generator, name) == getattr(theirs.anchor_generator, name)
    assert own.ssd.transform.image_mean == pytest.approx(theirs.transform.image_mean, abs=1e-4)
    assert own.ssd.transform.image_std == theirs.transform.image_std
    maps = [tuple(values.shape[2:]) for values in own.maps(torch.zeros(1, 3, 300, 300))]
    assert maps == list(GRIDS)


def random_targets(side: float) -> Targets:
    """Four images with 0, 1, 3 and 6 boxes."""
    generator = torch.Generator().manual_seed(0)
    size = side * (0.1 + 0.4 * torch.rand(4, 6, 2, generator=generator))
    corner = torch.rand(4, 6, 2, generator=generator) * (side - size)
    valid = torch.arange(6) < torch.tensor([0, 1, 3, 6])[:, None]
    labels = torch.randint(0, CLASSES, (4, 6), generator=generator)
    return Targets(torch.cat([corner, corner + size], 2) * valid[..., None], torch.where(valid, labels, -1))


def random_predictions(detector, count: int, seed: int = 0) -> Predictions:
    """As many as there are anchors, of the width that the detector's own have."""
    generator = torch.Generator().manual_seed(seed)
    width = CLASSES + ("ssd" in type(detector).__name__.lower())
    anchors = len(detector.anchors)
    return Predictions(
        torch.randn(count, anchors, width, generator=generator).requires_grad_(),
        torch.randn(count, anchors, 4, generator=generator).requires_grad_(),
    )


def as_list(targets: Targets, first_label: int) -> list[dict[str, Tensor]]:
    return [
        {"boxes": boxes[labels >= 0], "labels": labels[labels >= 0] + first_label}
        for boxes, labels in zip(*targets, strict=True)
    ]


def torchvision_loss(detector, predictions: Predictions, targets: Targets) -> Tensor:
    outputs = {"cls_logits": predictions.logits, "bbox_regression": predictions.offsets}
    anchors = [detector.anchors] * len(targets.labels)
    if hasattr(detector, "retinanet"):
        return sum(detector.retinanet.compute_loss(as_list(targets, 0), outputs, anchors).values())
    matched = [
        detector.ssd.proposal_matcher(box_iou(one["boxes"], detector.anchors))
        if len(one["boxes"])
        else torch.full((len(detector.anchors),), -1)
        for one in as_list(targets, 1)
    ]
    return sum(detector.ssd.compute_loss(as_list(targets, 1), outputs, anchors, matched).values())


def test_loss_and_its_gradient_are_torchvisions(detector):
    targets = random_targets(detector.size[0])
    ours, theirs = (random_predictions(detector, 4) for _ in range(2))
    loss, expected = detector.loss(ours, targets), torchvision_loss(detector, theirs, targets)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for found, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found.grad, wanted.grad, atol=1e-7, rtol=1e-4)


def test_loss_without_any_box_is_finite(detector):
    empty = Targets(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64))
    assert torch.isfinite(detector.loss(random_predictions(detector, 2), empty))


def test_retinanets_anchors_are_matched_as_torchvision_does():
    retinanet = build_detector(CONFIGS["retinanet"], CLASSES, seed=1)
    targets = random_targets(128)
    found = match_anchors(retinanet.anchors, targets)
    for one, boxes in zip(found[1:], as_list(targets, 0)[1:], strict=True):
        expected = retinanet.retinanet.proposal_matcher(box_iou(boxes["boxes"], retinanet.anchors))
        assert torch.equal(one, expected)
    assert (found[0] == -1).all()


@torch.no_grad()
def test_what_torchvisions_own_model_finds(detector, monkeypatch):
    """From pixels to boxes: its transform, its anchors, its post-processing."""
    model = detector.ssd if hasattr(detector, "ssd") else detector.retinanet
    # It bounds the candidates of each class or map, and not those of the image.
    limits = {"score_thresh": 0.0, "nms_thresh": 0.45, "detections_per_img": 50, "topk_candidates": 10**6}
    for name, value in limits.items():
        monkeypatch.setattr(model, name, value)
    monkeypatch.setattr(suppression, "MOST_PAIRS", 10**6)
    side = detector.size[0]
    model.transform.min_size, model.transform.max_size = (side,), side
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    found = detector.detect(image * 255, Limits(0.0, 0.45, 50))[0]
    expected = model([image[0]])[0]
    assert len(found.boxes) == 50
    torch.testing.assert_close(found.scores, expected["scores"], atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(found.boxes[0], expected["boxes"][0], atol=0.05, rtol=1e-3)


def decoded(detector, predictions: Predictions) -> Tensor:
    model = detector.ssd if hasattr(detector, "ssd") else detector.retinanet
    boxes = [model.box_coder.decode_single(offsets, detector.anchors) for offsets in predictions.offsets]
    return torch.stack(boxes)


@torch.no_grad()
def test_mirrored_boxes_are_the_mirror_images(detector):
    """Each box of the flipped image, turned back, is among those of the mirrored predictions with its logits."""
    predictions = random_predictions(detector, 1)
    mirrored = detector.mirror(predictions)
    x1, y1, x2, y2 = decoded(detector, predictions).unbind(-1)
    turned = torch.stack([detector.size[1] - x2, y1, detector.size[1] - x1, y2], -1)
    cells = detector.mirrored
    number = torch.arange(len(detector.anchors))[None, :, None].double()
    partner = type(cells).forward(cells, Predictions(number, torch.zeros_like(number).expand(-1, -1, 4)))
    order = partner.logits[0, :, 0].long()
    torch.testing.assert_close(decoded(detector, mirrored)[0], turned[0, order], atol=0.02, rtol=1e-4)
    assert torch.equal(mirrored.logits[0], predictions.logits[0, order])
    assert not torch.equal(order, torch.arange(len(order)))


@torch.no_grad()
def test_mirror_twice_is_the_identity_and_consistent(detector):
    predictions = random_predictions(detector, 2)
    twice = detector.mirror(detector.mirror(predictions))
    assert torch.equal(twice.logits, predictions.logits)
    torch.testing.assert_close(twice.offsets, predictions.offsets, atol=1e-4, rtol=1e-4)
    assert prediction_distance(detector, predictions, twice).item() == pytest.approx(0, abs=1e-8)
    assert prediction_distance(detector, predictions, detector.mirror(predictions)).item() > 0.1


def test_consistency_of_a_detector_that_sees_symmetrically_is_zero(detector, monkeypatch):
    """Stubs the network: what it says of a flipped image is what it says of the image, mirrored."""
    predictions = random_predictions(detector, 2)

    def predictions_of(images):
        flipped = detector.mirror(predictions)
        return Predictions(*(torch.cat(parts) for parts in zip(predictions, flipped, strict=True)))

    monkeypatch.setattr(detector, "predictions", predictions_of)
    assert consistency_loss(detector, torch.zeros(2, 3, 8, 8)).item() == pytest.approx(0, abs=1e-8)


def test_planted_boxes_are_detected(detector):
    targets = random_targets(detector.size[0])
    ssd = hasattr(detector, "ssd")
    model = detector.ssd if ssd else detector.retinanet
    logits = torch.full((4, len(detector.anchors), CLASSES + ssd), -20.0)
    if ssd:
        logits[..., 0] = 20
    offsets = torch.zeros(4, len(detector.anchors), 4)
    for image, one in enumerate(as_list(targets, 0)):
        for box, label in zip(one["boxes"], one["labels"].tolist(), strict=True):
            anchor = int(box_iou(box[None], detector.anchors).argmax())
            logits[image, anchor] = -20
            logits[image, anchor, label + ssd] = 20
            offsets[image, anchor] = model.box_coder.encode_single(box[None], detector.anchors[anchor][None])[0]
    found = detector.find(Predictions(logits, offsets), Limits(0.5, 0.99, 100))
    for one, expected in zip(found, as_list(targets, 0), strict=True):
        assert len(one.boxes) == len(expected["boxes"])
        if len(one.boxes):
            order = box_iou(expected["boxes"], one.boxes).argmax(1)
            torch.testing.assert_close(one.boxes[order], expected["boxes"], atol=0.01, rtol=0)
            assert torch.equal(one.labels[order], expected["labels"])


def test_class_probabilities_are_distributions_over_background_and_classes(detector):
    logits = random_predictions(detector, 2).logits
    probabilities = detector.class_probabilities(logits)
    assert probabilities.shape[-1] == CLASSES + 1
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(probabilities.shape[:2]))
    assert torch.isfinite(mean_entropy(probabilities)).all()
    if hasattr(detector, "retinanet"):
        assert torch.equal(probabilities.argmax(-1) > 0, (logits.sigmoid() > 0.5).any(-1))


def cached(count: int, side: int, canvas: Canvas) -> tuple:
    """The squares at another size."""
    dataset, images = squares(count)
    pixels = torch.nn.functional.interpolate(
        torch.from_numpy(images.stored).permute(0, 3, 1, 2).float(), (side, side), mode="nearest"
    )
    return dataset, Images(pixels.permute(0, 2, 3, 1).byte().numpy(), dataset.sizes, canvas)


def test_embeddings_come_from_both(detector):
    side = detector.size[0]
    canvas = Canvas(side, side, view=(side, side) if side == 300 else None)
    _, images = cached(3, side, canvas)
    extracted = extract_features(detector, images, CLASSES)
    assert extracted.features.shape == (3, {300: 5632, 128: 2560}[side])
    assert extracted.class_scores.shape == (3, CLASSES)
    assert project(extracted.features, EmbeddingConfig(dimensions=2).dimensions).shape == (3, 2)


RECIPE = {
    "augmentation": AugmentationConfig(flip=0.5, zoom_in=1.0, zoom_out=1.0, colour=0.0),
    "optimizer": "sgd",
    "schedule": "steps",
    "warm_up": 0.0,
}


@slow
def test_retinanet_learns():
    dataset, images = cached(4, 128, Canvas(128, 128, "fit"))
    labelled = training_images(dataset, images, dataset.image_ids)
    network = build_detector(CONFIGS["retinanet"], 1, seed=0)
    config = TrainingConfig(batch_size=4, learning_rate=0.01, **RECIPE)
    losses = [row["loss"] for row in train_detector(network, labelled, config, 12, 0, "detector")]
    assert losses[-1] < 0.8 * losses[0]


@slow
def test_ssd300_learns_at_its_full_size():
    dataset, images = cached(2, 64, Canvas(64, 64, "shrink", view=(300, 300)))
    labelled = training_images(dataset, images, dataset.image_ids)
    network = build_detector(CONFIGS["ssd300"], 1, seed=0)
    config = TrainingConfig(batch_size=1, learning_rate=1e-3, gradient_norm=5.0, **RECIPE)
    losses = [row["loss"] for row in train_detector(network, labelled, config, 3, 0, "detector")]
    assert losses[-1] < losses[0]


def test_parts_of_a_batch_add_up_to_the_batch():
    """RetinaNet's loss is a mean over images, and nothing else extracted at a batch, its normalisation frozen."""
    dataset, images = cached(4, 128, Canvas(128, 128, "fit"))
    labelled = training_images(dataset, images, dataset.image_ids)
    histories = []
    for parts in (1, 2):
        network = random_detector(RetinaNetConfig(name="retinanet_resnet50_fpn", canvas=128), 1, seed=0)
        config = TrainingConfig(batch_size=3, learning_rate=1e-4, accumulate=parts, **RECIPE)
        history = train_detector(network, labelled, config, 2, 0, "detector")
        histories.append([row["loss"] for row in history])
    assert histories[1] == pytest.approx(histories[0], rel=1e-3)


def test_saved_weights_predict_the_same(detector, tmp_path):
    save_detector(detector, tmp_path / "d.safetensors")
    config = next(config for name, config in CONFIGS.items() if BUILT.get(name) is detector)
    loaded = load_detector(tmp_path / "d.safetensors", config, CLASSES)
    images = torch.rand(1, 3, *detector.size) * 255
    with torch.no_grad():
        torch.testing.assert_close(loaded.predictions(images).logits, detector.predictions(images).logits)


def test_a_section_without_a_name_is_the_small_detectors():
    assert resolve_config({"detector": {"width": 40}}).detector == SmallSSDConfig(width=40)
    assert resolve_config({"detector": {"name": "ssd300_vgg16"}}).detector.weights.startswith("VGG16")
    with pytest.raises(
        InputError,
        match=r"detector\.name: there is no detector 'yolo'; choose from external, .*retinanet_resnet50_fpn, small",
    ):
        resolve_config({"detector": {"name": "yolo"}})
    with pytest.raises(InputError, match=r"detector\.channels: unknown key; remove it"):
        resolve_config({"detector": {"name": "ssd300_vgg16", "channels": 3}})
    with pytest.raises(InputError, match=r"training\.accumulate: a batch of 2 images has no 3 parts"):
        resolve_config({"training": {"batch_size": 2, "accumulate": 3}})


@slow
def test_steps_from_files_to_a_query(tmp_path):
    """RetinaNet with packed files and pre-trained weights, by the commands that the workflow calls."""
    values = {
        "initial": 4,
        "budget": 2,
        "cycles": 1,
        "data": {"format": "synthetic", "train_images": 8, "test_images": 2},
        "detector": {"name": "retinanet_resnet50_fpn", "canvas": 128},
        "training": {"batch_size": 2, "learning_rate": 1e-4, "optimizer": "sgd", "accumulate": 2},
        "iterations": {"detector": 1, "base": 1, "variant": 1},
        "semi_supervised": {"batch_size": 2},
        "lut": {"variants": 2, "clusters": 2, "labels": "consistency"},
        "embedding": {"dimensions": 2},
    }
    write_json(tmp_path / "config.yaml", values)
    body = {
        f"retinanet.backbone.body.{k}": v for k, v in resnet50(weights=None).state_dict().items() if "fc" not in k
    }
    kept = {name: values for name, values in body.items() if not name.endswith("num_batches_tracked")}
    save_file(kept, tmp_path / "weights.safetensors")

    def run(step: str, **options: str) -> None:
        arguments = ["--config", str(tmp_path / "config.yaml")]
        for name, value in options.items():
            is_path = "." in value or "/" in value
            arguments += [f"--{name.replace('_', '-')}", str(tmp_path / value) if is_path else value]
        done = CliRunner().invoke(mgral, [step, *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output

    run("synthesize", output="set/")
    run("data", root="set/", train="train.json", test="test.json")
    for split in ("train", "test"):
        run("cache", dataset=f"{split}.json", split=split, root="set/", output=f"{split}.npy")
    assert np.load(tmp_path / "train.npy").ndim == 1
    common = {"dataset": "train.json", "images": "train.npy", "seed": "0", "cycle": "0"}
    run("initial", dataset="train.json", seed="0", output="labelled.json")
    made = {"output": "d.safetensors", "log_csv": "d.csv"}
    run("detector", **common, labelled="labelled.json", weights="weights.safetensors", **made)
    run(
        "evaluate",
        dataset="test.json",
        images="test.npy",
        detector="d.safetensors",
        metrics="m.json",
        detections="f.json",
    )
    looked = {"dataset": "train.json", "images": "train.npy", "labelled": "labelled.json", "seed": "0"}
    run("embed", **looked, detector="d.safetensors", output="e.safetensors")
    run(
        "subsets",
        dataset="train.json",
        labelled="labelled.json",
        embeddings="e.safetensors",
        seed="0",
        cycle="0",
        split="0",
        output="subsets.json",
    )
    of_split = {**common, "split": "0", "subsets": "subsets.json"}
    run("base", **of_split, weights="weights.safetensors", output="base.safetensors")
    run("variant", **of_split, base="base.safetensors", first="0", last="1", output="v.json")
    assert [one["variant"] for one in read_json(tmp_path / "v.json")["variants"]] == [0, 1]
    run(
        "select",
        **common,
        strategy="entropy_anchors",
        labelled="labelled.json",
        detector="d.safetensors",
        output="q.json",
    )
    assert len(read_json(tmp_path / "q.json")["images"]) == 2
