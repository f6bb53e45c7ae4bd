"""The wheel: what it holds, and an experiment by it in a folder that is no clone."""

import json
import os
import re
import stat
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from people import answer, coco_truth
from run_workflow import ROOT, TINY
from slow import full, slow

from mgral.artefacts.commit import commit
from mgral.artefacts.files import read_json
from mgral.engine import pins
from mgral.engine.installed import profile, snakefile
from mgral.errors import InputError

PIPELINE = Path("mgral", "pipeline")
OKRA = ROOT.parent / "shared" / "datasets" / "okra-320"
IN_REPOSITORY = {
    PIPELINE / "Snakefile": "Snakefile",
    PIPELINE / "params.yaml": "params.yaml",
    PIPELINE / "requirements.lock": "requirements.lock",
    PIPELINE / "profiles": "workflow/profiles",
    PIPELINE / "workflow" / "rules": "workflow/rules",
    PIPELINE / "workflow" / "schemas": "workflow/schemas",
}
"""Where the files are that the package has links to."""


def files_below(folder: Path) -> list[Path]:
    """Return all files below a folder, through links too, relative to it; compiled modules are none."""
    found = [Path(place, name) for place, _, names in os.walk(folder, followlinks=True) for name in names]
    return sorted(path.relative_to(folder) for path in found if "__pycache__" not in path.parts)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.iterdir()
    return path


def test_the_wheel_holds_the_package_and_the_files_of_the_workflow(wheel):
    expected = {}
    for name in ("mgral", "snakemake_logger_plugin_mgral"):
        expected |= {f"{name}/{path}": (ROOT / name / path).read_bytes() for path in files_below(ROOT / name)}
    expected["mgral/artefacts/commit.txt"] = f"{commit()}\n".encode()
    with zipfile.ZipFile(wheel) as archive:
        entries = [entry for entry in archive.infolist() if ".dist-info/" not in entry.filename]
        assert {entry.filename: archive.read(entry) for entry in entries} == expected
        assert not [entry.filename for entry in entries if stat.S_ISLNK(entry.external_attr >> 16)]
    assert {
        "mgral/engine/versions.yaml",
        "mgral/labelling/sheet.html.jinja",
        "mgral/pipeline/Snakefile",
        "mgral/pipeline/profiles/slurm/config.yaml",
        "mgral/pipeline/requirements.lock",
        "mgral/pipeline/workflow/rules/report.smk",
        "mgral/pipeline/workflow/schemas/config.schema.json",
        "mgral/report/report.html.jinja",
    } <= expected.keys()


def test_every_file_of_the_workflow_is_linked_from_the_package():
    links = {inside: (ROOT / inside).resolve() for inside in IN_REPOSITORY}
    assert links == {inside: ROOT / place for inside, place in IN_REPOSITORY.items()}
    places = {path.parent for path in files_below(ROOT / "workflow")}
    assert {path.parts[0] for path in places} == {"profiles", "rules", "schemas"}
    assert snakefile() == ROOT / "Snakefile"


def test_profiles_are_found_by_name():
    assert {name: profile(name) for name in ("default", "slurm")} == {
        path.name: path for path in (ROOT / "workflow" / "profiles").iterdir()
    }
    with pytest.raises(InputError, match="there is no profile gpu; choose one of default, slurm"):
        profile("gpu")


def test_constraints_are_the_versions_of_the_lock():
    lines = pins.constraints().splitlines()
    lock = (ROOT / "requirements.lock").read_text()
    assert len(lines) == len(re.findall(r"^\S+==", lock, flags=re.MULTILINE))
    for line in lines:
        one = Requirement(line)
        assert f"\n{line} \\\n" in f"\n{lock}"
        assert [specifier.operator for specifier in one.specifier] == ["=="]
    assert {"torch", "snakemake", "numpy", "transformers", "onnx"} <= {Requirement(line).name for line in lines}


def test_another_version_of_a_package_is_named(monkeypatch):
    assert pins.other_versions() == []  # of this environment, which `make setup` made
    version = pins.metadata.version
    other = {"scipy": "1.0", "onnx": "1.1", "ruff": "0.1", "snakemake-interface-common": "0"}
    monkeypatch.setattr(pins.metadata, "version", lambda name: other.get(name) or version(name))
    named = pins.other_versions()
    # What a developer needs, and what others need, decides no result.
    assert [line.split(", not ")[0] for line in named] == ["scipy 1.0", "onnx 1.1"]
    assert named[0] == f"scipy 1.0, not {version('scipy')}"


def test_a_package_that_is_not_installed_is_no_other_version(monkeypatch):
    def version(name):
        raise pins.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(pins.metadata, "version", version)
    assert pins.other_versions() == []


@pytest.fixture
def tool(wheel, tmp_path):
    """The command `mgral` of the wheel, in an environment of its own that has the packages of this one."""
    folder = tmp_path / "tool"
    uv = ROOT / ".uv" / "bin" / "uv"
    subprocess.run([uv, "venv", "--quiet", "--offline", "--python", sys.executable, folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    # By a line that is a path, and so without the editable mgral there.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run([uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", folder, wheel], check=True)
    return folder / "bin" / "mgral"


def call(command: Path, folder: Path, *words: str | Path) -> str:
    """Call a command as a shell does in which nothing of Python is set up, and return its output."""
    environment = {"HOME": str(folder.parent), "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    done = subprocess.run([command, *words], cwd=folder, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@slow
def test_an_experiment_by_the_wheel_alone(tool, undisturbed, tmp_path):
    """In a folder with a space in its path, without the command on the PATH; to the same bytes."""
    folder = tmp_path / "my experiments"
    folder.mkdir()
    (folder / "tiny.yaml").write_bytes(TINY.read_bytes())
    package = next((tool.parent.parent / "lib").glob("python*")) / "site-packages" / "mgral"
    before = files_below(package)
    call(tool, folder, "snakemake", "--cores", "2", "--configfile", "tiny.yaml", "--config", "strategies=[random]")
    assert files_below(package) == before
    results, expected = folder / "results" / "tiny", undisturbed / "results" / "tiny"
    shared = [path for path in files_below(results / "seed0") if path.suffix in (".json", ".safetensors", ".csv")]
    assert Path("strategies", "random", "cycle2", "metrics.json") in shared
    for path in shared:
        assert (results / "seed0" / path).read_bytes() == (expected / "seed0" / path).read_bytes(), path
    command = "mgral snakemake --cores all --configfile tiny.yaml --config 'strategies=[\"random\"]'"
    assert json.loads((results / "timings" / "run.json").read_text()) == {"all": command}
    record = json.loads((results / "provenance" / "report.html.json").read_text())
    assert record["commit"] == commit()
    assert "are as their steps wrote them" in call(tool, folder, "verify", "results/tiny")
    assert call(tool, folder, "profile", "slurm") == f"{package / 'pipeline' / 'profiles' / 'slurm'}\n"
    assert call(tool, folder, "constraints") == pins.constraints()


@full
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not OKRA.exists(), reason="the data set okra-320 is not here, see docs/datasets.md")
def test_three_rounds_of_real_pictures_by_the_wheel_alone(tool, tmp_path):
    """From no label at all, with a script in the place of people. Smaller and shorter than the default."""
    truth, sizes = coco_truth(OKRA / "annotations" / "train.json")
    classes = sorted({box[4] for boxes in truth.values() for box in boxes})
    options = ["--pictures", OKRA / "train", "--classes", ",".join(classes), "--budget", "300", "--batch", "40"]
    call(tool, tmp_path, "project", "init", "okra", *options)
    project = tmp_path / "okra"
    settings = (project / "project.yaml").read_text()
    own = "settings: {detector: {width: 128, height: 128}, iterations: {detector: 150}}"
    (project / "project.yaml").write_text(settings.replace("settings: {}", own))
    sent: list[int] = []
    for number, labelled in ((1, 0), (2, 40), (3, 80)):
        call(tool, project, "project", "next", "--cores", "2")
        snapshot = read_json(project / f"round{number}" / "snapshot.json")
        assert len(snapshot["labelled"]) == labelled
        tasks = project / f"round{number}" / "tasks" / "label_studio" / "label_studio.json"
        batch = [task["data"]["mgral_id"] for task in read_json(tasks)]
        assert not set(batch) & set(sent)
        assert len(batch) == 40 + 50 * (number == 1)  # with the audit set
        if number > 1:
            groups = read_json(project / "results" / f"round{number}" / "dataset" / "groups.json")["groups"]
            assert max(len(set(batch) & set(group)) for group in groups) <= 1
            assert {one["id"] for one in snapshot["audit"]} == set(sent[:50])
        sent += batch
        answer(tasks, project / "export.json", truth, sizes)
        call(tool, project, "project", "import", "export.json")
        assert (project / f"round{number}" / "sheet.html").read_text().count("<svg") >= len(batch)
    assert "detector of round 3, on the audit set" in call(tool, project, "project", "status")
    call(tool, project, "project", "export", "labelled", "--format", "yolo")
    assert len((project / "labelled" / "train.txt").read_text().splitlines()) == 120
