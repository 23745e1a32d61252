"""What is asked of settings; NaN fails everything."""

from __future__ import annotations


def check_within(name: str, value: float, *, least: float, most: float) -> None:
    """Raises: ValueError: the value is not between the bounds, which count as inside."""
    if not least <= value <= most:
        raise ValueError(f"{name}: expected {least:g} to {most:g}, got {value:g}")


def check_share(value: float, *, name: str = "share") -> None:
    """Raises: ValueError: no share of samples."""
    check_within(name, value, least=0, most=1)


def check_range(name: str, values: tuple[float, float], *, least: float, most: float) -> None:
    """Raises: ValueError: the pair is not in order or not between the bounds, which count as inside."""
    if not least <= values[0] <= values[1] <= most:
        raise ValueError(f"{name}: expected two numbers from {least:g} to {most:g}, the smaller first, got {list(values)}")
