"""Steps on a GPU: what is asked for and is not there, before a job and in it; no test needs a GPU."""

import os
import platform
import re
import resource
import subprocess
import sys
import warnings
from collections import namedtuple
from importlib import import_module

import pynvml
import pytest
import torch
from run_workflow import TINY, snakemake

from mgral.cli.main import main
from mgral.compute.device import choose_device, fast_precision
from mgral.compute.gpus import DEVICE_VARIABLE, VISIBLE, Card, check_gpus, cuda_of_torch, find_cards
from mgral.engine.steps import STEPS
from mgral.errors import InputError

ON_GPUS = {"agent", "detector", "head", "evaluate", "embed", "pseudo_labels", "base", "variant", "select"}
ON_GPUS |= {"candidates", "gain"}


@pytest.fixture(autouse=True)
def _no_device_variable(monkeypatch):
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    monkeypatch.delenv(VISIBLE, raising=False)


@pytest.fixture
def driver(monkeypatch):
    """Stands in for an NVIDIA driver that has some GPUs and a CUDA version, or fails."""

    def put(gpus=0, cuda=99000, error=None):
        def start():
            if error:
                raise pynvml.NVMLError(error)

        monkeypatch.setattr(pynvml, "nvmlInit", start)
        monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: gpus)
        monkeypatch.setattr(pynvml, "nvmlSystemGetCudaDriverVersion", lambda: cuda)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda number: number)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda number: f"GPU-{number}")
        monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda number: "NVIDIA H200")
        memory = namedtuple("memory", "total")(143771 * 2**20)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda number: memory)

    return put


def cuda_present(monkeypatch, gpus):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)


def test_without_gpus_a_step_works_on_the_cpu_and_asks_for_nothing(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("asked for CUDA"))
    assert choose_device(0) == torch.device("cpu")


def test_the_environment_keeps_every_step_on_the_cpu(monkeypatch):
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("asked for CUDA"))
    assert choose_device(3) == torch.device("cpu")


@pytest.mark.parametrize("ask", [choose_device, check_gpus])
def test_another_device_in_the_environment_is_refused(ask, monkeypatch):
    monkeypatch.setenv(DEVICE_VARIABLE, "gpu")
    with pytest.raises(InputError, match=f"{DEVICE_VARIABLE} is 'gpu'; set it to cpu, or unset it"):
        ask(0)


def test_a_gpu_that_is_not_there_ends_a_step_with_2(monkeypatch, capsys, tmp_path):
    cuda_present(monkeypatch, 0)
    files = [
        f"--{name}={tmp_path / name}" for name in ("config", "dataset", "images", "labelled", "detector", "output")
    ]
    monkeypatch.setattr("sys.argv", ["mgral", "embed", *files, "--seed=0", "--gpus=1"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    message = capsys.readouterr().err.splitlines()
    assert len(message) == 1
    assert re.match(r"mgral: --gpus 1: torch \S+ finds no CUDA device; .* or run with --gpus 0", message[0])


def test_more_gpus_than_there_are(monkeypatch):
    cuda_present(monkeypatch, 2)
    with pytest.raises(InputError, match="--gpus 3: there are 2; lower --gpus, or run with --gpus 0"):
        choose_device(3)


def test_a_driver_that_torch_finds_too_old(monkeypatch):
    def warn():
        warnings.warn("CUDA initialization: The NVIDIA driver on your system is too old (found 11040).", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", warn)
    with pytest.raises(InputError, match=r"--gpus 1: the NVIDIA driver is too old for torch .*; update the driver"):
        choose_device(1)


def test_a_gpu_computes_the_same_again_in_full_precision(monkeypatch):
    cuda_present(monkeypatch, 2)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    convolutions, products = torch.backends.cudnn.conv, torch.backends.cuda.matmul
    before = convolutions.fp32_precision, products.fp32_precision
    try:
        assert choose_device(2) == torch.device("cuda")
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
        assert convolutions.fp32_precision == products.fp32_precision == "ieee"
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
        convolutions.fp32_precision, products.fp32_precision = before
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")


@pytest.mark.parametrize("wanted", [1, 2])
def test_a_machine_that_has_what_is_asked_for(wanted, driver):
    driver(gpus=2)
    check_gpus(wanted)


def test_a_machine_with_fewer_gpus(driver):
    driver(gpus=1)
    with pytest.raises(InputError, match=r"^jobs are given 2 GPUs \(.*\), but this machine has 1; lower gpu, or run"):
        check_gpus(2)


def test_without_gpus_no_driver_is_asked_for(driver, monkeypatch):
    driver(error=pynvml.NVML_ERROR_UNKNOWN)
    check_gpus(0)
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    check_gpus(4)


def test_a_driver_older_than_torch(driver):
    driver(gpus=1, cuda=10020)
    with pytest.raises(InputError, match=r"too old: it goes up to CUDA 10, and torch was built for \d+; update"):
        check_gpus(1)


def test_a_driver_that_fails(driver):
    driver(error=pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    with pytest.raises(
        InputError, match=r"1 GPU .*, but the NVIDIA driver fails \(Driver Not Loaded\); repair it, or"
    ):
        check_gpus(1)


def test_a_machine_without_a_driver(driver):
    driver(error=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    with pytest.raises(InputError, match="this machine has no NVIDIA driver; install one, or run without"):
        check_gpus(1)


def test_the_cuda_that_torch_was_built_for():
    assert cuda_of_torch() == (torch.version.cuda.partition(".")[0] if torch.version.cuda else None)


def test_snakemake_refuses_before_the_first_job(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    done = snakemake(run, "--cores", "1", "--configfile", TINY, "--set-resources", "variant:gpu=99")
    assert done.returncode == 2, done.stdout
    assert "mgral: jobs are given 99 GPUs (resource gpu, by --set-resources or the profile), but this" in done.stdout
    assert not (run / "results").exists()


def test_a_rule_hands_its_gpus_to_its_step(tmp_path):
    numbers = {step: number for number, step in enumerate(sorted(ON_GPUS), start=1)}
    options = [f"{step}:gpu={number}" for step, number in numbers.items()]
    of_fidelity = [f"{step}_of_source:gpu={numbers[step]}" for step in ("pseudo_labels", "base", "variant")]
    planned = snakemake(
        tmp_path,
        "all",
        "fidelity",
        "--dry-run",
        "--printshellcmds",
        "--configfile",
        TINY,
        "--config",
        "strategies=[mgral, random, entropy_anchors, llal]",
        "--set-resources",
        *options,
        *of_fidelity,
    ).stdout
    commands = re.findall(r"mgral (\w+) --config.*?--gpus (\d+)", planned)
    assert {f"{step}:gpu={gpus}" for step, gpus in commands} == set(options)


@pytest.mark.parametrize("step", STEPS)
def test_the_steps_on_gpus_say_so(step):
    command = import_module(f"mgral.cli.steps.{step}").command
    has_option = "gpus" in {parameter.name for parameter in command.params}
    assert has_option == (step in ON_GPUS | {"external", "prelabels", "held_out"})
    assert (f"{DEVICE_VARIABLE}=cpu" in (command.epilog or "")) == has_option
    assert ("--vram-mb" in {name for parameter in command.params for name in parameter.opts}) == has_option


def test_the_driver_is_asked_without_torch():
    """The workflow is planned in a second, which importing torch would triple."""
    code = "import sys, mgral.compute.gpus; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cards_are_known_by_name_and_memory(driver, monkeypatch):
    driver(gpus=3)
    monkeypatch.setenv(VISIBLE, "2, GPU-0")
    assert find_cards() == [Card("GPU-2", "NVIDIA H200", 143771), Card("GPU-0", "NVIDIA H200", 143771)]


@pytest.mark.parametrize(
    ("visible", "why"),
    [
        (None, "this machine has no GPU; install one"),
        ("3", "CUDA_VISIBLE_DEVICES=3 names none of this machine;"),
        ("0,0", "CUDA_VISIBLE_DEVICES=0,0 names a GPU twice, and CUDA then shows none; correct it"),
    ],
)
def test_a_machine_without_a_card_that_may_be_used(visible, why, driver, monkeypatch):
    driver(gpus=0 if visible is None else 3)
    if visible:
        monkeypatch.setenv(VISIBLE, visible)
    with pytest.raises(InputError, match=why):
        find_cards()


def test_a_torch_without_cuda_uses_no_card(driver, monkeypatch):
    driver(gpus=1)
    monkeypatch.setattr("mgral.compute.gpus.cuda_of_torch", lambda: None)
    with pytest.raises(InputError, match="torch was built without CUDA; install one"):
        find_cards()


@pytest.mark.parametrize(
    ("known", "precision"), [({"avx512_bf16": True}, "bfloat16"), ({"avx512_f": True}, "float32")]
)
def test_a_processor_trains_in_bfloat16_if_it_has_instructions_for_it(known, precision, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    assert fast_precision(torch.device("cpu")) == precision


@pytest.mark.parametrize(("supported", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_a_gpu_trains_in_bfloat16_if_it_need_not_emulate_it(supported, precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported or including_emulation)
    assert fast_precision(torch.device("cuda")) == precision


NEW_PAGES = """
import resource, torch
from mgral.compute.device import choose_device

choose_device(0)
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(1 << 26, dtype=torch.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_a_step_on_the_cpu_uses_the_memory_again_that_it_frees():
    # In a process of its own: what tests have left in memory can be in the way of a growing heap.
    done = subprocess.run([sys.executable, "-c", NEW_PAGES], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 5 * (1 << 26) / resource.getpagesize() / 10
