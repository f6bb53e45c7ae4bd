"""A batch that is pushed to a stand-in of Label Studio, and what is the same of tasks wherever they are."""

import photo_project
from label_studio_stand_in import TOKEN
from photo_project import answered, run

from mgral.artefacts.files import read_json
from mgral.labelling import running
from mgral.labelling.servers import label_studio, rest


def make_ready(monkeypatch):
    """Make rounds at once and waits short, set the token, and send and read a few tasks at once."""
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)
    monkeypatch.setattr(rest, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(rest, "TIMEOUT", (0.3, 0.3))
    monkeypatch.setattr(label_studio, "SENT_AT_ONCE", 3)
    monkeypatch.setattr(label_studio, "KNOWN_AT_ONCE", 4)
    monkeypatch.setattr(label_studio, "READ_AT_ONCE", 3)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)


def push(project, server, *options, fails=0):
    return run("push", "--folder", project, "--to", "label-studio", "--url", server.url, *options, fails=fails)


def second_round(project):
    run("import", "--folder", project, answered(project, 1))
    run("next", "--folder", project, "--format", "label_studio")


def written(folder):
    return read_json(folder / "tasks" / "label_studio" / "label_studio.json")


def sent(tasks):
    """What is the same of tasks wherever they are: their picture's number, rank and boxes."""
    return [
        (
            one["data"]["mgral_id"],
            one["data"]["mgral_rank"],
            [[region["value"] for region in found["result"]] for found in one.get("predictions", [])],
        )
        for one in tasks
    ]


def ledger(project):
    return (project / "ledger.jsonl").read_bytes()
