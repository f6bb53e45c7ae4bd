"""Whether the labelling interface of a project in Label Studio still fits the tasks that are sent to it."""

from xml.etree import ElementTree

from mgral.errors import InputError, program
from mgral.labelling.exchange.label_studio_tasks import label_config
from mgral.labelling.state import Project


def fitted_interface(interface: str, project: Project, settings_url: str) -> tuple[str | None, list[str]]:
    """Return a labelling interface with all classes of a project, and what a person should know of it.

    What else people made of it stays. Former classes stay too, as labels may have them: the server would take them
    out of use without a question.

    Parameters
    ----------
    interface
        What the server has, XML.
    settings_url
        Of the page where a person can change it.

    Returns
    -------
    None in the place of the interface where nothing is missing.

    Raises
    ------
    InputError
        Where the tasks do not fit it, so that nobody would see their pictures or boxes.
    """
    names = list(project.classes.values())
    try:
        parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
        view = ElementTree.fromstring(interface, parser)
    except ElementTree.ParseError:
        view = ElementTree.Element("View")
    picture = next((element for element in view.iter("Image") if element.get("value") == "$image"), None)
    boxes = next((element for element in view.iter("RectangleLabels") if element.get("name") == "label"), None)
    if picture is None or picture.get("name") != "image" or boxes is None or boxes.get("toName") != "image":
        raise InputError(
            f"{settings_url}: the labelling interface was changed, and does not fit the tasks any more: it needs an "
            'Image with the name "image" and the value "$image", and RectangleLabels with the name "label" for it; '
            f"put them back, or replace it by:\n{label_config(names)}"
        )
    labels = {label.get("alias") or label.get("value") or "" for label in boxes.iter("Label")}
    former = sorted(labels & project.named.keys() - set(names))
    foreign = sorted(labels - project.named.keys())
    lines = []
    if former:
        lines.append(
            f"the labelling interface still has former classes ({', '.join(former)}): take them out when no label "
            f"has them any more ({settings_url})"
        )
    if foreign:
        lines.append(
            f"the labelling interface has classes that the project has not ({', '.join(foreign)}): add them "
            f"({program()} project classes add NAME, NAME being each), or take them out ({settings_url})"
        )
    missing = set(names) - labels
    if not missing:
        return None, lines
    for label in ElementTree.fromstring(label_config(names)).iter("Label"):
        if label.get("value") in missing:
            boxes.append(label)
    added = ", ".join(name for name in names if name in missing)
    return ElementTree.tostring(view, encoding="unicode"), [f"new in the labelling interface: {added}", *lines]
