"""What an experiment needs before its first job: files of its data, packages and weights."""

import shlex
import time
from importlib.util import find_spec
from pathlib import Path

from mgral.config import CocoData, Config, ProjectData, SyntheticData, YoloData, download_of, registry
from mgral.data.download.archives import DATA_SETS
from mgral.data.formats.project import project_folder
from mgral.data.pictures import SETTINGS, picture_folders
from mgral.engine.data_files import annotation_files, label_folders, round_data
from mgral.errors import InputError
from mgral.models.detectors.timm import PACKAGED, TimmConfig, backbone_fault

CLOCK_TOLERANCE = 2.0
"""Seconds that the clock of a file server may be ahead: no job ends sooner."""


def check_files(config: Config) -> None:
    """Raise InputError that names all that is missing: files of the data set, packages and weights."""
    faults = []
    for check in (check_data, check_detector, check_times):
        try:
            check(config)
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError("\n".join(faults))


def check_data(config: Config) -> None:
    """Raise InputError where a file or folder of the data set is missing, or will be after its download."""
    data = config.data
    if isinstance(data, SyntheticData):
        return
    if isinstance(data, ProjectData):
        _check_round(config, data)
        return
    if isinstance(data, CocoData):
        folders = [data.root, f"{data.root}/{data.train_images}", f"{data.root}/{data.test_images}"]
    elif isinstance(data, YoloData):
        folders = [data.root]
    else:
        labels = label_folders(config)
        folders = [data.root, *labels, *(str(Path(folder).with_name("JPEGImages")) for folder in labels)]
    for path in (*folders, *annotation_files(config)):
        if has_braces(path):
            raise InputError(
                f"data: Snakemake takes the braces in {path} for wildcards; rename the file or its folder"
            )
    download = download_of(data)
    if download is not None:
        paths_made = [Path(data.root, path) for path in _paths_made(download)]
        for needed in map(Path, [*folders, *annotation_files(config)]):
            if needed not in paths_made:
                raise InputError(
                    f"data: data.download: {download} makes no {needed}, but {', '.join(map(str, paths_made[1:]))}; "
                    "correct the annotations, the images' folder or the split under data"
                )
        return
    for folder in folders:
        if not Path(folder).is_dir():
            raise InputError(
                f"data: there is no folder {folder}; correct data.root (a relative path starts at the working "
                f"directory) or the folder's name, or choose another data.format than {data.format}"
            )
    for file in annotation_files(config):
        if not Path(file).is_file():
            raise InputError(f"data: there is no file {file}; correct the annotations or the split under data")


def check_times(config: Config) -> None:
    """Raise InputError where files of the data set or of weights are from the future.

    Snakemake would end with a fault of the clock, as whatever is made of them is older than they are.
    """
    weights = config.detector.trained.weights_file
    files = [*annotation_files(config), *label_folders(config), *([weights] if weights else [])]
    latest = time.time() + CLOCK_TOLERANCE
    late = [str(file) for file in files if Path(file).exists() and Path(file).stat().st_mtime > latest]
    if late and download_of(config.data) is None:
        raise InputError(
            "data: files were changed in the future, by the clock of this machine; if that is right, give them its "
            f"time: touch {shlex.join(late)}"
        )


def _check_round(config: Config, data: ProjectData) -> None:
    """Raise InputError where a round has no input size, a file is missing, or its strategy lacks labels."""
    if "width" in config.detector.open_keys:
        raise InputError("detector.width: is null, and all rounds of a project need one input size; set it")
    missing = [file for file in annotation_files(config) if not Path(file).is_file()]
    if missing:
        raise InputError(f"data: there is no file {', '.join(missing)}; restore it from a copy or from Git")
    folders = picture_folders(project_folder(data))
    if absent := [f"{name} ({folder})" for name, folder in folders.items() if not folder.is_dir()]:
        raise InputError(
            f"{SETTINGS}: there is no folder {', '.join(absent)}; correct it there, or bring the folder back"
        )
    project_round = round_data(config)
    needing = [
        name
        for name, settings in config.strategies.items()
        if not {*registry.strategy(settings.type).requires} <= {"embeddings", "groups"}
    ]
    if project_round and not project_round.labelled and needing:
        raise InputError(
            f"strategies: {', '.join(needing)} needs labelled images, and the round has none yet; use typiclust or "
            "random"
        )


def has_braces(path: str | Path) -> bool:
    """Return whether a path has braces, which no escape hides from Snakemake in the name of a job's input."""
    return not {"{", "}"}.isdisjoint(str(path))


def check_detector(config: Config) -> None:
    """Raise InputError where a package, a backbone or a file of weights that the detector needs is missing."""
    detector, faults = config.detector.trained, []
    if isinstance(detector, TimmConfig) and detector.backbone != PACKAGED:
        fault = backbone_fault(detector.backbone)
        faults += [fault] if fault else []
    if detector.package is not None and find_spec(detector.package) is None:
        faults.append(
            f"detector.name: {detector.name} needs the package {detector.package}, which is not installed; "
            f"install it beside mgral (docs/install.md)"
        )
    if detector.weights_file is not None and has_braces(detector.weights_file):
        faults.append(
            f"detector.weights: Snakemake takes the braces in {detector.weights_file} for wildcards; rename the "
            "file or its folder"
        )
    elif detector.weights_file is not None and not Path(detector.weights_file).is_file():
        faults.append(
            f"detector.weights: there is no file {detector.weights_file}; correct it (a relative path starts at the "
            "working directory), or write null for random weights"
        )
    if faults:
        raise InputError("\n".join(faults))


def _paths_made(name: str) -> list[Path]:
    """Return the folder of a public data set, and what is known to be in it, as paths relative to it."""
    paths = [Path(folder.name, entry) for folder in DATA_SETS[name] for entry in (".", *folder.entries)]
    return list(dict.fromkeys([Path(), *paths]))
