"""A replay of labels that a project began with, by the installed command and real steps."""

import json

import pytest
import yaml
from installed_command import SETTINGS, SIZE, run, truth, write_photos
from slow import slow


@slow
@pytest.mark.timeout(900)
def test_a_replay_has_a_ranking_and_a_report_and_the_same_command_makes_nothing_anew(tmp_path):
    write_photos(tmp_path / "photos")
    names = [f"p{number}" for number in range(1, 31)]
    boxes = truth(set(names))
    annotations = [
        {"id": place, "image_id": place, "category_id": 1, "bbox": list(boxes[name][0][:4])}
        for place, name in enumerate(names, 1)
    ]
    images = [
        {"id": place, "file_name": f"{name}.png", "width": SIZE, "height": SIZE}
        for place, name in enumerate(names, 1)
    ]
    labels = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "square"}]}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    options = ["--pictures", "photos", "--labels", "labels.json", "--budget", "10", "--batch", "5"]
    run(tmp_path, "project", "init", "mine", *options)
    project = tmp_path / "mine"
    settings = yaml.safe_load((project / "project.yaml").read_text())
    (project / "project.yaml").write_text(yaml.safe_dump(settings | {"settings": SETTINGS}))
    ledger = (project / "ledger.jsonl").read_bytes()
    command = ["project", "replay", "--strategy", "entropy_sum", "--seeds", "1", "--cycles", "1", "--cores", "1"]
    said = run(project, *command)
    # How much a training this short learns depends on the machine.
    assert "learnt almost nothing" in said or "entropy_sum: mean mAP" in said
    assert "there is no audit or test set: 6 labelled pictures are tested on" in said
    report = project / "results" / "replay1" / "report.html"
    assert "entropy_sum" in report.read_text()
    before = report.stat().st_mtime_ns
    assert run(project, *command).splitlines()[-6:] == said.splitlines()[-6:]
    assert report.stat().st_mtime_ns == before
    assert (project / "ledger.jsonl").read_bytes() == ledger
