"""What state an image is in, which label of it counts, and which classes it says nothing about."""

from hypothesis import given
from hypothesis import strategies as st
from made_project import MadeProject, change, moment

from mgral.labelling import classes
from mgral.labelling.records import CONFIRMED
from mgral.labelling.settings import ProjectSettings
from mgral.labelling.state import replay
from mgral.labelling.status import class_counts, images_to_check, spent

CAR = (1, 2, 30, 40, 1)
SETTINGS = ProjectSettings(project="p", pictures={"p": "."}, budget=9, batch=3)


def test_an_image_goes_from_state_to_state():
    made = MadeProject()
    assert made.project.images[1].state == "untouched"
    assert made.send(1, 1).project.images[1].state == "sent"
    assert made.label(1, (CAR,), "ann", "draft").project.images[1].state == "draft"
    assert made.label(1, (), "ann", "skipped", reason="dark").project.images[1].state == "skipped"
    assert made.label(1, (), "ann").project.images[1].state == "empty"
    assert made.label(1, (CAR,), "ann").project.images[1].state == "labelled"
    made.add("withdrawn", {"image": 1, "reason": "private"})
    assert made.project.images[1].state == "withdrawn"
    made.add("recalled", {"image": 1})
    assert made.project.images[1].state == "labelled"


def test_only_confirmed_labels_count():
    made = MadeProject().label(1, (CAR,), "ann", "draft").label(2, (CAR,), "ann", "skipped").label(3, (CAR,), "ann")
    project = made.project
    assert project.images[1].confirmed is None
    assert project.images[2].confirmed is None
    assert class_counts(SETTINGS, project) == {1: 1}
    # A draft of a second person takes nothing from what the first one confirmed.
    assert made.label(3, (), "bob", "draft").project.images[3].state == "labelled"


def test_a_sent_image_that_is_called_back_can_be_sent_again_and_costs_nothing():
    made = MadeProject().send(1, 1, 2).label(2, (CAR,))
    assert spent(made.project) == 2
    made.add("recalled", {"image": 1})
    assert made.project.images[1].state == "untouched"
    assert spent(made.project) == 1
    # Labels that come back for it later are used all the same.
    assert made.label(1, (CAR,)).project.images[1].state == "labelled"
    assert spent(made.project) == 2


def test_of_two_people_the_later_label_is_used_by_the_time_of_labelling():
    made = MadeProject().label(1, (CAR,), "ann", at=moment(90)).label(1, (), "bob", at=moment(80))
    assert made.project.images[1].confirmed.by == "ann"
    # Where a tool gives no time, that of the import counts.
    assert MadeProject().label(1, (), "ann").label(1, (CAR,), "bob").project.images[1].confirmed.by == "bob"


def test_images_labelled_before_a_class_are_incomplete_for_it():
    made = MadeProject().label(1).send(1, 2).add("classes", change(add=[{"id": 3, "name": "cow"}]))
    made.label(2).send(2, 3).label(3)
    assert images_to_check(made.project) == {1: {3}, 2: {3}}
    # Looked at again, after the class was there.
    made.send(0, 1).label(1, (CAR, (5, 5, 9, 9, 3)))
    assert images_to_check(made.project) == {2: {3}}


def test_the_time_of_labelling_decides_where_it_is_known():
    made = MadeProject().send(1, 1, 2).add("classes", change(add=[{"id": 3, "name": "cow"}]))
    made.label(1, at=moment(3)).label(2, at=moment(100))
    assert images_to_check(made.project) == {1: {3}}


def test_labels_from_before_the_project_are_complete_for_its_first_classes():
    assert images_to_check(MadeProject().label(1, at="2020-01-01T00:00:00+00:00").project) == {}


def test_a_merged_class_is_complete_where_all_its_parts_were():
    made = MadeProject().label(1).add("classes", change(add=[{"id": 3, "name": "cow"}]))
    made.add("classes", classes.merge_classes(made.project, ("car", "dog"), "thing"))
    project = made.project
    assert list(project.classes.values()) == ["cow", "thing"]
    assert project.final_boxes(project.images[1].confirmed) == [(1, 2, 30, 40, 4)]
    assert images_to_check(project) == {1: {3}}
    made.add("classes", classes.merge_classes(project, ("cow", "thing"), "all"))
    assert images_to_check(made.project) == {1: {5}}


def test_images_that_show_a_split_class_are_looked_at_again_and_no_others():
    made = MadeProject().label(1).label(2, ()).label(3, ((1, 1, 5, 5, 2),))
    made.add("classes", classes.split_class(made.project, "car", ("van", "bus")))
    assert images_to_check(made.project) == {1: {3, 4}}
    made.send(0, 1).label(1, ((1, 2, 30, 40, 4),))
    assert images_to_check(made.project) == {}


def test_a_renamed_class_keeps_its_boxes():
    made = MadeProject().label(1)
    made.add("classes", classes.rename_class(made.project, "car", "vehicle"))
    project = made.project
    assert project.classes == {1: "vehicle", 2: "dog"}
    assert images_to_check(project) == {}
    assert class_counts(SETTINGS, project) == {1: 1}


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["labelled", "empty", "draft", "skipped", "send", "recalled", "withdrawn"]),
        st.integers(1, 3),
        st.sampled_from(["", "ann", "bob"]),
    ),
    max_size=25,
)


@given(ACTIONS)
def test_whatever_happens_the_states_are_consistent(actions):
    made = MadeProject()
    for what, image, by in actions:
        if what == "send":
            made.send(1, image)
        elif what in ("recalled", "withdrawn"):
            made.add(what, {"image": image, "reason": ""})
        else:
            made.label(image, (CAR,) if what == "labelled" else (), by, what)
    project = made.project
    assert sum(project.counts().values()) == 3
    for image in project.images.values():
        assert (image.state in CONFIRMED) == (image.confirmed is not None and image.withdrawn is None)
        people = [label for label in image.labels.values() if label.state in CONFIRMED]
        assert image.confirmed is None or image.confirmed in people
    # Replaying is all there is: half of the lines give a project too.
    for end in range(len(made.lines) + 1):
        replay(made.lines[:end])
