"""Step `download`: a public data set, in the folder of the data."""

from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.config import download_of, load_config
from mgral.config.data import FolderData
from mgral.data.download.archives import DATA_SETS, published_content
from mgral.data.download.folder import download
from mgral.errors import InputError


@click.command("download")
@options.config
@options.written("JSON to write: what the folder was found to hold.")
def command(config_path: Path, output: Path) -> None:
    """Make `data.root` hold what `data.download` names.

    What is there already is counted and kept, and its archives, where they lie beside it, are checked. The rest is
    downloaded, from `data.mirror` where there is one, checked and unpacked; a stopped download goes on where it was.
    """
    config = load_config(config_path)
    data, name = config.data, download_of(config.data)
    if not isinstance(data, FolderData) or name is None:
        raise InputError("data.download names no data set; add it, or leave this step out")
    download(DATA_SETS[name], Path(data.root), data.mirror)
    write_json(output, published_content(name))
