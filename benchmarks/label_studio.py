"""Benchmark `label_studio`: what push and pull take with a real Label Studio, and rounds of made-up people."""

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
import psutil
import yaml

from benchmarks.label_studio_people import DRAFT, SAME, SECOND, SKIPPED, People, Truth, read_truth, region_of
from benchmarks.label_studio_server import READY, TOKEN, Running, label_studio
from benchmarks.machine import machine
from benchmarks.pool import CLASSES, HEIGHT, MGRAL, WIDTH, make_pictures, measure, objects
from mgral.artefacts.commit import commit
from mgral.artefacts.files import read_json, write_json
from mgral.errors import InputError
from mgral.labelling.batches import detector_folder
from mgral.labelling.settings import load_project_settings, write_project_settings
from mgral.labelling.state import load_project
from mgral.report.results_page import markdown_table

SPEED = """# Push and pull with Label Studio, {tasks:,} tasks

Each command once, with Label Studio 1.23.2 on the same machine. The pictures are made up, JPEG of {width} x {height}
pixels; the proposed boxes are the true ones, 2 a picture on average, and people accept all. Server seconds are its
processor time meanwhile. Where others use the machine as well, processor seconds say more than seconds.

    {command}

|  |  |
| --- | --- |
| Commit | `{commit}` |
| Machine | {processors} processors, OMP_NUM_THREADS {threads} |

"""
SPEED_COLUMNS = ("command", "seconds", "processor seconds", "server seconds", "memory in MB")
ROUNDS = """# Rounds with Label Studio

A project whose batches are pushed to Label Studio 1.23.2 and pulled from there. People are made up: they label by its
REST interface what is true, leave proposed boxes with an overlap of {same} or more as they are, skip one task in
{skipped}, and leave one in {draft} half done; one in {second} is labelled by two. Accepted: proposed boxes that they
left as they are. Scores are of the round's detector, which has the labels of the rounds before, on the audit set.
Minutes are the processor time of `next`; seconds are those of the command, on a machine that others use.

    {command}

|  |  |
| --- | --- |
| Commit | `{commit}` |
| Machine | {processors} processors, OMP_NUM_THREADS {threads}, torch {torch} |
| `settings` of the project | `{settings}` |

"""
ROUND_COLUMNS = (
    *("round", "pictures", "labelled", "empty", "skipped", "draft", "proposed boxes", "accepted"),
    *("AP50", "mAP", "minutes", "push in s", "pull in s"),
)
PAGE = click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Page to write.")


@click.group("label_studio")
def command() -> None:
    """Measure push and pull with a real Label Studio, which `make label-studio` installs."""
    if not READY.exists():
        raise InputError("Label Studio is not installed; run: make label-studio")
    os.environ["LABEL_STUDIO_API_KEY"] = TOKEN


@command.command("speed")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--tasks", type=click.IntRange(1), default=1000, help="Pictures of a batch.")
@PAGE
def speed(folder: Path, tasks: int, output: Path) -> None:
    """Push, label and pull a batch, and write a page of what each command takes.

    FOLDER gets the project, which replaces what is there, and pictures, which stay for the next time.
    """
    again = f"python -m benchmarks label_studio speed FOLDER --tasks {tasks}"
    said = {"tasks": tasks, "command": again, "commit": commit()[:12]}  # before a commit meanwhile changes it
    pictures, project = folder / f"pictures{tasks}", folder / "project"
    make_pictures(pictures, tasks + 1 + tasks // 20)  # of near-copies one is chosen at most
    _begin(project, pictures, CLASSES, tasks, tasks)
    _run(project, "next", "--format", "label_studio")
    _propose(project / "round1" / "tasks" / "label_studio" / "label_studio.json")
    with label_studio(_emptied(folder / "label-studio"), folder) as server:
        rows = _timed(server, project)
    head = SPEED.format(width=WIDTH, height=HEIGHT, **said, **machine())
    output.write_text(head + markdown_table(SPEED_COLUMNS, rows) + "\n", encoding="utf-8")


@command.command("rounds")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--pictures", type=click.Path(path_type=Path, file_okay=False, exists=True), required=True)
@click.option("--labels", type=click.Path(path_type=Path, exists=True), required=True, help="COCO JSON.")
@click.option("--rounds", type=click.IntRange(1), default=3, help="Rounds.")
@click.option("--batch", type=click.IntRange(1), default=40, help="Pictures of a round.")
@click.option("--budget", type=click.IntRange(1), default=300, help="Pictures that people label in all.")
@click.option("--settings", type=click.Path(path_type=Path, exists=True), help="`settings` of the project, YAML.")
@PAGE
def several(
    folder: Path,
    pictures: Path,
    labels: Path,
    rounds: int,
    batch: int,
    budget: int,
    settings: Path | None,
    output: Path,
) -> None:
    """Run rounds whose people label what is true, and write a page of what came of them.

    FOLDER gets the project, which replaces what is there.
    """
    given = f"--pictures {pictures.name} --labels {labels.name} --rounds {rounds} --batch {batch} --budget {budget}"
    given += f" --settings {settings.name}" if settings else ""
    said = {"command": f"python -m benchmarks label_studio rounds FOLDER {given}", "commit": commit()[:12]}
    truth, project = read_truth(labels), folder / "project"
    more = yaml.safe_load(settings.read_text(encoding="utf-8")) if settings else {}
    folder.mkdir(parents=True, exist_ok=True)
    _begin(project, pictures, truth.classes, budget, batch)
    write_project_settings(project, load_project_settings(project).model_copy(update={"settings": more}))
    with label_studio(_emptied(folder / "label-studio"), folder) as server:
        people = People(server.url)
        persons = (1, people.join("two"))
        rows = [_round(project, people, persons, truth, number) for number in range(1, rounds + 1)]
    status = _run(project, "status").replace("\n", "\n    ")
    people_do = {"same": SAME, "skipped": SKIPPED, "draft": DRAFT, "second": SECOND}
    head = ROUNDS.format(settings=json.dumps(more), **people_do, **said, **machine())
    end = f"\n\nIn the end `mgral project status` says:\n\n    {status.rstrip()}\n"
    output.write_text(head + markdown_table(ROUND_COLUMNS, rows) + end, encoding="utf-8")


def _begin(project: Path, pictures: Path, classes: Sequence[str], budget: int, batch: int) -> None:
    shutil.rmtree(project, ignore_errors=True)
    sizes = ["--budget", str(budget), "--batch", str(batch)]
    words = ["init", project.name, "--pictures", str(pictures.resolve()), "--classes", ",".join(classes), *sizes]
    _run(project.parent, *words)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _run(folder: Path, *words: str) -> str:
    """Run a command of a project, and return what it says; its progress is shown."""
    done = subprocess.run([MGRAL, "project", *words], cwd=folder, check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout


def _propose(path: Path) -> None:
    """Propose in each task what is true."""
    tasks = read_json(path)
    for task in tasks:
        found = objects(int(Path(task["data"]["image"]).stem[1:]))
        regions = [
            region_of(box, CLASSES[label], (WIDTH, HEIGHT), f"b{place}") for place, (box, label) in enumerate(found)
        ]
        task["predictions"] = [{"model_version": "round1", "result": regions}]
    write_json(path, tasks)


def _timed(server: Running, project: Path) -> list[Sequence[str]]:
    """Return a row for each command."""
    rows: list[Sequence[str]] = []
    process, people = psutil.Process(server.process.pid), People(server.url)

    def run(title: str, *words: str) -> None:
        before = process.cpu_times()
        cost = measure([MGRAL, "project", *words], project)
        after = process.cpu_times()
        spent = after.user + after.system - before.user - before.system
        numbers = (cost.seconds, cost.processor_seconds, spent)
        rows.append((title, *(f"{one:.1f}" for one in numbers), f"{cost.memory_mb:.0f}"))

    where = ("--to", "label-studio", "--url", server.url)
    run("`push`, pictures uploaded", "push", *where, "--pictures", "upload")
    (there,) = load_project(project).pushed.values()
    people.ask("DELETE", f"/api/projects/{there.id}")
    run("`push`, pictures served", "push", *where, "--anew")
    run("`push` again, nothing to send", "push")
    (there,) = load_project(project).pushed.values()
    run("`pull`, nothing labelled", "pull")
    people.accept(people.tasks(there.id))
    before = (project / "ledger.jsonl").read_bytes()
    run("`pull`, all labelled", "pull")
    run("`pull` again, nothing new", "pull")
    (project / "ledger.jsonl").write_bytes(before)
    (export,) = (project / "pulled").rglob("*.json")
    run("`import` of the same file", "import", str(export.relative_to(project)))
    return rows


def _round(project: Path, people: People, persons: tuple[int, int], truth: Truth, number: int) -> Sequence[str]:
    """Run a round, and return its row."""
    next_cost = measure([MGRAL, "project", "next", "--format", "label_studio"], project)
    push = measure([MGRAL, "project", "push", "--to", "label-studio", "--url", people.url], project)
    (there,) = load_project(project).pushed.values()
    tasks = [task for task in people.tasks(there.id) if task["data"]["mgral_round"] == number]
    counts = people.label(tasks, truth, persons)
    pull = measure([MGRAL, "project", "pull"], project)
    found = load_project(project)
    states = Counter(found.images[image].state for image in found.sent[number])
    metrics = detector_folder(project, number) / "metrics.json"
    scores = read_json(metrics) if metrics.exists() else {}
    shares = [scores.get(key) for key in ("ap50", "map")]
    return [
        str(number),
        str(len(tasks)),
        *(str(states[one]) for one in ("labelled", "empty", "skipped", "draft")),
        str(counts.proposed),
        str(counts.accepted),
        *("-" if share is None else f"{100 * share:.1f}" for share in shares),
        f"{next_cost.processor_seconds / 60:.1f}",
        f"{push.seconds:.1f}",
        f"{pull.seconds:.1f}",
    ]
