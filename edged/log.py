"""Logs: one line an event, on standard error, as text for people or JSON for collectors."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from typing import TextIO

from edged.sources.url import redact


class _RedactingFormatter(logging.Formatter):
    """The last guard: whatever a library put into a message, no user name or password of a URL leaves."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _JsonFormatter(_RedactingFormatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "thread": record.threadName,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            line["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def configure_logging(*, level: str, style: str, stream: TextIO) -> None:
    """Send every log of the process to `stream`.

    Args:
        level: debug, info, warning or error.
        style: text or json.
        stream: usually standard error.
    """
    handler = logging.StreamHandler(stream)
    text_form = "%(asctime)s %(levelname)-7s [%(threadName)s] %(name)s: %(message)s"
    handler.setFormatter(_JsonFormatter() if style == "json" else _RedactingFormatter(text_form))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
