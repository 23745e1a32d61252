"""What a network costs, layer by layer: `python -m tools.summary engines/detector [--json]`.

Reads an engine's directory or any ONNX file and prints for each layer its operator, window, output shape, parameters,
multiply-accumulates and receptive field, then totals, and what depthwise separable convolutions save. Sizes are in the order
of the shape, height before width. How it is counted stands in `tools/network_cost.py` and `tools/receptive_field.py`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from edged.errors import EXIT_CONFIG, EdgedError
from tools.network_cost import Cost, Layer, Separable, measure_cost
from tools.onnx_graph import find_network, load_graph
from tools.onnx_shapes import format_shape
from tools.window import Window

WIDTH = 130
OPERATOR_WIDTH = 24
FORMULA = "pair / ordinary = 1/C_out + 1/k^2 for k x k taps and C_out output channels"
_LAYER_HEAD = ("layer", "operator", "kernel", "stride", "pad", "groups", "output", "parameters", "MACs", "field", "jump")
_PAIR_HEAD = ("depthwise", "pointwise", "kernel", "C_in", "C_out", "pair MACs", "ordinary MACs", "pair / ordinary")
_RIGHT = frozenset(("parameters", "MACs", "field", "jump", "groups", *_PAIR_HEAD[3:]))


def main(argv: Sequence[str] | None = None) -> int:
    """Print what each layer of a network costs: parameters, multiply-accumulates (MACs), receptive field."""
    parser = argparse.ArgumentParser(prog="python -m tools.summary", description=main.__doc__)
    parser.add_argument("network", type=Path, help="an engine's directory, or an ONNX file")
    parser.add_argument("--batch", type=_length, help="how many pictures at once, where the file leaves it open (default: 1)")
    parser.add_argument("--size", type=_size, metavar="WxH", help="of the pictures, where the file leaves it open")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    width, height = arguments.size or (None, None)
    try:
        path = find_network(arguments.network)
        cost = measure_cost(load_graph(path, batch=arguments.batch, width=width, height=height))
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    print(json.dumps({"file": str(path), **to_json(cost)}, indent=1) if arguments.json else to_text(cost))
    return 0


def _length(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,6}", text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    """Width and height, pixels."""
    width, separator, height = text.partition("x")
    if not separator:
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 640x360, got {text!r}")
    return _length(width), _length(height)


def to_text(cost: Cost) -> str:
    """A table of the layers, one of the separable convolutions, and totals, `WIDTH` columns wide at most: names are cut."""
    lines = _table(_LAYER_HEAD, [_layer_cells(layer) for layer in cost.layers])
    lines += ["", *_total_lines(cost)]
    if cost.separables:
        lines += ["", "depthwise separable convolutions against ordinary ones with the same kernel and channels", FORMULA]
        lines += _table(_PAIR_HEAD, [_pair_cells(pair) for pair in cost.separables])
        lines += ["", *_saving_lines(cost)]
    return "\n".join(lines)


def to_json(cost: Cost) -> dict[str, object]:
    """The same as the tables, for programs."""
    pairs = cost.separables
    return {
        "inputs": {name: list(shape) for name, shape in cost.inputs.items()},
        "layers": [_layer_json(layer) for layer in cost.layers],
        "parameters": cost.parameters,
        "macs": cost.macs,
        "other_constants": cost.other_constants,
        "not_counted": cost.not_counted,
        "separable": {
            "formula": FORMULA,
            "pairs": [_pair_json(pair) for pair in pairs],
            "macs": sum(pair.macs for pair in pairs),
            "ordinary_macs": sum(pair.ordinary_macs for pair in pairs),
        },
    }


def format_count(count: int) -> str:
    """A number for people: `651,720`, `300.8 M`, `1.25 G`."""
    if count >= 999_950_000:
        return f"{count / 1e9:,.2f} G"
    return f"{count / 1e6:.1f} M" if count >= 1_000_000 else f"{count:,}"


def _total_lines(cost: Cost) -> list[str]:
    inputs = ", ".join(f"{name} {format_shape(shape)}" for name, shape in cost.inputs.items())
    repeated = sum(layer.parameters for layer in cost.layers) - cost.parameters
    lines = [
        f"{'input':<12}{inputs}",
        f"{'parameters':<12}{_both(cost.parameters)}" + (f"; {repeated:,} more above are shared" if repeated else ""),
        f"{'MACs':<12}{_both(cost.macs)}; a multiply-accumulate is two floating-point operations",
    ]
    if cost.other_constants:
        what = "numbers that are no parameters: grids, anchors, scales, statistics of normalisation"
        lines.append(f"{'constants':<12}{cost.other_constants:,} {what}")
    if cost.not_counted:
        operators = ", ".join(f"{operator} ({n})" for operator, n in cost.not_counted.items())
        lines.append(f"{'* 0 MACs':<12}not counted although they may compute: {operators}")
    return [part for line in lines for part in textwrap.wrap(line, WIDTH, subsequent_indent=" " * 12)]


def _both(count: int) -> str:
    return f"{count:,}" if count < 1_000_000 else f"{count:,} ({format_count(count)})"


def _saving_lines(cost: Cost) -> list[str]:
    macs, ordinary = (sum(getattr(pair, part) for pair in cost.separables) for part in ("macs", "ordinary_macs"))
    head = f"{len(cost.separables)} pair{'s' if len(cost.separables) > 1 else ''}: {format_count(macs)} MACs"
    saved = f"{macs / ordinary:.1%} of it, {format_count(ordinary - macs)} saved"
    whole = format_count(cost.macs - macs + ordinary)
    return [
        f"{head}, as ordinary convolutions {format_count(ordinary)}: {saved}",
        f"whole network: {format_count(cost.macs)} MACs, with ordinary convolutions {whole}",
    ]


def _layer_cells(layer: Layer) -> list[str]:
    name = layer.name.strip("/").removesuffix("/" + layer.operator)
    figures = [f"{layer.parameters:,}", f"{layer.macs:,}" if layer.is_counted else "0 *"]
    fields = [_sizes([float(getattr(extent, part)) for extent in layer.field.extents]) for part in ("size", "jump")]
    return [
        name,
        _cut(layer.operator, OPERATOR_WIDTH),
        *_window_cells(layer.window),
        format_shape(layer.output_shape),
        *figures,
        *fields,
    ]


def _window_cells(window: Window | None) -> list[str]:
    """Kernel (with `@` its dilation), stride (`1/2` enlarges), padding (`before+after` where they differ), groups."""
    if window is None:
        return [""] * 4
    kernel = "x".join(map(str, window.kernel)) + (f"@{_sizes(window.dilation)}" if set(window.dilation) != {1} else "")
    stride = ("1/" if window.is_transposed and set(window.stride) != {1} else "") + _sizes(window.stride)
    before, after = _sizes(window.padding_before), _sizes(window.padding_after)
    return [kernel, stride, before if before == after else f"{before}+{after}", f"{window.groups:,}"]


def _sizes(sizes: Sequence[float]) -> str:
    """One number where all axes have the same, else all of them; empty for none."""
    different = sizes[:1] if len(set(sizes)) == 1 else sizes
    return "x".join(f"{size:,.10g}" for size in different)


def _pair_cells(pair: Separable) -> list[str]:
    names = [name.strip("/").removesuffix("/Conv") for name in (pair.depthwise, pair.pointwise)]
    numbers = [f"{number:,}" for number in (pair.inputs, pair.outputs, pair.macs, pair.ordinary_macs)]
    return [*names, "x".join(map(str, pair.kernel)), *numbers, f"{pair.ratio:.4f}"]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned lines; columns of names give way, their beginnings cut, until a line fits."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    is_name = [title in ("layer", "depthwise", "pointwise") for title in head]
    left = WIDTH - sum(widths) - 2 * (len(head) - 1)
    share = -left // sum(is_name) + 1 if left < 0 else 0
    widths = [max(min(8, width), width - share) if gives else width for width, gives in zip(widths, is_name, strict=True)]
    return [_line(cells, head, widths) for cells in (head, *rows)]


def _line(cells: Sequence[str], head: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [
        cell.rjust(width) if title in _RIGHT else _cut(cell, width).ljust(width)
        for cell, title, width in zip(cells, head, widths, strict=True)
    ]
    return "  ".join(aligned).rstrip()


def _cut(name: str, width: int) -> str:
    """A name without so much of its beginning as is too long: the end tells nodes apart."""
    return name if len(name) <= width else "…" + name[1 - width :]


def _layer_json(layer: Layer) -> dict[str, object]:
    window = layer.window
    parts = ("kernel", "stride", "padding_before", "padding_after", "dilation", "groups", "is_transposed")
    return {
        "name": layer.name,
        "operator": layer.operator,
        "window": window and {part: getattr(window, part) for part in parts},
        "output_shape": layer.output_shape,
        "parameters": layer.parameters,
        "macs": layer.macs,
        "receptive_field_px": [float(extent.size) for extent in layer.field.extents],
        "jump_px": [float(extent.jump) for extent in layer.field.extents],
        "is_counted": layer.is_counted,
    }


def _pair_json(pair: Separable) -> dict[str, object]:
    parts = ("depthwise", "pointwise", "kernel", "inputs", "outputs", "macs", "ordinary_macs", "ratio")
    return {part: getattr(pair, part) for part in parts}


if __name__ == "__main__":
    raise SystemExit(main())
