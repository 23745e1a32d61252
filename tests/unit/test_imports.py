"""Who may import whom, and what the daemon must never load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "edged"

HEAVY = ("torch", "tensorrt", "tensorrt_rtx", "pycuda", "cuda", "onnxruntime", "av", "paho", "cryptography")

GROUND = {"errors", "types", "clock"}
CONTRACTS = {"sources.base", "backends.base", "sinks.base", "events"}

# Each room and what it may use of the house; a room may always use itself. Longest name wins.
MAY_USE = {
    "errors": set(),
    "types": set(),
    "clock": set(),
    "proportions": set(),
    "strict_yaml": {"errors"},
    "state": {"errors"},
    "log": {"sources.url"},
    "vision": GROUND,
    "street": GROUND | {"vision"},
    "sources": GROUND | {"vision", "street"},
    "sources.base": {"types", "errors"},
    "backends": GROUND,
    "sinks": GROUND | {"events", "vision"},
    "sinks.base": GROUND | {"vision.redact"},
    "events": GROUND | {"vision"},
    "tracking": GROUND | {"vision"},
    "rules": GROUND | {"vision", "events"},
    "identity": GROUND | {"vision", "events", "proportions"},
    "face_reading": GROUND | {"vision", "models"},
    "parity": GROUND | {"vision", "street", "models"},
    "models": GROUND | {"vision", "backends.base", "strict_yaml"},
    "privacy": GROUND | {"events", "vision", "pipeline"},
    "pipeline": GROUND | CONTRACTS | {"vision", "tracking", "rules", "models"},
    "runtime": GROUND | CONTRACTS | {"vision", "tracking", "rules", "models", "identity", "face_reading", "pipeline", "state"},
}

# These build and command: they may see everything below them.
COMPOSERS = {
    "config",
    "assembly",
    "daemon",
    "replay",
    "retained_messages",
    "demo",
    "check",
    "init",
    "probe",
    "watch",
    "brokers",
    "cpu_choice",
    "engine_building",
    "face_assembly",
    "face_commands",
    "map_assembly",
    "engine_commands",
    "engine_opening",
    "engine_profiling",
    "engine_verification",
    "cli",
    "__main__",
    "__init__",
}


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix(".__init__")


def room_of(module: str) -> str:
    rooms = [room for room in MAY_USE if module == room or module.startswith(room + ".")]
    return max(rooms, key=len) if rooms else module.split(".", maxsplit=1)[0]


def imported_modules(path: Path) -> set[str]:
    """Modules of ours that a file imports, at its head or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "edged":
            base = node.module.removeprefix("edged").removeprefix(".")
            for alias in node.names:
                whole = f"{base}.{alias.name}".removeprefix(".")
                is_module = (PACKAGE / (whole.replace(".", "/") + ".py")).exists() or (PACKAGE / whole.replace(".", "/")).is_dir()
                found.add(whole if is_module else base)
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.removeprefix("edged").removeprefix(".") for alias in node.names if alias.name.split(".")[0] == "edged"
            }
    return found - {""}


def test_imports_of_every_module_follow_the_floor_plan():
    """Calls go down the house; a module uses only the rooms below its own."""
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = module_name(path)
        room = room_of(module)
        if room in COMPOSERS or not module:
            continue
        for target in sorted(imported_modules(path)):
            allowed = any(target == name or target.startswith(name + ".") for name in MAY_USE[room] | {room})
            if not allowed:
                wrong.append(f"{module} imports {target}")

    assert wrong == []


def test_rooms_of_the_house_are_all_known():
    """A new package must find its place in the table above."""
    unknown = {room_of(module_name(path)) for path in PACKAGE.rglob("*.py")} - set(MAY_USE) - COMPOSERS - {""}

    assert unknown == set()


@pytest.mark.parametrize("module", ["edged.daemon", "edged.cli"])
def test_importing_the_daemon_loads_nothing_heavy(module):
    """Foreign libraries are loaded by the leaf that owns them, when it is opened."""
    program = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "[]"


def test_no_module_of_the_daemon_mentions_torch():
    """torch is for the tools: the device does not have it."""
    mentions = [
        path.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "torch" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch")
    ]

    assert mentions == []
