"""From the configuration to what makes maps of pictures and what follows from them: network, areas, views, the slow loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged import assembly
from edged.config import CameraConfig, Config, check_against_segmenter
from edged.config.rules import ZoneConfig
from edged.config.segmentation import BlockedConfig, CoverConfig, SceneConfig
from edged.engine_opening import OpenedNetwork, open_configured_network
from edged.errors import ConfigError, ModelError
from edged.models.manifest import SegmenterManifest, find_engine, load_manifest
from edged.pipeline import MapRules
from edged.rules.scene import SceneMemory, SceneSettings, SceneWatch
from edged.rules.settings import AreaRuleSettings, AreaSettings, ShareRule
from edged.rules.surfaces import GROUND, MOVING, AreaRules
from edged.runtime.maps import MapPace, MapWatch


def find_segmenter(config: Config) -> tuple[Path, SegmenterManifest]:
    """The directory and the manifest of the segmenter that a configuration asks for.

    Raises:
        ConfigError: there is none, it cannot be used or computed as configured, or the configuration names classes that it does
            not know.
    """
    try:
        directory = find_engine(config.segmentation.engine, config_dir=config.directory, state_dir=config.state_dir)
        manifest = load_manifest(directory, precision=config.segmentation.named_precision, kind=SegmenterManifest)
    except ModelError as error:
        mistake = config.mistake_at("config.engine", ("segmentation", "engine"), str(error))
        raise ConfigError(config.source, [mistake]) from error
    mistakes = check_against_segmenter(config, manifest.classes)
    try:
        assembly.check_precision(config.segmentation, manifest)
    except ModelError as error:
        mistakes = [config.mistake_at("config.precision", ("segmentation", "precision"), str(error)), *mistakes]
    if mistakes:
        raise ConfigError(config.source, mistakes)
    return directory, manifest


def open_configured_segmenter(directory: Path, config: Config) -> OpenedNetwork[SegmenterManifest]:
    """The segmenter of an engine's directory, computed as the section says; see `open_configured_network`."""
    return open_configured_network(directory, config.segmentation, state_dir=config.state_dir, kind=SegmenterManifest)


def makes_maps(camera: CameraConfig) -> bool:
    """Whether maps are made of a camera's pictures, where segmentation is enabled."""
    return camera.enabled and camera.segmentation


def make_map_watch(config: Config, *, now_s: Callable[[], float], on_map: Callable[[], None] = lambda: None) -> MapWatch:
    """The slow loop of all cameras of whose pictures maps are asked for; `now_s` and `on_map` as `MapWatch` has them."""
    settings = config.segmentation
    return MapWatch(
        zones={
            name: {zone_name: zone.polygon for zone_name, zone in camera.zones.items()}
            for name, camera in config.cameras.items()
            if makes_maps(camera)
        },
        pace=MapPace(every_s=settings.every_s, min_s=settings.min_s, on_motion=settings.on_motion),
        now_s=now_s,
        on_map=on_map,
    )


def make_map_rules(
    camera: CameraConfig, config: Config, manifest: SegmenterManifest | None, *, memory: SceneMemory | None = None
) -> MapRules | None:
    """What follows from the maps of one camera; None where none are made.

    Args:
        manifest: of the segmenter; None: there is none.
        memory: what the camera knew of its views before a restart.
    """
    if manifest is None or not makes_maps(camera):
        return None
    settings = config.segmentation
    areas = AreaRules(make_area_settings(camera), class_names=manifest.classes, model=manifest.onnx.sha256)
    surfaces = GROUND if settings.surfaces is None else frozenset(settings.surfaces)
    view = None
    if camera.scene.enabled and watches_views(config, manifest):
        view = SceneWatch(_make_scene_settings(camera.scene), _are_static(config, manifest), memory)
    return MapRules(areas, view, surfaces)


def make_area_settings(camera: CameraConfig) -> AreaRuleSettings:
    """What is told of what one camera's pictures are made of."""
    return AreaRuleSettings(
        zones={name: _make_area(zone, camera) for name, zone in camera.zones.items()},
        picture=AreaSettings(classes=camera.areas.classes),
        min_change_ratio=camera.areas.min_change_ratio,
    )


def watches_views(config: Config, manifest: SegmenterManifest) -> bool:
    """Whether the network knows enough classes that stay where they are, so that a view consists of something."""
    return bool(np.count_nonzero(_are_static(config, manifest)) >= SceneWatch.LEAST_CLASSES)


def static_classes(config: Config, manifest: SegmenterManifest) -> tuple[str, ...]:
    """The classes that stay where they are: what views consist of."""
    return tuple(np.array(manifest.classes)[_are_static(config, manifest)].tolist())


def _are_static(config: Config, manifest: SegmenterManifest) -> NDArray[np.bool_]:
    """(C,): which classes stay where they are."""
    moving = MOVING if config.segmentation.moving is None else config.segmentation.moving
    return np.array([name not in moving for name in manifest.classes])


def _make_scene_settings(scene: SceneConfig) -> SceneSettings:
    return SceneSettings(for_s=scene.for_s, learn_s=scene.learn_s, min_difference_ratio=scene.min_difference_ratio)


def _make_area(zone: ZoneConfig, camera: CameraConfig) -> AreaSettings:
    return AreaSettings(
        classes=camera.areas.classes if zone.areas is None else zone.areas,
        blocked=None if zone.blocked is None else _make_rule(zone.blocked),
        covered_by=tuple(_make_rule(rule) for rule in zone.covered_by),
    )


def _make_rule(rule: BlockedConfig | CoverConfig) -> ShareRule:
    return ShareRule(
        classes=rule.classes,
        above=rule.above,
        below=rule.below if isinstance(rule, BlockedConfig) else None,
        for_s=rule.for_s,
        hysteresis_ratio=rule.hysteresis_ratio,
        name=rule.name if isinstance(rule, CoverConfig) else "",
    )
