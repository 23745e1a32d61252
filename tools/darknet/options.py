"""What the sections of a darknet cfg may say: one model a kind, every option with its bounds and darknet's default.

What would change a layer's answer and is not understood is refused; what matters in training only is passed over.

Source: AlexeyAB/darknet @0d0144e, src/parser.c.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Activation = Literal["linear", "relu", "leaky", "relu6", "mish", "swish", "logistic"]


def _split(text: Any) -> Any:
    return [part.strip() for part in text.split(",")] if isinstance(text, str) else text


_Count = Annotated[int, Field(gt=0, le=1 << 16)]
_Flag = Annotated[int, Field(ge=0, le=1)]
_Integers = Annotated[tuple[int, ...], BeforeValidator(_split)]
_Numbers = Annotated[tuple[float, ...], BeforeValidator(_split)]


_YOLO_TRAINING = frozenset(
    {
        "beta_nms",
        "cls_normalizer",
        "counters_per_class",
        "delta_normalizer",
        "focal_loss",
        "ignore_thresh",
        "iou_loss",
        "iou_normalizer",
        "iou_thresh",
        "iou_thresh_kind",
        "jitter",
        "label_smooth_eps",
        "max",
        "max_delta",
        "nms_kind",
        "obj_normalizer",
        "objectness_smooth",
        "random",
        "resize",
        "show_details",
        "truth_thresh",
    }
)
"""What [yolo] says about training, or about suppression: thresholds are the manifest's."""


class Options(BaseModel):
    """The options of one section; those of `training_only` are passed over, all others must be known."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    training_only: ClassVar[frozenset[str]] = frozenset({"stopbackward"})


class Net(Options):
    """The picture that the network takes; everything else in [net] is about training."""

    width: _Count
    height: _Count
    channels: Annotated[int, Field(ge=3, le=3)] = 3


class Convolutional(Options):
    """A convolution, with batch normalisation before the activation or with a bias alone."""

    filters: _Count
    size: _Count = 1
    stride: _Count = 1
    pad: _Flag = 0
    padding: Annotated[int, Field(ge=0)] = 0
    groups: _Count = 1
    batch_normalize: _Flag = 0
    activation: Activation = "logistic"

    @property
    def margin(self) -> int:
        """Rows and columns of zeros on every side."""
        return self.size // 2 if self.pad else self.padding


class MaxPool(Options):
    """The largest of every window; `size` and `padding` follow from the other options where they are not given."""

    stride: _Count = 1
    size: _Count
    padding: Annotated[int, Field(ge=0)]

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: dict[str, Any]) -> dict[str, Any]:
        size = data.get("size", data.get("stride", "1"))
        padding = data.get("padding", int(size) - 1 if str(size).isdecimal() else 0)
        return {**data, "size": size, "padding": padding}

    @model_validator(mode="after")
    def _sees_the_picture(self) -> MaxPool:
        if self.after >= self.size:
            raise ValueError(f"padding={self.padding} makes windows of nothing; size={self.size} allows {2 * self.size - 2}")
        return self

    @property
    def before(self) -> int:
        """Rows above and columns left that are no part of the picture."""
        return self.padding // 2

    @property
    def after(self) -> int:
        """Rows below and columns right."""
        return self.padding - self.before


class AveragePool(Options):
    """The mean of each channel."""


class Upsample(Options):
    """Every cell becomes stride x stride of them."""

    stride: Annotated[int, Field(ge=1, le=64)] = 2


class Route(Options):
    """Channels of earlier layers, one after the other; of each layer only part `group_id` of `groups` equal ones."""

    layers: Annotated[_Integers, Field(min_length=1)]
    groups: _Count = 1
    group_id: Annotated[int, Field(ge=0)] = 0
    training_only: ClassVar[frozenset[str]] = Options.training_only | {"stream", "wait_stream"}

    @model_validator(mode="after")
    def _has_the_part(self) -> Route:
        if self.group_id >= self.groups:
            raise ValueError(f"group_id is {self.group_id}, but groups are counted from 0 and there are {self.groups}")
        return self


class Shortcut(Options):
    """The layer before plus earlier ones."""

    layers: Annotated[_Integers, Field(min_length=1, alias="from")]
    activation: Activation = "linear"
    weights_type: Literal["none"] = "none"
    weights_normalization: Literal["none"] = "none"


class ScaleChannels(Options):
    """An earlier layer, each channel times the one number that the layer before has for it."""

    layer: Annotated[int, Field(alias="from")]
    activation: Activation = "linear"


class Yolo(Options):
    """A head: what its input says of every cell and anchor becomes boxes and scores."""

    anchors: _Numbers
    classes: _Count = 20
    num: _Count = 1
    mask: _Integers = ()
    scale_x_y: Annotated[float, Field(gt=0)] = 1.0
    new_coords: _Flag = 0
    training_only: ClassVar[frozenset[str]] = Options.training_only | _YOLO_TRAINING

    @model_validator(mode="after")
    def _agrees(self) -> Yolo:
        if len(self.anchors) != 2 * self.num:
            raise ValueError(f"anchors has {len(self.anchors)} numbers, expected 2 x num = {2 * self.num}")
        if min(self.anchors) <= 0:
            raise ValueError("anchors has a width or height of 0 or less")
        if self.mask and not 0 <= min(self.mask) <= max(self.mask) < self.num:
            raise ValueError(f"mask is {','.join(map(str, self.mask))}, but anchors are counted from 0 to {self.num - 1}")
        return self

    @property
    def sizes(self) -> tuple[tuple[float, float], ...]:
        """Width and height, input pixels, of the anchors that this head uses."""
        pairs = list(zip(self.anchors[::2], self.anchors[1::2], strict=True))
        return tuple(pairs[number] for number in self.mask or range(self.num))


KINDS: dict[str, type[Options]] = {
    "convolutional": Convolutional,
    "maxpool": MaxPool,
    "avgpool": AveragePool,
    "upsample": Upsample,
    "route": Route,
    "shortcut": Shortcut,
    "scale_channels": ScaleChannels,
    "yolo": Yolo,
}
