"""A project on disk, made by its own commands; what stands in for Snakemake computes its rounds in no time."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from click.testing import CliRunner
from PIL import Image

from mgral.artefacts.files import read_json, write_json
from mgral.cli.tools.project import command
from mgral.config import load_config
from mgral.data.formats.snapshot import PICTURES, load_chunk, load_snapshot
from mgral.errors import InputError, StepError

SIZE = (48, 36)
LEDGER, SETTINGS = "ledger.jsonl", "project.yaml"
FOUND = [4.0, 5.0, 20.0, 10.0]
"""The box that the detector finds in every picture, x, y, width, height."""


def photos(folder: Path, count: int, first: int = 1) -> Path:
    """Write pictures that differ, p1.png and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        pixels = np.random.default_rng(number).integers(0, 255, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"p{number}.png")
    return folder


def run(*words: str | Path, fails: int | None = 0) -> str:
    """Run a command of `mgral project` and return what it says; another exit code than is meant fails the test.

    None stands for any code.
    """
    done = CliRunner().invoke(command, [str(word) for word in words])
    error = done.exception
    if isinstance(error, InputError | StepError):  # which `mgral.cli.main` makes messages of
        code, said = 2 if isinstance(error, InputError) else 1, f"{done.output}mgral: {error}"
    elif error is None or isinstance(error, SystemExit):
        code, said = done.exit_code, done.output
    else:
        raise error
    assert fails is None or code == fails, said
    return said


def start(folder: Path, *options: str | Path, count: int = 30, budget: int = 20, batch: int = 4) -> Path:
    """Make a project of new pictures with the classes car and dog, and return its folder."""
    project = folder / "mine"
    classes = [] if "--classes" in options or "--labels" in options else ["--classes", "car,dog"]
    pictures = photos(folder / "photos", count)
    run("init", project, "--pictures", pictures, *classes, "--budget", budget, "--batch", batch, *options)
    return project


def set_key(project: Path, /, **values: Any) -> None:
    """Change settings of a project, as a person would in its file."""
    path = project / SETTINGS
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))


def refused(project: Path, *words: str | Path) -> str:
    """Run a command that is to be refused, and check that the ledger stays."""
    before = (project / LEDGER).read_bytes()
    said = run(*words, "--folder", project, fails=2)
    assert (project / LEDGER).read_bytes() == before
    return said


def compute(folder: Path, configfile: Path, **_: Any) -> None:
    """Write what Snakemake would have made of a round: the first pictures of the pool, and a box in each."""
    config = load_config(folder / configfile)
    name = config.experiment
    snapshot = load_snapshot(folder / name / "snapshot.json")
    known = [one.id for digest in snapshot.chunks for one in load_chunk(folder / PICTURES / f"{digest}.json")]
    taken = {one.id for one in (*snapshot.labelled, *snapshot.audit)} | set(snapshot.left_out)
    chosen = [image for image in known if image not in taken][: config.budget]
    results, (seed,), (strategy,) = folder / "results" / name, config.seeds, config.strategies
    scores = [float(len(chosen) - place) for place in range(len(chosen))]
    query = results / f"seed{seed}" / "strategies" / strategy / "cycle0"
    query.mkdir(parents=True, exist_ok=True)
    drawn = [image for image in known if image not in taken][config.budget - 1 :][: snapshot.controls]
    controls = {"controls": drawn} if drawn else {}  # the first of them is chosen too
    write_json(query / "selection.json", {"images": chosen, "scores": scores, **controls})
    if not snapshot.labelled:
        return
    label = snapshot.classes[0][0]
    write_json(
        results / "prelabels.json",
        [{"image_id": image, "category_id": label, "bbox": FOUND, "score": 0.9} for image in chosen],
    )
    (results / "dataset").mkdir(exist_ok=True)
    test = {
        "images": [{"id": one.id} for one in snapshot.audit],
        "annotations": [
            {"image_id": one.id, "category_id": box[4], "bbox": [*box[:4]]}
            for one in snapshot.audit
            for box in one.boxes
        ],
        "categories": [{"id": number, "name": name} for number, name in snapshot.classes],
    }
    write_json(results / "dataset" / "test.json", test)
    pairs = [{"test": one.id, "train": chosen[0], "difference": 1.0} for one in snapshot.audit[:1]]
    groups = {"groups": [], "pairs": pairs, "test_images": len(snapshot.audit), "flat_test_images": 0}
    write_json(results / "dataset" / "groups.json", groups)
    if snapshot.audit:
        detector = results / f"seed{seed}" / "initial" / "cycle0"
        detector.mkdir(parents=True, exist_ok=True)
        write_json(detector / "detections.json", [{**one, "score": 0.9} for one in test["annotations"]])
        ap50, mean = (0.5, 0.25) if test["annotations"] else (None, None)
        write_json(
            detector / "metrics.json", {"ap50": ap50, "map": mean, "per_class": [{"name": "car", "map": mean}]}
        )


def coco_labels(path: Path, labels: dict[str, Sequence[tuple[float, float, float, float, str]]]) -> Path:
    """Write labels by file as COCO JSON."""
    names = sorted({box[4] for boxes in labels.values() for box in boxes})
    images = [
        {"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]}
        for number, name in enumerate(labels, 1)
    ]
    annotations = [
        {"id": 100 * number + place, "image_id": number, "bbox": [*box[:4]], "category_id": 1 + names.index(box[4])}
        for number, boxes in enumerate(labels.values(), 1)
        for place, box in enumerate(boxes)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def answered(project: Path, number: int, **options: Any) -> Path:
    """Write what people say to the tasks of a round, as Label Studio exports it: a car in each picture."""
    from people import answer

    tasks = project / f"round{number}" / "tasks" / "label_studio" / "label_studio.json"
    stems = {Path(task["data"]["image"]).stem for task in read_json(tasks)}
    export = project.parent / f"round{number}.json"
    boxes = options.pop("boxes", [(2.0, 3.0, 20.0, 10.0, "car")])
    answer(tasks, export, dict.fromkeys(stems, boxes), dict.fromkeys(stems, SIZE), **options)
    return export
