"""The benchmark of a project with a large pool, at sizes of a moment."""

import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from slow import full

from benchmarks.__main__ import benchmarks
from benchmarks.pool import CLASSES, COPIED, make_pictures, measure, objects, write_answers
from mgral.artefacts.files import read_json, write_json


def test_pictures_differ_but_for_near_copies_and_are_kept(tmp_path):
    make_pictures(tmp_path, COPIED + 1)
    files = sorted(tmp_path.iterdir())
    assert len({file.read_bytes() for file in files}) == len(files) == COPIED + 1
    original, copy, other = (np.asarray(Image.open(file)).astype(int) for file in files[-3:])
    assert np.abs(copy - original).mean() < 4
    assert np.abs(other - original).mean() > 20
    files[0].write_bytes(b"mine")
    make_pictures(tmp_path, COPIED + 1)
    assert files[0].read_bytes() == b"mine"


def test_answers_are_what_is_in_the_pictures(tmp_path):
    tasks = {
        "info": {"mgral_project": "mine"},
        "images": [{"id": 4, "file_name": "p000007.jpg"}, {"id": 9, "file_name": "p000050.jpg"}],
        "annotations": [{"id": 1, "image_id": 4, "category_id": 1, "bbox": [0, 0, 1, 1]}],
        "categories": [{"id": 2, "name": "square"}, {"id": 1, "name": "bar"}],
    }
    write_json(tmp_path / "tasks.json", tasks)
    write_answers(tmp_path / "tasks.json", tmp_path / "answers.json")
    answers = read_json(tmp_path / "answers.json")
    names = {1: "bar", 2: "square"}
    found = [(one["image_id"], one["bbox"], names[one["category_id"]]) for one in answers["annotations"]]
    assert found == [(image, [*box], CLASSES[one]) for image, n in ((4, 7), (9, 50)) for box, one in objects(n)]
    assert objects(50) == objects(49)
    assert answers["info"] == tasks["info"]


def test_memory_of_a_command_is_that_of_all_its_processes(tmp_path):
    child = "import sys, time; held = bytearray(100_000_000); time.sleep(1)"
    both = f"import subprocess, sys; held = bytearray(100_000_000); subprocess.run([sys.executable, '-c', {child!r}])"
    cost = measure([sys.executable, "-c", both], tmp_path)
    assert cost.seconds > 1 > cost.processor_seconds > 0
    assert 200 < cost.memory_mb < 260
    with pytest.raises(subprocess.CalledProcessError):
        measure([sys.executable, "-c", "exit(3)"], tmp_path)


@full
def test_two_rounds_become_a_page(tmp_path):
    page = tmp_path / "page.md"
    run = ["pool", str(tmp_path), "--images=60", "--batch=5", f"--output={page}"]
    assert CliRunner().invoke(benchmarks, run, catch_exceptions=False).exit_code == 0
    text = page.read_text()
    assert "learns\nfrom 5 pictures" in text
    commands, jobs = ([line.split(" | ") for line in part.splitlines()[4:]] for part in text.split("\n## ")[1:])
    rows = [line for line in commands if line[0].startswith("| `")]
    assert [row[0].split("`")[1] for row in rows] == [
        *("init", "next", "import", "status", "scan", "next", "export", "dvc")
    ]
    assert all(float(number) > 0 for row in rows for number in (row[1], row[2], row[3].strip(" |")))
    steps = [(row[0], row[1]) for row in jobs if row[0] in ("| 1", "| 2")]
    assert ("| 1", "`pictures`") in steps
    assert ("| 2", "`pictures`") not in steps
    assert {"`embed`", "`select`", "`prelabels`", "`groups`"} <= {step for _, step in steps}
    assert "`detector`" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.md", "pictures60"]
