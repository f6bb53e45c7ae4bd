"""Text files as people's tools write them."""

import codecs
import errno
from pathlib import Path

from mgral.artefacts.integrity import read_verified


def text_lines(path: Path) -> list[str]:
    """Return the lines of a file in UTF-8, or in UTF-16 with a byte order mark, without that mark.

    Raises
    ------
    OSError
        Where the file cannot be opened.
    UnicodeError
        Where it is in another encoding.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no file")
    return lines_of(read_verified(path))


def lines_of(content: bytes) -> list[str]:
    """Return the lines of the content of a file, as `text_lines` does; raises UnicodeError."""
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf16 else "utf-8-sig").splitlines()
