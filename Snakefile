# MGRAL, from data to report. `snakemake -n` shows the plan; README.md says how to run it on your own data. It lies in the
# package too (mgral/pipeline): `mgral snakemake` runs it in any folder.
#
# Configuration: params.yaml, or the files given by --configfile in its place; --config overrides single keys of
# either. It is checked here, before there are jobs: a faulty one ends with exit code 2 and leaves nothing behind.
#
# Jobs: every rule runs one step, `mgral STEP`, on one thread: two such jobs finish sooner than two on two threads each.
# The rules that can use a GPU get one where jobs run on this machine and it has some (DEVICES); on a cluster by a profile.
# With MGRAL_DEVICE=cpu in the environment all of them use the CPU.

import atexit
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod

from mgral.engine.container import (
    check_command,
    check_image,
    container_environment,
    python_inside,
)
from mgral.engine.installed import in_clone
from mgral.engine.job_server import job_server
from mgral.compute.gpus import check_gpus
from mgral.errors import PROGRAM, InputError, StepError, program
from mgral.engine.devices import Devices
from mgral.engine.limits import (
    check_card_memory,
    check_card_resources,
    check_disk,
    check_folder,
    check_images,
    check_jobs,
    check_memory,
)
from mgral.engine.console.handler import LogHandler
from mgral.engine.memory import card_memory_mb
from mgral.engine.pins import other_versions
from mgral.engine.ownership import PLAN_ONLY, SNAKEMAKE, check_engine, claim
from mgral.artefacts.commit import VARIABLE, commit
from mgral.report.kept import bring_back_report, keep_report
from mgral.report.timings import earlier_times, record_command, write_timings
from mgral.config import DEFAULT, registry
from mgral.data.chunks import PixelSettings
from mgral.data.formats.snapshot import PICTURES
from mgral.engine.data_files import (
    annotation_files,
    downloads,
    label_folders,
    label_state,
    round_data,
)
from mgral.engine.needs import check_files
from mgral.engine.workflow import (
    config_options,
    configure,
    data_warning,
    depends_on,
    refresh_config,
    snakemake_command,
    variant_jobs,
)

CONFIG_FILES = [Path(file).resolve() for file in workflow.overwrite_configfiles] or [
    Path(workflow.basedir) / "params.yaml"
]
OVERRIDES = workflow.config_settings.config
CONTAINED = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method


def refuse(error):
    """End with the sentence that says what to do, and the exit code of a step."""
    print(f"mgral: {error}", file=sys.stderr)
    sys.exit(2 if isinstance(error, InputError) else 1)


def no_gpus_because():
    """Why jobs get no GPU unless somebody asks for one; empty if they get one by themselves."""
    if not workflow.is_main_process or workflow.resource_settings.nodes:
        return "with --jobs or another executor, a profile says which jobs get a GPU"
    if PLAN_ONLY in os.environ:
        return "the same plan is wanted on every machine"
    if workflow.resource_settings.resources.get("gpu") == 0:
        return "--resources gpu=0"
    return ""


try:
    if workflow.resource_settings.cores == 0:  # Snakemake would wait for ever
        raise InputError("--cores is 0; give a number of cores, from 1, or all")
    CONFIG = configure(CONFIG_FILES, OVERRIDES)
    check_jobs(CONFIG)
    if workflow.is_main_process:
        check_folder(Path(f"results/{CONFIG.experiment}"))
    check_files(CONFIG)
    if workflow.is_main_process:
        check_images(CONFIG)
        check_command(CONFIG.detector)
    if PLAN_ONLY not in os.environ and "--unlock" not in sys.argv:
        check_engine(Path("results"), SNAKEMAKE)
    if CONTAINED and workflow.is_main_process and "://" not in CONFIG.container.image:
        check_image(CONFIG.container.image)
    DEVICES = Devices.here(no_gpus_because())
except (InputError, StepError) as error:
    refuse(error)


if workflow.is_main_process and (warning := data_warning(CONFIG)):
    logger.warning(warning)


# Snakemake starts no more jobs at once than fit on all cards together; each then takes a card with room.
if DEVICES.cards and "vram_mb" not in workflow.global_resources:
    workflow.register_resource("vram_mb", DEVICES.memory_mb)

# The console (none with --verbose, and in jobs on a cluster) is told where the results are and, before the first job,
# which job waits for which.
CONSOLES = [
    handler
    for handler in workflow.logger_manager.get_log_handlers()
    if isinstance(handler, LogHandler)
]
for console in CONSOLES:
    console.results = Path(f"results/{CONFIG.experiment}")

# Snakemake works without the environment being activated: its jobs find the `mgral` beside it. Commands
# that they print are for people, whose shell may not.
os.environ.setdefault(PROGRAM, program())
os.environ["PATH"] = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ["PATH"]]
)


# With --use-singularity every job runs in this image, and outside it without.
container: CONFIG.container.image


if CONTAINED:
    os.environ |= container_environment(CONFIG, CONFIG_FILES)
else:
    os.environ[VARIABLE] = commit()  # so that no job asks Git
os.environ.pop("DVC_ROOT", None)  # of a stage that runs Snakemake: jobs are no stages


# Snakemake deletes what a job is to write before it starts the job.
REPORTS = [
    Path(f"results/{CONFIG.experiment}"),
    Path(f"results/{CONFIG.experiment}/fidelity"),
]
STARTED = time.time()
# Jobs of this machine start from a process that has imported torch. It is ended here too, as Snakemake calls neither
# handler below where it fails itself.
SERVER = ExitStack()
atexit.register(SERVER.close)


def all_jobs():
    """Rule, wildcards and outputs of each job, of those that are done too."""
    return [
        (job.rule.name, dict(job.wildcards_dict), list(map(str, job.output)))
        for job in workflow.dag.jobs
    ]


def write_partial_report():
    """Report the complete strategies, and name the logs of the jobs that failed."""
    dag, folder = workflow.dag, REPORTS[0]
    unfinished = [job for job in dag.needrun_jobs() if not dag.finished(job)]
    logs = [Path(log) for job in unfinished for log in job.log]
    failed = [log for log in logs if log.exists() and log.stat().st_mtime >= STARTED]
    files = ["--config", folder / "config.yaml", "--results", folder]
    page = folder / "partial" / "report.html"
    options = [option for log in failed for option in ("--log", log)]
    command = ["mgral", "report", "--partial", *files, "--output", page, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        logger.info(done.stderr.strip())
    else:
        logger.warning(f"The strategies that are complete are reported in {page}")


def name_devices(given):
    """Report on which GPUs jobs compute, or why on none; not if no job can use one, or a person has assigned them."""
    able = [job for job in jobs_asked_for() if job.resources.get("vram_mb") is not None]
    if not able or (given and not DEVICES.cards):
        return
    on_cpu = {job.rule.name: job_card_mb(job) for job in able if not job.resources.gpu}
    too_large = {
        step: size for step, size in on_cpu.items() if size > DEVICES.largest_mb
    }
    logger.info(DEVICES.line(card_mb("detector", DEFAULT), too_large))


def name_other_versions():
    """Say which packages are not those that exact reruns need."""
    if others := other_versions():
        remedy = "make setup" if in_clone() else f"see: {program()} constraints --help"
        logger.warning(
            "Results may differ in the last bits from those of other machines, as these packages are not of the "
            f"pinned versions ({remedy}): {'; '.join(others)}"
        )


def jobs_asked_for():
    """The jobs that this run does; with --until Snakemake plans more."""
    dag = workflow.dag
    return filter(dag.needrun, dag.bfs(dag.dependencies, *dag.targetjobs))


# Rule `config` makes config.yaml once. Were it to rerun for every changed setting, Snakemake (9.27) would no longer ask
# whether the settings of the jobs behind it changed: a job that reruns hides them, even where they take its output as
# `ancient`. So the file is brought up to date here, before the first job and not in a dry run.
onstart:
    try:
        check_card_resources(
            {
                (job.rule.name, name): job.resources.get(name)
                for job in workflow.dag.needrun_jobs()
                for name in ("gpu", "vram_mb")
            }
        )
        given = max(
            (job.resources.get("gpu", 0) for job in workflow.dag.needrun_jobs()),
            default=0,
        )
        check_disk(CONFIG, REPORTS[0])
        # Jobs elsewhere may have what is not here; they say themselves where it is missing.
        if workflow.local_exec:
            check_gpus(given)
            check_card_memory(
                DEVICES,
                {
                    job.rule.name: job_card_mb(job)
                    for job in workflow.dag.needrun_jobs()
                    if job.resources.get("gpu")
                    and not job.resources["vram_mb"]
                    and job_card_mb(job) > DEVICES.largest_mb
                },
            )
            check_memory(CONFIG, on_gpus=given > 0)
            name_devices(given)
        if CONTAINED and "://" in CONFIG.container.image:  # pulled by now
            check_image(workflow.dag.container_imgs[CONFIG.container.image].path)
        if not CONTAINED:
            name_other_versions()
        claim(REPORTS[0], SNAKEMAKE)
    except (InputError, StepError) as error:
        refuse(error)
    if CONTAINED and downloads(CONFIG):
        # Apptainer starts no job without the folders that it is to show inside.
        Path(CONFIG.data.root).mkdir(parents=True, exist_ok=True)
    for folder in REPORTS:
        keep_report(folder)
    if given:
        os.environ["APPTAINER_NV"] = "1"  # shows the driver inside, as --nv does
    refresh_config(CONFIG, Path(f"results/{CONFIG.experiment}/config.yaml"))
    if workflow.local_exec:
        # For its default limit of 100 job starts a second, Snakemake (9.27) looks for jobs a second after each time that
        # it did. Each job that ends adds one such chain, and after hundreds of jobs they take half a core: decision 069.
        if (limit := workflow.scheduler.job_rate_limiter) and limit.max_jobs == 100:
            workflow.scheduler.job_rate_limiter = None
        python = [sys.executable]
        if CONTAINED:
            image = workflow.dag.container_imgs[CONFIG.container.image].path
            python = python_inside(
                image, workflow.deployment_settings.apptainer_args
            )
        SERVER.enter_context(job_server(Path(".snakemake/mgral.socket"), python))
    waits = {
        job.jobid: (
            job.rule.name,
            [other.jobid for other in workflow.dag.dependencies[job]],
        )
        for job in jobs_asked_for()
    }
    for console in CONSOLES:
        console.expect(waits, earlier_times(all_jobs()))


# Times differ from run to run, so they are written by no job and read by none. Called after every run that had a job to
# do; whatever is wrong with the times, the results are there.
onsuccess:
    SERVER.close()
    for folder in REPORTS:
        bring_back_report(folder)
    try:
        write_timings(CONFIG, Path(f"results/{CONFIG.experiment}"), all_jobs())
        targets = set(workflow.dag_settings.targets)
        for target in targets & {"fidelity"} if targets else {"all"}:
            command = snakemake_command(CONFIG_FILES, OVERRIDES, targets)
            record_command(Path(f"results/{CONFIG.experiment}"), target, command)
    except Exception as error:
        logger.warning(f"mgral: timings are not written: {error}")


# What is complete is reported all the same, beside the finished report of an earlier run, if there is one.
onerror:
    SERVER.close()
    brought = {
        str(path) for folder in REPORTS for path in bring_back_report(folder)
    }
    for job in workflow.dag.needrun_jobs():
        # Of a failed job Snakemake (9.27) remembers settings and inputs as of one that did its work.
        if brought.intersection(map(str, job.output)):
            workflow.persistence.cleanup(job)
    if (
        set(workflow.dag_settings.targets) <= {"all"}
        and not SNAPSHOT
        and (REPORTS[0] / "config.yaml").exists()
    ):
        write_partial_report()


include: "workflow/rules/paths.smk"
include: "workflow/rules/dataset.smk"
include: "workflow/rules/round.smk"
include: "workflow/rules/lut.smk"
include: "workflow/rules/query.smk"


def wanted():
    """What is made unless something else is asked for: the report or, of a round of a project, what people need."""
    results = f"results/{CONFIG.experiment}"
    if not SNAPSHOT:
        return [f"{results}/report.html"]
    files = [f"{folder}/selection.json" for folder in queries(CONFIG.strategies)]
    if SNAPSHOT.labelled and (GIVES is None or "probabilities" in GIVES):
        files.append(f"{results}/prelabels.json")
    if SNAPSHOT.labelled and SNAPSHOT.audit:
        files.append(f"{evaluated_rounds()[0]}/metrics.json")
    return files


if SNAPSHOT:

    include: "workflow/rules/project.smk"

else:

    include: "workflow/rules/report.smk"
    include: "workflow/rules/fidelity.smk"


rule all:
    default_target: True
    input:
        wanted(),
