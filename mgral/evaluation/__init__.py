"""Detections on images, and their scores by COCO's and by VOC's rules."""
