"""Time of jobs that wait for each other, by hand and by Graham's bounds."""

from hypothesis import given
from hypothesis import strategies as st

from mgral.engine.plan import PlannedJob
from mgral.engine.schedule import schedule


def job(name: str, *inputs: str) -> PlannedJob:
    return PlannedJob(name, {}, inputs, (name,), (), "", {})


def test_a_chain_waits_and_others_run_beside_it():
    # c, of which nothing waits, is as long as a and b together.
    jobs, lengths = [job("c"), job("a", "there"), job("b", "a")], [3.0, 1.0, 2.0]
    assert schedule(jobs, lengths, 1) == (6.0, 3.0)
    assert schedule(jobs, lengths, 2) == (3.0, 3.0)


def test_what_the_longest_chain_begins_with_comes_first():
    # Two short jobs first would leave the chain of 4 to begin at 1.
    jobs, lengths = [job("x"), job("y"), job("a"), job("b", "a")], [1.0, 1.0, 1.0, 3.0]
    assert schedule(jobs, lengths, 2) == (4.0, 4.0)


def test_one_that_waits_for_two_begins_after_the_later():
    assert schedule([job("a"), job("b"), job("c", "a", "b")], [1.0, 5.0, 1.0], 2) == (6.0, 6.0)


@given(
    st.lists(st.tuples(st.floats(0, 10), st.sets(st.integers(0, 19), max_size=3)), min_size=1, max_size=20),
    st.integers(1, 5),
)
def test_it_is_within_the_bounds_of_any_schedule(drawn, at_once):
    lengths = [length for length, _ in drawn]
    # Each waits for some of those before it, given in reverse.
    jobs = [job(str(n), *(str(other) for other in needs if other < n)) for n, (_, needs) in enumerate(drawn)]
    found = schedule(jobs[::-1], lengths[::-1], at_once)
    least = max(found.longest_chain, sum(lengths) / at_once)
    assert least - 1e-9 <= found.side_by_side
    assert found.side_by_side <= sum(lengths) / at_once + (1 - 1 / at_once) * found.longest_chain + 1e-9
