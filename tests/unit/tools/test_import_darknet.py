"""Engines made of darknet's files: every kind of layer against a second implementation, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from darknet_reference import Drawn, run_cfg

from edged.assembly import open_detector
from edged.backends.onnx import open_onnx_backend
from edged.errors import InputError
from edged.models.manifest import Thresholds, load_manifest
from edged.vision.boxes import iou_matrix
from tools.darknet.cfg import parse_cfg
from tools.import_darknet import DarknetFiles, Origin, import_engine, main
from tools.mot import load_mot

DATA = Path(__file__).parents[4] / "shared" / "data"
NANO = DATA / "weights" / "yolo_nano_coco"
THRESHOLDS = Thresholds(score=0.25, nms_iou=0.45)

NET = "[net]\nwidth=64\nheight=32\nchannels=3\nmomentum=0.9\n"
STEM = "[convolutional]\nfilters=4\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=leaky\n"
HEAD = (
    "[convolutional]\nfilters=14\nsize=1\nactivation=linear\n"
    "[yolo]\nmask=1,2\nanchors=4,6, 10,14, 23,27\nnum=3\nclasses=2\nscale_x_y=1.1\nignore_thresh=.7\n"
)
"""Two anchors of three and two classes."""


def _conv(**options: object) -> str:
    return "[convolutional]\n" + "".join(f"{key}={value}\n" for key, value in {"filters": 4, **options}.items())


def _write(folder: Path, cfg: str, weights: bytes, names: str = "person\ncar\n") -> DarknetFiles:
    folder.mkdir(parents=True, exist_ok=True)
    files = DarknetFiles(folder / "net.cfg", folder / "net.weights", folder / "net.names")
    files.cfg.write_text(cfg, encoding="utf-8")
    files.weights.write_bytes(weights)
    files.names.write_text(names, encoding="utf-8")
    return files


def _pictures(*, width: int = 64, height: int = 32) -> np.ndarray:
    return np.random.default_rng(11).integers(0, 256, (2, 3, height, width), dtype=np.uint8)


def _make(folder: Path, cfg: str, **changes: object) -> DarknetFiles:
    """A network's files with weights that fit it."""
    drawn = Drawn(np.random.default_rng(5))
    run_cfg(cfg, _pictures()[0], drawn)
    return _write(folder, cfg, drawn.to_file(), **changes)


def _import(files: DarknetFiles, out: Path, **options: object):
    return import_engine(files, out, thresholds=THRESHOLDS, origin=Origin(), **options)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("", id="convolution with batch normalisation, padding and stride"),
        pytest.param(_conv(size=3, pad=1, groups=2, activation="relu"), id="grouped convolution with a bias"),
        pytest.param(_conv(size=3, pad=1, groups=4, batch_normalize=1, activation="linear"), id="one filter a channel"),
        pytest.param(_conv(size=2, stride=2, padding=0, activation="linear"), id="convolution without padding"),
        pytest.param(_conv(size=5, padding=2, activation="linear"), id="padding in cells"),
        pytest.param(_conv(size=1, pad=1), id="activation is logistic unless told"),
        *(pytest.param(_conv(activation=name), id=name) for name in ("relu", "relu6", "mish", "swish", "logistic", "leaky")),
        pytest.param("[maxpool]\nsize=2\nstride=2\n", id="halving pool"),
        pytest.param("[maxpool]\nsize=2\nstride=1\n", id="pool of two that keeps the size looks right and down"),
        pytest.param("[maxpool]\nsize=5\nstride=1\n", id="pool around each cell"),
        pytest.param("[maxpool]\nstride=2\n", id="pool as wide as its stride"),
        pytest.param("[maxpool]\nsize=3\nstride=2\npadding=1\n", id="pool with padding of its own, above and left"),
        pytest.param("[upsample]\nstride=2\n", id="upsampling"),
        pytest.param(_conv(activation="linear") + "[route]\nlayers=-1,0\n", id="route joins, by both ways of counting"),
        pytest.param(_conv() + "[route]\nlayers=-2,-1\ngroups=2\ngroup_id=1\n", id="route takes the second half of each"),
        pytest.param(_conv() + "[shortcut]\nfrom=-2\nactivation=leaky\n", id="shortcut"),
        pytest.param(_conv() + _conv() + "[shortcut]\nfrom=-2,0\n", id="shortcut of three"),
        pytest.param(
            "[avgpool]\n" + _conv(activation="relu") + _conv() + "[scale_channels]\nfrom=-4\n", id="squeeze and excitation"
        ),
        pytest.param(
            _conv(filters=14, activation="linear")
            + "[yolo]\nmask=0,1\nanchors=4,6,10,14,23,27\nnum=3\nclasses=2\n[route]\nlayers=-3\n"
            + _conv(size=3, stride=2, pad=1),
            id="two heads",
        ),
    ],
)
def test_engine_computes_what_darknet_does(tmp_path: Path, body: str) -> None:
    """Boxes in input pixels and scores of a batch, layer kind by layer kind."""
    cfg, pictures = NET + STEM + body + HEAD, _pictures()
    files = _make(tmp_path / "files", cfg)
    expected = [run_cfg(cfg, picture, Drawn(np.random.default_rng(5))) for picture in pictures]

    manifest = _import(files, tmp_path / "tiny")

    with open_onnx_backend(tmp_path / "tiny" / manifest.onnx.file, threads=1) as backend:
        found = backend.infer({"images": pictures})
    np.testing.assert_allclose(found["boxes"], np.stack([boxes for boxes, _ in expected]), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found["scores"], np.stack([scores for _, scores in expected]), rtol=1e-4, atol=1e-5)


def test_engine_with_new_coords_takes_the_convolution_as_it_is(tmp_path: Path) -> None:
    """Scaled-YOLOv4: the sigmoid stands in the convolution, sizes are squares."""
    head = HEAD.replace("activation=linear", "activation=logistic").replace("scale_x_y=1.1", "scale_x_y=2.0\nnew_coords=1")
    cfg, pictures = NET + STEM + head, _pictures()
    boxes, scores = run_cfg(cfg, pictures[0], Drawn(np.random.default_rng(5)))

    _import(_make(tmp_path / "files", cfg), tmp_path / "tiny")

    with open_onnx_backend(tmp_path / "tiny" / "model.onnx", threads=1) as backend:
        found = backend.infer({"images": pictures[:1]})
    np.testing.assert_allclose(found["boxes"][0], boxes, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found["scores"][0], scores, rtol=1e-4, atol=1e-5)


def test_engine_of_huge_sizes_answers_numbers(tmp_path: Path) -> None:
    """exp() of what a network says is bounded: infinite boxes would stop the daemon."""
    cfg = NET + HEAD
    drawn = Drawn(np.random.default_rng(5))
    run_cfg(cfg, _pictures()[0], drawn)
    drawn.parts[0][:] = 1000  # the bias of every answer

    _import(_write(tmp_path / "files", cfg, drawn.to_file()), tmp_path / "tiny")

    with open_onnx_backend(tmp_path / "tiny" / "model.onnx", threads=1) as backend:
        assert np.isfinite(backend.infer({"images": _pictures()})["boxes"]).all()


def test_import_engine_writes_what_the_daemon_opens(tmp_path: Path) -> None:
    """Manifest and network fit together, at the wanted size; opset and version are those of our own exports."""
    files = _make(tmp_path / "files", NET + STEM + HEAD, names="person\nmotorbike\n\n")

    manifest = _import(files, tmp_path / "tiny", size="96x64", renames=["motorbike=motorcycle"])

    with open_detector(tmp_path / "tiny") as detector:
        detector.detect([np.zeros((50, 90, 3), np.uint8)])
    model = onnx.load(str(tmp_path / "tiny" / "model.onnx"))
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    assert manifest == load_manifest(tmp_path / "tiny")
    assert (manifest.input.width, manifest.input.height) == (96, 64)
    assert manifest.classes == ("person", "motorcycle")
    assert (manifest.strides, manifest.anchors) == ((2,), (((10.0, 14.0), (23.0, 27.0)),))


def test_import_engine_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """The revision is the content's."""
    files = _make(tmp_path / "files", NET + STEM + HEAD)

    assert _import(files, tmp_path / "one").onnx.sha256 == _import(files, tmp_path / "two").onnx.sha256


def test_main_without_licence_says_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody said is not made up, neither in the manifest nor on the screen."""
    files = _make(tmp_path / "files", NET + STEM + HEAD)

    code = main([str(files.cfg), str(files.weights), str(files.names), "--out", str(tmp_path / "tiny")])

    manifest = load_manifest(tmp_path / "tiny")
    assert code == 0
    assert (manifest.licence, manifest.data[0].licence_mark, manifest.data[0].source) == ("unknown",) * 3
    assert "unknown" in capsys.readouterr().out


def test_main_with_licence_and_thresholds_writes_them(tmp_path: Path) -> None:
    """The options reach the manifest."""
    files = _make(tmp_path / "files", NET + STEM + HEAD)
    options = ["--licence-mark", "P", "--licence", "public domain", "--source", "a friend", "--score", "0.3", "--nms-iou", "0.5"]

    main([str(files.cfg), str(files.weights), str(files.names), "--out", str(tmp_path / "tiny"), *options])

    manifest = load_manifest(tmp_path / "tiny")
    assert (manifest.licence, manifest.data[0].licence_mark, manifest.data[0].source) == ("public domain", "P", "a friend")
    assert (manifest.thresholds.score, manifest.thresholds.nms_iou) == (0.3, 0.5)


def test_main_of_wrong_input_returns_78_and_leaves_no_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A person's mistake: said on standard error, nothing half made."""
    files = _make(tmp_path / "files", NET + STEM + HEAD, names="person\n")

    code = main([str(files.cfg), str(files.weights), str(files.names), "--out", str(tmp_path / "tiny")])

    assert code == 78
    assert "net.names: holds 1 names" in capsys.readouterr().err
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        pytest.param("", r"expected \[net\]", id="empty"),
        pytest.param(STEM + HEAD, r"expected \[net\]", id="no net"),
        pytest.param(NET + STEM, r"no \[yolo\] section", id="no head"),
        pytest.param("width=3\n" + NET + HEAD, r"line 1: expected \[section\]", id="key before the first section"),
        pytest.param(NET + "[convolutional]\nfilters\n" + HEAD, "line 7: .* got 'filters'", id="no value"),
        pytest.param(NET + "[reorg]\nstride=2\n" + HEAD, r"line 6: layer 0 \[reorg\]: a section that", id="unknown section"),
        pytest.param(
            NET + _conv(dilation=2) + HEAD, r"line 8: layer 0 \[convolutional\]: dilation is not known", id="unknown key"
        ),
        pytest.param(NET + _conv(activation="gelu") + HEAD, "line 8: layer 0 .*activation=gelu", id="unknown activation"),
        pytest.param(NET + _conv(stride=0) + HEAD, "stride=0: .* greater than 0", id="stride 0"),
        pytest.param(NET + _conv(size="three") + HEAD, "size=three: ", id="no number"),
        pytest.param(
            NET + "[convolutional]\nsize=3\n" + HEAD, r"line 6: layer 0 \[convolutional\]: filters is missing", id="missing"
        ),
        pytest.param(
            NET + _conv() + "filters=4\n" + HEAD, "line 8: filters stands in this section already, on line 7", id="twice"
        ),
        pytest.param(NET.replace("height=32\n", "") + HEAD, r"\[net\]: height is missing", id="no height"),
        pytest.param(NET.replace("channels=3", "channels=1") + HEAD, "line 4: .*channels=1", id="grey input"),
        pytest.param(
            NET + STEM + "[route]\nlayers=-2\n" + HEAD, r"layer 1 \[route\]: takes a layer that is not", id="too far back"
        ),
        pytest.param(NET + STEM + "[route]\nlayers=1\n" + HEAD, r"layer 1 \[route\]: takes a layer that is not", id="itself"),
        pytest.param(NET + STEM + "[route]\nlayers=0\ngroups=2\ngroup_id=2\n" + HEAD, "group_id is 2", id="no such part"),
        pytest.param(NET + STEM + "[shortcut]\nfrom=-1\nweights_type=per_feature\n" + HEAD, "weights_type=", id="weighted sum"),
        pytest.param(NET + "[maxpool]\nsize=2\npadding=4\n" + HEAD, "windows of nothing", id="pool outside the picture"),
        pytest.param(NET + HEAD.replace("num=3", "num=4"), "anchors has 6 numbers, expected 2 x num = 8", id="anchors missing"),
        pytest.param(NET + HEAD.replace("mask=1,2", "mask=2,3"), "mask is 2,3, but", id="no such anchor"),
        pytest.param(NET + HEAD.replace("23,27", "23,0"), "width or height of 0", id="flat anchor"),
    ],
)
def test_parse_cfg_of_a_wrong_text_names_line_and_layer(cfg: str, message: str) -> None:
    """The error says where, what, and what was expected."""
    with pytest.raises(InputError, match=message):
        parse_cfg(cfg, source="net.cfg")


def test_parse_cfg_names_every_mistake_at_once() -> None:
    """Three mistakes, three lines: nobody mends one to meet the next."""
    cfg = NET + "[reorg]\n" + _conv(activation="gelu") + HEAD.replace("num=3", "num=4")

    with pytest.raises(InputError, match="3 mistakes") as caught:
        parse_cfg(cfg, source="net.cfg")

    assert str(caught.value).count("\n") == 3


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(_conv(groups=3), "groups=3 must divide", id="groups"),
        pytest.param(_conv(filters=6) + "[shortcut]\nfrom=-2\n", "adds 6x16x32, 4x16x32", id="sum of two sizes"),
        pytest.param("[maxpool]\nstride=2\n[route]\nlayers=-1,0\n", "joins 4x8x16, 4x16x32", id="route of two sizes"),
        pytest.param("[route]\nlayers=0\ngroups=3\n", "groups=3 must divide the channels", id="thirds of four"),
        pytest.param("[scale_channels]\nfrom=0\n", "expected one number a channel", id="factors of another shape"),
        pytest.param(_conv(size=40), "nothing is left", id="wider than the picture"),
        pytest.param(_conv(size=2), "31x15 cells do not divide the input", id="cells that do not fit"),
        pytest.param(_conv(size=2, stride=2) + HEAD, r"takes a \[yolo\] head's answer", id="goes on from a head"),
    ],
)
def test_import_engine_of_layers_that_do_not_fit_names_the_layer(tmp_path: Path, body: str, message: str) -> None:
    """Sizes are followed through the network before anything is written."""
    files = _write(tmp_path / "files", NET + STEM + body + HEAD, b"")

    with pytest.raises(InputError, match=rf"net\.cfg: line \d+: layer \d+ .*{message}"):
        _import(files, tmp_path / "tiny")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("classes=2", "classes=3", r"14 channels, expected 2 anchors x \(5 \+ 3 classes\) = 16", id="classes"),
        pytest.param("mask=1,2", "mask=1", r"14 channels, expected 1 anchors", id="mask"),
        pytest.param("num=3", "num=3\nnew_coords=1", "activation=logistic", id="new coordinates of raw numbers"),
    ],
)
def test_import_engine_of_a_head_that_does_not_fit_says_what_was_expected(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    """Channels, anchors and classes are one sum."""
    files = _write(tmp_path / "files", NET + STEM + HEAD.replace(old, new), b"")

    with pytest.raises(InputError, match=rf"layer 2 \[yolo\]: .*{message}"):
        _import(files, tmp_path / "tiny")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"size": "100"}, "100x100: width and height must be multiples of 32", id="no multiple of 32"),
        pytest.param({"size": "0"}, "multiples of 32", id="nothing"),
        pytest.param({"size": "big"}, "--input big: expected one number", id="no number"),
        pytest.param({"size": "32x32x3"}, "--input 32x32x3", id="three numbers"),
        pytest.param({"renames": ["bus=coach"]}, "--rename bus=coach", id="no such name"),
        pytest.param({"renames": ["car=person"]}, "line 2: 'person' stands twice", id="renamed to one that is there"),
        pytest.param({"renames": ["car"]}, "--rename car: expected OLD=NEW", id="no new name"),
    ],
)
def test_import_engine_of_wrong_options_names_them(tmp_path: Path, options: dict[str, object], message: str) -> None:
    """Options are checked like files."""
    with pytest.raises(InputError, match=message):
        _import(_make(tmp_path / "files", NET + STEM + HEAD), tmp_path / "tiny", **options)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param("person\n", r"net\.names: holds 1 names, .*net\.cfg .*layer 2 \[yolo\] has classes=2", id="too few"),
        pytest.param("a\nb\nc\n", "holds 3 names", id="too many"),
        pytest.param("", "holds 0 names", id="empty"),
        pytest.param("a\na\n", "line 2: 'a' stands twice", id="twice"),
        pytest.param("a\n\nb\n", "line 2: an empty line", id="a gap"),
    ],
)
def test_import_engine_of_wrong_names_says_so(tmp_path: Path, names: str, message: str) -> None:
    """A list that is shifted or short would call a car a person."""
    with pytest.raises(InputError, match=message):
        _import(_make(tmp_path / "files", NET + STEM + HEAD, names=names), tmp_path / "tiny")


def _first_number_is_nan(content: bytes) -> bytes:
    return content[:20] + np.float32(np.nan).tobytes() + content[24:]


def _variance_below_0(content: bytes) -> bytes:
    at = 20 + 4 * 3 * 4  # after bias, scale and mean of the stem's four filters
    return content[:at] + np.float32(-1).tobytes() + content[at + 4 :]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda content: content[:15], "15 bytes are too few", id="no header"),
        pytest.param(lambda content: b"", "0 bytes are too few", id="empty"),
        pytest.param(
            lambda content: content[:-4], r"holds 193 numbers, .* wants 194 .*ends in line \d+: layer 1", id="one short"
        ),
        pytest.param(lambda content: content[:100], r"holds 20 numbers, .*ends in line \d+: layer 0", id="truncated early"),
        pytest.param(lambda content: content[:-2], "holds 193.5 numbers", id="half a number missing"),
        pytest.param(lambda content: content + bytes(4), "1 too many", id="one too many"),
        pytest.param(lambda content: b"PK\x03\x04" + content[4:], "no darknet weights file", id="a zip file"),
        pytest.param(_first_number_is_nan, "layer 0 .*inf or nan", id="not a number"),
        pytest.param(_variance_below_0, "layer 0 .*variance of -1", id="negative variance"),
    ],
)
def test_import_engine_of_wrong_weights_names_the_place(tmp_path: Path, change, message: str) -> None:
    """darknet itself loads such a file without a word."""
    files = _make(tmp_path / "files", NET + STEM + HEAD)
    files.weights.write_bytes(change(files.weights.read_bytes()))

    with pytest.raises(InputError, match=message):
        _import(files, tmp_path / "tiny")


def test_import_engine_reads_the_short_header_of_old_files(tmp_path: Path) -> None:
    """Before version 0.2 pictures were counted in four bytes."""
    files = _make(tmp_path / "files", NET + STEM + HEAD)
    old = np.array([0, 1, 0, 7], "<i4").tobytes() + files.weights.read_bytes()[20:]
    expected = _import(files, tmp_path / "new").onnx.sha256
    files.weights.write_bytes(old)

    manifest = _import(files, tmp_path / "old")

    assert (manifest.onnx.sha256, manifest.trained["pictures_seen"]) == (expected, 7)


@pytest.mark.parametrize("kind", ["cfg", "weights", "names"])
def test_import_engine_of_a_file_that_is_missing_names_it(tmp_path: Path, kind: str) -> None:
    """Each of the three."""
    files = _make(tmp_path / "files", NET + STEM + HEAD)
    getattr(files, kind).unlink()

    with pytest.raises(InputError, match=rf"net\.{kind}: cannot be read"):
        _import(files, tmp_path / "tiny")


def test_import_engine_of_a_binary_cfg_says_that_text_was_expected(tmp_path: Path) -> None:
    """The two files in the wrong order."""
    files = _make(tmp_path / "files", NET + STEM + HEAD)
    files.cfg.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(InputError, match="cannot be read as a darknet cfg, which is text"):
        _import(files, tmp_path / "tiny")


def test_import_engine_into_a_directory_that_can_be_no_name_says_so(tmp_path: Path) -> None:
    """The directory's name becomes the engine's."""
    with pytest.raises(InputError, match="the directory's name is the engine's"):
        _import(_make(tmp_path / "files", NET + STEM + HEAD), tmp_path / "My Engine")


@pytest.mark.shared
@pytest.mark.skipif(not NANO.exists(), reason=f"the darknet weights are not at {NANO}")
def test_imported_coco_network_finds_the_persons_of_a_picture(tmp_path: Path) -> None:
    """The real network on a real frame: whom the labels show tall enough is found, at the shipped thresholds."""
    files = DarknetFiles(next(NANO.glob("*.cfg")), next(NANO.glob("*.weights")), NANO / "coco.names")
    picture = load_mot(DATA / "tracking" / "adl6").pictures[200]

    _import(files, tmp_path / "nano")

    with open_detector(tmp_path / "nano") as detector:
        (found,) = detector.detect([picture.pixels_rgb()])
        persons = found[(found.class_ids == detector.class_names.index("person")) & (found.scores >= 0.25)]
    tall = picture.boxes[picture.boxes[:, 3] - picture.boxes[:, 1] >= 80]
    assert len(tall) == 6
    assert (iou_matrix(tall, persons.boxes).max(axis=1) >= 0.5).all()
