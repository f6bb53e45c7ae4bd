#!/usr/bin/env bash
# One round of labelling, from a folder of pictures to imported labels: run it in an empty folder, with `mgral` on the
# PATH. The pictures are synthetic and their labels known, so a COCO file takes the place of the people who label.
set -euo pipefail

cat > synthetic.yaml <<END
data: {format: synthetic, train_images: 40, test_images: 8}
initial: 8
budget: 4
cycles: 1
END
mgral synthesize --configfile synthetic.yaml --output data

mgral project init shapes --pictures data/train --classes cross,disc,ring,square,star,triangle --budget 20 --batch 5
cd shapes
mgral project next                    # round1/: the pictures to label, and tasks for labelling tools
mgral project import ../data/annotations/instances_train.json --empty checked  # pictures without boxes have no objects
mgral project status
