import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from mgral.engine.console.dry_run import reason_of
from mgral.engine.console.handler import LogHandler
from mgral.engine.console.jobs import SHOWN_LINES, StartedJob, job_title, last_words
from mgral.engine.console.outcome import not_compared, result_lines
from mgral.engine.console.time_left import TimeLeft, duration


def job_with(log: Path, text: str) -> StartedJob:
    log.write_text(text)
    return StartedJob("detector", "seed 0  detector", (log,), (), 0.0, False)


@pytest.mark.parametrize(
    ("rule", "wildcards", "title"),
    [
        ("data", {"experiment": "it"}, "data"),
        ("detector", {"seed": "1", "round": "strategies/mgral", "cycle": "2"}, "seed 1  mgral  cycle 2  detector"),
        ("select", {"seed": "0", "strategy": "random", "cycle": "0"}, "seed 0  random  cycle 0  select"),
        (
            "variant",
            {
                "seed": "0",
                "round": "initial",
                "cycle": "0",
                "table": "12ab34cd",
                "split": "1",
                "first": "0",
                "last": "4",
            },
            "seed 0  initial  cycle 0  variant  12ab34cd  split 1  0-4",
        ),
        (
            "embed",
            {"seed": "0", "round": "initial", "cycle": "0", "embedding": "default"},
            "seed 0  initial  cycle 0  embed",
        ),
    ],
)
def test_titles(rule: str, wildcards: dict[str, str], title: str) -> None:
    assert job_title(rule, wildcards) == title


@pytest.mark.parametrize(
    ("text", "progress"),
    [
        ("", ""),
        ("106 reward images, 40 base images\n", ""),
        ("detector 20/140\ndetector 80/140\n", "80/140"),
        ("variant 3 20/60\n", "variant 3 20/60"),
        ("x" * 1000 + "\ndetector 1/2\n", "1/2"),
        ("warning: /data/2026/11/a.png is turned upright\n", ""),
        ("a.zip:  12%|█▏  | 1.1G/19.3G [00:30]\ra.zip:  24%|██  | 2.3G/19.3G [01:00]\r", "2.3G/19.3G"),
    ],
)
def test_progress_is_the_last_count_in_the_log(tmp_path: Path, text: str, progress: str) -> None:
    assert job_with(tmp_path / "it.log", text).progress == progress


@pytest.mark.parametrize(
    ("before", "end"),
    [
        (1.0, ["", "Stopped: 0 of 3 jobs are done; the same command continues from here."]),
        (60.0, ["", "failed: seed 0  detector", "    It left no message: it may have been killed"]),
    ],
)
def test_a_job_that_ctrl_c_ends_has_not_failed(before: float, end: list[str]) -> None:
    """Its failure may be told before Snakemake's line on Ctrl-C."""
    given = {"quiet": None, "stdout": True, "dryrun": False, "verbose": False, "debug_dag": False, "nocolor": True}
    handler = LogHandler(SimpleNamespace(**given), None)
    handler.total, handler.started = 3, 0.0
    handler.jobs[1] = handler.running[1] = StartedJob("detector", "seed 0  detector", (), (), 0.0, False)
    failed = {"event": LogEvent.JOB_ERROR, "jobid": 1, "log": [], "rule_msg": None, "created": 100.0}
    stopped = {"msg": "Terminating processes on user request", "levelno": logging.INFO, "created": 100 + before}
    for fields in (failed, stopped):
        handler.emit(logging.makeLogRecord(fields))
    assert [line[: len(start)] for line, start in zip(handler._end_lines(), end, strict=False)] == end


def test_a_job_without_a_log_has_no_progress(tmp_path: Path) -> None:
    assert StartedJob("detector", "", (tmp_path / "none.log",), (), 0.0, False).progress == ""
    assert StartedJob("detector", "", (), (), 0.0, False).progress == ""


def test_warnings_of_steps_and_of_python(tmp_path: Path) -> None:
    text = (
        "train: 3 images\nwarning: used after repairs:\n  Images without boxes (1)\n    a.png\ntest: 2 images\n"
        "/some/file.py:12: UserWarning: odd\n  call()\nno warning: of a step\n"
    )
    assert job_with(tmp_path / "it.log", text).warnings == [
        "warning: used after repairs:\n  Images without boxes (1)\n    a.png",
        "/some/file.py:12: UserWarning: odd\n  call()",
    ]


def test_a_long_warning_is_shortened(tmp_path: Path) -> None:
    lines = ["warning: used after repairs:", *(f"  {number}" for number in range(100))]
    (warning,) = job_with(tmp_path / "it.log", "\n".join(lines)).warnings
    assert warning.splitlines() == [*lines[:SHOWN_LINES], f"  ... {101 - SHOWN_LINES} more lines in its log"]


def test_last_words(tmp_path: Path) -> None:
    own, other = tmp_path / "own.log", tmp_path / "other.log"
    own.write_text("detector 1/2\nmgral: first\nmgral: the loss is nan;\n  lower the rate\n")
    other.write_text("of the cluster\n")
    assert last_words((own, other)) == ["mgral: the loss is nan;", "  lower the rate"]
    own.write_text("".join(f"{number}\n" for number in range(50)))
    assert last_words((own, other)) == [str(number) for number in range(50 - SHOWN_LINES, 50)]
    own.write_text("")
    assert last_words((own, other)) == ["of the cluster"]
    assert last_words((tmp_path / "none.log",)) == []


# Two chains: 1 -> 2 -> 3 and 4 -> 5 -> 6.
CHAINS = {1: ("a", []), 2: ("b", [1]), 3: ("b", [2]), 4: ("a", []), 5: ("b", [4]), 6: ("b", [5])}
EARLIER = [("a", 60.0), ("b", 50.0), ("b", 70.0)]


def test_time_left_takes_jobs_side_by_side_and_chains_into_account() -> None:
    times = TimeLeft(CHAINS, EARLIER)
    assert times.text({}, [], [], 1) == "about 6 min left"
    assert times.text({}, [], [], 2) == "about 3 min left"
    assert times.text({}, [], [], 6) == "about 3 min left"  # a chain is one job after the other
    assert times.text({2: 30.0, 4: 30.0}, [1], [], 2) == "about 2 min left"  # 90 and 150 s; 4 min by two
    assert times.text({}, [1, 2, 3], [], 2) == "about 3 min left"
    assert times.text({}, [1, 2, 3, 4, 5, 6], [], 2) == ""


def test_time_left_leaves_out_what_a_failure_stops() -> None:
    assert TimeLeft(CHAINS, EARLIER).text({}, [], [4], 1) == "about 3 min left"


def test_time_left_is_of_this_run_where_it_has_several_times() -> None:
    times = TimeLeft(CHAINS, EARLIER)
    times.measured["b"].append(600.0)  # perhaps with the import of torch
    assert times.text({}, [1, 4], [], 2) == "about 2 min left"
    times.measured["b"].append(600.0)
    assert times.text({}, [1, 4], [], 2) == "about 20 min left"


def test_time_left_of_rules_that_never_ran() -> None:
    times = TimeLeft(CHAINS, [("a", 60.0)])
    assert times.text({}, [], [], 2) == "more than 1 min left"
    assert times.text({}, [1, 4], [], 2) == ""


def test_one_job_of_many_may_be_unknown() -> None:
    jobs = {number: ("a", []) for number in range(30)} | {30: ("report", range(30))}
    times = TimeLeft(jobs, [("a", 60.0)])
    assert times.text({}, [], [], 1) == "about 30 min left"
    assert times.text({}, range(24), [], 1) == "more than 6 min left"


def test_durations() -> None:
    assert [duration(seconds) for seconds in (6.21, 200, 7500)] == ["6.2 s", "3 min 20 s", "2 h 5 min"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Missing output files: a; Input files updated by another job: b", "new"),
        ("Input files updated by another job: b", "input will change"),
        (
            'Params have changed: before: {"rate": 1, "version": 1} now: {"rate": 2, "version": 1}',
            "settings changed",
        ),
        (
            'Params have changed: before: {"version": 1} now: {"version": 2}',
            "code version changed",
        ),
        ("Forced execution", "forced"),
    ],
)
def test_reasons_in_short(text: str, reason: str) -> None:
    assert reason_of(text, []) == reason


def test_output_of_a_job_that_has_run_is_missing(tmp_path: Path) -> None:
    (tmp_path / "it.log").touch()
    assert reason_of("Missing output files: a", [str(tmp_path / "it.log")]) == "output missing"


COLUMNS = (
    "labels,score,strategy,seeds,mean,to_random,to_random_low,to_random_high,to_random_t_low,to_random_t_high,"
    "best_other,to_best,to_best_clear"
)


def experiment(folder: Path, *rows: str) -> Path:
    (folder / "tables").mkdir()
    (folder / "tables" / "ranking.csv").write_text("\n".join([COLUMNS, *rows]))
    (folder / "report.html").touch()
    return folder


def test_result_with_intervals(tmp_path: Path) -> None:
    folder = experiment(
        tmp_path,
        "images,map,mgral,5,0.361,0.032,0.018,0.043,0.014,0.041,core_set,0.0123,True",
        "images,map,core_set,5,0.349,0.02,-0.01,0.03,-0.0004,0.034,mgral,-0.0123,True",
        "images,map,random,5,0.329,,,,,,mgral,-0.032,True",
        "images,ap50,random,5,0.9,,,,,,mgral,0.1,True",
        "boxes,map,mgral,5,0.361,0.032,0.018,0.043,0.014,0.041,core_set,0.0123,True",
        "boxes,map,core_set,5,0.349,0.02,-0.01,0.03,-0.0004,0.034,mgral,-0.0123,True",
        "boxes,map,random,5,0.329,,,,,,mgral,-0.032,True",
    )
    assert result_lines(folder, {"detector", "report"}, ["x"]) == [
        f"Report: {folder / 'report.html'}",
        "mAP, mean of the curve by images, 5 seeds: mgral 36.1, core_set 34.9, random 32.9",
        "Points above random sampling, with 95 % intervals: mgral +3.2 (+1.4 to +4.3), core_set +2.0 (-1.0 to +3.4)",
        "mgral is clearly ahead of core_set, by 1.23 points.",
    ]


def test_two_seeds_tell_nothing_of_chance(tmp_path: Path) -> None:
    folder = experiment(
        tmp_path, "images,map,mgral,2,0.361,0.03,,,,,random,0.03,False", "images,map,random,2,0.331,,,,,,mgral,-0.03,"
    )
    assert result_lines(folder, {"report"}, [])[1:] == [
        "mAP, mean of the curve by images, 2 seeds: mgral 36.1, random 33.1",
        "Points above random sampling: mgral +3.0",
        "mgral is 3.00 points ahead of random: too few seeds to exclude chance.",
    ]


def test_other_labels_have_a_line_where_the_order_is_another(tmp_path: Path) -> None:
    folder = experiment(
        tmp_path,
        "images,map,mgral,2,0.361,0.03,,,,,random,0.03,False",
        "images,map,random,2,0.331,,,,,,mgral,-0.03,",
        "boxes,map,random,2,0.341,,,,,,mgral,-0.03,",
        "boxes,map,mgral,2,0.336,-0.005,,,,,random,-0.005,False",
        "boxes,ap50,mgral,2,0.336,-0.005,,,,,random,-0.005,False",
    )
    assert result_lines(folder, {"report"}, [])[4:] == [
        "By labelled boxes it is different: points above random sampling mgral -0.5"
    ]


def test_what_rounds_to_zero_has_no_sign(tmp_path: Path) -> None:
    folder = experiment(
        tmp_path,
        "images,map,margin,3,0.361,0.0004,-0.0004,0.0004,-0.01,0.01,mgral,0.00001,False",
        "images,map,mgral,3,0.361,-0.0004,-0.0004,0.0004,-0.0003,0.0003,margin,-0.00001,False",
        "images,map,random,3,0.361,,,,,,margin,-0.0004,False",
    )
    assert result_lines(folder, {"report"}, [])[2:] == [
        "Points above random sampling, with 95 % intervals: "
        "margin no difference (-1.0 to +1.0), mgral no difference (0.0 to 0.0)",
        "No difference between margin and mgral.",
    ]


def test_rounds_at_random_are_counted(tmp_path: Path) -> None:
    folder = experiment(
        tmp_path, "images,map,mgral,2,0.361,0.03,,,,,random,0.03,False", "images,map,random,2,0.331,,,,,,mgral,-0.03,"
    )
    table = folder / "tables" / "random_rounds.csv"
    table.write_text("strategy,cycle,seed,reason\nmgral,0,0,few images\nmgral,0,1,few images\nppal,1,0,no box\n")
    line = "Rounds in which a strategy had to choose at random, see the report: mgral 2, ppal 1"
    assert result_lines(folder, {"report"}, [])[4:] == [line]
    table.write_text("strategy,cycle,seed,reason\n")
    assert len(result_lines(folder, {"report"}, [])) == 4


@pytest.mark.parametrize(("data", "lines"), [("coco", 1), ("voc", 1), ("yolo", 0), ("synthetic", 0)])
def test_pictures_that_no_job_compares_are_mentioned(tmp_path: Path, data: str, lines: int) -> None:
    assert not_compared(tmp_path) == []
    (tmp_path / "config.yaml").write_text(f"data: {{format: {data}}}\n")
    assert len(not_compared(tmp_path)) == lines


def test_one_strategy_and_other_targets(tmp_path: Path) -> None:
    folder = experiment(tmp_path, "images,map,mgral,5,0.361,,,,,,,,")
    assert result_lines(folder, {"report"}, [])[1:] == ["mAP, mean of the curve by images, 5 seeds: mgral 36.1"]
    assert result_lines(folder, {"detector"}, ["a", "b"]) == ["Made: a", "Made: b"]
    (folder / "fidelity").mkdir()
    (folder / "fidelity" / "report.html").touch()
    assert result_lines(folder, {"fidelity"}, ["a"]) == [f"Report: {folder / 'fidelity' / 'report.html'}"]
    assert len(result_lines(folder, (), [])) == 3
