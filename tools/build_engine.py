"""TensorRT engines of directories, as `edged engines build` builds them: `python -m tools.build_engine engines/mine`."""

from __future__ import annotations

import sys

from edged import cli


def main(argv: list[str] | None = None) -> int:
    """Call `edged engines build` with the same arguments."""
    return cli.main(["engines", "build", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    raise SystemExit(main())
