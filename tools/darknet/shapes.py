"""The size of what every layer answers, and whether the layers fit together."""

from __future__ import annotations

from dataclasses import dataclass

from edged.errors import InputError
from tools.darknet.cfg import PICTURE, Layer, Network
from tools.darknet.options import AveragePool, Convolutional, MaxPool, Route, ScaleChannels, Shortcut, Upsample, Yolo

GRAIN_PX = 32
"""Inputs are whole multiples of this, as darknet wants them."""
_BOX = 5
"""What a head says of an anchor beside its classes: x, y, width, height, objectness."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Size of a layer's answer to one picture."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"


@dataclass(frozen=True, slots=True)
class Shapes:
    """Sizes in a network at one size of input.

    Attributes:
        picture: of the input.
        layers: of each layer's answer, by its number.
    """

    picture: Shape
    layers: tuple[Shape, ...]

    def of(self, number: int) -> Shape:
        """What a layer answers; PICTURE is the input itself."""
        return self.picture if number == PICTURE else self.layers[number]

    def stride(self, number: int) -> int:
        """Input pixels from one cell of a layer to the next."""
        return self.picture.width // self.of(number).width


def infer_shapes(network: Network, *, width: int, height: int) -> Shapes:
    """Follow an input of that size through the network.

    Raises:
        InputError: naming the first layer that does not fit what it takes, or the size.
    """
    if width % GRAIN_PX or height % GRAIN_PX or min(width, height) < GRAIN_PX:
        raise InputError(f"{network.source}: an input of {width}x{height}: width and height must be multiples of {GRAIN_PX}")
    shapes = Shapes(Shape(3, height, width), ())
    for layer in network.layers:
        taken = [shapes.of(number) for number in layer.inputs]
        if any(number != PICTURE and isinstance(network.layers[number].options, Yolo) for number in layer.inputs):
            _refuse(network, layer, "takes a [yolo] head's answer: a [route] to an earlier layer is missing")
        shape = _answer(network, layer, taken)
        if min(shape.height, shape.width) < 1:
            _refuse(network, layer, f"nothing is left of its input of {taken[0]}: choose a larger --input")
        shapes = Shapes(shapes.picture, (*shapes.layers, shape))
        if isinstance(layer.options, Yolo):
            _check_head(network, layer, shapes)
    return shapes


def _answer(network: Network, layer: Layer, taken: list[Shape]) -> Shape:
    first = taken[0]
    match layer.options:
        case Convolutional() as conv:
            if first.channels % conv.groups or conv.filters % conv.groups:
                _refuse(network, layer, f"groups={conv.groups} must divide {first.channels} channels and {conv.filters} filters")
            around = 2 * conv.margin
            return Shape(conv.filters, *_windows(first, size=conv.size, stride=conv.stride, around=around))
        case MaxPool() as pool:
            return Shape(first.channels, *_windows(first, size=pool.size, stride=pool.stride, around=pool.padding))
        case AveragePool():
            return Shape(first.channels, 1, 1)
        case Upsample(stride=stride):
            return Shape(first.channels, first.height * stride, first.width * stride)
        case Route(groups=groups):
            return _route(network, layer, taken, groups)
        case Shortcut():
            if any(other != first for other in taken):
                _refuse(network, layer, f"adds {_list(taken)}: they must be of one size")
            return first
        case ScaleChannels():
            if first != Shape(taken[1].channels, 1, 1):
                _refuse(network, layer, f"multiplies {taken[1]} by {first}: expected one number a channel")
            return taken[1]
        case _:
            return first


def _windows(shape: Shape, *, size: int, stride: int, around: int) -> tuple[int, int]:
    """How many windows of that size fit into height and width with `around` rows and columns added."""
    return (shape.height + around - size) // stride + 1, (shape.width + around - size) // stride + 1


def _route(network: Network, layer: Layer, taken: list[Shape], groups: int) -> Shape:
    if len({(shape.height, shape.width) for shape in taken}) > 1:
        _refuse(network, layer, f"joins {_list(taken)}: they must be of one height and width")
    if any(shape.channels % groups for shape in taken):
        _refuse(network, layer, f"groups={groups} must divide the channels of {_list(taken)}")
    return Shape(sum(shape.channels for shape in taken) // groups, taken[0].height, taken[0].width)


def _check_head(network: Network, layer: Layer, shapes: Shapes) -> None:
    head, shape = layer.options, shapes.of(layer.number)
    wanted = len(head.sizes) * (_BOX + head.classes)
    if shape.channels != wanted:
        counted = f"{len(head.sizes)} anchors x ({_BOX} + {head.classes} classes) = {wanted}"
        _refuse(network, layer, f"its input has {shape.channels} channels, expected {counted}; see mask, classes, filters")
    picture, stride = shapes.picture, shapes.stride(layer.number)
    if (picture.height, picture.width) != (shape.height * stride, shape.width * stride):
        size = f"{picture.width}x{picture.height}"
        _refuse(network, layer, f"{shape.width}x{shape.height} cells do not divide the input of {size}; choose another --input")
    before = network.layers[layer.inputs[0]].options if layer.inputs[0] != PICTURE else None
    if head.new_coords and not (isinstance(before, Convolutional) and before.activation == "logistic"):
        _refuse(network, layer, "new_coords=1 wants a convolution with activation=logistic before it")


def _list(shapes: list[Shape]) -> str:
    return ", ".join(map(str, shapes))


def _refuse(network: Network, layer: Layer, message: str) -> None:
    raise InputError(f"{network.source}: {layer.place}: {message}")
