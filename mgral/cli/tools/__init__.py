"""Commands that are no step of the pipeline."""

TOOLS = {
    "compare": "Compare the artefacts of two results folders byte by byte.",
    "results": "Write pages of finished experiments: command, commit, machine, seeds, tables, figures.",
    "convert": "Write a data set in another format: COCO, VOC or YOLO.",
    "dvc": "Write the workflow as DVC stages.",
    "estimate": "Estimate what an experiment costs: jobs, images, hours, disk.",
    "handover": "Let one engine take over what the other has made.",
}
"""What each does, in the order of the help."""
