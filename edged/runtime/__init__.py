"""Loops, channels and supervision."""
