"""The optimisers do what torch's do, and leave its compiler alone."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from mgral.compute import optimizers

STEPS = 5
WITHOUT_COMPILER = """
import sys
import torch
from mgral.compute.optimizers import SGD, Adam, AdamW
for kind in SGD, Adam, AdamW:
    weights = torch.nn.Parameter(torch.ones(3))
    optimizer = kind([weights], 0.1, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    optimizer.zero_grad()
    (weights**2).sum().backward()
    optimizer.step()
    schedule.step()
    optimizer.load_state_dict(optimizer.state_dict())
assert "torch._dynamo" not in sys.modules
"""


def trained(kind: type[torch.optim.Optimizer], stop: int | None) -> torch.Tensor:
    """Minimise a quadratic; after `stop` steps go on with a new optimiser in the same state."""
    torch.manual_seed(0)
    weights = nn.Parameter(torch.randn(4))
    optimizer = kind([weights], lr=0.1)  # type: ignore[call-arg]
    for step in range(STEPS):
        if step == stop:
            state = optimizer.state_dict()
            optimizer = kind([weights], lr=0.1)  # type: ignore[call-arg]
            optimizer.load_state_dict(state)
        optimizer.zero_grad()
        (weights**2 * torch.arange(1, 5)).sum().backward()
        optimizer.step()
    return weights.detach()


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
@pytest.mark.parametrize("stop", [None, 3])
def test_an_optimizer_takes_the_steps_of_torchs_own(name, stop):
    torch.testing.assert_close(
        trained(getattr(optimizers, name), stop), trained(getattr(torch.optim, name), None), rtol=0, atol=0
    )


def test_no_optimizer_imports_the_compiler():
    finished = subprocess.run([sys.executable, "-c", WITHOUT_COMPILER], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
