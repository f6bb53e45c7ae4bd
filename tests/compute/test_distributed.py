"""One training in two processes, on the CPU: the same as in one; and what is left when one dies."""

import os
import pickle
import re
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import torch
from slow import full, slow
from squares import detector_command, squares, write_config, write_experiment, written
from torch import nn

from mgral.compute.gpus import DEVICE_VARIABLE
from mgral.config import AugmentationConfig, TrainingConfig
from mgral.data.images import load_images
from mgral.errors import InputError, StepError
from mgral.models.build import build_detector
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.training.batches import training_images
from mgral.training.checkpoint import SECONDS_VARIABLE, Checkpoint
from mgral.training.devices import train_on_gpus

CONFIG = SmallSSDConfig(width=64, height=64, channels=4)
TRAINING = TrainingConfig(batch_size=5)
"""Of which one process has three images and the other two."""


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def checkpoint(tmp_path):
    return Checkpoint(tmp_path / "d.checkpoint", "job")


def as_double(module, inputs):
    return tuple(values.double() for values in inputs)


def normalise_by_image(module):
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(1, child.num_features))
        else:
            normalise_by_image(child)


def test_two_processes_train_as_one_does(checkpoint):
    """In double precision, so that rounding is told from any other difference, which Adam would make as large.

    Normalised image by image, as batch normalisation has the statistics of a process' share on CPUs.
    """
    dataset, images = squares()
    labelled = training_images(dataset, images, dataset.image_ids[:8])
    runs = []
    for processes in (1, 2):
        detector = build_detector(CONFIG, 1, seed=0)
        normalise_by_image(detector)
        detector.double()
        detector.ssd.backbone.register_forward_pre_hook(as_double)
        history = train_on_gpus(processes, detector, labelled, TRAINING, 10, 5, "detector", checkpoint)
        runs.append((history, detector.state_dict()))
    (alone, weights), (shared, same) = runs
    for column in alone[0]:
        np.testing.assert_allclose([row[column] for row in shared], [row[column] for row in alone], rtol=1e-12)
    for name, values in weights.items():
        torch.testing.assert_close(same[name], values, rtol=1e-7, atol=1e-9)
    assert alone[0]["loss"] > 1.1 * alone[-1]["loss"]


@slow
def test_an_error_in_the_processes_is_that_of_one(checkpoint, capfd):
    dataset, images = squares()
    labelled = training_images(dataset, images, dataset.image_ids[:5])
    labelled.targets.boxes[2, 0, 0] = float("nan")
    detector = build_detector(CONFIG, 1, seed=0)
    plain = TrainingConfig(batch_size=5, augmentation=AugmentationConfig(flip=0.0, zoom_in=1.0, zoom_out=1.0))
    with pytest.raises(StepError, match=r"^detector: the loss is nan at iteration 0 \(images \[.*12.*\]\); lower"):
        train_on_gpus(2, detector, labelled, plain, 5, 0, "detector", checkpoint)
    assert "Traceback" not in capfd.readouterr().err


def test_each_process_needs_an_image(checkpoint):
    dataset, images = squares()
    labelled = training_images(dataset, images, dataset.image_ids)
    detector = build_detector(CONFIG, 1, seed=0)
    with pytest.raises(InputError, match=r"--gpus 6: training\.batch_size is 5, .*; lower --gpus, or raise"):
        train_on_gpus(6, detector, labelled, TRAINING, 5, 0, "detector", checkpoint)


def test_another_process_maps_the_image_cache_itself(tmp_path):
    dataset, images = squares()
    np.save(tmp_path / "train.npy", images.stored)
    mapped = training_images(dataset, load_images(tmp_path / "train.npy", dataset, images.canvas), dataset.image_ids)
    pickled = pickle.dumps(mapped)
    assert len(pickled) < images.stored.nbytes / 10
    again = pickle.loads(pickled)
    assert isinstance(again.images.stored, np.memmap)
    assert torch.equal(again.batch(torch.arange(12))[0], mapped.batch(torch.arange(12))[0])


@full
@pytest.mark.timeout(600)
def test_a_training_whose_processes_are_killed_leaves_none_and_goes_on(tmp_path):
    write_experiment(tmp_path)
    write_config(tmp_path, iterations=30)
    environment = os.environ | {SECONDS_VARIABLE: "0"}
    checkpoint = tmp_path / "d.safetensors.checkpoint"

    def start(name):
        command = [sys.executable, "-m", *detector_command(tmp_path, name), "--gpus=2"]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    def start_and_save():
        """Return the process and those that it started, once they have saved their training."""
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
        process = start("d")
        while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        return process, psutil.Process(process.pid).children(recursive=True)

    process, workers = start_and_save()
    workers[-1].kill()
    message = process.communicate()[1]
    assert process.returncode == 1, message
    assert re.search(r"^mgral: detector: process \d of 2 .*SIGKILL; run the step again", message, flags=re.MULTILINE)
    assert not psutil.wait_procs(workers, timeout=60)[1]
    assert not (tmp_path / "d.safetensors").exists()

    process, workers = start_and_save()
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not psutil.wait_procs(workers, timeout=60)[1]

    for name in ("d", "undisturbed"):
        process = start(name)
        message = process.communicate()[1]
        assert process.returncode == 0, message
        assert message.count("detector: resumed at iteration") == (name == "d")
    assert written(tmp_path, "d") == written(tmp_path, "undisturbed")
    assert not list(tmp_path.glob("*checkpoint*"))
