"""Changes of a project's classes: added, renamed, merged, split."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mgral.errors import InputError
from mgral.labelling.state import Project


def add_classes(project: Project, names: Sequence[str]) -> dict[str, Any]:
    """Return the change that adds classes; images labelled before are incomplete for them."""
    _check_new(project, names)
    first_id = _next_id(project)
    return _change(add=[{"id": first_id + index, "name": name} for index, name in enumerate(names)])


def rename_class(project: Project, old: str, new: str) -> dict[str, Any]:
    """Return the change that gives a class another name."""
    class_id = _id_of(project, old)
    _check_new(project, [new], leaving=[old] if new != old else [])
    return _change(rename=[{"id": class_id, "name": new}])


def merge_classes(project: Project, names: Sequence[str], into: str) -> dict[str, Any]:
    """Return the change that makes one class of several; an image is complete for it if it was for all of them.

    Parameters
    ----------
    names
        Of two classes or more.
    into
        Name of the new class, which may be that of one of them.
    """
    class_ids = [_id_of(project, name) for name in names]
    if len(set(class_ids)) < 2:
        raise InputError("classes: a merge is of two classes or more; to give one another name: classes rename")
    _check_new(project, [into], leaving=names)
    new_id = _next_id(project)
    return _change(add=[{"id": new_id, "name": into}], become=[[class_id, [new_id]] for class_id in class_ids])


def split_class(project: Project, name: str, into: Sequence[str]) -> dict[str, Any]:
    """Return the change that makes several classes of one; images that show it must be checked again."""
    class_id = _id_of(project, name)
    if len(set(into)) < 2:
        raise InputError("classes: a split gives two classes or more; to give one another name: classes rename")
    _check_new(project, into, leaving=[name])
    first_id = _next_id(project)
    new_classes = [{"id": first_id + index, "name": new_name} for index, new_name in enumerate(into)]
    return _change(add=new_classes, become=[[class_id, [new_class["id"] for new_class in new_classes]]])


def classes_called(project: Project, name: str, sent_at: int = -1) -> set[int]:
    """Return the classes that a file can mean by a name, as they are today; several where nobody can tell.

    These are the class that has the name now and the class that had it when the picture was sent, because labelling
    tools keep the names that were sent. If there is neither, it is the class that had the name last. A merged class
    is returned as the class that it became, a split class as itself.

    Parameters
    ----------
    sent_at
        Line of the ledger, from 0, in which the picture was sent; -1 if it was not sent.
    """
    named_classes = project.named.get(name, [])
    current = [named for named in named_classes if named.end is None]
    when_sent = [
        named for named in named_classes if named.start <= sent_at and (named.end is None or sent_at < named.end)
    ]
    return {project.class_today(named.id) for named in [*current, *when_sent] or named_classes[-1:]}


def name_today(project: Project, name: str) -> str:
    """Return today's name of the class that a name means; the name itself where it means none, or several."""
    class_ids = classes_called(project, name)
    return today(project, class_ids.pop()) if len(class_ids) == 1 else name


def today(project: Project, class_id: int) -> str:
    """Return the name that a class has today, given its id; for a class that was split, the last name that it had."""
    class_id = project.class_today(class_id)
    last = max(
        (named.start, name)
        for name, named_classes in project.named.items()
        for named in named_classes
        if named.id == class_id
    )
    return last[1]


def _change(**parts: Any) -> dict[str, Any]:
    return {"add": [], "rename": [], "become": []} | parts


def _next_id(project: Project) -> int:
    return 1 + max([*project.classes, *project.became], default=0)


def _id_of(project: Project, name: str) -> int:
    for class_id, class_name in project.classes.items():
        if class_name == name:
            return class_id
    raise InputError(
        f"classes: there is no class {name!r}; there are {', '.join(project.classes.values()) or 'none'}"
    )


def _check_new(project: Project, names: Sequence[str], leaving: Sequence[str] = ()) -> None:
    if blank := [name for name in names if name != name.strip() or not name]:
        raise InputError(f"classes: a name is not empty, and has no space at its ends; correct {blank[0]!r}")
    if unprintable := [name for name in names if not name.isprintable()]:
        raise InputError(f"classes: {unprintable[0]!r} has characters that cannot be shown; choose another name")
    spellings = {name.casefold(): name for name in {*project.classes.values()} - {*leaving}}
    for name in names:
        other = spellings.setdefault(name.casefold(), name)
        if other != name:
            raise InputError(
                f"classes: {name} and {other} differ by capital letters only; choose another name, or take one for "
                f"the other where labels have both (--rename {name}={other})"
            )
    if taken := sorted({name for name in names if name in {*project.classes.values()} - {*leaving}}):
        raise InputError(f"classes: {', '.join(taken)} exists already; choose another name")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(f"classes: {', '.join(twice)} is named more than once; name each class once")
