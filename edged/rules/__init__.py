"""Tracks into events: zones, lines, dwell, counts; pure and timed."""
