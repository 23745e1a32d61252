"""A daemon for cameras at the edge: frames in, events over MQTT out."""

__version__ = "0.1.0"
