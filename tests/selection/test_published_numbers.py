"""The strategies on made-up inputs, compared with the numbers of the authors' code; see `golden/README.md`."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mgral.config import EvaluationConfig
from mgral.models.interface import DenseModel, Predictions
from mgral.models.quality import DECAY, ClassQuality
from mgral.models.suppression import Found
from mgral.selection.medoids import k_medoids
from mgral.selection.query import highest
from mgral.selection.similarity import UNMATCHED, Boxes, image_distances
from mgral.selection.strategies import al_ssl, cald, cdal, cdal_by_class, llal, meh_hua, ppal
from mgral.selection.strategies.al_mdn import NO_OBJECT, most_uncertain, uncertainties
from mgral.selection.strategies.core_set import k_centre_greedy
from mgral.selection.strategies.flip_consistency import inconsistency
from mgral.selection.strategies.head_discrepancy import discrepancy
from mgral.training.consistency import prediction_distance


def numbers(name):
    return json.loads((Path(__file__).parent / "golden" / f"{name}.json").read_text(encoding="utf-8"))


def cases(name):
    """Return parameters of a test: one for each case."""
    return pytest.mark.parametrize("case", numbers(name)["cases"])


def objects(distributions, boxes=None, labels=None):
    """Return the boxes found, of each the distribution with the background first."""
    told = torch.tensor(distributions)
    told = told if len(told) else torch.zeros(0, 2)
    scores, likeliest = told[:, 1:].max(1)
    lie = torch.zeros(len(told), 4) if boxes is None else torch.tensor(boxes).reshape(-1, 4)
    return Found(lie, scores, likeliest if labels is None else labels, told, torch.arange(len(told)))


def ssd(decode=lambda offsets: offsets, maps=()):
    """Return what strategies ask of an SSD, given how it decodes offsets and the anchors of its maps."""
    detector = SimpleNamespace(
        anchors_a_map=maps,
        boxes=decode,
        class_probabilities=lambda logits: logits.softmax(-1),
        class_scores=lambda logits: logits.softmax(-1)[..., 1:],
    )
    detector.find = partial(DenseModel.find, detector)
    return detector


@cases("core_set")
def test_core_set(case):
    features = np.array(case["features"], np.float32)
    rows = np.setdiff1d(np.arange(len(features)), case["labelled"])
    choice = k_centre_greedy(features[rows], features[case["labelled"]], case["budget"])
    assert rows[choice.rows].tolist() == case["published"]
    assert choice.scores == pytest.approx(case["distances"], rel=1e-6)


@cases("ppal_stage1")
def test_ppal_uncertainties(case):
    weights = ppal.class_weights(torch.tensor(case["quality"], dtype=torch.float64))
    assert weights.tolist() == pytest.approx(case["weights"], abs=1e-7)
    found = []
    for image in case["images"]:
        boxes = torch.tensor(image["boxes"]).reshape(-1, 4)
        inside = torch.minimum(boxes.view(-1, 2, 2), torch.tensor(case["size"]))
        labels = torch.tensor(image["labels"], dtype=torch.int64)
        scores = torch.tensor(image["scores"])
        one = Found(boxes, scores, labels, torch.zeros(len(boxes), 0), torch.arange(len(boxes)))
        found.append(ppal.uncertainty(one, inside[:, 1] - inside[:, 0], weights).item())
    assert found == pytest.approx(case["uncertainties"], rel=1e-6)
    chosen = np.array(case["pool"])[highest(np.array(found), case["budget"])].tolist()
    positive = sum(value > 0 for value in found)
    assert chosen[:positive] == case["chosen"][:positive]


@cases("ppal_stage2")
def test_ppal_distances(case):
    """Images without a box are at distance 0 there, and far from all here."""
    boxes, count = case["boxes"], case["images"]
    images, labels = (torch.tensor([box[name] for box in boxes]) for name in ("image", "label"))
    scores, features = (torch.tensor([box[name] for box in boxes]) for name in ("score", "feature"))
    sums = torch.zeros(count, int(labels.max()) + 1).index_put_((images, labels), scores, accumulate=True)
    distances = image_distances(sums, [Boxes(images, labels, scores, F.normalize(features))])
    published, empty = torch.tensor(case["distances_without_diagonal"]), sums.sum(1) == 0
    expected = torch.where(empty[:, None] | empty, UNMATCHED, published).fill_diagonal_(0)
    # Without a common class theirs are 1.99997.
    torch.testing.assert_close(distances, expected, rtol=0, atol=4e-5)


@cases("ppal_medoids")
def test_ppal_medoids(case):
    assert k_medoids(np.array(case["distances"], np.float32), case["k"]).tolist() == case["published"]


@cases("ppal_quality")
def test_ppal_quality(case):
    """Theirs starts at zero, sinks with each batch that lacks the class, and gives the next one more weight."""
    published, momentum = torch.zeros(case["classes"]), torch.full((case["classes"],), DECAY)
    for batch in case["batches"]:
        quality = ClassQuality(case["classes"])
        quality.update(*(torch.tensor(batch[name]) for name in ("probabilities", "overlaps", "labels")))
        published = momentum * published + (1 - momentum) * quality.values
        momentum = torch.where(quality.batches > 0, DECAY, DECAY * momentum)
    assert published.tolist() == pytest.approx(case["quality"], rel=1e-4)
    assert momentum.tolist() == pytest.approx(case["momentum"], abs=1e-6)


@cases("head_discrepancy")
def test_head_discrepancy(case):
    """Theirs is of sigmoids, and of all outputs: here the background, which never counts, is put before them."""
    both = (F.pad(torch.tensor(case[name]).sigmoid(), (1, 0)) for name in ("first", "second"))
    found = [discrepancy(*heads).item() for heads in zip(*both, strict=True)]
    assert found == pytest.approx(case["published"], rel=2e-6)


def test_cdal():
    given = numbers("cdal")
    mixtures = cdal.mixture(torch.tensor(given["logits"])).numpy()
    np.testing.assert_allclose(mixtures, given["mixtures"], rtol=2e-6)
    published = np.array(given["distances"])
    for labelled, expected in enumerate(published):
        order = [labelled]
        for _ in range(len(mixtures) - 1):
            nearest = published[:, order].min(1)
            order.append(int(nearest.argmax()))
        pool = [image for image in range(len(mixtures)) if image != labelled]
        choice = cdal.choose_diverse(mixtures[[*pool, labelled]], len(pool), len(pool))
        assert [pool[row] for row in choice.rows] == order[1:]
        assert choice.scores[0] == pytest.approx(expected.max(), rel=1e-5)


@cases("cdal_by_class")
def test_cdal_by_class(case):
    """Where images have no class in common they are at distance 0 there, and say nothing here."""
    mixtures = [cdal_by_class.class_mixtures(objects(image)) for image in case["distributions"]]
    found = np.stack([cdal_by_class.distances_from(mixtures)(image) for image in mixtures])
    np.testing.assert_allclose(np.where(np.isinf(found), 0, found), case["distances_sum"], rtol=2e-5, atol=2e-6)
    if not np.isinf(found).any():
        pool, labelled = ([mixtures[image] for image in case[name]] for name in ("pool", "labelled"))
        choice = cdal_by_class.choose_diverse(pool, labelled, case["budget"], len(case["distributions"][0][0]) - 1)
        assert [case["pool"][row] for row in choice.rows] == case["published_chosen_by_sum"]


def test_cald():
    given = numbers("cald")
    published = np.array(given["published_distance"])
    for image in given["images"]:
        views = image["as_it_is"], *image["views"].values()
        plain, *changed = (objects(view["distributions"], view["boxes"]) for view in views)
        moved = [torch.tensor(boxes).reshape(-1, 4) for boxes in image["moved"].values()]
        distances = [cald.distance_to_base(plain, boxes, one) for boxes, one in zip(moved, changed, strict=True)]
        assert np.mean(distances) == pytest.approx(published[image["row"]], abs=2e-7)
        if len(plain.scores):
            scores = [cald.class_scores(one, 4) for one in (plain, *changed)]
            expected = given["published_class_scores"][image["row"]]
            assert torch.stack(scores).mean(0).tolist() == pytest.approx(expected, abs=1e-7)
    candidates = np.argsort(published, kind="stable")[: int(cald.CANDIDATES_PER_CHOSEN * given["budget"])]
    assert candidates.tolist() == given["published_candidates"]


def test_cald_second_stage():
    """By the line that is commented out there: what is chosen counts as labelled."""
    given = numbers("cald")
    scores, counts = (
        torch.tensor(given[name], dtype=torch.float64) for name in ("published_class_scores", "labelled_counts")
    )
    stage = given["second_stage"]
    choice = cald.choose_balanced(scores[stage["candidates"]], counts, stage["budget"])
    assert choice.rows.tolist() == stage["published_rows_with_commented_line"]
    nothing = (scores.sum(1) == 0).nonzero().flatten()
    assert set(cald.choose_balanced(scores, counts, len(nothing)).rows) == set(nothing.tolist())


def consistent(given: dict, image: dict) -> tuple:
    """Return a detector that decodes the offsets of an image's anchors, and what it says, plain and mirrored."""
    priors = torch.tensor(image["priors"]).reshape(-1, 4)

    def decode(offsets: Tensor) -> Tensor:
        centres = priors[:, :2] + 0.1 * offsets[..., :2] * priors[:, 2:]
        halves = priors[:, 2:] * (0.2 * offsets[..., 2:]).exp() / 2
        return torch.cat([centres - halves, centres + halves], dim=-1)

    classes = given["classes"] + 1
    plain, mirrored = (
        Predictions(
            torch.tensor(image[f"{which}logits"]).reshape(1, -1, classes),
            torch.tensor(image[f"{which}offsets"]).reshape(1, -1, 4),
        )
        for which in ("", "mirrored_")
    )
    turned = mirrored.offsets * torch.tensor([-1.0, 1, 1, 1])
    return ssd(decode), plain, mirrored._replace(offsets=turned)


def test_al_ssl():
    given = numbers("al_ssl")
    config = EvaluationConfig(nms_iou=0.5, max_detections=200)
    for image in given["images"]:
        row = image["row"]
        found = al_ssl.inconsistency_and_entropy(*consistent(given, image), config)[:, 0]
        published = [given["al_ssl_consistency"][row], given["al_ssl_entropy"][row]]
        assert found[0].item() == pytest.approx(published[0], rel=1e-5)
        assert found[1].item() / np.log(given["classes"] + 1) == pytest.approx(published[1], rel=1e-5)


def test_al_ssl_choice(monkeypatch):
    """Of the 20 images of the highest entropy there."""
    given = numbers("al_ssl")
    monkeypatch.setattr(al_ssl, "CANDIDATES_PER_CHOSEN", 2)
    scores, entropies = (np.array(given[f"al_ssl_{name}"]) for name in ("consistency", "entropy"))
    assert al_ssl.most_inconsistent(scores, entropies, 10).rows.tolist() == given["al_ssl_combined_chosen"]


def test_consistency():
    """CSD's, on which detectors are trained and by which `flip_consistency` chooses."""
    given = numbers("al_ssl")
    for image in given["images"]:
        detector, plain, mirrored = consistent(given, image)
        by_class = inconsistency(detector, plain, mirrored).item()
        assert by_class == pytest.approx(given["csd_class"][image["row"]], rel=1e-5, abs=1e-7)
        both = prediction_distance(detector, plain, mirrored).item()
        assert both == pytest.approx(given["csd_class_and_box"][image["row"]], rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("batch", numbers("llal")["ranking"])
def test_llal_ranking(batch):
    predicted = torch.tensor(batch["predicted"], requires_grad=True)
    loss = llal.ranking_loss(predicted, torch.tensor(batch["losses"]))
    loss.backward()
    assert loss.item() == pytest.approx(batch["published_loss"], rel=1e-6)
    assert predicted.grad.tolist() == pytest.approx(batch["published_gradient"])


def test_llal_module():
    given = numbers("llal")["module"]
    maps = [torch.tensor(means)[..., None, None].expand(-1, -1, 3, 2) for means in given["map_means"]]
    head = llal.LossPrediction([one.shape[1] for one in maps])
    state = {"output.weight": given["output_weight"], "output.bias": given["output_bias"]}
    for level, (weights, biases) in enumerate(zip(given["layer_weights"], given["layer_biases"], strict=True)):
        state |= {f"layers.{level}.weight": weights, f"layers.{level}.bias": biases}
    head.load_state_dict({name: torch.tensor(values) for name, values in state.items()})
    assert head(maps).tolist() == pytest.approx(given["published_predictions"], rel=1e-5)


def test_al_mdn():
    given = numbers("al_mdn")
    found = []
    for image in given["images"]:
        names = [f"{of}_{what}" for of in ("box", "class") for what in ("means", "variances", "weights")]
        parts = [torch.tensor(image[name]) for name in names]
        outputs = torch.cat(parts, dim=-1).transpose(0, 1).flatten(1) if len(image["labels"]) else torch.zeros(0, 84)
        labels = torch.tensor(image["labels"], dtype=torch.int64)
        found.append(uncertainties(ssd(), outputs, objects(image["probabilities"], labels=labels)))
    for one, expected in zip(found, given["published_objects"], strict=True):
        torch.testing.assert_close(one, torch.tensor(expected).reshape(-1, 4), rtol=1e-5, atol=1e-6)
    published = [score if score > -99999 else NO_OBJECT for score in given["published_scores"]]
    assert most_uncertain(found).tolist() == pytest.approx(published, rel=1e-4)


@pytest.mark.parametrize("image", numbers("meh_hua")["images"])
def test_meh_hua(image):
    """Theirs is the mean of samples: it scatters."""
    detector = ssd(maps=image["anchors"])
    predictions = Predictions(torch.tensor(image["distributions"]).log()[None], torch.tensor(image["boxes"])[None])
    config = EvaluationConfig(nms_iou=0.5, max_detections=200)
    (found,) = meh_hua.anchors_of_objects(detector, predictions, torch.tensor(image["losses"])[None], config)
    alphas = meh_hua.concentrations(found.distributions, found.losses, found.maps)
    value = meh_hua.aggregate(meh_hua.epistemic_uncertainty(alphas), found)
    assert value == pytest.approx(image["published"], rel=0.005)
