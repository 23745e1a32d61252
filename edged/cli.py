"""The command line: finds the command, runs it, turns errors into messages and exit codes."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence

import edged
from edged.errors import EXIT_CANCELLED, EdgedError, exit_status

EPILOG = "exit status: 0 done, 1 failed, 70 CUDA device lost, 78 wrong configuration, network or input, 130 cancelled"


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    # here, so that a signal meets its handler first
    from edged import check, daemon, demo, engine_commands, face_commands, init, probe, replay, watch

    parser = argparse.ArgumentParser(prog="edged", description=edged.__doc__, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"edged {edged.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add(commands, "init", "write a first configuration", init.add_arguments, init.run)
    _add(commands, "check", "say what is wrong with a configuration", check.add_arguments, check.run)
    _add(commands, "run", "watch the cameras of a configuration", daemon.add_arguments, daemon.run)
    _add(commands, "probe", "try one camera and show what it sends", probe.add_arguments, probe.run)
    _add(commands, "watch", "show the events of a broker as they come", watch.add_arguments, watch.run)
    _add(commands, "replay", "send a recording through the pipeline", replay.add_arguments, replay.run)
    _add(commands, "engines", "build, list and verify TensorRT engines", engine_commands.add_arguments, engine_commands.run)
    _add(commands, "faces", "enrol, identify and forget people", face_commands.add_arguments, face_commands.run)
    _add(commands, "demo", "watch a drawn street, or any source, for a minute", demo.add_arguments, demo.run)
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    help_text: str,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    run: Callable[[argparse.Namespace], int],
) -> None:
    parser = commands.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".", epilog=EPILOG)
    add_arguments(parser)
    parser.set_defaults(run=run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit status."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))  # until a command sets its own
    try:
        parsed = make_parser().parse_args(arguments)
        status = parsed.run(parsed)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `edged watch | head`: done, and Python must not complain when it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except EdgedError as error:
        print(f"edged: {error}", file=sys.stderr)
        return exit_status(error)
    except KeyboardInterrupt:
        return EXIT_CANCELLED
