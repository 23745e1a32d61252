"""The manifest beside a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from models_onnx import make_encoder_manifest, make_liveness_manifest, make_manifest, make_segmenter_manifest, save_engine

from edged.errors import ModelError
from edged.models.manifest import (
    PRECISIONS,
    DetectorLimits,
    DetectorManifest,
    Manifest,
    ManifestT,
    Precision,
    digest_file,
    dump_manifest,
    find_engine,
    list_engines,
    load_manifest,
)

FP16 = {"file": "model.fp16.onnx", "sha256": "0" * 64, "opset": 17}
INT8 = {"file": "model.int8.onnx", "sha256": "0" * 64, "opset": 17, "calibration": "1 picture"}
OUTPUTS = {"boxes": "boxes", "scores": "scores"}
SHIPPED = [manifest.parent for manifest in sorted(Path(__file__).parents[3].glob("engines/*/model.yaml"))]


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A directory with a good manifest and its network."""
    save_engine(tmp_path / "tiny", make_manifest(), boxes=np.zeros((2, 4)), scores=np.zeros((2, 2)))
    return tmp_path / "tiny"


def put_network(directory: Path, manifest: ManifestT) -> ManifestT:
    """Write a manifest with some file for its network: what is in that is not read here."""
    network = directory / manifest.onnx.file
    network.write_bytes(b"network")
    written = manifest.model_copy(update={"onnx": manifest.onnx.model_copy(update={"sha256": digest_file(network)})})
    (directory / "model.yaml").write_text(dump_manifest(written), encoding="utf-8")
    return written


def rewrite(engine: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """Change the manifest as a person would, and return what loading it says."""
    path = engine / "model.yaml"
    data = yaml.safe_load(path.read_text())
    change(data)
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    with pytest.raises(ModelError) as caught:
        load_manifest(engine)
    return str(caught.value)


def test_load_manifest_of_a_good_engine_gives_its_parts(engine: Path) -> None:
    """What the file says is what the manifest holds, with the number of candidates worked out."""
    manifest = load_manifest(engine)

    assert manifest.classes == ("person", "car")
    assert manifest.class_names == {0: "person", 1: "car"}
    assert manifest.candidates == 2
    assert manifest.measured == "not measured"


def test_candidates_of_three_strides_are_those_of_the_grid() -> None:
    """At 320x320 with three anchors a cell: 3 * (40² + 20² + 10²)."""
    wanted = {"name": "images", "width": 320, "height": 320, "colour": "rgb", "layout": "nchw", "dtype": "float32"}

    manifest = make_manifest(input=wanted, strides=[8, 16, 32], anchors=[[[1.0, 2.0]] * 3] * 3)

    assert manifest.candidates == 6300


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="plain"),
        pytest.param({"revision": "1e5"}, id="revision like a number"),
        pytest.param({"revision": "012"}, id="revision like another number"),
        pytest.param({"revision": "2026-11-20"}, id="revision like a date"),
        pytest.param({"revision": "no", "licence": "Ünïcode: # 'x'"}, id="surprises and signs"),
        pytest.param({"measured": {"person": {"ap50": 0.51}, "bicycle": "not measured", "note": None}}, id="figures"),
        pytest.param({"trained": {"learning_rate": 1e-05, "seeds": [1, 2], "mixed": True}}, id="settings"),
        pytest.param({"thresholds": {"score": 0.05, "nms_iou": 0.6, "per_class": {"car": {"nms_iou": 0.7}}}}, id="thresholds"),
        pytest.param(
            {"data": [{"name": "s", "licence_mark": "P", "licence": "CC0", "source": "https://x", "use": "train"}]}, id="data"
        ),
        pytest.param({"fp16": FP16, "int8": INT8 | {"symmetric": True}}, id="other forms"),
    ],
)
def test_dump_manifest_then_load_gives_it_back(engine: Path, changes: dict[str, Any]) -> None:
    """The written form is read back equal, and writing it twice gives the same bytes."""
    manifest = make_manifest(onnx={"file": "model.onnx", "sha256": digest_file(engine / "model.onnx"), "opset": 17}, **changes)

    (engine / "model.yaml").write_text(dump_manifest(manifest), encoding="utf-8")

    assert load_manifest(engine) == manifest
    assert dump_manifest(load_manifest(engine)) == dump_manifest(manifest)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            lambda data: data.update(clases=data.pop("classes")),
            "clases: unknown key; did you mean 'classes'?",
            id="typing error",
        ),
        pytest.param(
            lambda data: data["input"].update(widht=3), "input.widht: unknown key; did you mean 'width'?", id="inner typing error"
        ),
        pytest.param(
            lambda data: data["thresholds"].update(per_class={"car": {"scor": 0.3}}),
            "did you mean 'score'?",
            id="deep typing error",
        ),
        pytest.param(lambda data: data.pop("strides"), "strides: is missing", id="missing"),
        pytest.param(lambda data: data.update(classes=["a", "a"]), "'a' stands more than once [model.classes]", id="class twice"),
        pytest.param(lambda data: data.update(classes=[]), "[model.classes]", id="no class"),
        pytest.param(lambda data: data["thresholds"].update(score=1.0), "less than 1, got '1.0'", id="score too high"),
        pytest.param(lambda data: data["thresholds"].update(score=0.04), "0.05", id="score below the floor"),
        pytest.param(lambda data: data["thresholds"].update(nms_iou=0), "greater than 0", id="iou of nothing"),
        pytest.param(lambda data: data["thresholds"].update(score="0.4"), "valid number, got '0.4'", id="number in quotes"),
        pytest.param(
            lambda data: data["thresholds"].update(per_class={"carr": {}}),
            "thresholds.per_class.carr: no class of this network; did you mean 'car'?",
            id="unknown class",
        ),
        pytest.param(lambda data: data.update(strides=[16, 32]), "anchors has 1 lists and strides 2", id="anchors and strides"),
        pytest.param(lambda data: data.update(anchors=[[[4.0, 0.0]]]), "width or height of 0", id="empty anchor"),
        pytest.param(lambda data: data.update(anchors=[[]]), "anchors[0]", id="no anchors"),
        pytest.param(lambda data: data["input"].update(width=100), "multiple of every stride (32", id="size off the grid"),
        pytest.param(lambda data: data["input"].update(width=99999), "less than or equal to 4096", id="giant input"),
        pytest.param(lambda data: data["input"].update(scale=0.5), "scales inside", id="uint8 with scale"),
        pytest.param(lambda data: data["input"].update(dtype="float32", std=[1.0, 0.0, 1.0]), "divided by 0", id="std of 0"),
        pytest.param(lambda data: data["onnx"].update(file="../model.onnx"), "onnx.file", id="network elsewhere"),
        pytest.param(lambda data: data["onnx"].update(file="model.pth"), "onnx.file", id="torch checkpoint"),
        pytest.param(lambda data: data["onnx"].update(opset=18), "less than or equal to 17", id="opset too new"),
        pytest.param(
            lambda data: data.update(task="face"),
            "task: unknown task 'face'; known: detector, face_encoder, liveness, segmenter",
            id="other task",
        ),
        pytest.param(lambda data: data.update(measured="soon"), "'not measured'", id="measured"),
    ],
)
def test_load_manifest_with_a_mistake_names_it(engine: Path, change: Callable[[dict[str, Any]], object], words: str) -> None:
    """Each mistake is refused with its place, what is wrong, and how to mend it."""
    message = rewrite(engine, change)

    assert words in message
    assert str(engine / "model.yaml") in message
    assert "line " in message


def test_load_manifest_with_many_mistakes_tells_all_with_their_lines(engine: Path) -> None:
    """All mistakes come at once, those of the YAML itself included."""
    path = engine / "model.yaml"
    text = path.read_text().replace("task: detector", "task: detektor").replace("nms_iou: 0.5", "nms_iou: 5") + "extra: 012\n"
    path.write_text(text)

    with pytest.raises(ModelError) as caught:
        load_manifest(engine)

    message = str(caught.value)
    assert "4 mistakes" in message
    assert "line 2: task" in message
    assert "thresholds.nms_iou" in message
    assert message.count(f"line {len(text.splitlines())}: extra") == 2  # its value surprises, and its key is unknown


@pytest.mark.parametrize(
    "content",
    [b"", b"- a\n- b\n", b"\xff\xfe\x00", b"a: [", b"a: 1\x00"],
    ids=["empty", "list", "not text", "broken", "unprintable"],
)
def test_load_manifest_of_no_manifest_raises_model_error(engine: Path, content: bytes) -> None:
    """Whatever the file holds, the error is ours and names it."""
    (engine / "model.yaml").write_bytes(content)

    with pytest.raises(ModelError, match=r"model\.yaml"):
        load_manifest(engine)


def test_load_manifest_of_an_empty_directory_raises_model_error(tmp_path: Path) -> None:
    """A directory without a manifest is no engine."""
    with pytest.raises(ModelError, match=r"\[model\.unreadable\]"):
        load_manifest(tmp_path)


def test_load_manifest_with_one_flipped_bit_in_the_network_is_refused(engine: Path) -> None:
    """Another digest means another network: both are told, twelve digits each."""
    expected = load_manifest(engine).onnx.sha256
    network = engine / "model.onnx"
    content = bytearray(network.read_bytes())
    content[len(content) // 2] ^= 1
    network.write_bytes(content)

    with pytest.raises(ModelError) as caught:
        load_manifest(engine)

    assert f"expected sha256 {expected[:12]}…, found {digest_file(network)[:12]}…" in str(caught.value)
    assert "[model.hash]" in str(caught.value)


@pytest.mark.parametrize(("precision", "tool"), [("fp16", "tools.halve"), ("int8", "tools.quantise")])
def test_load_manifest_with_another_network_of_fewer_bits_says_what_makes_it(engine: Path, precision: str, tool: str) -> None:
    """No repository holds it: it was made of the one in float."""
    file = "model.fewer.onnx"
    entry = {"file": file, "sha256": "5" * 64, "opset": 17} | ({"calibration": "1 picture"} if precision == "int8" else {})
    (engine / "model.yaml").write_text(dump_manifest(make_manifest(onnx=load_manifest(engine).onnx, **{precision: entry})))
    (engine / file).write_bytes(b"another")

    with pytest.raises(ModelError, match=rf"{file}: expected sha256 .*; make it again with `python -m {tool}` \[model\.hash\]"):
        load_manifest(engine, precision=precision)


@pytest.mark.parametrize("directory", SHIPPED, ids=[directory.name for directory in SHIPPED])
def test_dump_manifest_of_a_shipped_engine_gives_its_file(directory: Path) -> None:
    """What an older version wrote is written the same to the byte: no key that it did not have."""
    assert dump_manifest(load_manifest(directory)) == (directory / "model.yaml").read_text(encoding="utf-8")


def test_dump_manifest_of_an_int8_entry_from_before_symmetric_gives_it_back() -> None:
    """Its keys in their old order, none added."""
    manifest = make_manifest(int8=INT8 | {"measured": {"ap50": 0.5}})

    entry = yaml.safe_load(dump_manifest(manifest))["int8"]

    assert list(entry) == ["file", "sha256", "opset", "calibration", "measured"]
    assert not manifest.int8.symmetric


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"not the one", r"expected sha256 000000000000….*\[model\.hash\]", id="another"),
        pytest.param(None, r"cannot read the network.*\[model\.unreadable\]", id="missing"),
    ],
)
def test_load_manifest_with_a_wrong_network_of_fewer_bits_is_refused_where_it_is_used(
    engine: Path, precision: Precision, content: bytes | None, message: str
) -> None:
    """It has a digest of its own; who computes in float never opens it."""
    manifest = DetectorManifest.model_validate(load_manifest(engine).model_dump() | {"fp16": FP16, "int8": INT8})
    (engine / "model.yaml").write_text(dump_manifest(manifest))
    if content is not None:
        (engine / f"model.{precision}.onnx").write_bytes(content)

    with pytest.raises(ModelError, match=rf"model\.{precision}\.onnx: {message}"):
        load_manifest(engine, precision=precision)
    assert load_manifest(engine) == manifest


def test_load_manifest_for_int8_does_not_read_the_network_in_float(engine: Path) -> None:
    """A device that computes in INT8 needs that file alone."""
    (engine / "model.onnx").rename(engine / "model.int8.onnx")
    text = (engine / "model.yaml").read_text()
    digest = digest_file(engine / "model.int8.onnx")
    int8 = f'int8: {{file: model.int8.onnx, sha256: "{digest}", opset: 17, calibration: 1 picture}}\n'
    (engine / "model.yaml").write_text(text + int8)

    assert load_manifest(engine, precision="int8").int8.sha256 == digest


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_load_manifest_for_a_precision_that_is_not_there_gives_what_there_is(engine: Path, precision: Precision) -> None:
    """`network` refuses it, at the key that asks for it."""
    assert load_manifest(engine, precision=precision) == load_manifest(engine)


@pytest.mark.parametrize(
    ("entry", "wrong", "right"),
    [
        pytest.param("fp16", FP16 | {"opsett": 17}, "opset", id="fp16"),
        pytest.param("int8", INT8 | {"calibratoin": "1 picture"}, "calibration", id="int8"),
        pytest.param("int8", INT8 | {"symetric": True}, "symmetric", id="int8 symmetric"),
    ],
)
def test_load_manifest_with_a_misspelt_key_of_another_form_suggests_the_right_one(
    engine: Path, entry: str, wrong: dict[str, Any], right: str
) -> None:
    """The keys of an entry that may be left out are known, too."""
    assert f"did you mean {right!r}?" in rewrite(engine, lambda data: data.update({entry: wrong}))


def test_load_manifest_with_symmetric_that_is_no_truth_value_is_refused(engine: Path) -> None:
    """A number is none."""
    assert "int8.symmetric" in rewrite(engine, lambda data: data.update(int8=INT8 | {"symmetric": 1}))


def test_network_of_a_precision_is_its_file() -> None:
    """Float is always there, the others where they were made."""
    manifest = make_manifest(fp16=FP16, int8=INT8)

    files = {precision: manifest.network(precision).file for precision in PRECISIONS}

    assert files == {"fp32": "model.onnx", "fp16": "model.fp16.onnx", "int8": "model.int8.onnx"}


@pytest.mark.parametrize(("precision", "tool"), [("fp16", "halve"), ("int8", "quantise")])
def test_network_of_a_precision_that_was_not_made_says_how(precision: Precision, tool: str) -> None:
    """The message names the engine, what it lacks and the command that makes it."""
    with pytest.raises(ModelError, match=rf"tiny has no {precision.upper()} network.*tools\.{tool}.*\[model\.precision\]"):
        make_manifest().network(precision)


def test_network_that_must_be_symmetric_refuses_an_int8_one_that_is_not() -> None:
    """TensorRT's parser would, later and without the command that mends it. In float there is nothing to be symmetric."""
    unsigned, signed = make_manifest(fp16=FP16, int8=INT8), make_manifest(int8=INT8 | {"symmetric": True})

    assert signed.network("int8", symmetric=True).file == "model.int8.onnx"
    assert unsigned.network("fp16", symmetric=True).file == "model.fp16.onnx"
    with pytest.raises(ModelError, match=r"tiny is not marked as symmetric.*tools\.quantise.*\[model\.precision\]"):
        unsigned.network("int8", symmetric=True)


def test_load_manifest_without_its_network_is_refused(engine: Path) -> None:
    """A manifest alone is no engine."""
    (engine / "model.onnx").unlink()

    with pytest.raises(ModelError, match=r"model\.onnx.*\[model\.unreadable\]"):
        load_manifest(engine)


def put_engine(directory: Path) -> Path:
    directory.mkdir(parents=True)
    (directory / "model.yaml").write_text("name: x")
    return directory


def test_find_engine_looks_beside_the_config_then_on_the_device_then_in_the_package_then_in_the_checkout(tmp_path: Path) -> None:
    """The nearest engine of that name wins; without it, the next."""
    config_dir, state_dir, package_dir = tmp_path / "etc", tmp_path / "state", tmp_path / "checkout" / "edged"
    roots = [config_dir, state_dir / "engines", package_dir / "engines", tmp_path / "checkout" / "engines"]
    expected = [put_engine(root / "detector") for root in roots]
    found = []

    for engine in expected:
        found.append(find_engine("detector", config_dir=config_dir, state_dir=state_dir, package_dir=package_dir))
        (engine / "model.yaml").unlink()

    assert found == expected


def test_find_engine_by_a_path_takes_it_from_the_config(tmp_path: Path) -> None:
    """A relative path counts from the configuration, an absolute one from nowhere."""
    engine = put_engine(tmp_path / "etc" / "nets" / "mine")

    relative = find_engine("nets/mine", config_dir=tmp_path / "etc", state_dir=None)
    absolute = find_engine(str(engine), config_dir=tmp_path / "elsewhere", state_dir=None)

    assert relative == absolute == engine


def test_find_engine_by_a_name_that_no_file_can_have_is_nowhere(tmp_path: Path) -> None:
    """Whatever the system says to it; as to a directory that we may not enter."""
    with pytest.raises(ModelError, match="no engine"):
        find_engine("x" * 300, config_dir=tmp_path, state_dir=None)


def test_find_engine_that_is_nowhere_lists_where_it_looked(tmp_path: Path) -> None:
    """The error names every directory that was tried."""
    with pytest.raises(ModelError) as caught:
        find_engine("nope", config_dir=tmp_path / "etc", state_dir=tmp_path / "state", package_dir=tmp_path / "edged")

    for place in ("etc/nope", "state/engines/nope", "edged/engines/nope", "engines/nope"):
        assert f"  {tmp_path / place}" in str(caught.value).splitlines()


def test_list_engines_has_each_name_once_and_the_device_s_own_first(tmp_path: Path) -> None:
    """What `find_engine` finds by these names, in their order; what has no manifest is no engine."""
    package, state = tmp_path / "edged", tmp_path / "state"
    own = put_engine(state / "engines" / "detector")
    put_engine(package / "engines" / "detector")
    wide = put_engine(package / "engines" / "detector-wide")
    checkout = put_engine(tmp_path / "engines" / "another")
    (state / "engines" / "notes").mkdir()

    engines = list_engines(state_dir=state, package_dir=package)

    assert engines == [checkout, own, wide]
    beside = put_engine(tmp_path / "etc" / "detector")
    assert list_engines(config_dir=tmp_path / "etc", state_dir=state, package_dir=package) == [checkout, beside, wide]
    assert list_engines(state_dir=None, package_dir=tmp_path / "elsewhere" / "edged") == []


def test_manifest_holds_limits_of_parity_where_it_has_its_own(engine: Path) -> None:
    """By precision; a limit that nothing can reach, and one of an unknown figure, are mistakes."""
    limits = {"int8": {"ap50": 0.9, "mean_iou": 0.8, "points": None}}
    manifest = load_manifest(engine).model_copy(update={"parity": {"int8": DetectorLimits(ap50=0.9, mean_iou=0.8)}})
    (engine / "model.yaml").write_text(dump_manifest(manifest))
    assert load_manifest(engine).model_dump()["parity"] == limits
    assert "parity" not in dump_manifest(make_manifest())

    said = rewrite(engine, lambda data: data.update(parity={"int8": {"ap50": 90.0, "mean": 0.8}}))

    assert "parity.int8.ap50: Input should be less than 1, got '90.0'" in said
    assert "parity.int8.mean_iou: is missing: add it" in said
    assert "parity.int8.mean: unknown key; did you mean 'mean_iou'?" in said


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(make_manifest(points=["left", "right"], outputs=OUTPUTS | {"points": "points"}), id="detector with points"),
        pytest.param(make_encoder_manifest(parity={"int8": {"mean_cosine": 0.9}}), id="encoder"),
        pytest.param(make_liveness_manifest(classes=["print", "live", "replay"]), id="liveness"),
        pytest.param(make_segmenter_manifest(parity={"int8": {"miou": 0.9, "pixel_agreement": 0.95}}), id="segmenter"),
        pytest.param(make_segmenter_manifest(outputs={"labels": "labels"}), id="segmenter without confidence"),
    ],
)
def test_load_manifest_gives_the_form_of_its_task(tmp_path: Path, manifest: Manifest) -> None:
    """What was written is read back equal, of the same class; where it comes from stands last."""
    written = put_network(tmp_path, manifest)

    loaded = load_manifest(tmp_path, kind=type(manifest))

    assert type(loaded) is type(manifest)
    assert loaded == written
    keys = list(yaml.safe_load(dump_manifest(written)))
    assert keys[:4] == ["name", "task", "revision", "licence"]
    assert keys.index("data") > max(keys.index(key) for key in ("outputs", "classes", "thresholds") if key in keys)


def test_load_manifest_of_another_task_than_wanted_is_refused(tmp_path: Path) -> None:
    """Who asks for a detector gets none that is an encoder, and is told what the engine is."""
    put_network(tmp_path, make_encoder_manifest())

    with pytest.raises(ModelError, match=r"who is an engine for face_encoder, expected one for detector \[model\.task\]"):
        load_manifest(tmp_path, kind=DetectorManifest)


@pytest.mark.parametrize(
    ("manifest", "change", "words"),
    [
        pytest.param(
            make_encoder_manifest(), {"dimensoin": 4}, "dimensoin: unknown key; did you mean 'dimension'?", id="key of a task"
        ),
        pytest.param(
            make_encoder_manifest(),
            {"parity": {"int8": {"mean_cosin": 0.9}}},
            "parity.int8.mean_cosin: unknown key; did you mean 'mean_cosine'?",
            id="key of a task's parity",
        ),
        pytest.param(make_encoder_manifest(), {"thresholds": {"match": 0.5}}, "thresholds.margin: is missing", id="no margin"),
        pytest.param(
            make_encoder_manifest(), {"thresholds": {"match": 1.0, "margin": 0.0}}, "less than 1, got '1.0'", id="no match can be"
        ),
        pytest.param(make_encoder_manifest(), {"dimension": 1}, "greater than or equal to 2", id="one number"),
        pytest.param(make_encoder_manifest(), {"classes": ["a"]}, "classes: unknown key", id="key of another task"),
        pytest.param(
            make_liveness_manifest(),
            {"classes": ["real", "fake"]},
            "one class must be 'live', but they are",
            id="nothing is live",
        ),
        pytest.param(make_liveness_manifest(), {"classes": ["live"]}, "classes: Tuple should have at least 2", id="all is live"),
        pytest.param(make_liveness_manifest(), {"classes": ["live"] * 2}, "'live' stands more than once", id="live twice"),
        pytest.param(make_liveness_manifest(), {"margin": 0.4}, "greater than or equal to 0.5", id="less than half a face"),
        pytest.param(make_segmenter_manifest(), {"classes": ["all"]}, "classes: Tuple should have at least 2", id="all is one"),
        pytest.param(make_segmenter_manifest(), {"classes": ["car"] * 2}, "'car' stands more than once", id="car twice"),
        pytest.param(
            make_segmenter_manifest(), {"outputs": {"confidence": "sure"}}, "outputs.labels: is missing", id="no labels"
        ),
        pytest.param(make_segmenter_manifest(), {"parity": {"int8": {"miou": 0.9}}}, "pixel_agreement: is missing", id="a limit"),
        pytest.param(make_manifest(), {"points": ["nose"]}, "give both or neither", id="points without a tensor"),
        pytest.param(make_manifest(), {"outputs": OUTPUTS | {"points": "points"}}, "give both or neither", id="unnamed points"),
        pytest.param(make_manifest(), {"points": ["eye", "eye"]}, "each point needs a name of its own", id="point twice"),
        pytest.param(make_manifest(), {"task": "detecter"}, "unknown task; did you mean 'detector'?", id="misspelt task"),
        pytest.param(make_manifest(), {"task": None}, "unknown task", id="task of nothing"),
    ],
)
def test_load_manifest_with_a_mistake_of_its_task_names_it(
    tmp_path: Path, manifest: Manifest, change: dict[str, Any], words: str
) -> None:
    """Each form has keys and bounds of its own."""
    put_network(tmp_path, manifest)

    assert words in rewrite(tmp_path, lambda data: data.update(change))


def test_load_manifest_without_a_task_says_what_tasks_there_are(engine: Path) -> None:
    """What else is wrong nobody can say then."""
    message = rewrite(engine, lambda data: (data.pop("task"), data.pop("strides")))

    assert "task: is missing: add it; known: detector, face_encoder, liveness, segmenter" in message
    assert "strides" not in message


def test_manifest_once_made_cannot_be_changed() -> None:
    """A manifest is a value."""
    manifest = make_manifest()

    with pytest.raises(ValueError, match="frozen"):
        manifest.name = "other"
