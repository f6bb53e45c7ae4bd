"""Heads that learn along with the detector's training, and the strategies that have one."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from head_of_query import query_with_head
from squares import square_set
from squares_query import squares_query
from stopping import StoppedError, stop_after

from mgral.artefacts.seeds import derive_seed
from mgral.config import Config, registry
from mgral.errors import InputError, StepError
from mgral.models.build import build_detector
from mgral.models.detectors.retinanet import RetinaNetConfig
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.small_ssd import SmallSSD
from mgral.selection.heads import AnchorHead, HeadTraining, Seen, load_head, save_head, train_head
from mgral.selection.selecting import choose, select
from mgral.training.batches import training_images
from mgral.training.checkpoint import Checkpoint
from mgral.training.detector import train_cycle_detector

STRATEGIES = ("meh_hua", "head_discrepancy", "al_mdn", "llal")
LABELLED = np.arange(10, 18)


def config_of(iterations=6, **training):
    return Config(
        initial=8,
        budget=2,
        detector={"width": 64, "height": 64, "channels": 4},
        training={"batch_size": 4, "learning_rate": 0.01, **training},
        iterations={"detector": iterations},
        strategies=("random",),
    )


def same(model, other):
    first, second = model.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def wrapped(monkeypatch):
    """Put functions around those of a strategy's head."""

    def put(strategy, **functions):
        own = registry.strategy_head(strategy)
        around = {name: function(getattr(own, name)) for name, function in functions.items()}
        monkeypatch.setitem(registry._heads, strategy, own._replace(**around))

    return put


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    "training", [{}, {"accumulate": 2, "moving_average": 0.9, "precision": "bfloat16"}], ids=["plain", "parts"]
)
def test_the_detector_is_the_same_with_and_without_a_head(strategy, training):
    config, data = config_of(**training), square_set()
    alone, _ = train_cycle_detector(config, data, LABELLED, seed=0, cycle=1)
    state = torch.get_rng_state()
    head, detector, history = train_head(strategy, config, data, LABELLED, seed=0, cycle=1)
    assert same(detector, alone)
    assert not detector.training
    assert not head.training
    assert all(one.requires_grad for one in detector.parameters())
    assert detector.watch is None
    assert torch.equal(torch.get_rng_state(), state)
    assert [row["iteration"] for row in history] == list(range(6))
    again, *_ = train_head(strategy, config, data, LABELLED, seed=0, cycle=1)
    assert same(again, head)
    other, *_ = train_head(strategy, config, data, LABELLED, seed=0, cycle=2)
    assert not same(other, head)


def test_a_tower_of_the_detector_learns_nothing_from_a_head():
    """RetinaNet predicts classes from maps of layers of its own, which the head is put on too."""
    anchors = {"anchor_scales": (0.08, 0.15, 0.28, 0.5, 0.8), "aspect_ratios": (2.0,)}
    config = Config(
        initial=8,
        budget=2,
        detector={"name": "retinanet", "width": 64, "height": 64, "weights": None, **anchors},
        training={"batch_size": 4},
        iterations={"detector": 2, "base": 1, "variant": 1},
        strategies=("random",),
    )
    alone, _ = train_cycle_detector(config, square_set(), LABELLED, seed=0)
    head, detector, _ = train_head("head_discrepancy", config, square_set(), LABELLED, seed=0)
    assert same(detector, alone)
    assert len(list(head.parameters())) == 2 * len(detector.grids)


def test_a_detector_that_shows_nothing_is_named(monkeypatch):
    def losses(detector, images, targets):
        return {"loss": detector.loss(detector.predictions(images), targets)}

    monkeypatch.setattr(SmallSSD, "losses", losses)
    with pytest.raises(StepError, match="the detector trains without showing its maps"):
        train_head("llal", config_of(), square_set(), LABELLED, seed=0)


def test_a_detector_that_draws_random_numbers_is_the_same_with_a_head_that_does(monkeypatch):
    """As one with dropout does, from torch's global generator."""
    config, data, maps = config_of(), square_set(), SmallSSD.maps

    def dropped(detector, images):
        return [torch.dropout(one, 0.5, detector.training) for one in maps(detector, images)]

    monkeypatch.setattr(SmallSSD, "maps", dropped)
    torch.manual_seed(5)
    alone, _ = train_cycle_detector(config, data, LABELLED, seed=0)
    torch.manual_seed(5)
    _, detector, _ = train_head("al_mdn", config, data, LABELLED, seed=0)
    assert same(detector, alone)


@pytest.mark.parametrize("strategy", ["meh_hua", "head_discrepancy", "al_mdn"])
def test_a_head_learns(strategy, wrapped):
    """On the labelled images and the final detector its loss is below that of the head as it was built."""
    start, data = [], square_set()
    wrapped(strategy, build=lambda build: lambda *given: start.append(build(*given)) or deepcopy(start[0]))
    head, detector, _ = train_head(strategy, config_of(60), data, LABELLED, seed=0)
    pixels, targets = training_images(data.dataset, data.images, LABELLED).batch(torch.arange(len(LABELLED)))
    with torch.no_grad():
        maps = detector.maps(pixels)
        seen = Seen(maps, detector.predict(maps), targets)
        torch.manual_seed(0)  # of al_mdn's noise
        before, after = (float(registry.strategy_head(strategy).loss(one, detector, seen)) for one in (*start, head))
    assert after < before


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_head_learns_from_the_losses_of_the_whole_course(strategy, wrapped):
    """What it is shown in an iteration has the loss that the detector learnt from, augmentation and all."""
    losses, given = [], []

    def note(loss):
        def noted(head, detector, seen):
            losses.append(detector.loss(seen.predictions, seen.targets).item())
            given.append(seen)
            return loss(head, detector, seen)

        return noted

    wrapped(strategy, loss=note)
    config, data = config_of(20), square_set()
    _, rows = train_cycle_detector(config, data, LABELLED, seed=0)
    head, detector, _ = train_head(strategy, config, data, LABELLED, seed=0)
    assert losses == [row["loss"] for row in rows]
    assert losses[-1] < losses[0] - 2
    assert not any(one.requires_grad for seen in given for one in (*seen.maps, *seen.predictions))
    # One that learns at the end, by the same random numbers, becomes another.
    at_end = HeadTraining(strategy, config.training, derive_seed(0, f"{strategy} head", 0))
    pixels, targets = training_images(data.dataset, data.images, LABELLED).batch(torch.arange(len(LABELLED)))
    with torch.no_grad():
        maps = detector.maps(pixels)
        predictions = detector.predict(maps)
    for _ in rows:
        at_end.see(detector, 1.0, maps, predictions, targets)
        at_end.step(1.0)
    assert not same(at_end.trained(detector), head)


def test_the_parts_of_a_batch_are_one_step_for_the_head(wrapped):
    """Three and two of five images: their losses count by their shares."""
    losses = []

    def note(loss):
        def noted(*given):
            found = loss(*given)
            losses.append((len(given[2].targets.labels), found.item()))
            return found

        return noted

    wrapped("head_discrepancy", loss=note)
    _, _, history = train_head(
        "head_discrepancy", config_of(batch_size=5, accumulate=2), square_set(), LABELLED, seed=0
    )
    assert [images for images, _ in losses] == [3, 2] * 6
    for row, (_, first), (_, second) in zip(history, losses[::2], losses[1::2], strict=True):
        assert row["loss"] == pytest.approx(0.6 * first + 0.4 * second)


@pytest.mark.parametrize("iterations", [4, 6])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_training_that_was_stopped_goes_on_to_the_same_bytes(tmp_path, monkeypatch, strategy, iterations):
    """In the middle, and after its last iteration."""
    config, data = config_of(moving_average=0.9), square_set()
    expected = train_head(strategy, config, data, LABELLED, seed=0)
    checkpoint = Checkpoint(tmp_path / "head.checkpoint", "job", every=0)
    with stop_after(iterations, monkeypatch), pytest.raises(StoppedError):
        train_head(strategy, config, data, LABELLED, seed=0, checkpoint=checkpoint)
    found = train_head(strategy, config, data, LABELLED, seed=0, checkpoint=checkpoint)
    assert same(found.head, expected.head)
    assert same(found.detector, expected.detector)
    assert found.history == expected.history


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_head_is_read_as_it_was_written(tmp_path, strategy):
    head, detector, _ = train_head(strategy, config_of(), square_set(), LABELLED, seed=0)
    save_head(head, tmp_path / "head.safetensors")
    read = load_head(tmp_path / "head.safetensors", strategy, detector)
    assert same(read, head)
    assert not read.training
    other = STRATEGIES[STRATEGIES.index(strategy) - 1]
    with pytest.raises(InputError, match=f"does not contain the head of {other} on this detector (?s:.*); delete it"):
        load_head(tmp_path / "head.safetensors", other, detector)
    with pytest.raises(InputError, match=r"none.safetensors: .*; run the step `head`"):
        load_head(tmp_path / "none.safetensors", strategy, detector)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_with_a_head_chooses_the_budget_and_the_same_again(strategy):
    query = query_with_head(squares_query(), strategy)
    choice, again = choose(strategy, query), choose(strategy, query)
    assert len(set(choice.rows.tolist())) == 4
    assert choice.rows.tolist() == again.rows.tolist()
    assert choice.scores.tolist() == again.scores.tolist()
    assert choice.forward_passes == 7
    other = choose(strategy, query_with_head(replace(query, cycle=1), strategy))
    assert other.scores.tolist() != choice.scores.tolist()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("labelled", [1, 3])
def test_labelled_images_without_a_box_are_no_obstacle(strategy, labelled):
    query = squares_query(labelled=labelled)
    count = len(query.dataset.boxes)
    empty = replace(
        query.dataset, boxes=(np.zeros((0, 4), np.float32),) * count, labels=(np.zeros(0, np.int64),) * count
    )
    assert len(choose(strategy, query_with_head(replace(query, dataset=empty), strategy)).rows) == 4


def test_a_strategy_without_its_head_is_refused():
    query = squares_query()
    given = {"images": query.images, "detector": query.detector}
    with pytest.raises(InputError, match="strategy llal needs head; pass what is missing"):
        select("llal", query.config, query.dataset, query.labelled, 0, **given)
    with pytest.raises(InputError, match="strategy random has no head"):
        train_head("random", config_of(), square_set(), LABELLED, seed=0)


def test_a_loss_that_is_not_finite_is_named(wrapped):
    wrapped("llal", loss=lambda loss: lambda *given: loss(*given) / 0)
    with pytest.raises(StepError, match=r"the loss of the head is .* at iteration 0"):
        train_head("llal", config_of(), square_set(), LABELLED, seed=0)


def test_a_head_with_the_filters_of_the_detector_predicts_what_it_predicts():
    detector = build_detector(SmallSSDConfig(width=64, height=48, channels=4), 3, seed=0).eval()
    own = detector.ssd.head.classification_head.module_list
    _agrees(detector, own)


def test_a_head_on_the_class_maps_of_retinanet_predicts_what_it_predicts():
    detector = build_detector(
        RetinaNetConfig(name="retinanet_resnet50_fpn", canvas=128, weights=None), 3, seed=0
    ).eval()
    _agrees(detector, [detector.retinanet.head.classification_head.cls_logits] * 5)


@torch.no_grad()
def _agrees(detector, convolutions):
    images = torch.rand(2, 3, *detector.size, generator=torch.Generator().manual_seed(0)) * 255
    maps = detector.maps(images)
    expected = detector.predict(maps).logits
    head = AnchorHead(detector.class_maps(maps), detector.anchors_a_cell, torch.zeros(expected.shape[2]))
    for one, other in zip(head.convolutions, convolutions, strict=True):
        one.load_state_dict(other.state_dict())
    torch.testing.assert_close(head(detector.class_maps(maps)), expected)
