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
@options.output_option("JSON to write: contents of the folder.")
def command(config_path: Path, output: Path) -> None:
    """Download the data set named by `data.download` into `data.root`.

    Existing files are counted and kept, and archives beside them are checked. The rest is downloaded (from
    `data.mirror` if it is set), checked and unpacked. A stopped download continues where it was.
    """
    config = load_config(config_path)
    data, name = config.data, download_of(config.data)
    if not isinstance(data, FolderData) or name is None:
        raise InputError("data.download names no data set; add it, or leave this step out")
    download(DATA_SETS[name], Path(data.root), data.mirror)
    write_json(output, published_content(name))
