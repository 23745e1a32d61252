"""Detections of one camera, over time."""
