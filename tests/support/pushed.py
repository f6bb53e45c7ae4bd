"""A batch that is pushed to a stand-in of Label Studio, and what is the same of tasks wherever they are."""

from photo_project import run

from mgral.artefacts.files import read_json


def push(project, server, *options, fails=0):
    return run("push", "--folder", project, "--to", "label-studio", "--url", server.url, *options, fails=fails)


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
