"""The command line itself, whatever the command."""

from __future__ import annotations

import os
import subprocess
import sys


def test_reader_that_goes_away_ends_a_command_quietly() -> None:
    """As `edged COMMAND | head` does: nobody reads what is printed, and nothing is complained about."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "edged", "engines", "list"], stdout=write_end, stderr=subprocess.PIPE, timeout=60, check=False
        )
    finally:
        os.close(write_end)

    assert (ended.returncode, ended.stderr) == (0, b"")
