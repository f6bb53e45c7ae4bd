"""The example of a labelling round, run as it is.

The others: examples/api in tests/test_api.py, examples/plugin_strategy in tests/workflow/test_plug_in.py,
examples/external_detector in tests/workflow/test_external_example.py.
"""

import os
import subprocess

import pytest
from installed_command import MGRAL
from run_workflow import ROOT
from slow import slow

from mgral.artefacts.files import read_json

SCRIPT = ROOT / "examples" / "labelling_round" / "round.sh"


@slow
@pytest.mark.timeout(900)
def test_a_round_of_labelling_ends_with_every_picture_of_the_batch_labelled(tmp_path):
    variables = {**os.environ, "PATH": f"{MGRAL.parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([SCRIPT], cwd=tmp_path, env=variables, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tasks = read_json(tmp_path / "shapes" / "round1" / "tasks" / "coco" / "instances.json")
    batch = len(tasks["images"])
    assert batch == 9  # five, and the audit set
    assert f"round 1: {batch} pictures sent, {batch} labelled" in done.stdout
    assert "next: mgral project next" in done.stdout
