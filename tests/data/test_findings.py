"""Faults and repairs, collected."""

from mgral.data.findings import LONGEST, Finding, Findings, described


def test_places_can_be_shown_on_a_terminal():
    findings, kind = Findings(), Finding("things are odd", "mend them")
    findings.fault(kind, "a\x1b[31m\nb\u00fc")
    findings.fault(kind, "x" * 10**6)
    escaped, cut = findings.faults[kind]
    assert escaped == "a\\x1b[31m\\nb\u00fc"
    assert len(cut) < LONGEST + 10


def test_the_first_places_are_named_and_all_counted():
    lines = described({Finding("things are odd", "mend them"): [f"place {n}" for n in range(8)]})
    assert lines[0] == "  Things are odd (8): mend them"
    assert lines[1:6] == [f"    place {n}" for n in range(5)]
    assert lines[6:] == ["    and 3 more (--json lists all)"]
