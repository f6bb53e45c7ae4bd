"""The step `download` on the miniature VOC and COCO, from a server on the loopback, and through Snakemake."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from filelock import FileLock
from loopback import corrupt, cut, serve
from miniature import write_coco, write_coco_archives, write_voc, write_voc_archives
from run_workflow import ROOT, count_rules, planned, snakemake
from slow import slow

from mgral.cli.main import mgral
from mgral.config import resolve_config
from mgral.data.download import archives, fetch
from mgral.data.download.archives import DATA_SETS, Checksum, Folder
from mgral.data.download.folder import download, unpack
from mgral.engine.dvc_export import dvc_yaml
from mgral.engine.needs import check_data
from mgral.engine.steps import STEPS
from mgral.engine.workflow import depends_on
from mgral.errors import InputError, StepError

VOC, COCO = "voc2007+2012", "coco2017"
COUNTS = {5_011: 6, 4_952: 6, 9_963: 12, 11_540: 6, 118_287: 8, 5_000: 6}
"""The real numbers of images, and those of the miniatures."""

PATHS = {"tests": str(Path(__file__).parent), "support": str(ROOT / "tests" / "support")}


def miniature_of(name: str, folder: Path) -> tuple[Folder, ...]:
    """The table of a data set, for the miniature archives in `folder`."""
    return tuple(
        replace(
            real,
            archives=tuple(
                replace(
                    archive,
                    checksum=Checksum("md5", hashlib.md5((folder / archive.name).read_bytes()).hexdigest()),
                    bytes=(folder / archive.name).stat().st_size,
                )
                for archive in real.archives
            ),
            entries={entry: COUNTS[number] for entry, number in real.entries.items()},
        )
        for real in DATA_SETS[name]
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    write_voc_archives(folder)
    return write_coco_archives(folder)


@pytest.fixture(scope="module")
def tables(served):
    return {name: miniature_of(name, served) for name in (VOC, COCO)}


@pytest.fixture
def server(served, monkeypatch):
    monkeypatch.setattr(fetch, "FIRST_WAIT", 0.0)
    with serve(served) as server:
        yield server


def content(root: Path) -> dict[str, bytes]:
    """Every file of a folder, less the hidden ones."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    }


@pytest.mark.parametrize(("name", "write"), [(VOC, write_voc), (COCO, write_coco)])
def test_a_data_set_is_downloaded_and_unpacked(tmp_path, server, tables, name, write):
    download(tables[name], tmp_path / "root", server.url)
    assert content(tmp_path / "root") == content(write(tmp_path / "expected"))
    assert [path.name for path in (tmp_path / "root" / ".download").iterdir()] == ["lock"]
    assert [asked for asked, _ in server.asked] == [a.name for folder in tables[name] for a in folder.archives]


def test_the_public_hosts_are_asked_without_a_mirror(tmp_path, tables, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "mgral.data.download.folder.fetch", lambda file, path, mirror: asked.append((file.url, mirror)) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        download(tables[COCO], tmp_path)
    assert asked == [("http://images.cocodataset.org/annotations/annotations_trainval2017.zip", None)]


def test_what_is_there_is_not_downloaded(tmp_path, server, tables):
    root = write_voc(tmp_path / "root")
    before = content(root)
    download(tables[VOC], root, server.url)
    assert (content(root), server.asked) == (before, [])
    assert not (root / ".download").exists()


def test_only_the_missing_folder_is_downloaded(tmp_path, server, tables):
    root = tmp_path / "root"
    download(tables[VOC], root, server.url)
    before = content(root)
    (root / "VOC2012").rename(tmp_path / "away")
    server.asked.clear()
    download(tables[VOC], root, server.url)
    assert content(root) == before
    assert [asked for asked, _ in server.asked] == ["VOCtrainval_11-May-2012.tar"]


@pytest.mark.parametrize(
    ("name", "write", "change", "message"),
    [
        (VOC, write_voc, lambda root: (root / "VOC2007/ImageSets/Main/test.txt").unlink(), r"test\.txt has 0 of 6"),
        (VOC, write_voc, lambda root: (root / "VOC2007/JPEGImages/000004.jpg").unlink(), "JPEGImages has 11 of 12"),
        (VOC, write_voc, lambda root: (root / "VOC2012/ImageSets/Main/trainval.txt").write_text("x\n"), "has 1 of 6"),
        (COCO, write_coco, lambda root: (root / "val2017/000000000017.jpg").unlink(), "val2017 has 5 of 6"),
        (COCO, write_coco, lambda root: (root / "annotations/instances_val2017.json").write_text(""), "has 0 of 6"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(tmp_path, server, tables, name, write, change, message):
    root = write(tmp_path / "root")
    change(root)
    with pytest.raises(InputError, match=rf"{message} images, .* is not complete; complete it, or move it away"):
        download(tables[name], root, server.url)
    assert server.asked == []


def test_more_files_than_published_are_no_fault_of_a_folder(tmp_path, tables):
    root = write_coco(tmp_path / "root")
    (root / "train2017" / "index.txt").touch()
    download(tables[COCO], root, "http://host.invalid")


def test_an_archive_beside_its_folder_is_checked(tmp_path, served, tables):
    root = write_voc(tmp_path / "root")
    beside = root / "VOCtrainval_11-May-2012.tar"
    beside.write_bytes((served / beside.name).read_bytes())
    download(tables[VOC], root)
    beside.write_bytes(beside.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"VOCtrainval_11-May-2012\.tar is damaged, or not the published file"):
        download(tables[VOC], root)


@pytest.mark.parametrize("place", ["root", "mirror"])
def test_archives_that_are_at_hand_are_used_and_kept(tmp_path, served, tables, place):
    (tmp_path / place).mkdir()
    for folder in tables[COCO]:
        for archive in folder.archives:
            (tmp_path / place / archive.name).write_bytes((served / archive.name).read_bytes())
    before = content(tmp_path / place)
    download(tables[COCO], tmp_path / "root", None if place == "root" else str(tmp_path / "mirror"))
    expected = content(write_coco(tmp_path / "expected"))
    assert content(tmp_path / "root") == (expected | before if place == "root" else expected)
    assert before.items() <= content(tmp_path / place).items()


def test_a_corrupted_archive_is_not_unpacked(tmp_path, server, tables):
    server.faults = [corrupt, corrupt]
    with pytest.raises(InputError, match=r"VOCtrainval_06-Nov-2007\.tar: what arrived, twice"):
        download(tables[VOC], tmp_path, server.url)
    assert content(tmp_path) == {}
    assert [path.name for path in (tmp_path / ".download").iterdir()] == ["lock"]


KILLED = """
import os, sys
sys.path[:0] = [{tests!r}, {support!r}]
from pathlib import Path
from test_download import COCO, miniature_of
import shutil
from mgral.data.download.folder import download

write, left = shutil.copyfileobj, iter(range({files}))
shutil.copyfileobj = lambda *files: write(*files) if next(left, None) is not None else os._exit(9)
download(miniature_of(COCO, Path({served!r})), Path({root!r}), {mirror!r})
"""


def test_a_killed_unpacking_is_done_again(tmp_path, server, served, tables):
    """In the middle of the second folder; the first stays as it is, and no archive is downloaded again."""
    root = tmp_path / "root"
    script = KILLED.format(
        **PATHS,
        files=10,
        served=str(served),
        root=str(root),
        mirror=server.url,
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    assert {path.name for path in root.iterdir() if not path.name.startswith(".")} == {"annotations"}
    assert list(root.glob(".download/unpacked/val2017/*.jpg"))
    kept = (root / "annotations" / "instances_val2017.json").stat().st_mtime_ns
    download(tables[COCO], root, server.url)
    assert content(root) == content(write_coco(tmp_path / "expected"))
    assert [path.name for path in root.glob(".*")] == [".download"]
    assert (root / "annotations" / "instances_val2017.json").stat().st_mtime_ns == kept
    assert len(server.asked) == 3


def test_a_tar_that_leads_out_of_its_folder_is_refused(tmp_path):
    archive = tmp_path / "bad.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo("../evil"))
    with pytest.raises(InputError, match=r"bad\.tar cannot be unpacked .*evil"):
        unpack(archive, tmp_path / "in")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
def test_damaged_archives_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(range(250)) * 20)
    with pytest.raises(InputError, match=rf"{name} cannot be unpacked .*; delete it"):
        unpack(tmp_path / name, tmp_path / "in")


def test_two_at_once_do_not_disturb_each_other(tmp_path, tables):
    (tmp_path / ".download").mkdir()
    with FileLock(tmp_path / ".download" / "lock"), pytest.raises(StepError, match="another process is downloading"):
        download(tables[COCO], tmp_path)


def test_space_for_everything_is_looked_for_first(tmp_path, server, tables, monkeypatch):
    sizes = [folder.bytes for folder in tables[COCO]]
    usage = type("Usage", (), {"free": sum(sizes) + max(sizes) - 1})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(StepError, match="free space"):
        download(tables[COCO], tmp_path, server.url)
    assert server.asked == []


def test_the_published_tables_are_whole():
    for folders in DATA_SETS.values():
        for archive in (archive for folder in folders for archive in folder.archives):
            assert (archive.checksum.algorithm, len(archive.checksum.digits)) == ("md5", 32)
            assert archive.bytes


# The step and the workflow


def coco_config(root: Path, **more: object) -> dict[str, object]:
    return {
        "format": "coco",
        "root": str(root),
        "download": COCO,
        "train_annotations": "annotations/instances_train2017.json",
        "train_images": "train2017",
        "test_annotations": "annotations/instances_val2017.json",
        "test_images": "val2017",
        **more,
    }


def test_the_step_says_what_the_folder_holds(tmp_path, server, tables, monkeypatch):
    monkeypatch.setitem(archives.DATA_SETS, COCO, tables[COCO])
    config, output = tmp_path / "config.yaml", tmp_path / "download.json"
    config.write_text(json.dumps({"data": coco_config(tmp_path / "root", mirror=server.url)}))
    for _ in range(2):  # the second time it is there
        result = CliRunner().invoke(mgral, ["download", "--config", str(config), "--output", str(output)])
        assert result.exit_code == 0, result.output
        found = json.loads(output.read_text())
        assert found["data_set"] == COCO
        assert found["folders"]["val2017"]["images"] == {".": 6}
        assert found["folders"]["val2017"]["archives"]["val2017.zip"].startswith("md5:")
        output.unlink()
    assert len(server.asked) == 3


def test_the_step_needs_a_data_set_to_download(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("experiment: x\n")
    result = CliRunner().invoke(mgral, ["download", "--config", str(config), "--output", str(tmp_path / "x.json")])
    assert "data.download names no data set" in str(result.exception)


def test_a_configuration_that_the_download_cannot_serve_is_refused_before(tmp_path):
    check_data(resolve_config({"data": coco_config(tmp_path / "none")}))
    wrong = coco_config(tmp_path, train_images="train")
    with pytest.raises(InputError, match=r"coco2017 makes no .*/train, but .*/train2017"):
        check_data(resolve_config({"data": wrong}))
    wrong = coco_config(tmp_path, test_annotations="annotations/instances_test.json")
    with pytest.raises(InputError, match=r"makes no .*instances_test\.json, but .*instances_val2017\.json"):
        check_data(resolve_config({"data": wrong}))


def test_another_mirror_makes_nothing_again(tmp_path):
    here, there = (resolve_config({"data": coco_config(tmp_path, mirror=m)}) for m in (None, "http://host.invalid"))
    for step in ("download", "data", "cache"):
        assert depends_on(here, step) == depends_on(there, step)
    other = resolve_config({"data": coco_config(tmp_path / "other")})
    assert depends_on(here, "download") != depends_on(other, "download")


PROGRAM = """#!{python}
# `mgral`, but that the archives it downloads are the miniature ones: their checksums and numbers of images.
import sys
from pathlib import Path

sys.path[:0] = [{tests!r}, {support!r}]
from test_download import COCO, miniature_of
from mgral.data.download import archives, fetch

archives.DATA_SETS[COCO] = miniature_of(COCO, Path({served!r}))
fetch.FIRST_WAIT = 0.0

from mgral.cli.main import main

main()
"""


@slow
@pytest.mark.timeout(300)
def test_snakemake_goes_from_download_to_cache(tmp_path, server, served):
    programs, folder = tmp_path / "programs", tmp_path / "here"
    programs.mkdir()
    folder.mkdir()
    program = programs / "mgral"
    program.write_text(PROGRAM.format(python=sys.executable, **PATHS, served=str(served)))
    program.chmod(0o755)
    config = {
        "experiment": "tracks",
        "initial": 2,
        "budget": 2,
        "cycles": 1,
        "data": coco_config("data/coco", mirror=server.url),
    }
    (tmp_path / "coco.yaml").write_text(json.dumps(config))
    run = (folder, "--cores", "1", "--configfile", tmp_path / "coco.yaml", "--until", "cache")
    assert count_rules(planned(*run)) == {"config": 1, "download": 1, "data": 1, "input_size": 1, "cache": 1}
    assert not (folder / "data").exists()
    server.faults = [cut, cut]
    done = snakemake(*run, stub=programs)
    assert done.returncode == 0, done.stdout
    assert len(server.asked) == 5
    train = json.loads((folder / "results/tracks/dataset/train.json").read_text())
    assert [image["file_name"] for image in train["images"]][:2] == [
        "train2017/000000000009.jpg",
        "train2017/000000000025.jpg",
    ]
    assert len(train["images"]) == 8
    assert (folder / "results/tracks/dataset/test.npy").stat().st_size > 6 * 128 * 128 * 3
    assert planned(*run) == []


def test_dvc_has_the_download_too(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = tmp_path / "coco.yaml"
    config.write_text(json.dumps({"experiment": "tracks", "data": coco_config(tmp_path / "data")}))
    stages = yaml.safe_load(dvc_yaml(config))["stages"]
    receipt = "results/tracks/dataset/download.json"
    assert stages["download"]["outs"] == stages["data"]["deps"] == [receipt]
    settings = {file: keys for one in stages["download"]["params"] for file, keys in one.items()}
    read = settings["results/tracks/config.yaml"]
    assert "data.download" in read
    assert "data.mirror" not in read


def test_only_the_steps_that_download_load_the_library_of_the_network():
    """A job that trains runs where there may be no network, and never asks for one."""
    steps = [f"mgral.cli.steps.{step}" for step in STEPS if step not in ("download", "weights")]
    script = f"import sys, mgral.engine.workflow, {', '.join(steps)}; print('requests' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
