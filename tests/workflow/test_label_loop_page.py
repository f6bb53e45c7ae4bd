"""The commands of the pages on labelling pictures, run as a reader would."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from installed_command import MGRAL, SETTINGS, SIZE, environment, truth, write_photos
from label_studio_stand_in import TOKEN, stand_in
from people import answer
from run_workflow import ROOT
from slow import slow

from mgral.artefacts.files import read_json, write_json
from mgral.labelling.settings import ProjectSettings

PAGES = ("label-loop", "labelling-tools", "label-loop-progress", "label-loop-changes", "project-settings")
PAGE = "\n".join((ROOT / "docs" / f"{name}.md").read_text() for name in PAGES)
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
CVAT = "round1/tasks/cvat/annotations.xml"
INLINE = {
    "mgral project next --people 3 --shared 0.1": "",
    "mgral project next --prefix https://.../": "",
    "mgral project import FILE --empty checked": f"mgral project import {CVAT} --empty checked",
    "mgral project next": "",
    "mgral project status": "mgral project status",
    "mgral project report": "mgral project report",
    "mgral project replay": "",
    "mgral project train": "mgral project train",
    "mgral project check --last --output FOLDER": "mgral project check --last --output checked",
    "mgral project control": "",
    'mgral project withdraw NAME --reason "private"': 'mgral project withdraw p3.png --reason "private"',
    "mgral project recall --round 2": "mgral project recall --round 1",
    "mgral project classes add NAME": "mgral project classes add A",
    "mgral project again FOLDER": "mgral project again relook",
    "mgral project classes merge A B --into C": "mgral project classes merge A pepper --into C",
    "mgral project classes split A --into B --into C": "mgral project classes split okra --into B --into D",
    "mgral project dvc": "mgral project dvc",
    "mgral project push": "",
    "mgral project push FOLDER": "",
    "mgral project push --anew": "",
    "mgral project pull --url http://...": "",
    "mgral project push --to cvat --url https://HOST": "",
    "mgral project pull": "",
}
"""Commands within the text, and what is run for each, after the first round has come back; an empty text: its options
are checked only."""

SERVER, TYPED = "http://localhost:8080", "read -rs LABEL_STUDIO_API_KEY && export LABEL_STUDIO_API_KEY"
"""In place of which there are a stand-in's address, and its token in the environment of all commands."""


def shell(folder: Path, command: str) -> str:
    """Run a command as a person does in a shell, and return what it says."""
    variables = environment(folder) | {"LABEL_STUDIO_API_KEY": TOKEN, "PATH": f"{MGRAL.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", command], cwd=folder, env=variables, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, command + done.stdout + done.stderr
    return done.stdout


def test_all_commands_in_the_text_are_known():
    """Those over two lines too."""
    found = {" ".join(one.split()) for one in re.findall(r"`(mgral\s+project\s[^`]+)`", PAGE)}
    assert found == set(INLINE)


def test_all_keys_of_project_yaml_are_told():
    table = PAGE[PAGE.index("# The keys of `project.yaml`") :]
    assert re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE) == [*ProjectSettings.model_fields]


@slow
@pytest.mark.timeout(900)
def test_the_pages(tmp_path):
    write_photos(tmp_path / "photos")
    first, *others = BLOCKS
    assert "project init okra --pictures photos" in first
    shell(tmp_path, first)
    project = tmp_path / "okra"
    settings = (project / "project.yaml").read_text()
    assert "settings: {}" in settings
    (project / "project.yaml").write_text(settings.replace("settings: {}", f"settings: {SETTINGS}"))
    with stand_in(project) as server:
        for block in others:
            if "import round1.json" in block:
                give_export(project)
            shell(project, block.replace(SERVER, server.url).replace(TYPED, ""))
            if "project next" in block:
                assert_files_of(project / "round1")
        assert len(server.tasks) == 1, "what has no label yet"
    assert (project / "labelled").is_dir()
    for written, run in INLINE.items():
        options = re.findall(r"--[a-z-]+", written)
        says = shell(project, f"{' '.join(written.split()[:3])} --help") + PAGE
        assert all(option in says for option in options), written
        if run:
            shell(project, run)


def give_export(project: Path) -> None:
    """Write what people say to the first round but for a picture, as Label Studio exports it."""
    tasks = project / "round1" / "tasks" / "label_studio" / "label_studio.json"
    stems = {Path(task["data"]["image"]).stem for task in read_json(tasks)}
    boxes = {name: [(*box[:4], "okra") for box in boxes] for name, boxes in truth(stems).items()}
    answer(tasks, project / "round1.json", boxes, dict.fromkeys(stems, (SIZE, SIZE)))
    write_json(project / "round1.json", read_json(project / "round1.json")[:-1])


def assert_files_of(folder: Path) -> None:
    """Find each file that the page's table names."""
    table = PAGE[PAGE.index("| File | What it is for |") : PAGE.index("The first round begins")]
    for name in re.findall(r"`([a-z_/.]+)`", table):
        assert (folder / name).exists(), name
