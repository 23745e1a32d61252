"""How much of the picture one value of a network can see, layer by layer.

Each tensor has, for each spatial axis of the input, a field of `size` input pixels, a `jump` (input pixels from one value to the
next: the effective stride) and a `count` of values. An input has size 1 and jump 1. The rules:

| node | size | jump |
| --- | --- | --- |
| convolution, pooling: k taps, stride s, dilation d | + (k - 1) d jump | * s |
| transposed convolution | + floor((k - 1) d / s) jump | / s |
| Resize, Upsample from n to m values | + (t - 1) jump; t taps: nearest 1, linear 2, cubic 4 | * n / m |
| SpaceToDepth, DepthToSpace of blocks b | + (b - 1) jump; unchanged | * b; / b |
| Slice with steps b | unchanged | * b |
| what mixes a whole axis: Gemm, MatMul, global pooling, Reduce, Softmax | + (count - 1) jump of what it enumerates | same |
| several inputs: Add, Concat, ... | the largest of the inputs' | the largest |
| all others, unknown ones too | unchanged | unchanged |

So a fully connected layer sees what a convolution with a kernel as large as its input would, and what has seen everything
grows no more. Reshape and Transpose are followed: mixing channels is told from mixing places. Padding counts as seen, so the
field may be larger than the picture; branches whose fields lie apart see a little more than the largest; how much of the field
has weight is another matter.

Source: Araujo, Norris, Sim, Computing Receptive Fields of Convolutional Neural Networks, Distill 2019: size is 1 plus the sum
over the layers of (k - 1) times the product of the strides before, and jump that product. The rows below the first follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from tools.onnx_graph import Graph, Node
from tools.onnx_shapes import Shape, spatial_axes
from tools.window import Window, find_window

PRODUCTS = {"Gemm": (0, 1), "MatMul": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3)}
"""Where among the inputs of a matrix product its two factors are."""
_RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
_SOFTMAX = ("Softmax", "LogSoftmax", "Hardmax")
_ARGUMENTS = ("ArgMax", "ArgMin")
_TAPS = {b"nearest": 1, b"linear": 2, b"cubic": 4}

Axes = tuple[frozenset[int], ...]
"""For each axis of a tensor, which of the picture's axes it enumerates: none for channels, two for all pixels in one row."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What one value sees along one axis of the picture.

    Attributes:
        count: values along the axis.
        size: how much each sees, input pixels.
        jump: from one value to the next, input pixels.
        is_whole: whether each sees what all see together.
    """

    count: int
    size: Fraction = Fraction(1)
    jump: Fraction = Fraction(1)
    is_whole: bool = False

    def through(self, taps: int, step: Fraction) -> Extent:
        """Behind a window of adjacent taps that moves by that many values."""
        grown = 0 if self.is_whole else (taps - 1) * self.jump
        return replace(self, size=self.size + grown, jump=self.jump * step)


@dataclass(frozen=True, slots=True)
class Field:
    """What a value of a tensor sees.

    Attributes:
        extents: one for each spatial axis of the input, height before width; empty where the input is no picture.
        axes: what each axis of the tensor enumerates.
    """

    extents: tuple[Extent, ...]
    axes: Axes


def find_fields(graph: Graph) -> dict[str, Field]:
    """The field of every tensor that carries something of the input.

    Raises:
        InputError: a shape that a window needs cannot be inferred.
    """
    fields = {name: _start(shape) for name, shape in graph.inputs.items()}
    for node in graph.layers():
        seen = {name: fields[name] for name in graph.data_of(node) if name in fields}
        for output in node.outputs:
            shape = graph.shapes.get(output)
            fields[output] = _counted(_after(node, graph, seen), shape)
    return fields


def _start(shape: Shape) -> Field:
    places = spatial_axes(shape)
    axes = tuple(frozenset((places.index(axis),) if axis in places else ()) for axis in range(len(shape)))
    return Field(tuple(Extent(shape[axis] or 1) for axis in places), axes)


def _after(node: Node, graph: Graph, seen: dict[str, Field]) -> Field:
    """The field of a node's output, counts left as they were."""
    field = _merge(seen.values())
    window = find_window(node, graph)
    if window is not None:
        return _through_window(field, window)
    if not field.axes:  # a tensor of unknown shape
        return field
    if node.operator in PRODUCTS:
        return _through_product(node, graph, seen)
    if node.operator in (*_SOFTMAX, *_ARGUMENTS) or node.operator.startswith("Reduce"):
        return _through_reduction(node, graph, field)
    if node.operator in _RESHAPES:
        return replace(field, axes=_regroup(field.axes, graph.shapes.get(node.inputs[0]), graph.shapes.get(node.outputs[0])))
    if node.operator == "Transpose":
        order = node.attributes.get("perm", range(len(field.axes))[::-1])
        return replace(field, axes=tuple(field.axes[axis] for axis in order))
    return _through_resampling(node, graph, field)


def _merge(fields: Iterable[Field]) -> Field:
    """The largest of several; their axes are laid together from the last one on, as in broadcasting."""
    all_fields = list(fields)
    extents: list[Extent] = []
    for index in range(max((len(field.extents) for field in all_fields), default=0)):
        same = [field.extents[index] for field in all_fields if index < len(field.extents)]
        largest = {part: max(getattr(extent, part) for extent in same) for part in ("count", "size", "jump", "is_whole")}
        extents.append(Extent(**largest))
    n_axes = max((len(field.axes) for field in all_fields), default=0)
    padded = [(frozenset(),) * (n_axes - len(field.axes)) + field.axes for field in all_fields]
    return Field(tuple(extents), tuple(frozenset().union(*together) for together in zip(*padded, strict=True)))


def _counted(field: Field, shape: Shape | None) -> Field:
    """The field with the number of values along each axis as the tensor's shape tells it."""
    if shape is None or len(shape) != len(field.axes):
        return replace(field, axes=(frozenset(),) * len(shape or ()))
    extents = list(field.extents)
    for length, places in zip(shape, field.axes, strict=True):
        if len(places) == 1 and length is not None:
            (place,) = places
            extents[place] = replace(extents[place], count=length)
    return replace(field, extents=tuple(extents))


def _mixed(field: Field, axes: Iterable[frozenset[int]]) -> Field:
    """Behind something that lets every value see all values along these axes."""
    places = frozenset().union(*axes)
    extents = [
        replace(extent.through(extent.count, Fraction(1)), is_whole=True) if place in places else extent
        for place, extent in enumerate(field.extents)
    ]
    return replace(field, extents=tuple(extents))


def _through_window(field: Field, window: Window) -> Field:
    extents = list(field.extents)
    for axis, taps in enumerate(window.kernel):
        reach, stride = (taps - 1) * window.dilation[axis], window.stride[axis]
        places = field.axes[axis + 2] if axis + 2 < len(field.axes) else frozenset()
        if len(places) > 1 and taps > 1:  # a row of all pixels: its neighbours may lie anywhere
            extents = list(_mixed(replace(field, extents=tuple(extents)), [places]).extents)
        elif len(places) == 1:
            (place,) = places
            extent = extents[place]
            extents[place] = (
                extent.through(reach // stride + 1, Fraction(1, stride))
                if window.is_transposed
                else extent.through(reach + 1, Fraction(stride))
            )
    return replace(field, extents=tuple(extents))


def _through_product(node: Node, graph: Graph, seen: dict[str, Field]) -> Field:
    """The axis that both factors share is mixed; of the others each factor gives its own."""
    left, right = (node.inputs[index] for index in PRODUCTS[node.operator])
    rows, inner = (-1, -2) if node.attributes.get("transA", 0) else (-2, -1)
    across, columns = (-1, -2) if node.attributes.get("transB", 0) else (-2, -1)
    field = _merge(seen.values())
    axes_left, axes_right = (_axes_of(name, graph, seen) for name in (left, right))
    shared = [axes[axis] for axes, axis in ((axes_left, inner), (axes_right, across)) if len(axes) >= 2]
    shared += [axes[0] for axes in (axes_left, axes_right) if len(axes) == 1]
    n_batch = max(len(axes_left), len(axes_right), 2) - 2
    batch = field.axes[:n_batch]
    own = [axes[axis] for axes, axis in ((axes_left, rows), (axes_right, columns)) if len(axes) >= 2]
    return _mixed(replace(field, axes=(*batch, *own)), shared)


def _axes_of(tensor: str, graph: Graph, seen: dict[str, Field]) -> Axes:
    if tensor in seen:
        return seen[tensor].axes
    return (frozenset(),) * len(graph.known_shape(tensor))


def _through_reduction(node: Node, graph: Graph, field: Field) -> Field:
    """Softmax, ArgMax and the Reduce family mix the axes that they name; a Reduce without names mixes all."""
    n_axes = len(field.axes)
    if node.operator in _SOFTMAX:
        named: Sequence[int] | None = (node.attributes.get("axis", -1),)
    elif node.operator in _ARGUMENTS:
        named = (node.attributes.get("axis", 0),)
    elif len(node.inputs) > 1 and node.inputs[1]:
        named = graph.integers(node.inputs[1])
    else:
        named = node.attributes.get("axes")
    mixed = {axis % n_axes for axis in (range(n_axes) if named is None else named)}
    result = _mixed(field, [field.axes[axis] for axis in mixed])
    if node.operator in _SOFTMAX or node.attributes.get("keepdims", 1):
        return result
    return replace(result, axes=tuple(places for axis, places in enumerate(field.axes) if axis not in mixed))


def _through_resampling(node: Node, graph: Graph, field: Field) -> Field:
    """Nodes that change how many values stand for the same pixels, along axes that enumerate one of the picture's each."""
    match node.operator:
        case "Resize" | "Upsample":
            before, after = (graph.known_shape(name) for name in (node.inputs[0], node.outputs[0]))
            steps = [Fraction(old, new) for old, new in zip(before, after, strict=True)]
            taps = [_TAPS.get(node.attributes.get("mode", b"nearest"), 1) if step != 1 else 1 for step in steps]
        case "SpaceToDepth" | "DepthToSpace":
            block = node.attributes["blocksize"]
            is_coarser = node.operator == "SpaceToDepth"
            steps = [Fraction(1), Fraction(1), *[Fraction(block) if is_coarser else Fraction(1, block)] * 2]
            taps = [1, 1, *[block if is_coarser else 1] * 2]
        case "Slice":
            steps, taps = _slice_steps(node, graph, len(field.axes)), [1] * len(field.axes)
        case _:
            return field
    extents = list(field.extents)
    for places, step, n_taps in zip(field.axes, steps, taps, strict=True):
        for place in places if len(places) == 1 else ():
            extents[place] = extents[place].through(n_taps, step)
    return replace(field, extents=tuple(extents))


def _slice_steps(node: Node, graph: Graph, n_axes: int) -> list[Fraction]:
    steps = [Fraction(1)] * n_axes
    values = graph.integers(node.inputs[4]) if len(node.inputs) > 4 else None
    if values is None:
        return steps
    axes = graph.integers(node.inputs[3]) if node.inputs[3] else None
    for axis, step in zip(range(len(values)) if axes is None else axes, values, strict=True):
        steps[axis % n_axes] = Fraction(abs(step))
    return steps


def _regroup(axes: Axes, before: Shape | None, after: Shape | None) -> Axes:
    """What the axes of a reshaped tensor enumerate: axes are matched in the shortest runs of equal products."""
    if before is None or after is None or None in before or None in after or len(axes) != len(before):
        return (frozenset(),) * len(after or ())
    found: list[frozenset[int]] = []
    start = 0
    while start < len(before) and len(found) < len(after):
        stop_in, stop_out = start + 1, len(found) + 1
        n_in, n_out = before[start], after[len(found)]
        while n_in != n_out:
            if n_in < n_out and stop_in < len(before):
                n_in, stop_in = n_in * before[stop_in], stop_in + 1
            elif stop_out < len(after):
                n_out, stop_out = n_out * after[stop_out], stop_out + 1
            else:
                break
        run = frozenset().union(*axes[start:stop_in])
        found += [run if after[axis] > 1 else frozenset() for axis in range(len(found), stop_out)]
        start = stop_in
    return (*found, *[frozenset()] * (len(after) - len(found)))
