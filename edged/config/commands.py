"""The keys about commands."""

from __future__ import annotations

from edged.config.values import Flag, Number, Section, Whole, default_of, setting
from edged.runtime.commands import CommandSettings


class CommandsConfig(Section):
    """What others may ask of this device through the broker."""

    enabled: Flag = setting(False, "Whether commands are taken. Who may send them is for the broker to say: docs/commands.md.")
    rate_per_s: Number = setting(
        default_of(CommandSettings, "rate_per_s"),
        "Most commands a second, from all senders together; twice as many in one second after a pause.",
        unit="1/s",
        ge=0.1,
        le=100,
    )
    queue_limit: Whole = setting(
        default_of(CommandSettings, "queue_limit"), "Commands that may wait for the one being done.", unit="count", ge=1, le=64
    )
