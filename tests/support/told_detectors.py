"""What stands in for Snakemake where a project compares detectors: they find the objects that they are told of."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mgral.artefacts.files import write_json
from mgral.config import load_config
from mgral.data.formats.project import complete
from mgral.data.formats.snapshot import PICTURES, load_chunk, load_snapshot
from mgral.evaluation.coco import score_detections

TrueBox = tuple[float, float, float, float, str]


class ToldDetectors:
    """Finds in each picture the objects that it is told of, by the picture's name, with a score of 0.9.

    Of the audit set the part of the pictures that its skill says, from the images that it has learnt.
    """

    def __init__(
        self, objects: Mapping[str, Sequence[TrueBox]], skill: Callable[[set[int]], float] = lambda _: 1.0
    ) -> None:
        self.objects, self.skill = objects, skill
        self.runs: list[str] = []
        """The experiments that were run."""

    def __call__(self, folder: Path, configfile: Path, *, options: Sequence[str] = (), **_: Any) -> None:
        """Write what is asked for, in the place of `run_snakemake`."""
        config = load_config(folder / configfile)
        name = config.experiment
        self.runs.append(name)
        results, snapshot = folder / "results" / name, load_snapshot(folder / name / "snapshot.json")
        pictures = {
            one.id: one for chunk in snapshot.chunks for one in load_chunk(folder / PICTURES / f"{chunk}.json")
        }
        numbers = {label: number for number, label in snapshot.classes}
        splits = {"train": complete(snapshot.labelled), "test": complete(snapshot.audit)}
        for split, labelled in splits.items():
            annotations = [
                {"image_id": one.id, "category_id": box[4], "bbox": [*box[:4]], "area": box[2] * box[3], "iscrowd": 0}
                for one in labelled
                for box in one.boxes
            ]
            images = [
                {"id": one.id, "file_name": pictures[one.id].file, "width": 48, "height": 36} for one in labelled
            ]
            content = {
                "images": images,
                "annotations": [{**one, "id": place} for place, one in enumerate(annotations, 1)],
                "categories": [{"id": number, "name": label} for number, label in snapshot.classes],
            }
            write_json(results / "dataset" / f"{split}.json", content)

        def found(images: Sequence[int]) -> list[dict[str, Any]]:
            return [
                {"image_id": image, "category_id": numbers[label], "bbox": [*box], "score": 0.9}
                for image in images
                for *box, label in self.objects.get(Path(pictures[image].file).name, ())
                if label in numbers
            ]

        for target in options:
            path = folder / target
            seed = next((int(part[4:]) for part in path.parts if part.startswith("seed")), 0)
            if path.name == "held_out.json":
                write_json(path, found(snapshot.without[seed]))
            elif path.name == "metrics.json":
                learnt = {one.id for one in splits["train"]} - set(snapshot.not_learnt(seed))
                audit = [one.id for one in splits["test"]]
                detections = found(audit[: round(self.skill(learnt) * len(audit))])
                write_json(path.with_name("detections.json"), detections)
                write_json(path, score_detections(content, detections, audit))
