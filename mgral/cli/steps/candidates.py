"""Step `candidates`: the batches whose looked-up reward is compared with the measured gain."""

from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP
from mgral.config import images_in, load_config
from mgral.data.dataset import load_dataset
from mgral.data.derive import load_derived
from mgral.data.groups import load_groups
from mgral.data.images import load_images
from mgral.data.results import load_found
from mgral.method.fidelity.batches import draw_candidates
from mgral.method.lut.reward import load_tables
from mgral.models.build import load_detector
from mgral.selection.embeddings import load_embeddings
from mgral.selection.object_counts import count_again
from mgral.selection.pool import check_pool, load_labelled, unlabelled
from mgral.selection.query import Query
from mgral.selection.spending import in_images, load_unspent


@click.command("candidates", epilog=HELP)
@options.config
@options.derived
@options.dataset
@options.labelled
@options.images
@options.detector
@options.embeddings
@click.option(
    "--table",
    type=options.FILE,
    multiple=True,
    help="Lookup table of a reward split, made with --table-embeddings; repeat it for each.",
)
@click.option(
    "--groups",
    type=options.FILE,
    required=True,
    help="Near-copies, which some strategies leave out; of step `groups`.",
)
@click.option("--table-embeddings", type=options.FILE, help="Embeddings of all training images that the tables use.")
@options.seed
@options.cycle
@options.gpus
@options.vram_mb
@options.output_option("Batches to write (JSON); batch 0 is empty.")
def command(
    config_path: Path,
    derived: tuple[Path, ...],
    dataset: Path,
    labelled: Path,
    images: Path,
    detector: Path,
    embeddings: Path,
    table: tuple[Path, ...],
    groups: Path,
    table_embeddings: Path | None,
    seed: int,
    cycle: int,
    gpus: int,
    output: Path,
) -> None:
    """Draw half of the batches of the pool at random, and let strategies choose the other half.

    The random half are uniform draws, and mixtures from batches of similar images to mixed ones. Each batch of the
    other half is chosen from a random part of the pool. No label of the pool is read.
    """
    config, data = load_derived(load_config(config_path), derived), load_dataset(dataset)
    labelled_ids, vectors = load_labelled(labelled), load_embeddings(embeddings)
    pool = unlabelled(data.image_ids, labelled_ids)
    config = in_images(config, data, labelled_ids, load_unspent(labelled))
    check_pool(pool, images_in(config.budget))
    trained = config.detector.command_gives is None
    tables = None
    if table:
        if table_embeddings is None:
            raise click.UsageError("give the --table-embeddings of the tables")
        # As the step `select` counts, whose choices these are.
        tables = load_tables(table, count_again(load_embeddings(table_embeddings), data, labelled_ids, seed), config)
    query = Query(
        dataset=data.without_labels(pool),
        labelled=labelled_ids,
        pool=pool,
        config=config,
        seed=seed,
        cycle=cycle,
        images=load_images(images, data, config.detector.image_canvas),
        detector=(
            load_detector(detector, config.detector, len(data.categories)).to(choose_device(gpus))
            if trained
            else None
        ),
        found=None if trained else load_found(detector, "train"),
        embeddings=vectors,
        tables=tables,
        groups=load_groups(groups).groups,
    )
    write_json(output, {"batches": [candidate.to_json() for candidate in draw_candidates(query)]})
