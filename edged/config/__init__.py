"""The configuration: the YAML file as frozen models; the only reader of files and environment for settings."""

from edged.config.changes import Changes, find_changes
from edged.config.classes import check_against_manifest, check_against_segmenter
from edged.config.models import CameraConfig, Config
from edged.config.reading import find_gallery_key, find_state_directory, load_config, parse_config
from edged.config.secret import Secret

__all__ = [
    "CameraConfig",
    "Changes",
    "Config",
    "Secret",
    "check_against_manifest",
    "check_against_segmenter",
    "find_changes",
    "find_gallery_key",
    "find_state_directory",
    "load_config",
    "parse_config",
]
