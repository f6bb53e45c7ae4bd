"""Command `onnx`: a trained detector as an ONNX file."""

from pathlib import Path

import click

from mgral.artefacts.files import write_bytes
from mgral.cli import options
from mgral.evaluation.trained import find_trained
from mgral.models.onnx_export import check_exportable, export_onnx
from mgral.models.suppression import Limits


@click.command("onnx")
@options.results
@options.repetition
@options.trained_detector
@options.output_option("ONNX file to write.")
def command(results: Path, seed: int | None, place: str | None, output: Path) -> None:
    """Write a detector of an experiment, or of a round of a project, as an ONNX file, which runs without mgral.

    Its input is pictures, its output boxes after non-maximum suppression; docs/use-the-detector.md has a program that
    uses it. The package onnx is needed (docs/install.md).
    """
    trained = find_trained(results, seed, place)
    config = trained.config
    check_exportable(config.detector.name)
    limits = Limits(config.evaluation.score_threshold, config.evaluation.nms_iou, config.evaluation.max_detections)
    names = [category.name for category in trained.categories]
    write_bytes(output, export_onnx(trained.load(), names, limits))
    width, height = config.detector.image_canvas.input_size
    click.echo(
        f"{output}: {config.detector.name} of {trained.folder}, {len(names)} classes, {width} x {height} pixels"
    )
