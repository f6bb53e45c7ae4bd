"""The benchmark of push and pull: people who label what is true, and a real Label Studio at sizes of a moment."""

import pytest
import yaml
from click.testing import CliRunner
from installed_command import SETTINGS, SIZE, truth, write_photos
from slow import full

from benchmarks import label_studio
from benchmarks.__main__ import benchmarks
from benchmarks.label_studio_people import corrected, read_truth, region_of
from benchmarks.label_studio_server import READY
from mgral.artefacts.files import write_json
from mgral.errors import InputError


@pytest.fixture(autouse=True)
def _token_for_the_test_alone(monkeypatch):
    """The commands set it for those that they run."""
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "")


needs_label_studio = pytest.mark.skipif(not READY.exists(), reason="no Label Studio: make label-studio installs it")


def region(x, label="car", name="t"):
    return region_of([x, 20.0, 40.0, 10.0], label, (200, 50), name)


def test_a_region_is_percent_of_the_picture():
    value = region(30.0)["value"]
    assert [value[key] for key in ("x", "y", "width", "height")] == [15.0, 40.0, 20.0, 20.0]


def test_people_leave_what_is_nearly_right_and_draw_the_rest_anew():
    near, far, other = region(31.0, name="near"), region(35.0, name="far"), region(100.0, "dog", name="other")
    true = [region(30.0), region(100.0)]
    assert corrected([far, near, other], true) == ([near, true[1]], 1)  # 39 of 41 pixels are shared, then 35 of 45
    assert corrected([near, near], [region(30.0)] * 3) == ([near, near, region(30.0)], 2)
    assert corrected([near], []) == ([], 0)


def test_labels_are_read_by_the_stems_of_the_files(tmp_path):
    image = {"id": 3, "file_name": "sub/a.jpg", "width": 200, "height": 50}
    box = {"id": 8, "image_id": 3, "category_id": 5, "bbox": [30, 20, 40, 10]}
    write_json(
        tmp_path / "a.json",
        {"images": [image], "annotations": [box], "categories": [{"id": 5, "name": "car"}, {"id": 1, "name": "dog"}]},
    )
    found = read_truth(tmp_path / "a.json")
    assert (found.classes, found.sizes) == (["car", "dog"], {"a": (200, 50)})
    assert found.regions == {"a": [region(30, name="t8")]}


def test_without_label_studio_the_command_says_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(label_studio, "READY", tmp_path / "ready")
    done = CliRunner().invoke(
        benchmarks, ["label_studio", "speed", str(tmp_path), "--output", str(tmp_path / "a.md")]
    )
    assert isinstance(done.exception, InputError)
    assert "make label-studio" in str(done.exception)


@full
@needs_label_studio
@pytest.mark.timeout(1800)
def test_rounds_of_a_moment(tmp_path):
    write_photos(tmp_path / "photos")
    names = [path.stem for path in (tmp_path / "photos").iterdir()]
    boxes = truth(set(names))
    labels = tmp_path / "labels.json"
    write_json(
        labels,
        {
            "images": [
                {"id": place, "file_name": f"{name}.png", "width": SIZE, "height": SIZE}
                for place, name in enumerate(names)
            ],
            "annotations": [
                {"id": place, "image_id": place, "category_id": 1, "bbox": boxes[name][0][:4]}
                for place, name in enumerate(names)
            ],
            "categories": [{"id": 1, "name": "square"}],
        },
    )
    settings, page = tmp_path / "settings.yaml", tmp_path / "page.md"
    settings.write_text(yaml.safe_dump(SETTINGS))
    words = ["label_studio", "rounds", str(tmp_path / "here"), "--pictures", str(tmp_path / "photos")]
    words += ["--labels", str(labels), "--rounds", "2", "--batch", "20", "--budget", "40"]
    done = CliRunner().invoke(
        benchmarks, [*words, "--settings", str(settings), "--output", str(page)], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    rows = [line.split(" | ") for line in page.read_text().splitlines() if line.startswith(("| 1 |", "| 2 |"))]
    # Of 28 tasks, 8 of them the audit set, the 20th is skipped and the 25th is a draft.
    assert [row[1:6] for row in rows] == [["28", "26", "0", "1", "1"], ["12", "12", "0", "0", "0"]]


@full
@needs_label_studio
@pytest.mark.timeout(1800)
def test_all_commands_are_timed(tmp_path):
    page = tmp_path / "page.md"
    words = ["label_studio", "speed", str(tmp_path / "here"), "--tasks", "60", "--output", str(page)]
    done = CliRunner().invoke(benchmarks, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert page.read_text().count("\n| `") == 7  # commands
