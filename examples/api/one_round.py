"""One round on a data set in COCO format: one_round.py FOLDER, from a random start to the images to label next."""

import sys

import mgral

config = mgral.Config(
    data={"format": "coco", "root": sys.argv[1]},
    detector={"name": "small_ssd", "width": 64, "height": 64, "channels": 8},  # from here on: fast, for a first try
    initial=12,
    budget=4,
    cycles=1,
    training={"batch_size": 4},
    iterations={"detector": 20, "base": 8, "variant": 4},
    lut={"splits": 1, "variants": 3, "clusters": 2},
    agent={"episodes": 5, "samples": 8},
)
train, test = mgral.read_data(config, cache="cache")
labelled = mgral.draw_initial(train.dataset.image_ids, config.initial, seed=0)

detector, losses = mgral.train_detector(config, train, labelled, seed=0)
scores, detections = mgral.evaluate(detector, test, config.evaluation)
print("mAP", scores["map"])

embeddings = mgral.embed_images(config, train, labelled, detector, seed=0)
table = mgral.build_table(config, train, labelled, detector, embeddings, seed=0)
pool = mgral.unlabelled(train.dataset.image_ids, labelled)
print("mAP expected after labelling the first images of the pool", table.reward(pool[: config.budget]))

agent, episodes, summary = mgral.train_agent(config, table, pool, seed=0)
given = {"embeddings": embeddings, "tables": table, "agent": agent, "groups": ()}  # no near-copies are known
chosen = mgral.select("mgral", config, train.dataset, labelled, seed=0, **given)
other = mgral.select("ppal", config, train.dataset, labelled, seed=0, images=train.images, detector=detector)
print("label next, by mgral", chosen.images, "and by ppal", other.images)
labelled = mgral.add_selection(train.dataset.image_ids, labelled, chosen.images)
