"""The DETR family behind one wrapper: its own detections and losses, checkpoint folders, exact reruns, refusals."""

import shutil

import pytest
import torch
from any_detector import differing, found_in_squares, resumed, trained
from checkpoint_folder import change_json, write_checkpoint
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from slow import full, slow

from mgral.artefacts.files import write_json
from mgral.cli.main import mgral
from mgral.config import config_yaml, load_config, resolve_config
from mgral.engine import needs, workflow
from mgral.errors import InputError
from mgral.models.build import build_detector, load_detector, random_detector, save_detector
from mgral.models.detectors.transformers import FAMILIES, TransformersConfig
from mgral.models.interface import Targets
from mgral.models.suppression import Limits
from mgral.models.transformers_detector import load_checkpoint

FAST = ("rt_detr_v2", "detr")
SOFTMAX = ("detr", "table-transformer", "yolos")
KINDS = [pytest.param(kind, marks=() if kind in FAST else slow) for kind in FAMILIES]
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Checkpoint folders by model type, each written once and not to be changed."""
    folders = {}

    def written(kind):
        if kind not in folders:
            folders[kind] = write_checkpoint(tmp_path_factory.mktemp("checkpoint") / kind, kind)
        return folders[kind]

    return written


def settings(folder, kind="rt_detr_v2", **changed) -> TransformersConfig:
    side = 112 if kind == "rf_detr" else 64
    return TransformersConfig(name="transformers", checkpoint=str(folder), width=side, height=side, **changed)


def images(detector) -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, *detector.size), generator=torch.Generator().manual_seed(1)).byte()


@every_kind
@torch.no_grad()
def test_it_finds_what_the_familys_own_processing_finds(kind, folder_of):
    """Scores, classes and boxes in pixels, by the formulas of `post_process_object_detection`."""
    detector = random_detector(settings(folder_of(kind), kind), 3, seed=0).eval()
    shown, generator = images(detector), torch.Generator().manual_seed(0)
    detector.model.load_state_dict(  # scores that differ
        {
            name: one + 0.1 * torch.randn(one.shape, generator=generator) if "class" in name else one
            for name, one in detector.model.state_dict().items()
        }
    )
    features, found = detector.features_and_detections(shown, Limits(0.01, 0.5, 10))
    predicted = detector.model(pixel_values=detector._normalised(shown))
    assert features.shape[0] == 2
    assert torch.isfinite(features).all()
    torch.testing.assert_close(detector.features(shown), features)
    height, width = detector.size
    for image, one in enumerate(found):
        logits = predicted.logits[image]
        scores = logits.softmax(-1)[:, :-1] if kind in SOFTMAX else logits.sigmoid()
        pairs = [(score.item(), query, label) for query, row in enumerate(scores) for label, score in enumerate(row)]
        if kind in SOFTMAX:
            pairs = [max(pair for pair in pairs if pair[1] == query) for query in range(len(scores))]
        best = sorted((pair for pair in pairs if pair[0] > 0.01), reverse=True)[:10]
        assert len(one.boxes) == len(best) > 2
        torch.testing.assert_close(one.scores, torch.tensor([score for score, _, _ in best]))
        torch.testing.assert_close(scores[one.sources, one.labels], one.scores)
        assert len(set(zip(one.sources.tolist(), one.labels.tolist(), strict=True))) == len(best)
        if kind in SOFTMAX:
            assert torch.equal(one.labels, scores[one.sources].argmax(1))
        x, y, w, h = predicted.pred_boxes[image][one.sources].unbind(1)
        expected = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1) * torch.tensor([width, height] * 2)
        torch.testing.assert_close(one.boxes, expected.clamp(min=0, max=width), atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(one.distributions.sum(1), torch.ones(len(best)))
        for row, (query, label, score) in enumerate(zip(one.sources, one.labels, one.scores, strict=True)):
            if kind in SOFTMAX:  # `no object` is the background
                assert one.distributions[row, 0] == pytest.approx(logits[query].softmax(0)[-1].item(), abs=1e-6)
                assert one.distributions[row, label + 1] == pytest.approx(score.item(), abs=1e-6)
            else:  # as far from the background as the sigmoid says
                odds = one.distributions[row, label + 1] / one.distributions[row, 0]
                assert odds == pytest.approx((score / (1 - score)).item(), rel=1e-3)


@every_kind
def test_the_loss_is_the_models_and_images_may_be_empty(kind, folder_of):
    detector = random_detector(settings(folder_of(kind), kind), 3, seed=0).train()
    height, width = detector.size
    one_box = Targets(torch.tensor([[[8.0, 16, 40, 48]], [[0.0, 0, 0, 0]]]), torch.tensor([[2], [-1]]))
    torch.manual_seed(0)
    found = detector(images(detector), one_box)["loss"]
    labels = [
        {
            "class_labels": torch.tensor([2]),
            "boxes": torch.tensor([[24 / width, 32 / height, 32 / width, 32 / height]]),
        },
        {"class_labels": torch.zeros(0, dtype=torch.int64), "boxes": torch.zeros(0, 4)},
    ]
    torch.manual_seed(0)
    expected = detector.model(pixel_values=detector._normalised(images(detector)), labels=labels).loss
    torch.testing.assert_close(found, expected)
    none = Targets(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64))
    empty = detector(images(detector), none)["loss"]
    assert torch.isfinite(empty)
    empty.backward()


@pytest.mark.parametrize(
    ("kind", "iterations"),
    [(FAST[0], 2), *(pytest.param(kind, 6, marks=slow if kind in FAST else full) for kind in FAMILIES)],
)
def test_trainings_give_the_same_bytes_also_from_a_checkpoint(kind, iterations, folder_of, tmp_path, monkeypatch):
    """Denoising queries are drawn from torch's global generator, which is elsewhere when the training goes on."""
    config = settings(folder_of(kind), kind)
    first, history = trained(config, iterations)
    second, again = resumed(config, iterations, tmp_path / "checkpoint", monkeypatch)
    assert history == again
    assert differing(first, second) == []
    found = found_in_squares(first, config)
    assert found == found_in_squares(second, config)
    assert found
    save_detector(first, tmp_path / "d.safetensors")
    assert differing(first, load_detector(tmp_path / "d.safetensors", config, 1)) == []


@full
@pytest.mark.parametrize("kind", FAMILIES)
def test_half_precision_trains(kind, folder_of):
    config = settings(folder_of(kind), kind)
    _, history = trained(config, 2, precision="bfloat16")
    _, exact = trained(config, 1)
    assert history[0]["loss"] == pytest.approx(exact[0]["loss"], rel=0.02)


def test_the_backbone_has_its_own_learning_rate(folder_of):
    config = resolve_config({"detector": settings(folder_of("rt_detr_v2")).model_dump(mode="json")})
    assert (config.training.learning_rate, config.training.backbone_rate) == (1e-4, 0.1)
    detector = random_detector(config.detector, 1, seed=0)
    slower = {id(one) for one in detector.model.model.backbone.parameters()}
    for group in detector.parameter_groups(config.training):
        assert {id(one) in slower for one in group["params"]} == {group["lr"] < 1e-4}


def test_later_steps_need_no_folder(folder_of, tmp_path):
    """The architecture is in config.yaml: weights are loaded, and others drawn, where there is no checkpoint."""
    folder = tmp_path / "folder"
    shutil.copytree(folder_of("rt_detr_v2"), folder)
    config = resolve_config({"detector": {"name": "transformers", "checkpoint": str(folder)}})
    (tmp_path / "config.yaml").write_bytes(config_yaml(config))
    shutil.rmtree(folder)
    loaded = load_config(tmp_path / "config.yaml")
    assert config_yaml(loaded) == config_yaml(config)
    detector = random_detector(loaded.detector, 2, seed=0)
    save_detector(detector, tmp_path / "d.safetensors")
    assert differing(detector, load_detector(tmp_path / "d.safetensors", loaded.detector, 2)) == []


def test_another_architecture_is_another_setting(folder_of, tmp_path):
    shutil.copytree(folder_of("detr"), tmp_path, dirs_exist_ok=True)
    given = {"detector": {"name": "transformers", "checkpoint": str(tmp_path)}}
    before = workflow.depends_on(resolve_config(given), "detector")
    change_json(tmp_path / "config.json", transformers_version="5.0.0", id2label={"0": "cat"})
    assert workflow.depends_on(resolve_config(given), "detector") == before
    change_json(tmp_path / "config.json", decoder_layers=3)
    assert workflow.depends_on(resolve_config(given), "detector") != before


@pytest.mark.parametrize("kind", FAST)
def test_the_step_weights_brings_a_checkpoint_to_the_classes_of_the_data(kind, folder_of, tmp_path):
    """All but what depends on the number of classes is the folder's."""
    config = resolve_config({"detector": settings(folder_of(kind)).model_dump(mode="json")})
    (tmp_path / "config.yaml").write_bytes(config_yaml(config))
    truth = {"images": [], "annotations": [], "categories": [{"id": 7, "name": "a"}, {"id": 9, "name": "b"}]}
    write_json(tmp_path / "train.json", truth)
    paths = {"config": "config.yaml", "dataset": "train.json", "output": "weights.safetensors"}
    options = [text for name, path in paths.items() for text in (f"--{name}", str(tmp_path / path))]
    done = CliRunner().invoke(mgral, ["weights", *options], catch_exceptions=False)
    assert done.exit_code == 0
    assert "note: loaded" in done.stderr
    assert ": other shape (" in done.stderr
    import transformers as package

    detector = build_detector(config.detector, 2, seed=3, weights=tmp_path / "weights.safetensors")
    theirs, report = package.AutoModelForObjectDetection.from_pretrained(
        folder_of(kind), num_labels=2, ignore_mismatched_sizes=True, output_loading_info=True
    )
    tensors, own = theirs.state_dict(), detector.model.state_dict()
    classes = {name for name, _, _ in report["mismatched_keys"]}
    anew = {name for name, one in own.items() if not torch.equal(one, tensors[name])}
    # Two names may stand for one tensor, of which transformers reports one; new biases are the same constants.
    assert {name.removeprefix("model.decoder.") for name in anew} == {
        name.removeprefix("model.decoder.") for name in classes if name.endswith("weight")
    }
    drawn = random_detector(config.detector, 2, seed=3).model.state_dict()
    assert all(torch.equal(own[name], drawn[name]) for name in anew)


def test_normalisation_is_the_folders_or_the_familys(folder_of, tmp_path):
    assert settings(folder_of("rt_detr_v2")).mean == (0, 0, 0)
    assert settings(folder_of("detr")).deviation == (0.229, 0.224, 0.225)
    shutil.copytree(folder_of("rt_detr_v2"), tmp_path, dirs_exist_ok=True)
    write_json(
        tmp_path / "preprocessor_config.json",
        {"do_normalize": True, "image_mean": [0.5, 0.5, 0.25], "image_std": [0.5, 0.5, 0.5]},
    )
    config = settings(tmp_path)
    assert (config.mean, config.deviation) == ((0.5, 0.5, 0.25), (0.5, 0.5, 0.5))
    assert settings(tmp_path, mean=(0.0, 0.0, 0.0)).mean == (0, 0, 0)
    white = torch.full((1, 3, 64, 64), 255).byte()
    assert random_detector(config, 1, seed=0)._normalised(white)[0, :, 0, 0].tolist() == [1, 1, 1.5]


def test_what_is_no_checkpoint_folder_is_refused(folder_of, tmp_path):
    def refusal(**given):
        with pytest.raises(InputError) as refused:
            resolve_config({"detector": {"name": "transformers", "checkpoint": str(tmp_path), **given}})
        return str(refused.value)

    assert "config.json: No such file or directory; name a folder with config.json and" in refusal()
    (tmp_path / "config.json").write_text("{")
    assert "config.json is not JSON" in refusal()
    write_json(tmp_path / "config.json", {"model_type": "bert"})
    assert "is of the model type bert; choose a detector of one of these: rt_detr, rt_detr_v2, d_fine" in refusal()
    write_json(tmp_path / "config.json", {"model_type": "rf_detr"})
    assert "detector.width: rf_detr takes multiples of 56; choose 616 or 672" in refusal()
    assert "detector.height: rf_detr takes multiples of 56" in refusal(width=560)
    shutil.copytree(folder_of("rt_detr_v2"), tmp_path, dirs_exist_ok=True)
    assert "detector.width: rt_detr_v2 takes multiples of 32; choose 96 or 128" in refusal(width=100)


def test_what_is_missing_is_refused_before_the_first_job(folder_of, tmp_path, monkeypatch):
    shutil.copytree(folder_of("rt_detr_v2"), tmp_path, dirs_exist_ok=True)
    given = {"name": "transformers", "checkpoint": str(tmp_path)}
    needs.check_detector(resolve_config({"detector": given}))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"there is no file .*/model\.safetensors; correct"):
        needs.check_detector(resolve_config({"detector": given}))
    needs.check_detector(resolve_config({"detector": given | {"weights": None}}))
    monkeypatch.setattr(needs, "find_spec", lambda _: None)
    with pytest.raises(InputError) as refused:
        needs.check_detector(resolve_config({"detector": given}))
    assert "needs the package transformers, which is not installed; install it beside mgral" in str(refused.value)
    assert "model.safetensors" in str(refused.value)


def test_weights_of_another_architecture_are_refused(folder_of, tmp_path):
    from mgral.models.transformers_detector import load_checkpoint

    shutil.copytree(folder_of("rt_detr_v2"), tmp_path, dirs_exist_ok=True)
    held = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: one for name, one in held.items() if "backbone" not in name},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(InputError, match=r"model\.safetensors lacks \d+ of the weights that config\.json asks for"):
        load_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("changed", [{"d_model": "no"}, {"d_model": 7}, {"backbone_config": {"model_type": "bogus"}}])
def test_an_architecture_that_cannot_be_built_is_refused(changed, folder_of, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(folder_of("rt_detr_v2"), folder)
    change_json(folder / "config.json", **changed)
    with pytest.raises(InputError, match=r"copy/config\.json describes no rt_detr_v2 that can be built \(.+\); copy"):
        random_detector(settings(folder), 3, seed=0)


def test_weights_of_other_sizes_than_the_architecture_are_refused(folder_of, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(folder_of("rt_detr_v2"), folder)
    change_json(folder / "config.json", d_model=128)
    with pytest.raises(InputError, match=r"\(sizes in model\.safetensors are not those of config\.json\); copy"):
        load_checkpoint(folder)
