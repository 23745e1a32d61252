"""The manifest beside a network: everything about it that a tensor does not say."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails

from edged.errors import ConfigError, Mistake, ModelError
from edged.strict_yaml import Document, format_path, read_yaml, shorten

MANIFEST_NAME = "model.yaml"

Precision = Literal["fp32", "fp16", "int8"]
"""What a network computes in."""
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_MADE_BY: Mapping[Precision, str] = {"fp16": "tools.halve", "int8": "tools.quantise"}

SCORE_FLOOR = 0.05
"""Detections below this score are not worth tracking: no threshold may ask for them."""

LIVE = "live"
"""The class of a face that is no picture of one."""

_Text = Annotated[str, Field(min_length=1, max_length=2000)]
_Ratio = Annotated[float, Field(gt=0, lt=1, strict=True)]
_Score = Annotated[float, Field(ge=SCORE_FLOOR, lt=1, strict=True)]
_Number = Annotated[float, Field(strict=True)]
_Count = Annotated[int, Field(gt=0, strict=True)]
_Side = Annotated[int, Field(ge=32, le=4096, strict=True)]
_PerChannel = tuple[_Number, _Number, _Number]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OnnxFile(_Part):
    """The network's file: `file` beside the manifest, its digest, its operator set."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.onnx$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    opset: Annotated[int, Field(ge=11, le=17, strict=True)]


class QuantisedFile(OnnxFile):
    """The same network in INT8, what its ranges were found on, and what it costs: `measured` tells how good, or how like it is.

    Attributes:
        symmetric: activations are signed, around 0, as TensorRT wants them; files from before the key are taken for unsigned.
    """

    calibration: _Text
    symmetric: Annotated[bool, Field(strict=True)] = False
    measured: dict[str, Any] | Literal["not measured"] = "not measured"


class InputSpec(_Part):
    """What the network wants: value = (pixel * scale - mean) / std per channel, or the bare pixel when dtype is uint8."""

    name: _Text
    width: _Side
    height: _Side
    colour: Literal["rgb", "bgr"]
    layout: Literal["nchw"]
    dtype: Literal["float32", "uint8"]
    scale: Annotated[float, Field(gt=0, strict=True)] = 1.0
    mean: _PerChannel = (0.0, 0.0, 0.0)
    std: _PerChannel = (1.0, 1.0, 1.0)

    @field_validator("std")
    @classmethod
    def _divides(cls, std: tuple[float, ...]) -> tuple[float, ...]:
        if 0 in std:
            raise ValueError("no channel can be divided by 0")
        return std

    @model_validator(mode="after")
    def _scales_inside(self) -> InputSpec:
        if self.dtype == "uint8" and (self.scale, *self.mean, *self.std) != (1, 0, 0, 0, 1, 1, 1):
            raise ValueError("a network that takes uint8 scales inside: leave scale, mean and std out")
        return self

    @property
    def factors(self) -> tuple[float, float, float]:
        """What a pixel is multiplied by, per channel of the network's order."""
        first, second, third = (self.scale / std for std in self.std)
        return first, second, third

    @property
    def offsets(self) -> tuple[float, float, float]:
        """What is added then."""
        first, second, third = (-mean / std for mean, std in zip(self.mean, self.std, strict=True))
        return first, second, third


class OutputNames(_Part):
    """Names of a detector's outputs, all float32: boxes (N, R, 4) xyxy input pixels, scores (N, R, C) in [0, 1].

    Attributes:
        points: (N, R, K, 2) xy, input pixels, of the K points that `DetectorManifest.points` names; None where there are none.
    """

    boxes: _Text
    scores: _Text
    points: _Text | None = None


class EmbeddingOutput(_Part):
    """Name of an encoder's output: embedding (N, D) float32."""

    embedding: _Text


class ScoresOutput(_Part):
    """Name of the output of a network that tells classes apart: scores (N, C) float32, a picture's add up to 1."""

    scores: _Text


class LabelOutputs(_Part):
    """Names of a segmenter's outputs: labels (N, height, width) uint8, the class id of each pixel of the input.

    Attributes:
        confidence: likewise, how sure of each label, 255 for certain; None where the network does not say.
    """

    labels: _Text
    confidence: _Text | None = None


class ClassThresholds(_Part):
    """What differs for one class."""

    score: _Score | None = None
    nms_iou: _Ratio | None = None


class Thresholds(_Part):
    """The thresholds that the network ships with; a site may set others."""

    score: _Score
    nms_iou: _Ratio
    per_class: dict[str, ClassThresholds] = {}


class MatchThresholds(_Part):
    """From which similarity on two faces are one person's; a site may set others, and a gallery has its own.

    Attributes:
        match: least cosine of a match.
        false_match_rate: the share of pairs of two people that reach `match`; None: not measured.
        margin: by how much the best person must be above the next one.
    """

    match: Annotated[float, Field(gt=-1, lt=1, strict=True)]
    false_match_rate: _Ratio | None = None
    margin: Annotated[float, Field(ge=0, lt=2, strict=True)]


class PairUnit(_Part):
    """A logistic unit that tells from two embeddings whether they are of one person; see `edged.identity.metrics`.

    Attributes:
        form: what it is shown of them.
        weights: one a dimension.
    """

    form: Literal["absolute", "chi_square"]
    weights: Annotated[tuple[_Number, ...], Field(min_length=1, max_length=4096)]
    bias: _Number


class PairVerification(_Part):
    """By which metric two pictures are best verified to show one person; see `edged.identity.metrics`.

    Attributes:
        form: which of the logistic units, where the metric is that.
        match: from this score on they are one person's.
        false_match_rate: the share of pairs of two people that reach it.
    """

    metric: Literal["cosine", "euclidean", "chi_square", "logistic"]
    form: Literal["absolute", "chi_square"] | None = None
    match: _Number
    false_match_rate: _Ratio


class LivenessThresholds(_Part):
    """From which score on a face is believed to be alive."""

    live: _Ratio


class ParityLimits(_Part):
    """What a network built for another backend must reach beside the network in float: one form a task, 1 is the same."""


class DetectorLimits(ParityLimits):
    """Of the detections of both.

    Attributes:
        ap50: average precision when what the network in float sees is the truth.
        mean_iou: of the boxes of both on the same objects.
        points: 1 less the mean distance between the points of both on the same objects, in longer sides of the box; None: any.
    """

    ap50: _Ratio
    mean_iou: _Ratio
    points: _Ratio | None = None


class EncoderLimits(ParityLimits):
    """Of the embeddings of both.

    Attributes:
        mean_cosine: over the pictures, of what both make of the same one.
    """

    mean_cosine: _Ratio


class LivenessLimits(ParityLimits):
    """Of the scores of both.

    Attributes:
        mean_agreement: 1 less the mean difference, over the pictures, between both scores of the same one.
    """

    mean_agreement: _Ratio


class SegmenterLimits(ParityLimits):
    """Of the maps of both, the map of the network in float being the truth.

    Attributes:
        miou: intersection over union of the pixels of a class in all pictures together, the mean over the classes in either map.
        pixel_agreement: the share of pixels with the same label.
    """

    miou: _Ratio
    pixel_agreement: _Ratio


class DataSource(_Part):
    """One set of pictures that went into the network."""

    name: _Text
    licence_mark: _Text
    licence: _Text
    source: _Text
    use: _Text


class Manifest(_Part):
    """What is said of every network, whatever its task. Each task has a form of its own; `load_manifest` gives that.

    Attributes:
        onnx: the network, in float.
        fp16: the same in FP16, where `tools.halve` made it.
        int8: the same in INT8, where `tools.quantise` made it.
        measured: figures by name, or why there are none.
        parity: limits by precision, where those of `edged.parity` will not do.
        trained: the settings it was trained with, for people.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
    task: str
    revision: _Text
    licence: _Text
    onnx: OnnxFile
    fp16: OnnxFile | None = None
    int8: QuantisedFile | None = None
    input: InputSpec
    data: tuple[DataSource, ...]
    measured: dict[str, Any] | Literal["not measured"]
    parity: Mapping[Precision, ParityLimits] = {}
    trained: dict[str, Any] = {}

    @property
    def networks(self) -> Mapping[Precision, OnnxFile]:
        """The files that there are, by what they compute in."""
        files: dict[Precision, OnnxFile | None] = {"fp32": self.onnx, "fp16": self.fp16, "int8": self.int8}
        return {precision: file for precision, file in files.items() if file is not None}

    def network(self, precision: Precision, *, symmetric: bool = False) -> OnnxFile:
        """The file that computes in a precision.

        Args:
            symmetric: in INT8 only a network with signed activations will do.

        Raises:
            ModelError: there is none.
        """
        file = self.networks.get(precision)
        if file is None:
            raise ModelError(
                f"the engine {self.name} has no {precision.upper()} network: use precision fp32, or make one with "
                f"`python -m {_MADE_BY[precision]}` [model.precision]"
            )
        if symmetric and isinstance(file, QuantisedFile) and not file.symmetric:
            raise ModelError(
                f"the INT8 network of the engine {self.name} is not marked as symmetric, and TensorRT takes no other: make it "
                f"again with `python -m tools.quantise` [model.precision]"
            )
        return file


class DetectorManifest(Manifest):
    """One network that finds things, as `tools.export` writes it and the daemon reads it.

    Attributes:
        classes: name of each class id.
        points: names of the points that the network answers of each thing it finds; none for most networks.
        anchors: for each stride, its anchor boxes (width, height) in input pixels.
    """

    task: Literal["detector"]
    outputs: OutputNames
    classes: Annotated[tuple[_Text, ...], Field(min_length=1, max_length=1000)]
    points: tuple[_Text, ...] = ()
    strides: Annotated[tuple[_Count, ...], Field(min_length=1)]
    anchors: Annotated[tuple[Annotated[tuple[tuple[_Number, _Number], ...], Field(min_length=1)], ...], Field(min_length=1)]
    thresholds: Thresholds
    parity: Mapping[Precision, DetectorLimits] = {}

    @property
    def candidates(self) -> int:
        """How many boxes the network answers for one picture: the R of its outputs."""
        cells = ((self.input.width // stride) * (self.input.height // stride) for stride in self.strides)
        return sum(count * len(boxes) for count, boxes in zip(cells, self.anchors, strict=True))

    @property
    def class_names(self) -> Mapping[int, str]:
        """Name by class id."""
        return dict(enumerate(self.classes))

    @field_validator("classes", "points")
    @classmethod
    def _are_unique(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return _check_unique(names, "class" if info.field_name == "classes" else "point")

    @model_validator(mode="after")
    def _fits_together(self) -> DetectorManifest:
        wrong = []
        if len(self.anchors) != len(self.strides):
            wrong.append(f"anchors has {len(self.anchors)} lists and strides {len(self.strides)}: one list a stride")
        if any(side <= 0 for boxes in self.anchors for box in boxes for side in box):
            wrong.append("an anchor has a width or height of 0 or less")
        if bool(self.points) != (self.outputs.points is not None):
            wrong.append("points names the points and outputs.points the tensor that they are in: give both or neither")
        for side in ("width", "height"):
            length = getattr(self.input, side)
            if any(length % stride for stride in self.strides):
                wrong.append(f"input.{side} is {length}: make it a multiple of every stride ({max(self.strides)} is the largest)")
        for name in self.thresholds.per_class:
            if name not in self.classes:
                wrong.append(f"thresholds.per_class.{name}: no class of this network{_did_you_mean(name, self.classes)}")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class EncoderManifest(Manifest):
    """One network that turns an aligned face into numbers: near to each other for one person, far for two.

    Attributes:
        dimension: how many numbers.
        template: where the points of a face lie in its input, by name; see `edged.vision.alignment`.
        pair_classifiers: units that verify two pictures, one a form, where they were taught.
        verification: how two pictures are verified; by the cosine and `thresholds` if absent.
    """

    task: Literal["face_encoder"]
    outputs: EmbeddingOutput
    dimension: Annotated[int, Field(ge=2, le=4096, strict=True)]
    template: _Text
    thresholds: MatchThresholds
    pair_classifiers: tuple[PairUnit, ...] = ()
    verification: PairVerification | None = None
    parity: Mapping[Precision, EncoderLimits] = {}

    @model_validator(mode="after")
    def _has_its_units(self) -> EncoderManifest:
        forms = [unit.form for unit in self.pair_classifiers]
        wrong = [f"pair_classifiers: {one!r} stands more than once" for one in sorted(set(forms)) if forms.count(one) > 1]
        for unit in self.pair_classifiers:
            if len(unit.weights) != self.dimension:
                wrong.append(f"pair_classifiers, {unit.form}: expected {self.dimension} weights, got {len(unit.weights)}")
        how = self.verification
        if how and (how.metric == "logistic") != (how.form is not None):
            wrong.append("verification.form names the logistic unit: give it for the metric logistic, and for no other")
        if how and how.form and how.form not in forms:
            wrong.append(f"verification.form: there is no unit {how.form!r} among pair_classifiers")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class LivenessManifest(Manifest):
    """One network that tells a face before the camera from a picture of one.

    Attributes:
        classes: name of each class id; one is `live`, all others are ways to pretend.
        margin: side of the square that the network is shown, as a multiple of the face box's longer side.
    """

    task: Literal["liveness"]
    outputs: ScoresOutput
    classes: Annotated[tuple[_Text, ...], Field(min_length=2, max_length=100)]
    margin: Annotated[float, Field(ge=0.5, le=4, strict=True)]
    thresholds: LivenessThresholds
    parity: Mapping[Precision, LivenessLimits] = {}

    @field_validator("classes")
    @classmethod
    def _include_live(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if LIVE not in classes:
            raise ValueError(f"one class must be {LIVE!r}, but they are {', '.join(map(repr, classes))}")
        return _check_unique(classes, "class")


class SegmenterManifest(Manifest):
    """One network that says of every pixel what it shows.

    Attributes:
        classes: name of each class id; every pixel is of one, so where a network tells things from the rest, the rest is one too.
    """

    task: Literal["segmenter"]
    outputs: LabelOutputs
    classes: Annotated[tuple[_Text, ...], Field(min_length=2, max_length=255)]
    parity: Mapping[Precision, SegmenterLimits] = {}

    @field_validator("classes")
    @classmethod
    def _are_unique(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        return _check_unique(classes, "class")


ManifestT = TypeVar("ManifestT", bound=Manifest)
_TASKS: Mapping[str, type[Manifest]] = {
    "detector": DetectorManifest,
    "face_encoder": EncoderManifest,
    "liveness": LivenessManifest,
    "segmenter": SegmenterManifest,
}
_LAST = ("data", "measured", "parity", "trained")
"""Of a manifest's keys: where it comes from stands behind what it is."""


def _check_unique(names: tuple[str, ...], what: str) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"each {what} needs a name of its own, but {', '.join(map(repr, twice))} stands more than once")
    return names


def load_manifest(directory: Path, *, precision: Precision = "fp32", kind: type[ManifestT] = Manifest) -> ManifestT:
    """The manifest of the engine in a directory, in the form of its task, the digest of the network that will be used checked.

    Args:
        precision: what will compute; a precision that the engine lacks is refused by `Manifest.network`, not here.
        kind: the form that is wanted, e.g. `DetectorManifest`; any if absent.

    Raises:
        ModelError: with every mistake of the manifest; the engine is for another task; or the network is missing or is not the
            one that the manifest means.
    """
    path = directory / MANIFEST_NAME
    try:
        document = read_yaml(path.read_text(encoding="utf-8"), source=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot read the manifest: {error} [model.unreadable]") from error
    except ConfigError as error:
        raise ModelError(str(error)) from error
    manifest = _validate(document)
    if not isinstance(manifest, kind):
        wanted = next(task for task, form in _TASKS.items() if form is kind)
        raise ModelError(f"{path}: {manifest.name} is an engine for {manifest.task}, expected one for {wanted} [model.task]")
    network = manifest.networks.get(precision)
    if network is not None:
        _check_digest(directory / network.file, network.sha256, _MADE_BY.get(precision))
    return manifest


def dump_manifest(manifest: Manifest) -> str:
    """The manifest as YAML that `load_manifest` reads back equal; the same bytes for the same manifest."""
    data = manifest.model_dump(mode="json", exclude_defaults=True)
    data |= {key: data.pop(key) for key in _LAST if key in data}
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110)


def digest_file(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def find_engine(name: str, *, config_dir: Path | None, state_dir: Path | None, package_dir: Path | None = None) -> Path:
    """The directory of an engine, by name or path: beside the configuration, made on the device, shipped, in the checkout.

    Args:
        name: e.g. `detector`, `engines/mine` or an absolute path.
        config_dir: where the configuration file lies; paths are relative to it.
        state_dir: the state directory, which may hold `engines/`.
        package_dir: where edged is installed; found by itself if absent.

    Raises:
        ModelError: it is in none of the places, which are listed.
    """
    places = [Path(name)] if config_dir is None else [config_dir / name]
    if not Path(name).is_absolute():
        places += [home / name for home in _homes(state_dir, package_dir)]
    for place in places:
        with contextlib.suppress(OSError):  # a directory that we may not enter, a name that is too long
            if (place / MANIFEST_NAME).is_file():
                return place
    looked = "\n".join(f"  {place}" for place in places)
    raise ModelError(f"no engine {name!r}: none of these directories has a {MANIFEST_NAME} [model.not_found]\n{looked}")


def list_engines(*, config_dir: Path | None = None, state_dir: Path | None, package_dir: Path | None = None) -> list[Path]:
    """The directories of all engines that `find_engine` finds by a bare name, one a name, in the order of names."""
    engines: dict[str, Path] = {}
    for home in (*([config_dir] if config_dir else []), *_homes(state_dir, package_dir)):
        for path in home.glob(f"*/{MANIFEST_NAME}"):
            engines.setdefault(path.parent.name, path.parent)
    return [engines[name] for name in sorted(engines)]


def _homes(state_dir: Path | None, package_dir: Path | None) -> list[Path]:
    """Where engines lie by name: made on the device, shipped, in the checkout."""
    package = package_dir or Path(__file__).resolve().parents[1]
    return [root / "engines" for root in (*([state_dir] if state_dir else []), package, package.parent)]


def _check_digest(path: Path, expected: str, made_by: str | None) -> None:
    try:
        actual = digest_file(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot read the network that {MANIFEST_NAME} names: {error} [model.unreadable]") from error
    if actual != expected:
        again = "export it again or fetch it again (git lfs pull, if a repository holds it)"
        mend = f"make it again with `python -m {made_by}`" if made_by else again
        raise ModelError(
            f"{path}: expected sha256 {expected[:12]}…, found {actual[:12]}…: this is not the network that {MANIFEST_NAME} "
            f"describes; {mend} [model.hash]"
        )


def _validate(document: Document) -> Manifest:
    """The manifest in a document; all that is wrong with it at once."""
    mistakes = list(document.mistakes)
    data = document.data if isinstance(document.data, dict) else {}
    form = _TASKS.get(_nearest(str(data.get("task")), list(_TASKS)) or "")
    if form is None:  # nobody can say what else should stand there
        said = f"unknown task {shorten(str(data['task']))}" if "task" in data else "is missing: add it"
        mistakes.append(Mistake("model.manifest", "task", f"{said}; known: {', '.join(_TASKS)}", document.line_of(("task",))))
        raise ModelError(str(ConfigError(document.source, mistakes)))
    try:
        manifest = form.model_validate(data)
    except ValidationError as error:
        mistakes += [_mistake(details, document, form) for details in error.errors()]
    if mistakes:
        raise ModelError(str(ConfigError(document.source, mistakes)))
    return manifest


def _mistake(details: ErrorDetails, document: Document, form: type[Manifest]) -> Mistake:
    path = tuple(step for step in details["loc"] if step != "dict[str,any]" and not str(step).startswith("literal["))
    kind = details["type"]
    if kind == "extra_forbidden":
        message = f"unknown key{_did_you_mean(str(path[-1]), _keys_beside(path, form))}"
    elif kind == "missing":
        message = "is missing: add it"
    elif path == ("task",):
        message = f"unknown task{_did_you_mean(str(details['input']), list(_TASKS))}"
    else:
        message = details["msg"].removeprefix("Value error, ")
        if not isinstance(details["input"], dict | list | BaseModel):
            message += f", got {shorten(str(details['input']))}"
    code = "model.classes" if path[:1] == ("classes",) else "model.manifest"
    return Mistake(code, format_path(path), message, document.line_of(path))


def _keys_beside(path: tuple[str | int, ...], form: type[Manifest]) -> list[str]:
    """The keys that are known where the last step of a path stands."""
    part: type[BaseModel] = form
    for step in path[:-1]:
        if step in part.model_fields:  # else a name or a number of somebody's own
            part = _part_in(part.model_fields[step].annotation) or part
    return list(part.model_fields)


def _part_in(annotation: Any) -> type[BaseModel] | None:
    """The part that a field holds, by itself or many of: `dict[str, DataSource] | None` holds DataSource."""
    if inner := get_args(annotation):
        return next((part for each in inner if (part := _part_in(each))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _nearest(name: str, known: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1)), None)


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    near = _nearest(name, known)
    return f"; did you mean {near!r}?" if near else f"; known: {', '.join(known)}"


class _Dumper(yaml.SafeDumper):
    """Quotes every text that some reader of YAML could take for a number."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if re.match(r"[-+.0-9]", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
