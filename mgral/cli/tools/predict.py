"""Command `predict`: objects in pictures, found by a trained detector."""

from collections.abc import Iterator
from pathlib import Path

import click

from mgral.artefacts.files import read_json, write_json
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP
from mgral.config import PictureSettings
from mgral.data.findings import Finding, Findings, described
from mgral.data.paths import PICTURES
from mgral.errors import StepError, number_of
from mgral.evaluation.precision import WITHOUT_LABELS, trusted_score
from mgral.evaluation.predict import found_json, predict
from mgral.evaluation.trained import TrainedDetector, find_trained

NOT_THERE = Finding("files or folders are not there", "correct their paths")
NO_PICTURES = Finding(
    "folders contain no pictures", f"name files, or folders with files ending in {' '.join(PICTURES)}"
)


@click.command("predict", epilog=HELP)
@click.argument("pictures", type=click.Path(path_type=Path), nargs=-1, required=True)
@options.results
@options.repetition
@options.trained_detector
@options.output_option("JSON to write: COCO, with a score for each annotation.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    show_default="at which half of the detections in the test images are correct",
    help="Lowest score of an object.",
)
@options.gpus
def command(
    pictures: tuple[Path, ...],
    results: Path,
    seed: int | None,
    place: str | None,
    output: Path,
    threshold: float | None,
    gpus: int,
) -> None:
    """Find objects in pictures (files or folders) with a detector of an experiment, or of a round of a project.

    Boxes are in pixels of the upright original picture. Pictures that cannot be read are left out, and listed at the
    end with exit code 1. OMP_NUM_THREADS=4 uses four cores.
    """
    device, trained = choose_device(gpus), find_trained(results, seed, place)
    paths = _pictures(pictures)
    config = trained.config
    data = config.data
    settings = data if isinstance(data, PictureSettings) else PictureSettings()
    lowest_score = _usual_threshold(trained) if threshold is None else threshold
    changes = {"score_threshold": min(lowest_score, config.evaluation.score_threshold)}
    limits = config.evaluation.model_copy(update=changes)
    network = trained.load(device)
    predicted = predict(network, paths, trained.categories, config.detector.image_canvas, settings, limits)
    coco = found_json(predicted, trained.categories, lowest_score)
    write_json(output, coco)
    objects, images = len(coco["annotations"]), len(coco["images"])
    click.echo(
        f"{output}: {number_of(objects, 'object')} in {number_of(images, 'picture')}, by "
        f"{trained.folder}, of score {lowest_score:g} and more"
    )
    if faults := predicted.findings.faults:
        left_out = sum(map(len, faults.values()))
        raise StepError(
            "\n".join(
                [f"{number_of(left_out, 'picture is', 'pictures are')} left out of {output}", *described(faults, "")]
            )
        )


def _pictures(pictures: tuple[Path, ...]) -> list[Path]:
    """Return pictures given as files, and those in given folders; raises FaultyDataError where there are none."""
    findings = Findings()
    paths: dict[Path, None] = {}
    for path in pictures:
        files = sorted(_pictures_below(path)) if path.is_dir() else [path]
        if not path.exists():
            findings.fault(NOT_THERE, str(path))
        elif not files:
            findings.fault(NO_PICTURES, str(path))
        paths |= dict.fromkeys(files)
    findings.raise_faults("what is named", "")
    return list(paths)


def _pictures_below(folder: Path) -> Iterator[Path]:
    """Yield the pictures in a folder and the folders in it, without hidden ones."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in PICTURES and not hidden and path.is_file():
            yield path


def _usual_threshold(trained: TrainedDetector) -> float:
    """Return the score at which half of what was found in the test images is right; 0.5 where there is none."""
    path = trained.folder / "detections.json"
    score = trusted_score(trained.truth, read_json(path)) if path.is_file() else WITHOUT_LABELS
    return WITHOUT_LABELS if score is None else score
