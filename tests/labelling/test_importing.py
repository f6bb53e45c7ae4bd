"""Labels that come back change what they should, once, and nothing where anything is wrong."""

import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_project import SIZE, MadeProject, change, label_file, moment, returned

from mgral.data.findings import Findings
from mgral.labelling.importing import changes_by, disagreeing
from mgral.labelling.names import Names
from mgral.labelling.state import Project

CAR = (1.0, 2.0, 30.0, 40.0, "car")
DOG = (50.0, 10.0, 20.0, 20.0, "dog")


def imported(made, *labels, conflicts="latest", renamed=None, leave_out_unknown=False, **more):
    """Import labels; returns the changes, and the titles of faults and repairs with their counts."""
    findings = Findings()
    file = label_file(*labels, **more)
    changes = changes_by(made.project, file, findings, renamed or {}, leave_out_unknown, conflicts)
    made.add("labels", *changes.events)
    titles = [
        {kind.title: len(places) for kind, places in one.items()} for one in (findings.faults, findings.repairs)
    ]
    return changes, *titles


def test_a_merge_of_classes_makes_no_correction_of_what_comes_again():
    """A label that counts as new would say that its person knew a class that was added since."""
    made = MadeProject()
    label = returned("p1.jpg", CAR, by="ann", at=moment(3500))  # by a clock that is ahead
    imported(made, label)
    made.add("classes", change(add=[{"id": 3, "name": "bird"}]))
    made.add("classes", change(add=[{"id": 4, "name": "thing"}], become=[[1, [4]], [2, [4]]]))
    changes, *_ = imported(made, label)
    assert (changes.corrected, changes.unchanged) == (0, 1)
    project = made.project
    assert project.incomplete(project.images[1].confirmed) == {3}


def test_an_import_a_second_time_changes_nothing():
    made = MadeProject()
    labels = (returned("p1.jpg", CAR, by="ann", at=moment(10), seconds=3.5), returned("p2.jpg"))
    first, faults, repairs = imported(made, *labels)
    assert (first.new, first.corrected, faults, repairs) == (2, 0, {}, {})
    before = made.project
    second, *_ = imported(made, *labels)
    assert second.unchanged == 2
    assert all(event["known"] for event in second.events)
    assert made.project.images == before.images
    assert before.images[1].confirmed.boxes == ((1, 2, 30, 40, 1),)
    assert before.images[1].confirmed.seconds == 3.5
    assert (before.images[2].state, before.images[3].state) == ("empty", "untouched")


def test_half_a_batch_is_a_valid_import():
    made = MadeProject().send(1, 1, 2)
    changes, faults, _ = imported(made, returned("p1.jpg", CAR), returned("p2.jpg", state="untouched"))
    assert (changes.new, changes.untouched, faults) == (1, 1, {})
    assert [made.project.images[one].state for one in (1, 2)] == ["labelled", "sent"]


def test_a_correction_replaces_and_is_counted():
    made = MadeProject()
    imported(made, returned("p1.jpg", CAR, by="ann"))
    changes, *_ = imported(made, returned("p1.jpg", CAR, DOG, by="ann"))
    assert (changes.new, changes.corrected) == (0, 1)
    assert len(made.project.images[1].confirmed.boxes) == 2
    changes, *_ = imported(made, returned("p1.jpg", by="ann", state="skipped", reason="dark"))
    assert changes.corrected == 1
    assert made.project.images[1].state == "skipped"


def test_a_label_of_a_named_person_corrects_one_without_a_name():
    made = MadeProject()
    imported(made, returned("p1.jpg", CAR))
    changes, _, repairs = imported(made, returned("p1.jpg", DOG, by="ann"))
    assert (changes.corrected, repairs) == (1, {})
    assert made.project.images[1].confirmed.by == "ann"


def test_a_draft_does_not_undo_what_the_same_person_finished():
    made = MadeProject()
    imported(made, returned("p1.jpg", CAR, by="ann"))
    changes, _, repairs = imported(made, returned("p1.jpg", by="ann", state="draft"))
    assert changes.events == []
    assert list(repairs.values()) == [1]
    assert made.project.images[1].state == "labelled"


def test_an_older_export_does_not_undo_a_newer_one():
    made = MadeProject()
    imported(made, returned("p1.jpg", CAR, by="ann", at="2026-01-01T12:00:00Z"))
    changes, _, repairs = imported(made, returned("p1.jpg", by="ann", at="2026-01-01T12:30:00+01:00"))
    assert (changes.events, sum(repairs.values())) == ([], 1)
    assert made.project.images[1].state == "labelled"


@pytest.mark.parametrize(
    ("second", "contradicts"),
    [
        ((CAR,), False),
        (((2.0, 3.0, 30.0, 40.0, "car"),), False),
        (((20.0, 30.0, 30.0, 40.0, "car"),), True),
        (((1.0, 2.0, 30.0, 40.0, "dog"),), True),
        ((CAR, DOG), True),
        ((), True),
    ],
)
def test_boxes_of_two_people_are_both_kept_and_compared(second, contradicts):
    made = MadeProject()
    first = returned("p1.jpg", CAR, by="ann", at=moment(10))
    changes, _, repairs = imported(made, first, returned("p1.jpg", *second, by="bob", at=moment(20)))
    assert (changes.new, len(changes.events)) == (1, 2) or (changes.new, len(changes.events)) == (2, 2)
    assert sum("two people" in title for title in repairs) == contradicts
    image = made.project.images[1]
    assert set(image.labels) == {"ann", "bob"}
    assert image.confirmed.by == "bob"


def test_two_later_people_are_compared_where_the_first_lacks_a_class():
    made = MadeProject()
    imported(made, returned("p1.jpg", CAR, by="ann", at=moment(3)))
    made.add("classes", change(add=[{"id": 3, "name": "bird"}]))
    bird = (60.0, 50.0, 20.0, 20.0, "bird")
    _, _, repairs = imported(made, returned("p1.jpg", CAR, by="bob", at=moment(10)))
    assert repairs == {}
    _, _, repairs = imported(made, returned("p1.jpg", CAR, bird, by="cec", at=moment(20)))
    assert sum("two people" in title for title in repairs) == 1
    assert disagreeing(made.project.images[1], made.project)


def test_all_faults_are_named_in_one_pass():
    made = MadeProject()
    labels = [
        returned("other.jpg", CAR),
        returned("p1.jpg", (1.0, 2.0, 3.0, 4.0, "cow")),
        returned("p2.jpg", CAR, size=(80, 100)),
        returned("p3.jpg", CAR, size=(100, 80)),
    ]
    _, faults, _ = imported(made, *labels)
    assert len(faults) == 3
    assert set(faults.values()) == {1}


def test_unknown_pictures_can_be_left_out_and_classes_renamed():
    made = MadeProject()
    cow = (1.0, 2.0, 3.0, 4.0, "cow")
    labels = (returned("other.jpg", cow), returned("p1.jpg", cow))
    changes, faults, repairs = imported(made, *labels, leave_out_unknown=True, renamed={"cow": "dog"})
    assert (changes.new, faults, list(repairs.values())) == (1, {}, [1])
    assert made.project.images[1].confirmed.boxes == ((1, 2, 3, 4, 2),)


def test_a_file_of_another_project_is_refused():
    made = MadeProject()
    _, faults, _ = imported(made, returned("p1.jpg", CAR, image=1), project="theirs")
    assert list(faults.values()) == [1]
    changes, faults, _ = imported(made, returned("renamed-since.jpg", CAR, image=2), project="mine")
    assert (faults, changes.events[0]["image"]) == ({}, 2)


def test_pictures_are_found_by_any_usual_name():
    made = MadeProject().send(1, 2)
    names = Names(made.project)
    for name in (
        "photos/p2.jpg",
        "p2.jpg",
        "p2",
        "/data/local-files/round1/pictures/p2.jpg",
        "C:\\work\\photos\\p2.jpg",
        "/data/upload/3/0a1b2c3d-p2.jpg",
        "./p2.jpg",
        "labels/p2.txt",
    ):
        assert names.find(name) == {2}, name
    assert names.find("p4.jpg") == set()


PART = st.from_regex(r"\A[ab][ab.]{0,3}\Z")
FILE = st.builds("{}/{}.{}".format, st.lists(PART, min_size=1, max_size=3).map("/".join), PART, st.sampled_from("xy"))


@settings(max_examples=30)
@given(st.lists(FILE, unique=True, max_size=8))
def test_a_picture_is_found_by_each_end_of_its_path_with_and_without_its_suffix(files):
    def names_of(file):
        below = PurePosixPath(*PurePosixPath(file).parts[1:])
        return {file, str(below), below.name}, {str(below.with_suffix("")), below.stem}

    names = Names(Project(files=dict(enumerate(files))))
    for name in {name for file in files for name in set.union(*names_of(file))}:
        whole, without = ({at for at, file in enumerate(files) if name in names_of(file)[way]} for way in (0, 1))
        assert names.find(name) == whole or without


def test_of_pictures_that_differ_by_their_suffix_each_has_its_own_labels():
    """Also where one of them alone was sent. Another suffix is taken for a picture that has no other name there."""
    twin = {"id": 4, "sha256": 64 * "f", "file": "photos/p2.png", "width": SIZE[0], "height": SIZE[1]}
    made = MadeProject().add("pictures", twin).send(1, 2)
    names = Names(made.project)
    assert [names.find(name) for name in ("p2.jpg", "p2.png", "p2")] == [{2}, {4}, {2}]
    changes, faults, repairs = imported(made, returned("p2.jpg", CAR), returned("p2.png", DOG))
    assert (len(changes.events), faults, repairs) == (2, {}, {})
    changes, faults, _ = imported(made, returned("p1.jpg", CAR), returned("p1.tif", DOG))
    assert (len(changes.events), list(faults.values())) == (1, [1])
    changes, faults, repairs = imported(made, returned("p1.tif", CAR))
    assert (len(changes.events), faults, list(repairs.values())) == (1, {}, [1])


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2)), max_size=12))
def test_of_a_picture_that_is_in_a_file_again_and_again_the_last_label_with_boxes_counts(given_labels):
    made = MadeProject()
    labels = [returned(f"p{image}.jpg", *[CAR, DOG][:boxes]) for image, boxes in given_labels]
    changes, *_ = imported(made, *labels)
    assert len(changes.events) == len(dict(given_labels))
    last = dict(given_labels) | dict(label for label in given_labels if label[1])
    assert {image: len(one.confirmed.boxes) for image, one in made.project.images.items() if one.labels} == last


def test_a_name_that_two_pictures_have_is_ambiguous_unless_one_was_sent():
    made = MadeProject(pictures=1)
    made.add("pictures", {"id": 2, "sha256": "f", "file": "photos/night/p1.jpg", "width": 100, "height": 80})
    _, faults, _ = imported(made, returned("elsewhere/p1.jpg", CAR))
    assert list(faults.values()) == [1]
    assert Names(made.project).find("night/p1.jpg") == {2}
    made.send(1, 1)
    assert Names(made.project).find("elsewhere/p1.jpg") == {1}


def nested(*files):
    made = MadeProject(pictures=0)
    for number, file in enumerate(files, start=1):
        made.add(
            "pictures", {"id": number, "sha256": str(number), "file": f"photos/{file}", "width": 100, "height": 80}
        )
    return made


def test_a_path_is_not_the_picture_of_another_folder_that_was_sent_by_its_last_part():
    made = nested("day1/a.jpg", "day2/a.jpg", "day3/b.jpg")
    assert Names(made.project).find("dataset/day2/a.jpg") == {2}
    made.add("sent", {"image": 1, "round": 1, "name": "a.jpg", "boxes": []})
    assert Names(made.project).find("dataset/day2/a.jpg") == {1, 2}
    assert Names(made.project).find("dataset/day1/a.jpg") == {1}
    assert Names(made.project).find("round1/pictures/a.jpg") == {1}
    _, faults, _ = imported(made, returned("dataset/day2/a.jpg", CAR))
    assert faults == {"pictures have a name that several have": 1}


def test_a_picture_of_another_folder_is_not_taken_in_silence():
    made = nested("day1/a.jpg", "b.jpg", "day1/c.jpg")
    changes, faults, repairs = imported(made, returned("day2/a.jpg", CAR), returned("images/b.jpg", CAR))
    assert (changes.new, faults, list(repairs.values())) == (2, {}, [1])
    both = returned("day1/a.jpg", CAR), returned("day2/a.jpg", DOG)
    assert imported(made, *both)[1] == {"pictures are not of this project": 1}
    changes, faults, repairs = imported(made, *both, leave_out_unknown=True)
    assert (faults, repairs) == ({}, {"pictures are not of this project": 1})
    assert made.project.images[1].confirmed.boxes == ((1, 2, 30, 40, 1),)
    two = returned("train/b.jpg", CAR), returned("val/b.jpg", DOG)
    assert imported(made, *two)[1] == {"pictures are not of this project": 2}
    made.add("sent", {"image": 1, "round": 1, "name": "a.jpg", "boxes": []})
    assert imported(made, *both)[1] == {"pictures are not of this project": 1}
    rounds = returned("round1/pictures/a.jpg", CAR), returned("round2/pictures/a.jpg", CAR), returned("a.jpg", CAR)
    assert imported(made, *rounds)[1:] == ({}, {})
    untouched = returned("x/c.jpg", state="untouched"), returned("y/c.jpg", state="untouched")
    assert imported(made, *untouched)[1:] == ({}, {})


def test_what_label_studio_puts_before_names_may_be_a_part_of_another_name():
    date, last = "20240512-a.jpg", "a.jpg"
    for name in (date, f"images/{date}"):
        changes, faults, repairs = imported(nested(last), returned(name, CAR))
        assert (changes.new, faults, list(repairs.values())) == (1, {}, [1])
    assert imported(nested(last), returned(last, CAR), returned(date, DOG))[1:] == (
        {"pictures are not of this project": 1},
        {},
    )
    uploads = (
        returned("data/upload/1/0a1b2c3d-a.jpg", CAR, by="ann", at=moment(20)),
        returned("data/upload/1/1a1b2c3d-a.jpg", DOG, by="ann", at=moment(10)),
    )
    made = nested(f"day1/{last}")
    changes, faults, repairs = imported(made, *uploads, format="label_studio")
    assert (changes.new, faults, list(repairs.values())) == (1, {}, [1])
    assert "by the same person" in next(iter(repairs))
    assert made.project.images[1].confirmed.boxes[0][4] == 1


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_letters_with_accents_are_the_same_however_they_are_written(forms):
    ours, theirs = (unicodedata.normalize(form, "Bär") for form in forms)
    made = nested(f"{ours}.jpg")
    assert Names(made.project).find(f"x/{theirs}.jpg") == {1}
    made.add("sent", {"image": 1, "round": 1, "name": f"{ours}2.jpg", "boxes": []})
    assert Names(made.project).find(f"{theirs}2.jpg") == {1}


def test_the_same_picture_twice_in_a_file_without_names():
    made = MadeProject()
    changes, _, repairs = imported(made, returned("p1.jpg", CAR), returned("p1.jpg", DOG))
    assert list(repairs.values()) == [1]
    assert len(changes.events) == 1
    assert made.project.images[1].confirmed.boxes[0][4] == 2


def test_of_two_within_a_second_the_later_one_counts_wherever_it_stands():
    """A server's jobs are exported in an order of its own."""
    times = "2026-03-01T10:00:00.700000+00:00", "2026-03-01T10:00:00.200+00:00"
    made = MadeProject()
    imported(made, returned("p1.jpg", CAR, by="ann", at=times[0]), returned("p1.jpg", DOG, by="ann", at=times[1]))
    assert made.project.images[1].confirmed.boxes[0][4] == 1


def test_two_people_in_a_file_are_one_new_picture_and_a_second_label():
    changes, *_ = imported(MadeProject(), returned("p1.jpg", CAR, by="ann"), returned("p1.jpg", CAR, by="bob"))
    assert (changes.new, changes.added, len(changes.events)) == (1, 1, 2)


def test_an_empty_twin_of_a_picture_does_not_take_its_boxes():
    made = MadeProject()
    changes, _, repairs = imported(made, returned("p1.jpg", CAR), returned("p1.jpg"))
    assert (changes.new, made.project.images[1].state, sum(repairs.values())) == (1, "labelled", 1)


def test_a_number_and_a_name_of_different_pictures_are_a_fault():
    project = MadeProject().project.id
    _, faults, _ = imported(MadeProject(), returned("p1.jpg", CAR, image=2), project=project)
    assert faults == {"entries have the number of one picture and the name of another": 1}


def test_a_name_without_folders_is_what_a_picture_was_sent_under():
    made = MadeProject()
    made.add("sent", {"image": 2, "round": 1, "name": "p1.jpg", "boxes": []})  # p2.jpg was called so then
    imported(made, returned("p1.jpg", CAR))
    assert [made.project.images[one].state for one in (1, 2)] == ["untouched", "labelled"]
    imported(made, returned("photos/p1.jpg", CAR))
    assert made.project.images[1].state == "labelled"


def test_former_names_of_classes_are_what_they_became():
    made = MadeProject(classes=("car", "dog", "bus")).send(1, 1, 2, 3)
    made.add("classes", change(rename=[{"id": 1, "name": "auto"}]))
    made.add("classes", change(add=[{"id": 4, "name": "vehicle"}], become=[[1, [4]], [3, [4]]]))
    _, faults, repairs = imported(made, returned("p1.jpg", CAR, (0, 0, 5, 5, "bus"), (9, 0, 5, 5, "auto"), DOG))
    assert (faults, repairs) == ({}, {"classes have a former name": 3})
    assert sorted(box[4] for box in made.project.images[1].confirmed.boxes) == [2, 4, 4, 4]
    made.add("classes", change(add=[{"id": 5, "name": "cat"}, {"id": 6, "name": "hound"}], become=[[2, [5, 6]]]))
    imported(made, returned("p2.jpg", DOG))
    label = made.project.images[2].confirmed
    assert made.project.incomplete(label) == {5, 6}  # as it was labelled before the split


def test_a_name_that_another_class_has_now_is_asked_for():
    made = MadeProject().send(1, 1)
    made.add("classes", change(rename=[{"id": 1, "name": "van"}]))
    made.add("classes", change(rename=[{"id": 2, "name": "car"}]))
    _, faults, _ = imported(made, returned("p1.jpg", CAR))
    assert faults == {"classes have a name that was another class's when the pictures were sent": 1}
    _, faults, _ = imported(made, returned("p1.jpg", CAR), renamed={"car": "car"})
    assert (faults, made.project.images[1].confirmed.boxes[0][4]) == ({}, 2)
    _, faults, _ = imported(made, returned("p2.jpg", CAR))  # which was not sent before
    assert (faults, made.project.images[2].confirmed.boxes[0][4]) == ({}, 2)


def test_an_uploaded_picture_is_found_though_django_changed_its_name():
    odd = {"id": 4, "sha256": 64 * "f", "file": "photos/IMG (1) #2.png", "width": SIZE[0], "height": SIZE[1]}
    names = Names(MadeProject().add("pictures", odd).project)
    for name in ("1a2b3c4d-IMG_1_2.png", "/data/upload/3/1a2b3c4d-IMG_1_2.png", "1a2b3c4d__IMG_1_2"):
        assert names.find(name) == {4}, name
    assert names.find("IMG_1_2.png") == set()
