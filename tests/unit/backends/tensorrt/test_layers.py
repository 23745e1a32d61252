"""The layers of an engine, read from TensorRT's two ways to tell them."""

from __future__ import annotations

import json

from edged.backends.tensorrt.layers import Layer, LayerTensor, count_types, layers_in_json, layers_in_log

LOG = (
    "Layers:\n"
    "Name: first_myl0_0, LayerType: kgen, "
    "Inputs: [ { Name: images, Dimensions: [-1,3,8,8], Strides: [192,64,8,1], Datatype: UInt8, Format: (Linear) Row major }], "
    "Constants: [ { Name: c, Dimensions: [1], Strides: [1], Datatype: Float, Format: (Linear) Row major linear format }], "
    "Outputs: [ { Name: numbers, Dimensions: [-1,3,8,8], Strides: [192,64,8,1], Datatype: Half, Format: (NHWC) Channel }, "
    "{ Name: more, Dimensions: [-1], Strides: [1], Datatype: Int8, Format: (Linear) Row major linear format }], "
    "TacticName: first_0x12, StreamId: 0, Metadata: [ONNX Layer: /Cast][ONNX Layer: /Mul]\n"
    "Name: wait_myl0_1, LayerType: wait, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 2, Metadata: \n"
    "\n"
    "I/O Tensors:\n"
    " Name: images, IOMode: Input, DataType: UInt8, Dimensions: [-1,3,8,8], Location: Device\n"
)
"""As TensorRT-RTX 1.7 writes it, shortened."""


def test_layers_in_log_reads_names_types_and_onnx_nodes() -> None:
    """Constants are no inputs, and the list ends where the engine's own inputs and outputs begin."""
    assert layers_in_log(LOG) == (
        Layer(
            "first_myl0_0",
            "kgen",
            inputs=(LayerTensor("images", "uint8"),),
            outputs=(LayerTensor("numbers", "float16"), LayerTensor("more", "int8")),
            nodes=("/Cast", "/Mul"),
        ),
        Layer("wait_myl0_1", "wait"),
    )


def test_layers_in_log_of_another_text_are_none() -> None:
    """A report is no reason to fail a build."""
    assert layers_in_log("") == ()
    assert layers_in_log("Layers:\nsomething else") == ()


def test_layers_in_json_reads_the_type_in_a_format_and_beside_it() -> None:
    """TensorRT 8.6 and 10 say `Format/Datatype`, 11 says `Datatype`."""
    text = json.dumps(
        {
            "Layers": [
                {
                    "Name": "conv + relu",
                    "LayerType": "CaskConvolution",
                    "Inputs": [{"Name": "x", "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}],
                    "Outputs": [{"Name": "y", "Format/Datatype": "Row major linear FP16 format"}],
                    "Metadata": "[ONNX Layer: conv]\u001e[ONNX Layer: relu]",
                },
                {
                    "Name": "cast",
                    "LayerType": "kgen",
                    "Inputs": [{"Name": "y", "Format": "Row major linear", "Datatype": "Half"}],
                    "Outputs": [
                        {"Name": "z", "Format": "Row major linear", "DataType": "Float"},
                        {"Name": "odd", "DataType": "X"},
                    ],
                },
            ],
            "Bindings": ["x", "z"],
        }
    )

    assert layers_in_json(text) == (
        Layer(
            "conv + relu",
            "CaskConvolution",
            inputs=(LayerTensor("x", "int8"),),
            outputs=(LayerTensor("y", "float16"),),
            nodes=("conv", "relu"),
        ),
        Layer("cast", "kgen", (LayerTensor("y", "float16"),), (LayerTensor("z", "float32"), LayerTensor("odd", "?"))),
    )


def test_layers_in_json_of_an_engine_without_details_are_names() -> None:
    """Which is all that TensorRT keeps unless it builds in detail."""
    assert layers_in_json('{"Layers": ["conv"]}') == (Layer("conv", "?"),)


def test_layers_in_json_of_another_text_are_none() -> None:
    """A report is no reason to fail a build."""
    assert layers_in_json("") == ()
    assert layers_in_json("[]") == ()


def test_count_types_counts_a_layer_once_for_each_type_it_writes() -> None:
    """The commonest first."""
    half, single = LayerTensor("a", "float16"), LayerTensor("b", "float32")
    layers = [
        Layer("1", "?", outputs=(half, half)),
        Layer("2", "?", outputs=(single,)),
        Layer("3", "?", (single,), (half, single)),
    ]

    assert list(count_types([*layers, layers[0]]).items()) == [("float16", 3), ("float32", 2)]
