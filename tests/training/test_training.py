"""Training: batches, augmentation, the loop."""

import itertools
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from squares import DETECTOR, NO_AUGMENTATION, labelled_squares, squares
from stopping import StoppedError, stop_after
from torch import Tensor, nn

from mgral.config import AugmentationConfig, TrainingConfig
from mgral.errors import InputError, StepError
from mgral.models.build import build_detector
from mgral.models.detectors.timm import SSDConfig
from mgral.models.interface import Targets
from mgral.models.small_ssd import SmallSSD
from mgral.training.augmentation import augment, draw_changes, flip
from mgral.training.average import MovingAverage
from mgral.training.batches import Sampler, TrainingImages, training_images
from mgral.training.checkpoint import Checkpoint
from mgral.training.loop import Unlabelled, learning_rate_factor, train_detector


@pytest.fixture
def labelled() -> TrainingImages:
    return labelled_squares()


def white_box(image: torch.Tensor) -> list[int]:
    y, x = (image[0] > 200).nonzero().unbind(1)
    return [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]


def test_boxes_are_scaled_to_the_cache(labelled: TrainingImages) -> None:
    images, targets = labelled.batch(torch.arange(8))
    for image, boxes in zip(images, targets.boxes, strict=True):
        assert boxes[0].tolist() == white_box(image)


@pytest.mark.parametrize("zooms", [(1.0, 1.0), (2.0, 1.0), (1.0, 2.0), (2.0, 2.0)])
@pytest.mark.parametrize("flips", [0.0, 1.0])
def test_boxes_follow_the_pixels(labelled: TrainingImages, zooms: tuple[float, float], flips: float) -> None:
    config = AugmentationConfig(flip=flips, zoom_in=zooms[0], zoom_out=zooms[1], colour=0.0)
    generator = torch.Generator().manual_seed(3)
    checked = 0
    for _ in range(10):
        images, targets = augment(*labelled.batch(torch.arange(8)), draw_changes(labelled.targets, config, generator))
        for image, boxes, labels in zip(images, targets.boxes, targets.labels, strict=True):
            if labels[0] >= 0:
                assert boxes[0].tolist() == pytest.approx(white_box(image), abs=1.6)
                checked += 1
    assert checked > 60


def test_a_box_that_leaves_the_image_is_dropped(labelled: TrainingImages) -> None:
    config = AugmentationConfig(flip=0.0, zoom_in=4.0, zoom_out=1.0, colour=0.0)
    generator = torch.Generator().manual_seed(0)
    batch = labelled.batch(torch.arange(8))
    drawn = [augment(*batch, draw_changes(labelled.targets, config, generator))[1] for _ in range(10)]
    targets = Targets(*(torch.cat(parts) for parts in zip(*drawn, strict=True)))
    dropped = targets.labels < 0
    assert dropped.any()
    assert not dropped.all()
    assert (targets.boxes[dropped] == 0).all()


def test_flip_twice_is_the_identity_and_leaves_padding_alone() -> None:
    images = torch.rand(2, 3, 8, 10)
    targets = Targets(
        torch.tensor([[[1.0, 2, 4, 5], [0, 0, 0, 0]], [[0, 0, 0, 0]] * 2]), torch.tensor([[0, -1], [-1, -1]])
    )
    chosen = torch.tensor([True, True])
    once_images, once = flip(images, targets, chosen)
    assert once.boxes[0, 0].tolist() == [6, 2, 9, 5]
    assert (once.boxes[once.labels < 0] == 0).all()
    twice_images, twice = flip(once_images, once, chosen)
    assert torch.equal(twice_images, images)
    assert torch.equal(twice.boxes, targets.boxes)


def test_colour_keeps_the_boxes_and_the_range(labelled: TrainingImages) -> None:
    config = AugmentationConfig(flip=0.0, zoom_in=1.0, zoom_out=1.0, colour=0.5)
    plain, targets = labelled.batch(torch.arange(8))
    images, after = augment(plain, targets, draw_changes(targets, config, torch.Generator().manual_seed(0)))
    assert torch.equal(after.boxes, targets.boxes)
    assert 0 <= images.min() < images.max() <= 255
    assert not torch.equal(images, plain.float())


@given(images=st.integers(1, 9), batch=st.integers(1, 20), seed=st.integers(0, 99))
def test_sampler_shows_every_image_equally_often(images: int, batch: int, seed: int) -> None:
    sampler = Sampler(images, batch, seed)
    drawn = torch.cat([sampler.draw() for _ in range(images)])
    assert torch.bincount(drawn, minlength=images).tolist() == [batch] * images


def test_training_learns_and_repeats_itself(labelled: TrainingImages) -> None:
    config = TrainingConfig(batch_size=4, augmentation=AugmentationConfig(zoom_in=1.2, zoom_out=1.2))
    runs = []
    for _ in range(2):
        detector = build_detector(DETECTOR, 1, seed=0)
        history = train_detector(detector, labelled, config, 40, seed=5, step="detector")
        runs.append((history, detector.state_dict()))
    (first, weights), (second, again) = runs
    assert first == second
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    losses = [row["loss"] for row in first]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


@pytest.mark.parametrize("known", [True, False])
def test_the_automatic_precision_is_that_of_the_machine(labelled: TrainingImages, known, monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": known})
    losses = {}
    for precision in ("auto", "bfloat16", "float32"):
        config = TrainingConfig(batch_size=4, precision=precision)
        history = train_detector(build_detector(DETECTOR, 1, seed=0), labelled, config, 2, seed=5, step="detector")
        losses[precision] = [row["loss"] for row in history]
    assert losses["bfloat16"] != losses["float32"]
    assert losses["auto"] == losses["bfloat16" if known else "float32"]


@pytest.mark.parametrize(
    ("precision", "settings"), [("float32", {}), ("bfloat16", {"frozen_stages": 1, "batch_norm": "frozen"})]
)
def test_training_on_a_backbone_repeats_itself(labelled: TrainingImages, precision, settings) -> None:
    anchors = {"anchor_scales": (0.08, 0.15, 0.28, 0.5, 0.8), "aspect_ratios": (2.0,)}
    backbone = SSDConfig(name="ssd", weights=None, width=64, height=64, **anchors, **settings)
    runs = []
    for _ in range(2):
        detector = build_detector(backbone, 1, seed=0)
        config = TrainingConfig(batch_size=4, precision=precision)
        runs.append((train_detector(detector, labelled, config, 3, 5, "detector"), detector.state_dict()))
    (first, weights), (second, again) = runs
    assert first == second
    assert all(torch.equal(weights[name], again[name]) for name in weights)


RECIPES = {
    "as configured": {},
    "sgd, steps, parts, half precision": {
        "optimizer": "sgd",
        "schedule": "steps",
        "accumulate": 2,
        "precision": "bfloat16",
        "learning_rate": 1e-4,
        "augmentation": AugmentationConfig(crop="iou", distort=0.5),
    },
}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("semi_supervised", [False, True])
def test_a_stopped_training_goes_on_to_the_same_bits(semi_supervised, recipe, tmp_path, monkeypatch) -> None:
    """With batches that reach over epochs, all of the augmentation, and dropout from torch's own generator."""
    dataset, images = squares()
    labelled = training_images(dataset, images, dataset.image_ids[:7])
    extra = training_images(dataset, images, dataset.image_ids[7:], labels=False)
    unlabelled = Unlabelled(extra, 3, 5.0) if semi_supervised else None
    config = TrainingConfig(**{"batch_size": 3, "augmentation": AugmentationConfig()} | RECIPES[recipe])

    def train(checkpoint: Checkpoint | None) -> tuple[list[dict[str, float]], dict]:
        detector = build_detector(DETECTOR, 1, seed=0)
        detector.ssd.backbone.stem.append(torch.nn.Dropout(0.2))
        torch.seed()  # as in a new process
        history = train_detector(detector, labelled, config, 8, 5, "variant", unlabelled, checkpoint)
        return history, detector.state_dict()

    with torch.random.fork_rng():
        history, weights = train(None)
        for stop in (1, 4, 7):
            path = tmp_path / f"{stop}.checkpoint"
            with stop_after(stop, monkeypatch), pytest.raises(StoppedError):
                train(Checkpoint(path, "job", every=0))
            resumed, others = train(Checkpoint(path, "job"))
            assert resumed == history
            assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_a_loss_that_is_not_finite_stops_the_training(labelled: TrainingImages) -> None:
    labelled.targets.boxes[2, 0, 0] = math.nan
    detector = build_detector(DETECTOR, 1, seed=0)
    config = TrainingConfig(batch_size=8, augmentation=NO_AUGMENTATION)
    with pytest.raises(StepError, match=r"^detector: the loss is nan at iteration 0 \(images \[.*12.*\]\); lower"):
        train_detector(detector, labelled, config, 5, seed=0, step="detector")


def test_learning_rate_rises_then_falls_to_zero() -> None:
    rates = [learning_rate_factor(t, 100, TrainingConfig()) for t in range(101)]
    assert rates[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    assert all(a >= b for a, b in itertools.pairwise(rates[5:]))
    assert rates[100] == pytest.approx(0, abs=1e-12)


def test_learning_rate_falls_by_steps() -> None:
    config = TrainingConfig(schedule="steps", steps=(0.5, 0.8), warm_up=0.02)
    rates = [learning_rate_factor(t, 100, config) for t in range(100)]
    assert rates[:2] == [0.5, 1]
    assert set(rates[1:50]) == {1}
    assert rates[50:80] == pytest.approx([0.1] * 30)
    assert rates[80:] == pytest.approx([0.01] * 20)


@pytest.mark.parametrize("norm", [None, 1e-3])
def test_sgd_steps_along_the_gradient_no_further_than_its_norm_allows(norm, labelled: TrainingImages) -> None:
    config = TrainingConfig(
        batch_size=4,
        optimizer="sgd",
        momentum=0.0,
        weight_decay=0.0,
        learning_rate=0.5,
        warm_up=0.0,
        gradient_norm=norm,
        augmentation=NO_AUGMENTATION,
    )
    before, detector = (build_detector(DETECTOR, 1, seed=0) for _ in range(2))
    train_detector(detector, labelled, config, 1, seed=0, step="detector")
    moved = [(a - b).detach() for a, b in zip(before.parameters(), detector.parameters(), strict=True)]
    length = torch.cat([part.flatten() for part in moved]).norm().item()
    assert (length == pytest.approx(0.5 * 1e-3, rel=1e-2)) if norm else (length > 0.01)


def test_weights_decay_but_neither_biases_nor_normalisation(labelled: TrainingImages) -> None:
    """By the first step of SGD, which is the gradient's and the decay's: the decay is what differs."""
    sgd = {"batch_size": 4, "optimizer": "sgd", "learning_rate": 0.5, "warm_up": 0.0, "gradient_norm": None}
    start, plain, decayed = (build_detector(DETECTOR, 1, seed=0) for _ in range(3))
    for detector, decay in ((plain, 0.0), (decayed, 0.1)):
        config = TrainingConfig(**sgd, weight_decay=decay, augmentation=NO_AUGMENTATION)
        train_detector(detector, labelled, config, 1, seed=0, step="detector")
    for name, before in start.named_parameters():
        layer, _, kind = name.rpartition(".")
        decays = kind == "weight" and isinstance(start.get_submodule(layer), torch.nn.Conv2d)
        factor = 0.5 * 0.1 if decays else 0
        moved = plain.get_parameter(name) - decayed.get_parameter(name)
        torch.testing.assert_close(moved, factor * before, rtol=1e-3, atol=1e-6)


def test_a_detector_may_have_a_slower_backbone(labelled: TrainingImages) -> None:
    class SlowBackbone(SmallSSD):
        def parameter_groups(self, config: TrainingConfig) -> list[dict[str, Any]]:
            parts = self.ssd.backbone.parameters(), self.ssd.head.parameters()
            return [{"params": list(part), "lr": rate} for part, rate in zip(parts, (0.0, 0.01), strict=True)]

    before, after = build_detector(DETECTOR, 1, seed=0), SlowBackbone(DETECTOR, 1)
    after.load_state_dict(before.state_dict())
    train_detector(after, labelled, TrainingConfig(batch_size=4), 3, seed=0, step="detector")
    moved = {name for name, one in before.named_parameters() if not torch.equal(one, after.get_parameter(name))}
    assert moved
    assert not [name for name in moved if "backbone" in name]


def test_the_pretrained_part_learns_at_a_rate_of_its_own(labelled: TrainingImages) -> None:
    """By the first step of SGD, which is proportional to the rate."""
    sgd = {"batch_size": 4, "optimizer": "sgd", "learning_rate": 0.5, "warm_up": 0.0, "gradient_norm": None}
    start, full, slow = (build_detector(DETECTOR, 1, seed=0) for _ in range(3))
    for detector, rate in ((full, 1.0), (slow, 0.25)):
        config = TrainingConfig(**sgd, weight_decay=0.0, backbone_rate=rate, augmentation=NO_AUGMENTATION)
        train_detector(detector, labelled, config, 1, seed=0, step="detector")
    for name, before in start.named_parameters():
        moved, slowly = (one.get_parameter(name) - before for one in (full, slow))
        factor = 0.25 if name.startswith("ssd.backbone") else 1
        torch.testing.assert_close(slowly, factor * moved, rtol=1e-3, atol=1e-6)


def test_the_moving_average_of_the_weights_replaces_them(labelled: TrainingImages, monkeypatch) -> None:
    """Three steps: of the first the weights, then decays 2/11 and 3/12, which are below the one asked for."""
    seen: list[Tensor] = []
    update = MovingAverage.update_parameters

    def watch(average: MovingAverage, detector: nn.Module) -> None:
        seen.append(detector.ssd.backbone.stem[0].weight.detach().clone())
        update(average, detector)

    monkeypatch.setattr(MovingAverage, "update_parameters", watch)
    detector = build_detector(DETECTOR, 1, seed=0)
    train_detector(detector, labelled, TrainingConfig(batch_size=4, moving_average=0.9), 3, seed=0, step="detector")
    expected = seen[0]
    for decay, weights in zip((2 / 11, 3 / 12), seen[1:], strict=True):
        expected = decay * expected + (1 - decay) * weights
    torch.testing.assert_close(detector.ssd.backbone.stem[0].weight.detach(), expected)
    assert not torch.equal(seen[0], seen[1])


def test_the_next_batch_is_decoded_ahead_and_is_the_one_that_is_drawn(labelled: TrainingImages, monkeypatch) -> None:
    asked, read = [], []
    monkeypatch.setattr(labelled.images, "prefetch", lambda rows: asked.append(rows.tolist()))
    taken = labelled.images.read
    monkeypatch.setattr(labelled.images, "read", lambda rows: read.append(rows.tolist()) or taken(rows))
    config = TrainingConfig(batch_size=3, augmentation=NO_AUGMENTATION)
    train_detector(build_detector(DETECTOR, 1, seed=0), labelled, config, 4, seed=0, step="detector")
    assert asked[:3] == read[1:]


@pytest.mark.parametrize("settings", [{"precision": "bfloat16"}, {"precision": "float16"}, {"compile": True}])
def test_half_precision_and_compilation_train_the_same_detector(settings, labelled: TrainingImages, monkeypatch):
    # Of torch.compile without its compiler, which takes a minute: the detector is traced, and run as it was traced.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    histories = []
    for changed in ({}, settings):
        config = TrainingConfig(batch_size=4, learning_rate=1e-3, **changed)
        detector = build_detector(DETECTOR, 1, seed=0)
        histories.append([row["loss"] for row in train_detector(detector, labelled, config, 6, 0, "detector")])
        assert {parameter.dtype for parameter in detector.parameters()} == {torch.float32}
    # float16 may leave out the first steps, until its gradients are scaled so that none overflows.
    assert histories[1] == pytest.approx(histories[0], rel=0.1)
    assert histories[1][0] == pytest.approx(histories[0][0], rel=0.01)
    assert (histories[1] == histories[0]) == (not settings.get("precision"))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_first_step_whose_gradients_overflow_is_left_out(optimizer, labelled: TrainingImages, monkeypatch) -> None:
    overflowing = partial(torch.amp.GradScaler, init_scale=2.0**60, backoff_factor=2.0**-50)
    monkeypatch.setattr(torch.amp, "GradScaler", overflowing)
    config = TrainingConfig(batch_size=4, learning_rate=1e-3, optimizer=optimizer, precision="float16")
    before, once, thrice = (build_detector(DETECTOR, 1, seed=0) for _ in range(3))
    torch.use_deterministic_algorithms(True)  # which fills memory that nothing wrote with NaN
    try:
        train_detector(once, labelled, config, 1, seed=0, step="detector")
        train_detector(thrice, labelled, config, 3, seed=0, step="detector")
    finally:
        torch.use_deterministic_algorithms(False)
    for start, left, trained in zip(before.parameters(), once.parameters(), thrice.parameters(), strict=True):
        assert torch.equal(start, left)
        assert trained.isfinite().all()
    assert any(not torch.equal(*pair) for pair in zip(once.parameters(), thrice.parameters(), strict=True))


def test_compilation_without_a_compiler_is_refused(labelled: TrainingImages, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    config = TrainingConfig(compile=True)
    with pytest.raises(InputError, match=r"wants a C\+\+ compiler, and none of c\+\+, g\+\+"):
        train_detector(build_detector(DETECTOR, 1, seed=0), labelled, config, 1, seed=0, step="detector")
