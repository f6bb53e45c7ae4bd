"""Replays: whether the strategies would have beaten random on the labelled pictures, as an experiment in replayN/."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mgral.artefacts.files import atomic_path, read_csv, write_bytes
from mgral.artefacts.seeds import derive_seed
from mgral.config import Config, config_yaml, registry, resolve_config
from mgral.data.formats.project import complete
from mgral.data.formats.snapshot import Labelled, Snapshot
from mgral.engine.console.outcome import nothing_learnt
from mgral.engine.run import run_snakemake
from mgral.errors import InputError, number_of
from mgral.labelling.batch_files import check_pictures, unique_names
from mgral.labelling.batches import picture_path
from mgral.labelling.exchange.export import LabelledPicture, export_labels
from mgral.labelling.experiments.copies import near_copies
from mgral.labelling.opening import CONFIG, frozen_size, make_snapshot, planned_config
from mgral.labelling.records import Box
from mgral.labelling.settings import ProjectSettings, load_project_settings
from mgral.labelling.state import Project, load_project
from mgral.report.spread import difference_in, difference_in_words

COMPARED = ("random", "entropy_sum", "sqrt_counts")
"""Strategies that are replayed beside the project's own: cheap ones, and the one that they have to beat."""
SEEDS, CYCLES = 5, 3
INITIAL, CHOSEN = 0.2, 0.45
"""Fractions of the labelled pictures that a replay starts from, and that it chooses in all cycles together. The rest
is never chosen, so that strategies can differ."""
FEWEST = 20
"""Fewest labelled pictures to choose from."""
WITHOUT_AUDIT = 0.2
"""Part of the labelled pictures to test on, where there is no audit or test set."""
DATA, DIGEST = "data", "made_of.sha256"


@dataclass(frozen=True)
class Replay:
    """A replay that is to be computed."""

    folder: Path
    """Of the project."""
    name: str
    """replayN: its folder, and the experiment."""
    notes: tuple[str, ...]
    """What makes it less sure, for a person."""

    @property
    def configfile(self) -> Path:
        """Its configuration, relative to the project's folder."""
        return Path(self.name) / CONFIG

    @property
    def results(self) -> Path:
        """Where its results are, or will be."""
        return self.folder / "results" / self.name


@dataclass(frozen=True)
class Options:
    """What a person asks of a replay; what is not said follows from the project."""

    strategies: tuple[str, ...] = ()
    seeds: int = SEEDS
    cycles: int = CYCLES


def prepare_replay(folder: Path, options: Options) -> Replay:
    """Write the data and the configuration of a replay into the project's folder, unless they are there.

    Nothing of the project changes. The latest replay goes on where its labels and options are the same.

    Raises
    ------
    InputError
        Where too little is labelled, a strategy is not known, or pictures are missing.
    StepError
        Where it cannot be written.
    """
    settings, project = load_project_settings(folder), load_project(folder)
    snapshot = make_snapshot(settings, project, 0, ())
    train, test, notes = _split(folder, settings, project, snapshot)
    if len(train) < FEWEST:
        raise InputError(
            f"a replay needs {FEWEST} labelled pictures to choose from, and there are {len(train)}; label more first"
        )
    if not all(any(image.boxes for image in part) for part in (train, test)):
        raise InputError(
            "a replay needs objects to learn and to measure by, and all labels are empty; label more first"
        )
    if options.cycles > (most := round(CHOSEN * len(train))):
        raise InputError(f"--cycles is at most {most}, as {len(train)} pictures are labelled to choose from")
    number = max((int(path.name[6:]) for path in folder.glob("replay[0-9]*") if path.name[6:].isdecimal()), default=0)
    made_of = [
        asdict(snapshot),
        [image.id for image in test],
        _values(folder, settings, project, options, len(train), ""),
    ]
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    latest = folder / f"replay{number}"
    if number and (latest / DIGEST).is_file() and (latest / DIGEST).read_text("ascii").strip() == digest:
        return Replay(folder, latest.name, tuple(notes))
    replay = Replay(folder, f"replay{number + 1}", tuple(notes))
    config = resolve_config(_values(folder, settings, project, options, len(train), replay.name))
    with atomic_path(folder / replay.name) as partial:
        partial.mkdir()
        _export(folder, settings, project, snapshot, train, test, partial / DATA)
        write_bytes(partial / CONFIG, config_yaml(config))
        write_bytes(partial / DIGEST, f"{digest}\n".encode())
    return replay


def run_replay(
    replay: Replay, *, cores: str | None = None, profile: Path | None = None, snakemake_options: Sequence[str] = ()
) -> list[str]:
    """Compute a replay, and return what it says as lines; see `run_snakemake` for options and errors."""
    cores = cores or (None if profile else "all")
    run_snakemake(replay.folder, replay.configfile, cores=cores, profile=profile, options=snakemake_options)
    return [
        f"{replay.results / 'report.html'}",
        *ranking_lines(replay.results),
        *(f"  {note}" for note in replay.notes),
    ]


def ranking_lines(results: Path) -> list[str]:
    """Return in the report's words which strategies beat random in a finished experiment, the best first.

    Raises InputError where its ranking is missing or damaged.
    """
    path = results / "tables" / "ranking.csv"
    try:
        if nothing := nothing_learnt(results):
            return [nothing]
        rows = [row for row in read_csv(path) if row["labels"] == "images" and row["score"] == "map"]
        rows.sort(key=lambda row: int(row["rank"]))
        return [f"{row['strategy']}: {_against_random(row)}" for row in rows]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} is missing or damaged ({error}); run the same command again") from None


def _against_random(row: dict[str, str]) -> str:
    """Report how a strategy's mean height of the curve compares with that of random, with intervals' outer ends."""
    mean = f"mean mAP {100 * float(row['mean']):.1f} %"
    if not row["to_random"]:
        return f"{mean}, what the others are compared with"
    difference = difference_in(row, "to_random")
    caveat = "" if difference.interval.known else "; too few seeds to exclude chance"
    return f"{mean}, compared with random: {difference_in_words(difference)}{caveat}".replace("−", "-")


def _values(
    folder: Path, settings: ProjectSettings, project: Project, options: Options, image_count: int, name: str
) -> dict[str, object]:
    """Return the settings of a replay: those of a round, but for data, labels and strategies."""
    config: Config = planned_config(settings, 1, image_count)
    if "width" in config.detector.open_keys:
        config = config.with_derived(frozen_size(folder, config, project))
    infos = [registry.strategy(name) for name in COMPARED]
    served = [info.name for info in infos if config.detector.lacks(info.requires, info.views) is None]
    strategies = options.strategies or (settings.strategy, *served)
    return {
        **config.model_dump(mode="json"),
        "experiment": name or "replay",
        "seeds": list(range(options.seeds)),
        "cycles": options.cycles,
        "initial": max(1, round(INITIAL * image_count)),
        "budget": max(1, round(CHOSEN * image_count / options.cycles)),
        "strategies": list(dict.fromkeys([*strategies, "random"])),
        "data": {
            "format": "coco",
            "root": f"{name or 'replay'}/{DATA}",
            **settings.decoding.model_dump(),
        },
    }


def _split(
    folder: Path, settings: ProjectSettings, project: Project, snapshot: Snapshot
) -> tuple[list[Labelled], list[Labelled], list[str]]:
    """Return the pictures to choose from and those to test on, and notes."""
    notes = [
        "what is replayed was chosen by this project's rounds, and is no random sample of the pictures",
        "a round takes one of a group of near-copies at most, and a replay does not know that rule",
    ]
    labelled, test = list(complete(snapshot.labelled)), list(complete(snapshot.audit))
    if test:
        return labelled, test, notes
    wanted = round(WITHOUT_AUDIT * len(labelled))
    copies = planned_config(settings, 1, len(labelled)).near_copies
    groups = near_copies(folder, settings, project, [image.id for image in labelled], copies)
    leader_of = {image: group[0] for group in groups for image in group}
    leaders = sorted({leader_of.get(image.id, image.id) for image in labelled})
    rng = np.random.default_rng(derive_seed(0, "project", "replay"))
    taken: set[int] = set()
    for leader in rng.permutation(leaders).tolist():
        members = {image.id for image in labelled if leader_of.get(image.id, image.id) == leader}
        if len(taken) + len(members) <= wanted:
            taken |= members
    notes.append(
        "there is no audit or test set: "
        f"{number_of(len(taken), 'labelled picture is', 'labelled pictures are')} tested on, chosen and "
        "not drawn at random, so scores are not those of the other pictures"
    )
    return (
        [image for image in labelled if image.id not in taken],
        [image for image in labelled if image.id in taken],
        notes,
    )


def _export(
    folder: Path,
    settings: ProjectSettings,
    project: Project,
    snapshot: Snapshot,
    train: Sequence[Labelled],
    test: Sequence[Labelled],
    output: Path,
) -> None:
    """Write labelled pictures as COCO, with links to the files."""
    classes = dict(snapshot.classes)
    images = [*train, *test]
    paths = [picture_path(folder, settings, project.files[image.id]) for image in images]
    check_pictures(paths, "the replay")
    pictures = [
        LabelledPicture(
            id=image.id,
            path=path,
            name=name,
            width=project.pictures[image.id].width,
            height=project.pictures[image.id].height,
            boxes=tuple(Box(x, y, w, h, classes[label]) for x, y, w, h, label in image.boxes),
        )
        for image, path, name in zip(images, paths, unique_names(paths), strict=True)
    ]
    export_labels("coco", output, pictures[: len(train)], list(classes.values()), audit=pictures[len(train) :])
