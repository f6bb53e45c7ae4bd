"""A real Slurm on this machine, for the tests: two nodes with a pretended GPU each, all that is theirs in one folder.

Needs Debian's packages slurm-wlm and munge (`make slurm`), and neither root nor systemd. Several can run at once.
"""

import getpass
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import psutil
from run_workflow import ROOT

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sinfo", "squeue", "scancel")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
NODES = {"node1": "/dev/null", "node2": "/dev/zero"}
"""With the device file of its GPU, without which Slurm takes the node for broken."""

EXECUTOR = (
    "--profile",
    str(ROOT / "workflow" / "profiles" / "slurm"),
    "--slurm-status-command=squeue",
    "--slurm-init-seconds-before-status-checks=1",
)
"""Options of Snakemake for such a cluster, which keeps no accounts, and less patience than a lab's profile has."""

SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
# Decide at once, and remember every job until the end.
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
MinJobAge=86400
SlurmdTimeout=8
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Job(NamedTuple):
    """What Slurm has kept of a job."""

    number: int
    name: str
    """Rule or group, and wildcards, as the executor gave them to Slurm."""
    state: str
    gpus: int
    node: str
    start: datetime | None
    """To the second; None where the job has not begun."""
    end: datetime | None


class Cluster:
    """Nodes with 4 processors, 16 GB and one GPU each, as far as Slurm knows."""

    def __init__(self, folder: Path) -> None:
        """Write the configuration into an empty folder, and start nothing."""
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}:{PATH}",
        }
        """Of whatever is to use this cluster."""
        self._folder = folder
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        _configure(folder)

    def start(self) -> None:
        """Start all daemons, and return when the nodes are ready."""
        options = {
            "key-file": "munge.key",
            "seed-file": "munge.seed",
            "log-file": "munge.log",
            "pid-file": "munge.pid",
        }
        files = [f"--{option}={self._folder / name}" for option, name in options.items()]
        socket_file = self._folder / "munge.socket"
        self._start("munged", "munged", "--foreground", "--force", f"--socket={socket_file}", *files)
        _wait_until(socket_file.exists, "munged does not start")
        self._start("slurmctld", "slurmctld", "-D", "-c")
        for node in NODES:
            self.start_node(node)

    def start_node(self, node: str) -> None:
        """Start a node, which may have been killed before, and return when it is ready."""
        self._start(node, "slurmd", "-D", "-N", node)
        _wait_until(lambda: self._state(node) in ("idle", "mixed", "allocated"), f"{node} does not get ready")

    def kill_node(self, node: str) -> None:
        """End a node as a power cut would, with all that runs on it, and let Slurm know that it is gone."""
        self._kill(node)
        self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=killed")

    def stop(self) -> None:
        """End the daemons and whatever still runs on the nodes."""
        for name in reversed(self._daemons):
            self._kill(name)

    def run(self, *command: str) -> str:
        """Run one of Slurm's commands on this cluster and return what it prints."""
        return subprocess.run(command, env=self.environment, text=True, capture_output=True, check=True).stdout

    def jobs(self) -> list[Job]:
        """Return all jobs there have been, in the order in which they were submitted."""
        text = self.run("scontrol", "show", "job", "--oneliner")
        return [_job(line) for line in text.splitlines() if line.startswith("JobId=")]

    def _start(self, name: str, *command: str) -> None:
        with (self._folder / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                command, env=self.environment, stdout=output, stderr=output, start_new_session=True
            )

    def _kill(self, name: str) -> None:
        self._daemons[name].kill()
        self._daemons[name].wait()
        while processes := self._processes_on(name):
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    def _processes_on(self, node: str) -> list[psutil.Process]:
        """Return the processes of a node's jobs, after Slurm's that watch over them and would report their end."""
        ours = {"SLURM_CONF": self.environment["SLURM_CONF"], "SLURMD_NODENAME": node}
        watchers, found = set(), set()
        for process in psutil.process_iter():
            try:
                if ours.items() <= process.environ().items():
                    found.add(process)
                    watchers |= {parent for parent in process.parents() if parent.name() == "slurmstepd"}
            except psutil.Error:
                continue
        return [*watchers, *(found - watchers)]

    def _state(self, node: str) -> str:
        return self.run("sinfo", "--noheader", f"--nodes={node}", "--format=%T").strip()


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[Cluster]:
    """Run a cluster whose files are in `folder`; nothing of it is left afterwards, but for these."""
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def _configure(folder: Path) -> None:
    for name in ("bin", "state"):
        (folder / name).mkdir()
    host = socket.gethostname().partition(".")[0]
    port, *ports = _free_ports(1 + len(NODES))
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={its_port} CPUs=4 RealMemory=16000 Gres=gpu:1"
        for node, its_port in zip(NODES, ports, strict=True)
    )
    text = SLURM_CONF.format(host=host, port=port, user=getpass.getuser(), folder=folder, nodes=nodes)
    (folder / "slurm.conf").write_text(text)
    gpus = [f"NodeName={node} Name=gpu File={device}\n" for node, device in NODES.items()]
    (folder / "gres.conf").write_text("".join(gpus))
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    # The executor starts the step of a job without SLURM_CONF: an ordinary cluster has one configuration only.
    wrapper = folder / "bin" / "srun"
    wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
    wrapper.chmod(0o755)


def _job(line: str) -> Job:
    """Read a line of `scontrol show job --oneliner`."""
    fields = dict(re.findall(r"(\w+)=(\S+)", line))
    gpus = re.search(r"gres/gpu=(\d+)|TresPerJob=gres:gpu:(\d+)", line)
    times = [
        None if fields[key] in ("Unknown", "None") else datetime.fromisoformat(fields[key])
        for key in ("StartTime", "EndTime")
    ]
    return Job(
        int(fields["JobId"]),
        fields["Comment"],
        fields["JobState"],
        int(gpus[1] or gpus[2]) if gpus else 0,
        fields.get("NodeList", ""),
        *times,
    )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def _wait_until(true: Callable[[], bool], trouble: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"{trouble} in {seconds:.0f} s")
        time.sleep(0.05)
