"""MGRAL: performance-guided reinforced active learning for object detection."""
