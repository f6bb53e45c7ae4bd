"""No artefact and no selection depends on labels that are not bought yet."""

import pytest

import mgral
from mgral.artefacts.files import write_json
from mgral.config import Config, registry, resolve_config
from mgral.method.lut.pseudo_labels import label_pool
from mgral.method.lut.subsets import plan_subsets
from mgral.method.lut.table import VariantScores, table_arrays
from mgral.method.lut.variants import train_base, train_variants

STARTS = {"pseudo_labels": "warm", "consistency": "warm", "labels": "cold"}
"""Where variants start, by what they learn from."""
SEED, CYCLE, SPLIT = PLACE = 0, 1, 0
CONFIG = resolve_config(
    {
        "data": {"format": "synthetic", "train_images": 24, "test_images": 4},
        "initial": 8,
        "budget": 4,
        "cycles": 1,
        "detector": {"width": 64, "height": 64, "channels": 8},
        "training": {"batch_size": 4, "learning_rate": 0.01},
        "iterations": {"detector": 60, "base": 30, "variant": 4},
        "semi_supervised": {"batch_size": 2},
        "embedding": {"dimensions": 8},
        "lut": {"splits": 1, "variants": 2, "clusters": 2},
        "agent": {"episodes": 3, "samples": 2, "hidden": 8},
        "strategies": list(registry.strategies()),
    }
)


def arrays_of(arrays):
    return {name: array.tobytes() for name, array in arrays.items()}


def weights_of(detector):
    return arrays_of({name: values.numpy() for name, values in detector.state_dict().items()})


def whole_chain(train, labelled):
    """Return the content of each artefact, and of the selection of each strategy, by name."""
    dataset = train.dataset
    detector, _ = mgral.train_detector(CONFIG, train, labelled, SEED, CYCLE)
    embeddings = mgral.embed_images(CONFIG, train, labelled, detector, SEED)
    found = {"detector": weights_of(detector), "embeddings": arrays_of(embeddings.arrays())}
    pseudo_labels = label_pool(CONFIG, train, labelled, detector)
    assert pseudo_labels.objects
    found["pseudo_labels"] = pseudo_labels.to_json()
    for labels in STARTS:
        config = with_labels(labels)
        plan = plan_subsets(config, dataset, labelled, embeddings, *PLACE)
        base = train_base(config, train, plan, *PLACE)
        numbers = range(len(plan.subsets))
        variants = train_variants(config, train, plan, base, numbers, *PLACE, pseudo_labels=pseudo_labels)
        table, rows = table_arrays(
            VariantScores.of(variants), plan, embeddings, config.embedding, config.reward, SEED
        )
        found[f"subsets, {labels}"] = plan.to_json()
        found[f"base, {labels}"] = weights_of(base)
        found[f"variants, {labels}"] = [one._asdict() for one in variants]
        found[f"table, {labels}"] = arrays_of(table), rows
    pool = mgral.unlabelled(dataset.image_ids, labelled)
    short = CONFIG.model_copy(update={"iterations": CONFIG.iterations.model_copy(update={"detector": 3})})
    for name, info in registry.strategies().items():
        given = {"images": train.images, "detector": detector, "embeddings": embeddings}
        if name in CONFIG.with_tables:
            own = CONFIG.for_strategy(name)
            given["tables"] = mgral.build_table(own, train, labelled, detector, embeddings, SEED, CYCLE)
            given["agent"], log, summary = mgral.train_agent(own, given["tables"], pool, SEED, CYCLE)
            found[f"agent, {name}"] = arrays_of(given["agent"].arrays()), log, summary
        if "groups" in info.requires:
            given["groups"] = [pool[:2].tolist()]
        if "head" in info.requires:
            given["head"] = mgral.train_head(name, short, train, labelled, SEED, CYCLE).head
        found[name] = mgral.select(name, CONFIG, dataset, labelled, SEED, CYCLE, **given).to_json()
    return found


def with_labels(labels) -> Config:
    return CONFIG.model_copy(
        update={"lut": CONFIG.lut.model_copy(update={"labels": labels, "start": STARTS[labels]})}
    )


def with_exchanged_labels(coco, image_ids):
    """Give the boxes and classes of each of these images to the next one."""
    following = dict(zip(image_ids, [*image_ids[1:], image_ids[0]], strict=True))
    annotations = [box | {"image_id": following.get(box["image_id"], box["image_id"])} for box in coco["annotations"]]
    return {**coco, "annotations": annotations}


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    """The chain as it is, with labels of the pool exchanged, and with those of labelled images exchanged."""
    folder = tmp_path_factory.mktemp("pool")
    train, _ = mgral.read_data(CONFIG, folder)
    labelled = mgral.draw_initial(train.dataset.image_ids, CONFIG.initial, SEED)
    pool = mgral.unlabelled(train.dataset.image_ids, labelled)
    found = []
    for exchanged in ([], pool.tolist(), labelled.tolist()):
        coco = with_exchanged_labels(train.truth(), exchanged) if exchanged else train.truth()
        write_json(folder / "train.json", coco)
        data = mgral.load_image_set(folder / "train.json", folder / "train.npy", CONFIG.detector)
        found.append(whole_chain(data, labelled))
    return found


ARTEFACTS = ("subsets", "base", "variants", "table")
NAMES = [
    "detector",
    "embeddings",
    "pseudo_labels",
    *(f"agent, {name}" for name in CONFIG.with_tables),
    *(f"{one}, {kind}" for one in ARTEFACTS for kind in STARTS),
]


@pytest.mark.parametrize("name", [*NAMES, *registry.strategies()])
def test_labels_of_the_pool_do_not_matter(chains, name):
    as_it_is, of_pool, _ = chains
    assert of_pool[name] == as_it_is[name]


def test_labels_of_labelled_images_do_matter(chains):
    as_it_is, _, of_labelled = chains
    same = {name for name in as_it_is if of_labelled[name] == as_it_is[name]}
    # Under pseudo-labels the plan is drawn from image ids and clusters alone. Before variants that start anew nothing
    # is trained.
    assert same <= {"random", "random_no_copies", "subsets, pseudo_labels", "base, labels"}
