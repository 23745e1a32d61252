"""The command that prints what a network costs: table, JSON, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from onnx_text import save_network

from tools.summary import FORMULA, WIDTH, format_count, main

ENGINE = Path(__file__).parents[3] / "engines" / "detector"
PAIR = "a = Conv <group=8, pads=[1,1,1,1]> (x, d)  b = Relu (a)  c = Conv (b, p)  y = com.example.Foo (c)"
WEIGHTS = {"d": (8, 1, 3, 3), "p": (16, 8, 1, 1)}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A separable convolution that leaves the size of its pictures open, and a foreign operator."""
    return save_network(tmp_path / "pair.onnx", "(float[N,8,H,W] x) => (float[] y)", PAIR, **WEIGHTS)


def test_summary_of_a_network_prints_rows_totals_and_savings(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole output, to the letter."""
    code = main([str(network), "--size", "200x100"])

    assert code == 0
    assert capsys.readouterr().out == (
        """\
layer  operator         kernel  stride  pad  groups  output        parameters       MACs  field  jump
a      Conv             3x3     1       1         8  1x8x100x200           72  1,440,000      3     1
b      Relu                                          1x8x100x200            0          0      3     1
c      Conv             1x1     1       0         1  1x16x100x200         128  2,560,000      3     1
y      com.example.Foo                               ?                      0        0 *      3     1

input       x 1x8x100x200
parameters  200
MACs        4,000,000 (4.0 M); a multiply-accumulate is two floating-point operations
* 0 MACs    not counted although they may compute: com.example.Foo (1)

depthwise separable convolutions against ordinary ones with the same kernel and channels
pair / ordinary = 1/C_out + 1/k^2 for k x k taps and C_out output channels
depthwise  pointwise  kernel  C_in  C_out  pair MACs  ordinary MACs  pair / ordinary
a          c          3x3        8     16  4,000,000     23,040,000           0.1736

1 pair: 4.0 M MACs, as ordinary convolutions 23.0 M: 17.4% of it, 19.0 M saved
whole network: 4.0 M MACs, with ordinary convolutions 23.0 M
"""
    )


def test_summary_as_json_says_the_same(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get every figure of the table."""
    main([str(network), "--size", "200x100", "--batch", "1", "--json"])

    report = json.loads(capsys.readouterr().out)
    assert report["file"] == str(network)
    assert report["inputs"] == {"x": [1, 8, 100, 200]}
    assert (report["parameters"], report["macs"], report["not_counted"]) == (200, 4_000_000, {"com.example.Foo": 1})
    assert report["layers"][0] == {
        "name": "a",
        "operator": "Conv",
        "window": {
            "kernel": [3, 3],
            "stride": [1, 1],
            "padding_before": [1, 1],
            "padding_after": [1, 1],
            "dilation": [1, 1],
            "groups": 8,
            "is_transposed": False,
        },
        "output_shape": [1, 8, 100, 200],
        "parameters": 72,
        "macs": 1_440_000,
        "receptive_field_px": [3.0, 3.0],
        "jump_px": [1.0, 1.0],
        "is_counted": True,
    }
    assert report["layers"][3]["output_shape"] is None
    assert report["separable"]["formula"] == FORMULA
    assert report["separable"]["ordinary_macs"] == 23_040_000
    assert report["separable"]["pairs"][0]["ratio"] == pytest.approx(1 / 16 + 1 / 9)


def test_summary_of_the_shipped_engine_fits_the_width(capsys: pytest.CaptureFixture[str]) -> None:
    """An engine's directory is enough, and its long names give way."""
    code = main([str(ENGINE)])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert max(map(len, lines)) <= WIDTH
    assert "19 pairs: " in lines[-2]


def test_summary_of_long_names_cuts_their_beginnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names of layers, operators and inputs never push the figures out of the window."""
    inputs = ", ".join(f"float[1,8,100,200] {letter * 40}" for letter in "abc")
    body = f"h = com.example.{'Operator' * 20} ({'a' * 40}, {'b' * 40})  {'layer' * 40}_first = Relu ({'c' * 40})  y = Add (h, h)"
    path = save_network(tmp_path / "a.onnx", f"({inputs}) => (float[] y)", body)

    main([str(path)])

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[1].split()[:2] == ["h", "…peratorOperatorOperator"]
    assert lines[2].startswith("…")
    assert lines[2].split()[0].endswith("layer_first")


def test_summary_of_unlike_axes_shows_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Height before width; dilation behind @, padding before+after, 1/stride where it enlarges, decimals in the jump."""
    body = """
        a = Conv <dilations=[1,2], pads=[0,0,1,1], strides=[1,2]> (x, w)
        y = ConvTranspose <strides=[4,4]> (a, t)
    """
    path = save_network(tmp_path / "a.onnx", "(float[1,3,9,9] x) => (float[] y)", body, w=(4, 3, 1, 3), t=(4, 4, 4, 4))

    main([str(path)])

    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:3]]
    assert rows[0][2:6] == ["1x3@1x2", "1x2", "0+1", "1"]
    assert rows[0][-2:] == ["1x5", "1x2"]
    assert rows[1][2:4] == ["4x4", "1/4"]
    assert rows[1][-1] == "0.25x0.5"


def test_summary_of_shared_weights_says_how_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The total is less than the sum of the rows, and says why."""
    path = save_network(
        tmp_path / "a.onnx", "(float[1,4,9,9] x) => (float[] y)", "a = Conv (x, w)  y = Conv (a, w)", w=(4, 4, 1, 1)
    )

    main([str(path)])

    assert "parameters  16; 16 more above are shared\n" in capsys.readouterr().out


def test_summary_of_constants_that_are_no_parameters_names_their_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What stands in the file and is not counted is said."""
    path = save_network(tmp_path / "a.onnx", "(float[1,4,9,9] x) => (float[] y)", "y = Mul (x, g)", g=(1, 4, 1, 1))

    main([str(path)])

    assert "constants   4 numbers that are no parameters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "pass --size WxH", id="size missing"),
        pytest.param(["--size", "2x2", "--batch", "0"], None, id="no picture"),
        pytest.param(["--size", "320"], None, id="no height"),
        pytest.param(["--size", "x"], None, id="nothing"),
    ],
)
def test_summary_of_wrong_arguments_ends_without_a_table(
    network: Path, arguments: list[str], message: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """78 for what the file needs, argparse's 2 for what no file would take."""
    if message is None:
        with pytest.raises(SystemExit, match="2"):
            main([str(network), *arguments])
    else:
        assert main([str(network), *arguments]) == 78
        assert message in capsys.readouterr().err
    assert capsys.readouterr().out == ""


def test_summary_of_a_file_that_is_no_network_ends_with_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error goes to stderr, with the file's name."""
    (tmp_path / "a.onnx").write_text("hello world")

    assert main([str(tmp_path / "a.onnx")]) == 78
    assert "a.onnx: cannot be read as ONNX" in capsys.readouterr().err


def test_summary_loads_no_torch() -> None:
    """It must run where only the file and onnx are."""
    program = "import sys, tools.summary, tools.layer_table; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], cwd=ENGINE.parents[1], check=False).returncode == 0


@pytest.mark.parametrize(
    ("count", "text"),
    [
        pytest.param(0, "0", id="nothing"),
        pytest.param(999_999, "999,999", id="below a million: exactly"),
        pytest.param(1_000_000, "1.0 M", id="a million"),
        pytest.param(300_774_272, "300.8 M", id="millions"),
        pytest.param(999_949_999, "999.9 M", id="never 1000.0 M"),
        pytest.param(999_950_000, "1.00 G", id="a billion, rounded"),
        pytest.param(19_632_062_464, "19.63 G", id="billions"),
    ],
)
def test_format_count_is_for_people(count: int, text: str) -> None:
    """Three or four figures are enough to compare by."""
    assert format_count(count) == text
