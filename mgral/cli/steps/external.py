"""Step `external`: a detector of the user's own for a cycle, by the command `detector.command`."""

from pathlib import Path

import click

from mgral.artefacts.files import read_json, write_arrays
from mgral.artefacts.seeds import derive_seed
from mgral.cli import options
from mgral.cli.found import show_repairs
from mgral.compute.gpus import HELP, only_cpu
from mgral.config import ProjectData, load_config
from mgral.data.pictures import with_places
from mgral.data.read import data_folder
from mgral.engine.container import picture_roots, shell_inside
from mgral.engine.workflow import depends_on
from mgral.errors import InputError
from mgral.models.detectors.external import ExternalConfig
from mgral.selection.pool import load_labelled
from mgral.training.external import clear_scratch, input_lists, read_output, run_command, scratch_name


@click.command("external", epilog=HELP)
@options.config
@options.dataset
@click.option("--test-dataset", type=options.FILE, required=True, help="COCO JSON of the test images.")
@options.root
@options.labelled
@options.seed
@options.cycle
@click.option("--gpus", type=click.IntRange(min=0), default=0, help="Number of GPUs, for {gpus} in the command.")
@options.vram_mb
@click.option("--folder", type=options.FOLDER, required=True, help="Folder of the command's files and log.")
@options.output_option("Checked detections and features to write (safetensors).")
def command(
    config_path: Path,
    dataset: Path,
    test_dataset: Path,
    root: Path | None,
    labelled: Path,
    seed: int,
    cycle: int,
    gpus: int,
    folder: Path,
    output: Path,
) -> None:
    """Run the command of an external detector, and check its detections in the test images and the pool.

    The command receives the labelled images with their boxes, and no other boxes. docs/external-detector.md describes
    the formats.
    """
    config = load_config(config_path)
    detector = config.detector
    if not isinstance(detector, ExternalConfig):
        raise InputError(f"detector.name: {detector.name} is no command; leave this step out")
    train, test, labelled_ids = read_json(dataset), read_json(test_dataset), load_labelled(labelled)
    data_root = data_folder(config.data, root)
    roots = [data_root]
    if isinstance(config.data, ProjectData):
        train, test = (with_places(coco, data_root) for coco in (train, test))
        roots = picture_roots(config.data)
    gpus = 0 if only_cpu() else gpus
    command_output = run_command(
        detector.command,
        input_lists(train, test, labelled_ids, data_root),
        folder,
        seed=derive_seed(seed, "external", cycle) % 2**31,
        gpus=gpus,
        scratch=scratch_name(depends_on(config, "external"), [dataset, test_dataset, labelled], seed, cycle),
        shell=shell_inside(detector.container, roots, gpus) if detector.container else ["sh"],
    )
    arrays, findings = read_output(command_output, train, test, labelled_ids, detector.gives)
    show_repairs(findings)
    write_arrays(output, arrays)
    clear_scratch(folder)
