"""What CVAT exports of a job, and the archive in which a pull saves it."""

import tempfile
import zipfile
import zlib
from collections.abc import Set
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from cvat_sdk.core.downloading import Downloader

from mgral.artefacts.files import atomic_path
from mgral.data.formats.safe_xml import XmlError, parse_xml
from mgral.errors import StepError
from mgral.labelling.servers.cvat_session import wait_until_done
from mgral.labelling.state import Project

ANNOTATIONS, SAVED = "annotations.xml", "completed.zip"
COMPLETED = "completed"
"""State of a job; others are not read."""
FROM_CVAT = "CVAT for images 1.1"
"""Name of the format."""


def export_job(client: Any, job: Any) -> ElementTree.Element | None:
    """Let the server export a completed job, and return the XML; None where the job changed meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export.zip"
        request, _ = client.api_client.jobs_api.create_dataset_export(
            id=job.id, format=FROM_CVAT, save_images=False, location="local"
        )
        finished_export = wait_until_done(client, request.rq_id, f"export job {job.id}")
        Downloader(client).download_file(finished_export.result_url, path)
        try:
            with zipfile.ZipFile(path) as archive:
                root = parse_xml(archive.read(ANNOTATIONS))
        except (zipfile.BadZipFile, zlib.error, KeyError, XmlError) as error:
            raise StepError(f"the export of CVAT's job {job.id} is damaged ({error}); pull again") from None
    job_now = client.jobs.retrieve(job.id)
    return root if (str(job_now.state), job_now.updated_date) == (COMPLETED, job.updated_date) else None


def read_saved(path: Path) -> dict[str, ElementTree.Element]:
    """Return what an earlier pull saved, by the names in the archive; nothing where it is gone or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: parse_xml(archive.read(name)) for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile, zlib.error, XmlError):
        return {}


def is_current(saved: ElementTree.Element, job: Any, labels: Set[str], pictures: Set[str]) -> bool:
    """Return whether what was saved of a job is what an export would have today.

    CVAT changes a job's time with each change of its boxes or state. It may not do so where a label gets another
    name, or a picture that was removed comes back.
    """
    return (
        saved.findtext("meta/job/updated") == job.updated_date.isoformat()
        and {name.text for name in saved.iterfind("meta//labels/label/name")} == labels
        and pictures <= {image.get("name") for image in saved.iterfind("image")}
    )


def cut_export(
    root: ElementTree.Element, pictures: Set[str], project: Project, job: Any, person: str
) -> ElementTree.Element:
    """Return an export cut to some pictures, who labelled them and when.

    Servers have put pictures of other jobs into the export of a job, as if these were empty. An export also has the
    time at which it was made, which would be news each time, and people's addresses.
    """
    annotations = ElementTree.Element("annotations")
    ElementTree.SubElement(annotations, "version").text = "1.1"
    meta = ElementTree.SubElement(annotations, "meta")
    ElementTree.SubElement(ElementTree.SubElement(meta, "mgral"), "project").text = project.id
    job_element = ElementTree.SubElement(meta, "job")
    ElementTree.SubElement(job_element, "id").text = str(job.id)
    ElementTree.SubElement(job_element, "updated").text = job.updated_date.isoformat()
    assignee = ElementTree.SubElement(job_element, "assignee")
    user = getattr(job, "assignee", None)
    ElementTree.SubElement(assignee, "username").text = user.username if user else person
    labels = ElementTree.SubElement(job_element, "labels")
    for name in root.iterfind("meta//labels/label/name"):
        ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = name.text
    annotations.extend(image for image in root.iterfind("image") if image.get("name") in pictures)
    ElementTree.indent(annotations)
    return annotations


def save(path: Path, exports: dict[str, ElementTree.Element]) -> None:
    """Write exports, by their names, into an archive whose bytes are the same for the same content."""
    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, root in sorted(exports.items()):
            content = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
