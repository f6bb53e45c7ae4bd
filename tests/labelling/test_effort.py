"""Times of labelling and what became of proposed boxes, by ledgers made by hand."""

import pytest
from made_project import MadeProject, change

from mgral.labelling.progress.effort import effort

BOX = (10, 10, 20, 20, 1)


def proposed(made, number, image, *boxes):
    return made.add(
        "sent", {"image": image, "round": number, "name": f"p{image}.jpg", "boxes": list(map(list, boxes))}
    )


def taken(made):
    return effort(made.lines, made.project)


def parts(one):
    return one.unchanged, one.moved, one.removed, one.added


def test_what_became_of_proposed_boxes():
    made = MadeProject(pictures=6)
    for image in range(1, 7):
        proposed(made, 2, image, BOX, (60, 10, 20, 20, 1))
    made.label(1, boxes=(BOX, (60.4, 10, 20, 20, 1)))  # as tools round
    made.label(2, boxes=(BOX, (60, 14, 20, 20, 1)))  # moved
    made.label(3, boxes=(BOX, (60, 10, 20, 20, 2)))  # another class
    made.label(4, boxes=(BOX, (60, 50, 20, 20, 1), (1, 50, 9, 9, 2)))  # removed, and two new ones
    made.label(5, boxes=())
    made.label(6, state="skipped", boxes=())
    found = taken(made).accepted
    assert list(found) == [2]
    assert parts(found[2]) == (5, 2, 3, 2)
    assert found[2].proposed == 10
    assert found[2].share == pytest.approx(0.5)


def test_a_box_is_unchanged_before_another_is_moved():
    made = MadeProject()
    proposed(made, 2, 1, (12, 10, 20, 20, 1), BOX)
    made.label(1, boxes=(BOX,))
    assert parts(taken(made).accepted[2]) == (1, 0, 1, 0)


def test_a_side_that_moved_by_more_than_a_pixel_is_a_correction():
    """Place and size change by no more than a pixel each, and the right side by 1.8."""
    made = MadeProject()
    proposed(made, 2, 1, BOX)
    made.label(1, boxes=((10.9, 10, 20.9, 20, 1),))
    assert parts(taken(made).accepted[2]) == (0, 1, 0, 0)


def test_each_round_and_each_person_counts_and_a_correction_replaces():
    made = MadeProject()
    proposed(made, 2, 1, BOX)
    made.label(1, boxes=((50, 50, 9, 9, 1),), by="ann", seconds=9)
    made.label(1, boxes=(BOX,), by="ann", seconds=12)
    made.label(1, boxes=(BOX,), by="bob", seconds=20)
    proposed(made, 3, 1, (50, 50, 9, 9, 1))
    made.label(1, boxes=(BOX,), by="ann", seconds=5)
    found = taken(made)
    assert {number: parts(one) for number, one in found.accepted.items()} == {2: (2, 0, 0, 0), 3: (0, 0, 1, 1)}
    assert sorted(found.times.seconds[1]) == [5, 12, 20]
    assert found.times.hours() == pytest.approx(37 / 3600)


def test_classes_that_were_merged_since_are_the_same():
    made = MadeProject()
    proposed(made, 2, 1, BOX)
    made.add("classes", change(add=[{"id": 3, "name": "animal"}], become=[[1, [3]], [2, [3]]]))
    made.label(1, boxes=((10, 10, 20, 20, 3),))
    assert parts(taken(made).accepted[2]) == (1, 0, 0, 0)


def test_nothing_was_proposed_or_it_was_a_look_at_own_boxes():
    made = MadeProject()
    made.send(1, 1)
    made.label(1)
    proposed(made, 0, 2, BOX)
    made.label(2)
    made.label(3)  # a label that the project began with
    found = taken(made)
    assert found.accepted == {}
    assert found.times.labels == 2
    assert found.times.hours() is None


def test_times_that_cannot_be_of_labelling_count_as_the_others():
    made = MadeProject(pictures=6)
    made.send(1, 1, 2, 3, 4, 5, 6)
    for image, seconds in enumerate((30, 50, 40, 3 * 86400, -5, None), start=1):
        made.label(image, seconds=seconds)
    times = taken(made).times
    assert (times.labels, times.without_time, times.left_open, times.boxes) == (6, 3, 1, 6)
    assert times.mean == pytest.approx(40)
    assert times.hours() == pytest.approx(240 / 3600)
    assert times.hours([1, 4, 99]) == pytest.approx(70 / 3600)


def test_a_long_look_at_a_picture_is_one():
    made = MadeProject(pictures=5)
    made.send(1, 1, 2, 3, 4, 5)
    for image, seconds in enumerate((5, 5, 5, 5, 590), start=1):
        made.label(image, seconds=seconds)
    assert taken(made).times.left_open == 0


def test_no_hours_where_most_labels_have_no_time():
    made = MadeProject()
    made.send(1, 1, 2, 3)
    for image, seconds in enumerate((30, None, 0), start=1):
        made.label(image, seconds=seconds)
    assert taken(made).times.hours() is None


def test_no_hours_where_nothing_came_back():
    assert taken(MadeProject()).times.hours() is None
