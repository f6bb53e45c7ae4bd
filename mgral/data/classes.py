"""The classes of a data set: declared or listed in its files, the same for both splits."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from mgral.data.findings import Finding, Findings
from mgral.data.records import CategoryRecord, Coco, Split

UNUSED = Finding("listed classes have no box in either split", "left out; `data.classes` keeps those it names")
CAPITALS = Finding(
    "classes have names that differ by capitals only",
    "each is a class of its own; give one name, if they are the same",
)
UNDECLARED = Finding("classes are not in `data.classes`", "their boxes are left out")
NOT_LISTED = Finding("classes of `data.classes` are not in the annotation files", "correct their names")
DIFFERENT = Finding(
    "classes have several names, or several ids", "give a class the same id and the same name in both files"
)
NOT_IN_TRAINING = Finding("classes of test boxes are not listed for the training images", "list them in both files")
NO_CLASSES = Finding("annotation files contain no class with a box", "give `categories`, and boxes of them")
NO_TRAINING_BOX = Finding(
    "classes have test boxes, but no box in the training images",
    "add training images that show them, or declare the classes that have some under `data.classes`",
)
NO_TEST_BOX = Finding("test sets contain no box to score", "name another test split")
ONLY_CROWDS = Finding(
    "annotation files mark all boxes as crowds (`iscrowd` or `difficult` is 1 everywhere)",
    "set it to 0, as a converter wrote it; crowds are neither learnt nor scored",
)


def settle_classes(
    train: Split, test: Split, declared: Sequence[str] | None, findings: Findings
) -> tuple[Coco, Coco]:
    """Give both splits one list of classes, by id, and leave out boxes of others.

    These are the `declared` ones that a split lists or, where none are declared, those that a split lists and that a
    box of either split has. One that the training split does not list is a fault, `NOT_IN_TRAINING`.
    """
    listed = [(c["id"], c["name"]) for split in (train, test) for c in split.coco["categories"]]
    boxes = Counter(a["category_id"] for split in (train, test) for a in split.coco["annotations"])
    if declared is None:
        classes = {category for category in listed if boxes[category[0]]}
        for number, name in sorted({*listed} - classes):
            findings.repair(UNUSED, f"{name!r} (id {number})")
    else:
        classes = {category for category in listed if category[1] in declared}
        for name in sorted({*declared} - {name for _, name in listed}):
            findings.fault(NOT_LISTED, name)
        for number, name in sorted({*listed} - classes):
            if boxes[number]:
                findings.repair(UNDECLARED, f"{name!r} (id {number}): {boxes[number]} boxes")
    if not classes and not findings.faults:
        findings.fault(NO_CLASSES, f"{train.source} and {test.source}")
    _note_differences(classes, findings)
    spellings = defaultdict(set)
    for _, name in classes:
        spellings[name.casefold()].add(name)
    for _, names in sorted(spellings.items()):
        if len(names) > 1:
            findings.repair(CAPITALS, ", ".join(map(repr, sorted(names))))
    train_classes = {(c["id"], c["name"]) for c in train.coco["categories"]}
    for number, name in sorted(classes - train_classes):
        findings.fault(NOT_IN_TRAINING, f"{name!r} (id {number})")
    categories = [CategoryRecord(id=number, name=name) for number, name in sorted(classes)]
    return _with_classes(train.coco, categories), _with_classes(test.coco, categories)


def check_boxes_of_classes(train: Split, test: Split, declared: Sequence[str] | None, findings: Findings) -> None:
    """Note classes that cannot be learnt or scored; declared ones may have no box yet."""
    for split in (train, test):
        annotations = split.coco["annotations"]
        if annotations and all(a["iscrowd"] for a in annotations):
            findings.fault(ONLY_CROWDS, f"{split.source}: {len(annotations)} boxes")
            return
    train_ids, test_ids = (
        {a["category_id"] for a in split.coco["annotations"] if not a["iscrowd"]} for split in (train, test)
    )
    if not test_ids:
        findings.fault(NO_TEST_BOX, test.source)
    if declared is None:
        names = {c["id"]: c["name"] for c in train.coco["categories"]}
        for number in sorted(test_ids - train_ids):
            findings.fault(NO_TRAINING_BOX, f"{train.source}: {names[number]!r}")


def _note_differences(categories: Iterable[tuple[int, str]], findings: Findings) -> None:
    """Note ids that have several names, and names that have several ids."""
    names_by_id, ids_by_name = defaultdict(set), defaultdict(set)
    for number, name in categories:
        names_by_id[number].add(name)
        ids_by_name[name].add(number)
    for number, class_names in names_by_id.items():
        if len(class_names) > 1:
            findings.fault(DIFFERENT, f"id {number}: {', '.join(map(repr, sorted(class_names)))}")
    for name, numbers in ids_by_name.items():
        if len(numbers) > 1:
            findings.fault(DIFFERENT, f"{name!r}: ids {', '.join(map(str, sorted(numbers)))}")


def _with_classes(coco: Coco, categories: list[CategoryRecord]) -> Coco:
    """Return the data with these classes, and without boxes of others."""
    ids = {category["id"] for category in categories}
    annotations = [a for a in coco["annotations"] if a["category_id"] in ids]
    return Coco(images=coco["images"], annotations=annotations, categories=categories)
