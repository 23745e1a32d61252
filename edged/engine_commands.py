"""`edged engines`: TensorRT engines built, listed, verified and pruned; and what is fastest where there is only a CPU."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import TextIO, get_args

from edged.backends.tensorrt.builder import BuildOptions
from edged.backends.tensorrt.cache import (
    EngineCache,
    EngineRecord,
    Removal,
    Target,
    describe_difference,
    name_in,
)
from edged.backends.tensorrt.driver import Binding, DeviceFacts
from edged.backends.tensorrt.layers import Layer
from edged.backends.tensorrt.library import Library, LibraryName, import_library
from edged.config import find_state_directory, load_config
from edged.config.computing import MAX_BATCH, ComputingConfig, TensorrtConfig
from edged.config.faces import FacesConfig
from edged.config.models import DetectorConfig
from edged.config.segmentation import SegmentationConfig
from edged.cpu_choice import measure_cpu, store_choice
from edged.engine_building import (
    BuildResult,
    build_engine,
    make_cache,
    make_commands,
    make_options,
    make_target,
    target_of,
)
from edged.engine_profiling import profile_layers
from edged.engine_verification import check_fresh, compare_on_device, find_device, find_wanted, judge
from edged.errors import (
    EXIT_CONFIG,
    DeviceMemoryError,
    DeviceMissingError,
    EngineMissingError,
    InputError,
    ModelError,
    SourceCause,
    SourceError,
    exit_status,
)
from edged.models.manifest import PRECISIONS, Manifest, find_engine, list_engines, load_manifest
from edged.parity import draw_pictures, limits_of
from edged.runtime.interpreter import setter
from edged.sources.folder import FolderSource
from edged.state import StateDirectory
from edged.types import Pixels

MOST_PICTURES = 500
"""Of a folder that `verify` is shown."""
_MOST_THREADS = 4
_PLACE = ("config", "state_dir", "library", "cuda", "device")
"""Arguments that say where a command works; another command for the same place must be given them, too."""
_REWRITTEN_EVERY_S, _LINE_EVERY_S = 0.2, 10.0
"""How often the progress of a build is told, on a terminal and elsewhere."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a command works.

    Attributes:
        cache: the built engines of its state directory.
        detector, faces, segmentation: these sections; the defaults without a configuration.
        config_dir: where the configuration lies.
        options: by which all that was found, as they were typed.
    """

    state_dir: Path
    cache: EngineCache
    detector: DetectorConfig
    faces: FacesConfig
    segmentation: SegmentationConfig
    config_dir: Path | None
    options: tuple[str, ...] = ()

    def command(self, action: str, *arguments: str) -> str:
        """`edged engines ACTION` for this place."""
        return shlex.join(["edged", "engines", action, *arguments, *self.options])

    def find(self, name: str) -> Path:
        """The directory of an engine; see `find_engine`."""
        return find_engine(name, config_dir=self.config_dir, state_dir=self.state_dir)

    @property
    def configured(self) -> list[str]:
        """The engines that the configuration names and uses."""
        others = (self.faces, self.segmentation)
        return [self.detector.engine, *(name for section in others if section.enabled for name in section.networks)]

    def settings_of(self, directory: Path) -> ComputingConfig:
        """By which settings an engine is computed: those of the section that names it, else the detector's."""
        for section in (self.faces, self.segmentation):
            for name in section.networks:
                with suppress(ModelError):  # what is not there is not this one
                    if self.find(name).resolve() == directory.resolve():
                        return section
        return self.detector

    def tensorrt_of(self, record: EngineRecord) -> TensorrtConfig:
        """The same for a built engine: how TensorRT computes it."""
        return self.settings_of(Path(record.directory)).tensorrt


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What engines must fit here.

    Attributes:
        library: None where there is no TensorRT.
        device: None where there is none that can be used.
        missing: why there is no library or no device; empty where there are both.
    """

    library: Library | None
    device: DeviceFacts | None
    missing: str

    @classmethod
    def find(cls, settings: TensorrtConfig) -> Surroundings:
        """Look for both; where there is none, nothing is wrong."""
        try:
            library = import_library(settings.library)
        except DeviceMissingError as error:
            return cls(None, None, str(error))
        try:
            return cls(library, find_device(settings), "")
        except DeviceMissingError as error:
            return cls(library, None, str(error))

    @property
    def target(self) -> Target | None:
        """What engines must have been built for; None where nobody can say."""
        if self.library is None or (self.device is None and not self.library.differences.portable):
            return None
        return make_target(self.library, self.device)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `edged engines`."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    build = _add(actions, "build", "build TensorRT engines for this device, where they are not built yet", _run_build)
    _add_engine_names(build)
    _add_build_arguments(build)
    _add(actions, "list", "show what is built", _run_list)
    verify = _add(actions, "verify", "check that engines are what was built, and compute what ONNX Runtime does", _run_verify)
    _add_engine_names(verify)
    _add_library_arguments(verify)
    verify.add_argument(
        "--pictures", type=Path, metavar="DIR", help="compare on the pictures of this folder (default: the drawn street)"
    )
    prune = _add(actions, "prune", "remove engines that are damaged or fit no longer", _run_prune)
    prune.add_argument("--all", action="store_true", help="remove every built engine")
    _add_library_arguments(prune)
    bench = _add(
        actions,
        "bench",
        "measure in which precision and with how many threads the CPU is fastest, or the layers of built engines",
        _run_bench,
    )
    _add_engine_names(bench)
    bench.add_argument("--all", action="store_true", help="every engine that can be found")
    bench.add_argument(
        "--threads", type=_count, metavar="N", help=f"try 1 to N (default: as many as there are cores, at most {_MOST_THREADS})"
    )
    bench.add_argument("--layers", action="store_true", help="what each layer of the built engines takes on the GPU, instead")
    _add_library_arguments(bench)


def _add_build_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="every engine that can be found")
    parser.add_argument(
        "--precision",
        choices=[*PRECISIONS, "all"],
        help="what it computes in; all: whatever the engine has (default: the configuration's, or fp32)",
    )
    parser.add_argument(
        "--batch", type=_batch, metavar="MIN/USUAL/MAX", help="pictures at once, e.g. 1/4/8 (default: by max_batch)"
    )
    parser.add_argument("--workspace-mib", type=_count, metavar="N", help="most scratch memory of a layer (default: 1024)")
    parser.add_argument("--dla-core", type=int, metavar="N", help="build for this DLA core of a Jetson instead of its GPU")
    parser.add_argument("--force", action="store_true", help="build again what is built")
    parser.add_argument("--report", action="store_true", help="show the layers of what is built")
    _add_library_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the action that was named."""
    return arguments.run_action(arguments)


def _add(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    help_text: str,
    run_action: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
    parser.add_argument("--config", type=Path, metavar="FILE", help="take state directory, engine and settings from this one")
    parser.add_argument("--state-dir", type=Path, metavar="DIR", help="where built engines are kept")
    parser.set_defaults(run_action=run_action)
    return parser


def _add_engine_names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help="name or directory, e.g. detector")


def _add_library_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--library", choices=get_args(LibraryName), help="which TensorRT (default: the configuration's)")
    parser.add_argument("--cuda", choices=get_args(Binding), help="which CUDA binding (default: the configuration's)")
    parser.add_argument(
        "--device", type=_number, metavar="N", help="number of the CUDA device (default: the configuration's, or 0)"
    )


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 0 on")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number above 0")
    return int(text)


def _batch(text: str) -> tuple[int, int, int]:
    sizes = text.split("/")
    if len(sizes) != 3 or not all(size.isdecimal() for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r}: expected three numbers such as 1/4/8")
    fewest, usual, most = map(int, sizes)
    if most > MAX_BATCH:
        raise argparse.ArgumentTypeError(f"{text!r}: expected at most {MAX_BATCH} pictures at once")
    return fewest, usual, most


def _find_site(arguments: argparse.Namespace) -> Site:
    """Where to work and with which settings: those of the command line before those of the configuration."""
    config = load_config(arguments.config, reads_secrets=False) if arguments.config else None
    state_dir = arguments.state_dir or (config.state_dir if config else find_state_directory())
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    changes = {name: given[name] for name in TensorrtConfig.model_fields if name in given}
    typed = [text for name in _PLACE if name in given for text in ("--" + name.replace("_", "-"), str(given[name]))]
    sections = (DetectorConfig(), FacesConfig(), SegmentationConfig())
    if config:
        sections = (config.detector, config.faces, config.segmentation)
    changed = (each.model_copy(update={"tensorrt": each.tensorrt.model_copy(update=changes)}) for each in sections)
    return Site(state_dir, make_cache(state_dir), *changed, config.directory if config else None, tuple(typed))


def _find_directories(arguments: argparse.Namespace, site: Site) -> list[Path]:
    """The engines that a command is about."""
    configured = site.configured if arguments.config else []
    if arguments.all:
        directories = list_engines(config_dir=site.config_dir, state_dir=site.state_dir)
        for name in configured:  # which may be a path
            with suppress(ModelError):
                directories.append(site.find(name))
        return list(dict.fromkeys(directories))
    names = arguments.engines or configured
    if not names:
        raise InputError("which engine? Name it, e.g. detector; or give --all, or --config with a file that names it")
    return [site.find(name) for name in names]


# -- build


@dataclass(frozen=True, slots=True)
class _Job:
    """One engine to build, and with what."""

    directory: Path
    options: BuildOptions
    settings: TensorrtConfig
    library: Library
    target: Target


def _run_build(arguments: argparse.Namespace) -> int:
    """Build one after the other; what cannot be built is told, and the others are built all the same."""
    site = _find_site(arguments)
    jobs, failures = _plan_builds(arguments, site)
    for line in dict.fromkeys(_describe_place(job.library, job.target, site.cache) for job in jobs):
        print(line)
    for failure in dict.fromkeys(failures):
        print(f"edged: {failure}", file=sys.stderr)
    status = EXIT_CONFIG if failures else 0
    n_built = 0
    with _cancelling() as cancelled:
        for job in jobs:
            try:
                with ProgressLine(f"{job.directory.name} {job.options.precision}", sys.stderr) as line:
                    result = build_engine(
                        job.directory,
                        job.options,
                        cache=site.cache,
                        library=job.library,
                        target=job.target,
                        settings=job.settings,
                        force=arguments.force,
                        report=line.show,
                        cancelled=cancelled,
                    )
            except (ModelError, InputError) as error:
                print(f"edged: {error}", file=sys.stderr)
                status = EXIT_CONFIG
                continue
            _print_result(result, with_layers=arguments.report)
            n_built += result.layers is not None
    if n_built:
        print(f"not used yet: {site.command('verify')} compares them with ONNX Runtime, on the device that will run them")
    return status


def _plan_builds(arguments: argparse.Namespace, site: Site) -> tuple[list[_Job], list[str]]:
    """What to build, and why the rest of what was asked for cannot be built."""
    jobs, failures = [], []
    find_place = cache(_find_place)
    for directory in _find_directories(arguments, site):
        settings = site.settings_of(directory)
        try:
            place = find_place(settings.tensorrt)
            for options in _make_all_options(arguments, settings, load_manifest(directory)):
                jobs.append(_Job(directory, options, settings.tensorrt, *place))
        except (ModelError, InputError) as error:
            failures.append(str(error))
    return jobs, failures


def _find_place(settings: TensorrtConfig) -> tuple[Library, Target]:
    """What builds, and what for.

    Raises:
        DeviceMissingError: there is no TensorRT, or no device that its engines could be for.
    """
    library = import_library(settings.library)
    return library, make_target(library, None if library.differences.portable else find_device(settings))


def _describe_place(library: Library, target: Target, into: EngineCache) -> str:
    return f"{library.label} for {target}, into {into.path}"


def _make_all_options(arguments: argparse.Namespace, settings: ComputingConfig, manifest: Manifest) -> list[BuildOptions]:
    """What to build of one engine."""
    wanted = arguments.precision or settings.named_precision
    precisions = list(manifest.networks) if wanted == "all" else [wanted]
    options = [make_options(settings.tensorrt, precision) for precision in precisions]
    if arguments.batch is None:
        return options
    return [
        BuildOptions(each.precision, arguments.batch, workspace_bytes=each.workspace_bytes, dla_core=each.dla_core)
        for each in options
    ]


def _print_result(result: BuildResult, *, with_layers: bool) -> None:
    record = result.record
    megabytes = f"{record.plan_bytes / 1e6:.1f} MB"
    if result.replaced:
        print(f"{record.key.label}: took the place of a damaged one: {result.replaced}")
    if result.layers is None:
        print(f"{record.key.label}: is built and whole ({megabytes}); --force builds it again")
        return
    types = ", ".join(f"{count} {name}" for name, count in record.types.items())
    print(f"{record.key.label}: built in {record.seconds:.1f} s, {megabytes}; layers by what they write: {types}")
    if record.key.options.dla_core is not None:
        fell_back = ", ".join(record.fell_back) or "none"
        print(f"  layers on the GPU instead of the DLA: {fell_back}")
    if with_layers:
        for line in _describe_layers(result.layers):
            print(f"  {line}")


def _describe_layers(layers: Sequence[Layer]) -> Iterator[str]:
    """One line a layer: its kind, from which types to which, and the nodes that it computes."""
    for layer in layers:
        inputs, outputs = (",".join(dict.fromkeys(each.dtype for each in side)) for side in (layer.inputs, layer.outputs))
        nodes = ", ".join(layer.nodes) or layer.name
        yield f"{layer.kind:12} {inputs or '-':>16} -> {outputs or '-':16} {nodes}"


class ProgressLine:
    """How far a build is, while the context is open: a line that is rewritten on a terminal, elsewhere a line now and then.

    Args:
        name: what is built.
        stream: usually standard error.
    """

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name = name
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._due_s = 0.0 if self._is_terminal else _LINE_EVERY_S
        self._width = 0

    def show(self, phase: str, done_ratio: float, elapsed_s: float) -> None:
        """Tell how far it is, unless that was told a moment ago."""
        if elapsed_s < self._due_s:
            return
        self._due_s = elapsed_s + (_REWRITTEN_EVERY_S if self._is_terminal else _LINE_EVERY_S)
        minutes, seconds = divmod(int(elapsed_s), 60)
        text = f"{self._name}  {done_ratio:4.0%}  {minutes}:{seconds:02}  {phase}"
        if self._is_terminal:
            text = text[: shutil.get_terminal_size().columns - 1]
            self._stream.write(f"\r{text:{self._width}}")
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._width:
            self._stream.write(f"\r{'':{self._width}}\r")
            self._stream.flush()


@contextmanager
def _cancelling() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set while the context is open."""
    cancelled = threading.Event()
    before = {number: signal.signal(number, setter(cancelled)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancelled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# -- list


def _run_list(arguments: argparse.Namespace) -> int:
    """One line an engine, in words for its state; why it is so is `verify`'s to tell."""
    site = _find_site(arguments)
    find_here = cache(Surroundings.find)
    rows = [("ENGINE", "PRECISION", "BATCH", "BUILT WITH", "FOR", "MB", "STATE")]
    for stem in site.cache.stems():
        try:
            record = site.cache.load(stem)
        except ModelError:
            rows.append((stem, "?", "?", "?", "?", "?", "damaged"))
            continue
        key = record.key
        rows.append(
            (
                key.name,
                key.options.precision,
                "/".join(map(str, key.options.batch)),
                f"{key.library} {key.library_version}",
                str(key.target),
                f"{record.plan_bytes / 1e6:.1f}",
                _state(record, site.cache, find_here(site.tensorrt_of(record))),
            )
        )
    if len(rows) == 1:
        print(f"no engines in {site.cache.path}: {site.command('build', '--all')} builds them")
        return 0
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _state(record: EngineRecord, among: EngineCache, here: Surroundings) -> str:
    try:
        among.check(record)
    except ModelError:
        return "damaged"
    if _why_stale(record, here):
        return "stale"
    if record.parity is None:
        return "not compared"
    if here.device is not None and record.parity.target != target_of(here.device):
        return f"compared on {record.parity.target} only"
    return "verified" if record.parity.is_passed else "failed"


# -- verify


def _run_verify(arguments: argparse.Namespace) -> int:
    """Check every engine, newest first; one that is stale is no mistake beside a newer one in its place."""
    site = _find_site(arguments)
    stems = site.cache.stems()
    asked = arguments.engines or (site.configured if arguments.config else [])
    names = {_find_name(name, site, stems) for name in asked}
    find_here = cache(Surroundings.find)
    here = find_here(site.detector.tensorrt)
    if here.library is None:
        raise DeviceMissingError(here.missing)
    pictures = _read_pictures(arguments.pictures) if arguments.pictures else list(draw_pictures())
    seen: set[str] = set()
    not_compared: dict[str, None] = {}
    status = 0
    for stem in reversed(stems):
        if names and name_in(stem) not in names:
            continue
        label = ""
        try:
            record = site.cache.load(stem)
            label = record.key.label
            here = find_here(site.tensorrt_of(record))
            _verify(record, site, here, pictures)
        except (ModelError, InputError, DeviceMemoryError) as error:
            if isinstance(error, EngineMissingError) and label in seen:
                print(f"{label}: an older one is stale; {site.command('prune')} removes it")
                continue
            print(f"edged: {error}", file=sys.stderr)
            status = max(status, exit_status(error))
            continue
        seen.add(label)
        if here.device is None:
            not_compared[here.missing] = None
    for reason in not_compared:
        print(f"parity: not run, {reason}")
    if not seen and not status:
        raise EngineMissingError(f"no engine in {site.cache.path}: run {_build_command(arguments, site)} [engine.missing]")
    return status


def _find_name(text: str, site: Site, stems: Sequence[str]) -> str:
    """The name of the engine that somebody means: by its directory, or as `list` shows it."""
    try:
        return load_manifest(site.find(text)).name
    except ModelError:
        if text not in map(name_in, stems):
            raise
        return text


def _build_command(arguments: argparse.Namespace, site: Site) -> str:
    """What builds the engines that a command is about."""
    return site.command("build", *(arguments.engines or ([] if arguments.config else ["--all"])))


def _verify(record: EngineRecord, site: Site, here: Surroundings, pictures: Sequence[Pixels]) -> None:
    """Check one engine and say so; where there is a device, compare and note the outcome.

    Raises:
        ModelError: something is wrong with it, or it computes something else, or nothing.
        InputError: the pictures show nothing to compare.
        DeviceMemoryError: the device has too little memory to say.
    """
    if here.library is None:
        raise DeviceMissingError(here.missing)
    label = record.key.label
    plan, manifest = _read_fresh(record, site, here)
    print(f"{label}: engine, record and network are what was built with {here.library.label} for {record.key.target}")
    if here.device is None:
        return
    target = target_of(here.device)
    compare = partial(
        compare_on_device, record, plan, manifest, pictures, library=here.library, settings=site.tensorrt_of(record)
    )
    try:
        outcome, said = judge(compare, limits_of(manifest, record.key.options.precision), target)
    except DeviceMemoryError as error:
        raise DeviceMemoryError(
            f"{label}: not compared: {error}: end what else uses the device, or build it for smaller batches [device.memory]"
        ) from error
    with site.cache.lock(_wait):
        site.cache.record_parity(record, outcome)
    if not outcome.is_passed:
        raise ModelError(f"{label}: parity on {target}: {said}: it will not be used; try another precision [engine.parity]")
    print(f"  parity on {target}: {said}")


def _read_fresh(record: EngineRecord, site: Site, here: Surroundings) -> tuple[bytes, Manifest]:
    """The plan of an engine and the manifest that it still fits.

    Raises:
        ModelError: it is not whole, or not what would be built now.
    """
    settings = site.tensorrt_of(record)
    commands = make_commands(record.key, Path(record.directory), state_dir=site.state_dir, settings=settings)
    plan = site.cache.read(record, mend=f"run {commands.build}")
    manifest = check_fresh(record, library=here.library, target=here.target, state_dir=site.state_dir, settings=settings)
    return plan, manifest


def _read_pictures(folder: Path) -> list[Pixels]:
    """The pictures of a folder, in the order of their names, so many at most.

    Raises:
        InputError: there is none.
    """
    pictures: list[Pixels] = []
    try:
        with FolderSource(folder).open() as stream:
            while len(pictures) < MOST_PICTURES:
                pictures.append(stream.read().make_pixels_rgb())
    except SourceError as error:
        if error.cause is not SourceCause.EOF or not pictures:
            raise InputError(f"--pictures {folder}: {error}") from error
    return pictures


def _wait() -> None:
    time.sleep(_REWRITTEN_EVERY_S)


# -- prune


def _run_prune(arguments: argparse.Namespace) -> int:
    """What went, and why; what could not go is told, and the others go all the same."""
    site = _find_site(arguments)
    find_here = cache(Surroundings.find)

    def why_stale(record: EngineRecord) -> str | None:
        return _why_stale(record, find_here(site.tensorrt_of(record)))

    removals: list[Removal] = []
    if os.path.lexists(site.cache.path):
        with site.cache.lock(_wait):
            removals = site.cache.clear() if arguments.all else site.cache.prune(why_stale)
    for each in removals:
        if each.failure is None:
            print(f"removed {each.name} ({each.n_bytes / 1e6:.1f} MB): {each.reason}")
        else:
            print(f"edged: {each.failure}", file=sys.stderr)
    if not removals:
        print(f"nothing to remove in {site.cache.path}")
    return int(any(each.failure for each in removals))


def _why_stale(record: EngineRecord, here: Surroundings) -> str | None:
    """In what an engine is not the one that would be built now; None where it is."""
    try:
        wanted, _ = find_wanted(record, library=here.library, target=here.target)
    except ModelError:
        return f"{record.directory}: its manifest or its network was changed, or is gone"
    return describe_difference(record.key, wanted) or None


# -- bench


def _run_bench(arguments: argparse.Namespace) -> int:
    """Measure while no daemon of this state directory runs, and keep what is fastest."""
    site = _find_site(arguments)
    directories = _find_directories(arguments, site)
    if arguments.layers:
        return _bench_layers(arguments, site, directories)
    most_threads = arguments.threads or min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    with StateDirectory(site.state_dir) as state:
        for directory in directories:
            timings = measure_cpu(directory, most_threads=most_threads)
            choice = store_choice(state, load_manifest(directory), timings)
            print(f"{directory.name}: the network alone, one picture, median")
            for timing in timings:
                mark = "  <- kept" if (timing.precision, timing.threads) == choice else ""
                print(f"  {timing.precision}  {_threads(timing.threads):10} {timing.network_ms:7.2f} ms{mark}")
    return 0


def _bench_layers(arguments: argparse.Namespace, site: Site, directories: Sequence[Path]) -> int:
    """Of every built engine that fits this device, for the usual batch that it was built for."""
    find_here = cache(Surroundings.find)
    for directory in directories:
        here = find_here(site.settings_of(directory).tensorrt)
        if here.device is None:
            raise DeviceMissingError(here.missing)
    names = {load_manifest(directory).name for directory in directories}
    records = [site.cache.load(stem) for stem in site.cache.stems() if name_in(stem) in names]
    if not records:
        raise EngineMissingError(f"no engine in {site.cache.path}: run {_build_command(arguments, site)} [engine.missing]")
    for record in records:
        settings = site.tensorrt_of(record)
        here = find_here(settings)
        plan, _ = _read_fresh(record, site, here)
        batch = record.key.options.batch[1]
        layers = profile_layers(record, plan, library=here.library, settings=settings, batch=batch)
        total_ms = sum(layer.ms for layer in layers)
        print(f"{record.key.label}: {total_ms:.3f} ms a batch of {batch}, layer by layer")
        for layer in layers:
            print(f"  {layer.ms:8.3f} ms {layer.ms / total_ms:6.1%}  {layer.name}")
    return 0


def _threads(n: int) -> str:
    return "1 thread" if n == 1 else f"{n} threads"
