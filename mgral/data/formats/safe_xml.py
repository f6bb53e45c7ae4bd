"""XML of annotation tools: decoded by the encoding that it declares, without the parts of XML that can do harm."""

import codecs
import io
import re
from pathlib import Path
from xml.etree import ElementTree

from mgral.artefacts.integrity import read_verified

_DECLARATION = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._:-]+)["'][^>]*\?>""")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_DEEPEST = 100
"""Largest depth of nested elements that is read; annotations have five levels."""


class XmlError(ValueError):
    """A file that is not XML, or XML that is refused."""


def read_xml(path: Path) -> ElementTree.Element:
    """Return the root element of a file, as `parse_xml` does; raises OSError too, where it cannot be read."""
    return parse_xml(read_verified(path))


def parse_xml(content: bytes) -> ElementTree.Element:
    """Return the root element of the content of a file.

    Document types are refused, as entities are declared in them that blow a small file up, or read other files.

    Raises
    ------
    XmlError
        Saying why it is not used.
    """
    text = _decode(content)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise XmlError("it has a document type; remove <!DOCTYPE ...>")
    depth = 0
    roots: list[ElementTree.Element] = []
    try:
        for event, element in ElementTree.iterparse(io.StringIO(text), ["start", "end"]):
            roots = roots or [element]
            depth += 1 if event == "start" else -1
            if depth > _DEEPEST:
                raise XmlError(f"its elements lie more than {_DEEPEST} levels deep")
    except ElementTree.ParseError as error:
        raise XmlError(f"it is not XML: {error}") from None
    return roots[0]


def _decode(content: bytes) -> str:
    """Return the text of a file, without its declaration, as that has the encoding of the bytes."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _without_declaration(_decode_from(content, encoding))
    declaration = _DECLARATION.match(content)
    encoding = declaration[1].decode().lower() if declaration else "utf-8"
    if encoding.startswith("utf-16"):  # it cannot be, as the declaration was found byte by byte
        encoding = "utf-8"
    if not encoding.startswith("utf") and not content.isascii() and _is_utf8(content):
        raise XmlError(f"it declares {encoding}, and its bytes are UTF-8; correct the declaration")
    return _without_declaration(_decode_from(content, encoding))


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decode_from(content: bytes, encoding: str) -> str:
    """Return the text of bytes in an encoding; raises XmlError."""
    try:
        return content.decode("gb18030" if encoding.lower() in ("gb2312", "gbk") else encoding)
    except LookupError:
        raise XmlError(f"it declares the encoding {encoding}, which Python does not know; save it as UTF-8") from None
    except (UnicodeError, ValueError, TypeError):
        raise XmlError(f"its bytes are not {encoding}, which it declares or lacks; save it as UTF-8") from None


def _without_declaration(text: str) -> str:
    return re.sub(r"^\s*<\?xml[^>]*\?>", "", text, count=1).strip()
