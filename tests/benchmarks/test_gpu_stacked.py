"""Trainings whose weights are stacked learn what each would learn alone."""

import pytest
import torch

from benchmarks.gpu import write_data
from benchmarks.gpu_stacked import Stacked, as_on_a_gpu
from benchmarks.gpu_ways import Setting
from mgral.models.interface import Targets


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    setting = Setting.of(tmp_path_factory.mktemp("data"), cpu=True)
    write_data(setting, None, 8, 4)
    return setting


def test_each_training_has_its_own_gradient(setting):
    """In float64: normalisation of small batches amplifies what is rounded, on some processors more than on others.

    Weights before a normalisation have a gradient of next to nothing, so all count together.
    """
    stacked = Stacked(setting, 0, 10, trainings=3)
    stacked.weights = stacked.weights.detach().double().requires_grad_()
    stacked.buffers = {
        name: one.double() if one.is_floating_point() else one for name, one in stacked.buffers.items()
    }
    with as_on_a_gpu():
        shown = [(images, Targets(boxes.double(), labels)) for images, (boxes, labels) in stacked.shown()]
        together = stacked.gradients(shown)
        for detector, (images, targets), found in zip(stacked.detectors, shown, together, strict=True):
            torch.stack(list(detector.double()(images, targets).values())).sum().backward()
            alone = torch.cat([one.grad.flatten() for one in detector.parameters()])
            assert (found - alone).norm() < 1e-9 * alone.norm()
    assert not torch.allclose(together[0], together[1], rtol=0.1)


def test_a_step_moves_weights_and_statistics(setting):
    stacked = Stacked(setting, 0, 10, trainings=2)
    before = stacked.weights.detach().clone()
    statistics = {name: one.clone() for name, one in stacked.buffers.items() if "running_mean" in name}
    stacked.step()
    assert ((stacked.weights - before).abs().amax(dim=1) > 0).all()
    assert statistics
    assert not any(torch.equal(stacked.buffers[name], one) for name, one in statistics.items())
