"""Jobs that train nothing start without torch's compiler; who calls it gets the real one."""

import subprocess
import sys

import pytest

NOT_CALLED = """
import sys
import mgral.cli.steps.detector, mgral.cli.steps.evaluate, mgral.cli.steps.embed, mgral.selection.strategies.ppal
assert "torch._dynamo" not in sys.modules
assert "torch._dynamo.utils" not in sys.modules
"""
CALLED = """
import sys
import mgral.models.interface
from mgral.compute.import_torchvision import is_compile_supported
import torch._dynamo.utils
assert sys.modules["torchvision.ops.roi_align"].is_compile_supported is is_compile_supported
assert is_compile_supported("cpu") == torch._dynamo.utils.is_compile_supported("cpu")
"""
CALLED_BEFORE = """
import sys
import torch._dynamo.utils
import mgral.models.interface
real = torch._dynamo.utils.is_compile_supported
assert sys.modules["torchvision.ops.roi_align"].is_compile_supported is real
"""


@pytest.mark.parametrize("program", [NOT_CALLED, CALLED, CALLED_BEFORE])
def test_the_compiler_is_imported_by_those_who_call_it(program):
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
