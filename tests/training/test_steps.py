"""Steps of a training that ask nothing of a GPU while it works."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from squares import squares
from stopping import StoppedError
from torch import Tensor

from benchmarks.launches import FIXED, STEPS, count_steps, profile_steps
from mgral.config import AugmentationConfig, TrainingConfig
from mgral.config.canvas import Canvas
from mgral.data.dataset import Category, Dataset
from mgral.data.images import Images
from mgral.errors import StepError
from mgral.models.boxes import decode, encode
from mgral.models.build import random_detector
from mgral.models.detectors.retinanet import RetinaNetConfig
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.detectors.ssd300 import SSD300Config
from mgral.models.detectors.timm import SSDConfig, TimmRetinaNetConfig
from mgral.models.interface import DenseModel, Predictions, Targets
from mgral.selection.heads import HeadTraining
from mgral.training.batches import TrainingImages, training_images
from mgral.training.checkpoint import Checkpoint
from mgral.training.feed import Feed, pack, place, unpack
from mgral.training.loop import Unlabelled, train_detector

SMALL = SmallSSDConfig(width=64, height=64, channels=4)
CANVAS = Canvas(64, 64)
ON_MAPS: dict[str, Any] = {
    "weights": None,
    "width": 64,
    "height": 64,
    "anchor_scales": (0.08, 0.15, 0.28, 0.5, 0.8),
    "aspect_ratios": (2.0,),
}
FAMILIES = {
    "small_ssd": SMALL,
    "ssd": SSDConfig(name="ssd", **ON_MAPS),
    "retinanet": TimmRetinaNetConfig(name="retinanet", **ON_MAPS),
    "ssd300_vgg16": SSD300Config(name="ssd300_vgg16"),
    "retinanet_resnet50_fpn": RetinaNetConfig(name="retinanet_resnet50_fpn", canvas=128),
}
RECIPES: dict[str, dict[str, Any]] = {
    "as configured": {},
    "SSD's": {
        "optimizer": "sgd",
        "accumulate": 2,
        "moving_average": 0.9,
        "augmentation": AugmentationConfig(crop="iou", distort=0.5),
    },
}


def crowded(canvas: Canvas = CANVAS, count: int = 8) -> tuple[Dataset, Images]:
    """Images with none to five boxes of two classes."""
    dataset, _ = squares(count)
    rng = np.random.default_rng(1)
    corners = [rng.uniform(0, 0.6, (number % 6, 2)) for number in range(count)]
    boxes = tuple((128 * np.concatenate([one, one + 0.3], 1)).astype(np.float32) for one in corners)
    labels = tuple(rng.integers(0, 2, len(one)) for one in boxes)
    pixels = rng.integers(0, 256, (count, canvas.height, canvas.width, 3), dtype=np.uint8)
    named = replace(dataset, boxes=boxes, labels=labels, categories=(Category(0, "a"), Category(1, "b")))
    return named, Images(pixels, dataset.sizes, canvas)


def labelled(canvas: Canvas = CANVAS) -> TrainingImages:
    dataset, images = crowded(canvas)
    return training_images(dataset, images, dataset.image_ids)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Let the CPU compute as a GPU would, with the shapes that it would have."""
    for module in FIXED:
        monkeypatch.setattr(f"{module}.fixed_shapes", lambda device: True)


@pytest.mark.parametrize(
    ("name", "recipe"), [*((name, "as configured") for name in FAMILIES), ("small_ssd", "SSD's")]
)
def test_no_step_of_a_dense_detector_waits(name: str, recipe: str) -> None:
    """And what it draws goes to the device by one copy for each part of a batch."""
    config = FAMILIES[name]
    detector = random_detector(config, 2, seed=0)
    counts = count_steps(detector, labelled(config.image_canvas), TrainingConfig(batch_size=4, **RECIPES[recipe]))
    assert counts.waits == {}
    assert sum(counts.copies.values()) == STEPS * RECIPES[recipe].get("accumulate", 1)
    assert min(counts.launched(part) for part in ("batch and augmentation", "forward", "loss", "backward")) > 10


def test_the_profiler_sees_the_steps_that_are_counted() -> None:
    """But for what draws a batch, which is of the processor."""
    config = TrainingConfig(batch_size=4)
    counted, seen = (
        count(random_detector(SMALL, 2, seed=0), labelled(), config) for count in (count_steps, profile_steps)
    )
    for part in ("forward", "loss", "backward", "optimiser and the rest"):
        assert seen.launched(part) == pytest.approx(counted.launched(part), rel=0.1)
    assert set(seen.waits) == {("batch and augmentation", "_local_scalar_dense")}


def waits_of(**more: Any) -> set[tuple[str, str]]:
    return set(count_steps(random_detector(SMALL, 2, seed=0), labelled(), TrainingConfig(batch_size=4), **more).waits)


def test_steps_with_unlabelled_images_or_a_head_still_wait() -> None:
    """What the decision excepts; one that no longer waits leaves its list, and this one."""
    dataset, images = crowded()
    extra = training_images(dataset, images, dataset.image_ids, labels=False)
    assert {what for _, what in waits_of(unlabelled=Unlabelled(extra, 2, 1.0))} == {"item"}
    for head, what in (("llal", "item"), ("head_discrepancy", "item"), ("al_mdn", "nonzero"), ("meh_hua", "nonzero")):
        assert what in {kind for _, kind in waits_of(follower=HeadTraining(head, TrainingConfig(), 0))}, head


def test_fixed_shapes_train_the_same_detector(as_on_a_gpu: None) -> None:
    """But for rounding: losses, the quality by class, and weights."""
    config = TrainingConfig(batch_size=4, learning_rate=1e-4)
    fixed = random_detector(SMALL, 2, seed=0)
    history = train_detector(fixed, labelled(), config, 4, 0, "x")
    with pytest.MonkeyPatch.context() as patch:
        for module in FIXED:
            patch.setattr(f"{module}.fixed_shapes", lambda device: False)
        usual = random_detector(SMALL, 2, seed=0)
        expected = train_detector(usual, labelled(), config, 4, 0, "x")
    assert [row["loss"] for row in history] == pytest.approx([row["loss"] for row in expected], rel=1e-4)
    assert isinstance(fixed, DenseModel)
    assert isinstance(usual, DenseModel)
    assert fixed.class_quality.batches.tolist() == usual.class_quality.batches.tolist()
    torch.testing.assert_close(fixed.class_quality.average, usual.class_quality.average, rtol=1e-3, atol=1e-6)
    assert (usual.class_quality.average > 0).all()


@pytest.mark.parametrize("name", ["small_ssd", "retinanet"])
def test_fixed_shapes_give_the_same_gradient(name: str, monkeypatch) -> None:
    """Of predictions that are not alike, with ignored anchors, an image without a box, and all images so."""
    detector = random_detector(FAMILIES[name], 2, seed=0).eval()
    assert isinstance(detector, DenseModel)
    data = labelled()
    torch.manual_seed(0)
    for boxes in (data.boxes(torch.arange(8)), data.boxes(torch.tensor([0, 6]))):
        found = []
        for fixed in (False, True):
            for module in FIXED:
                monkeypatch.setattr(f"{module}.fixed_shapes", lambda device, fixed=fixed: fixed)
            shape = len(boxes.labels), len(detector.anchors)
            generator = torch.Generator().manual_seed(1)
            outputs = detector.predictions(torch.zeros(1, 3, 64, 64)).logits.shape[2]
            logits = torch.randn(*shape, outputs, generator=generator).requires_grad_()
            offsets = torch.randn(*shape, 4, generator=generator).requires_grad_()
            loss = detector.loss(Predictions(logits, offsets), boxes)
            loss.backward()
            found.append((loss.detach(), logits.grad, offsets.grad))
        for usual, other in zip(*found, strict=True):
            torch.testing.assert_close(other, usual, rtol=1e-4, atol=1e-7)


def test_boxes_are_coded_as_torchvision_does_it() -> None:
    detector = random_detector(SMALL, 2, seed=0)
    coder, anchors = detector.ssd.box_coder, detector.anchors
    corner = torch.rand(len(anchors), 2) * 40
    boxes, offsets = torch.cat([corner, corner + 1 + torch.rand(len(anchors), 2)], 1), 3 * torch.randn(anchors.shape)
    assert torch.equal(encode(boxes, anchors, coder.weights), coder.encode_single(boxes, anchors))
    assert torch.equal(decode(offsets, anchors, coder.weights), coder.decode_single(offsets, anchors))


def test_what_is_packed_is_unpacked() -> None:
    tensors = [
        torch.tensor([True, False, True]),
        torch.rand(3, 2, 4),
        torch.arange(5),
        torch.zeros(2, 0, 4),
        torch.rand(4, 3).t(),
        torch.tensor([[7]], dtype=torch.uint8),
    ]
    again = unpack(pack(tensors), tensors)
    assert [one.dtype for one in again] == [one.dtype for one in tensors]
    assert all(torch.equal(*pair) for pair in zip(again, tensors, strict=True))
    assert all(one is other for one, other in zip(place(tensors, torch.device("cpu")), tensors, strict=True))


def test_images_that_are_kept_are_read_once_and_are_those_that_are_drawn(monkeypatch) -> None:
    data = labelled()
    usual, read = [], []
    cpu = torch.device("cpu")
    arguments = (data, 3, 1, AugmentationConfig(), (0, 1), cpu)
    feed = Feed(*arguments)
    for _ in range(5):
        usual += [feed.show(part.drawn)[0] for part in feed.draw()]
    taken = data.images.read
    monkeypatch.setattr(data.images, "read", lambda rows: read.extend(rows.tolist()) or taken(rows))
    monkeypatch.setattr("mgral.training.feed.READ_TOGETHER", 3)
    for memory, times in ((data.pixel_bytes, 1), (data.pixel_bytes - 1, None)):
        read.clear()
        monkeypatch.setattr("mgral.training.feed.image_memory", lambda device, memory=memory: memory)
        feed = Feed(*arguments)
        assert read == []  # before anything is drawn: a training may have no iteration
        kept = [feed.show(part.drawn)[0] for _ in range(5) for part in feed.draw()]
        assert all(torch.equal(*pair) for pair in zip(kept, usual, strict=True))
        assert sorted(read) == sorted(data.rows.tolist()) if times else len(read) == 15


def breaks_at(monkeypatch, iteration: int) -> None:
    """Let the loss be infinite from an iteration on."""
    usual, calls = DenseModel.losses, []

    def losses(self: DenseModel, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        calls.append(None)
        found = usual(self, images, targets)
        return {name: one / (0 if len(calls) > iteration else 1) for name, one in found.items()}

    monkeypatch.setattr(DenseModel, "losses", losses)


@pytest.mark.parametrize("together", [1, 4, 100])
def test_the_first_loss_that_is_not_finite_is_named_however_many_are_read_together(together, monkeypatch) -> None:
    dataset, images = crowded()
    data = training_images(dataset, images, dataset.image_ids)
    config = TrainingConfig(batch_size=4)
    drawn: list[list[int]] = []
    draw = Feed.draw
    monkeypatch.setattr(
        Feed, "draw", lambda feed: [drawn.append(data.image_ids[one.chosen].tolist()) or one for one in draw(feed)]
    )
    breaks_at(monkeypatch, 5)
    monkeypatch.setattr("mgral.training.losses.fixed_shapes", lambda device: True)
    monkeypatch.setattr("mgral.training.losses.READ_TOGETHER", together)
    with pytest.raises(StepError) as error:
        train_detector(random_detector(SMALL, 2, seed=0), data, config, 9, 0, "detector")
    assert str(error.value).startswith(f"detector: the loss is inf at iteration 5 (images {drawn[5]}); lower")
    assert len(drawn) == {1: 6, 4: 8, 100: 9}[together]


def test_no_checkpoint_is_written_after_a_loss_that_is_not_finite(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("mgral.training.losses.fixed_shapes", lambda device: True)
    breaks_at(monkeypatch, 5)
    saved = []
    save = Checkpoint.save_if_due

    def save_some(checkpoint: Checkpoint, state: Any) -> None:
        if len(saved) in (3, 7):  # after which iterations it is due
            save(checkpoint, state)
        saved.append(checkpoint.path.read_bytes() if checkpoint.path.exists() else None)

    monkeypatch.setattr(Checkpoint, "save_if_due", save_some)
    checkpoint = Checkpoint(tmp_path / "d.checkpoint", "job", every=0)
    with pytest.raises(StepError, match="at iteration 5 "):
        train_detector(
            random_detector(SMALL, 2, seed=0),
            labelled(),
            TrainingConfig(batch_size=4),
            9,
            0,
            "detector",
            checkpoint=checkpoint,
        )
    assert len(saved) == 7
    state = checkpoint.load()
    assert state is not None
    assert [row["iteration"] for row in state["history"]] == [0, 1, 2, 3]


def test_losses_that_are_read_together_are_those_that_are_read_at_once(tmp_path, monkeypatch) -> None:
    """Also where a training is stopped between two times that they are read."""
    config = TrainingConfig(batch_size=4, accumulate=2)
    usual = random_detector(SMALL, 2, seed=0)
    expected = train_detector(usual, labelled(), config, 7, 0, "x")
    monkeypatch.setattr("mgral.training.losses.fixed_shapes", lambda device: True)
    monkeypatch.setattr("mgral.training.losses.READ_TOGETHER", 3)
    path, save = tmp_path / "c", Checkpoint.save_if_due

    def stop(checkpoint: Checkpoint, state: Any) -> None:
        save(checkpoint, state)
        raise StoppedError

    monkeypatch.setattr(Checkpoint, "save_if_due", stop)
    with pytest.raises(StoppedError):
        train_detector(
            random_detector(SMALL, 2, 0), labelled(), config, 7, 0, "x", checkpoint=Checkpoint(path, "j", 0)
        )
    monkeypatch.setattr(Checkpoint, "save_if_due", save)
    detector = random_detector(SMALL, 2, seed=0)
    history = train_detector(detector, labelled(), config, 7, 0, "x", checkpoint=Checkpoint(path, "j"))
    assert history == expected
    weights = usual.state_dict()
    assert all(torch.equal(one, weights[name]) for name, one in detector.state_dict().items())
