"""``--limit-memory`` and ``--limit-time``: load a bundle and run its first frames in a child before anything else."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from lsts_edge.bundle import Bundle
from lsts_edge.errors import OptionError

if TYPE_CHECKING:
    from lsts_edge.runtime.bundle_trial import Usage
    from lsts_edge.runtime.child import ChildLimits
    from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["limit_options", "limits_of", "try_within", "usage_line"]

_Command = TypeVar("_Command", bound=Callable[..., object])
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*(|[kmg]i?)b?", re.IGNORECASE)


def _size(text: str) -> int:
    # A function, not a ParamType: that class is generic in click 8.3 and is not in 8.1, which we allow.
    match = _SIZE.fullmatch(text.strip())
    size = round(float(match.group(1)) * _UNITS[match.group(2).lower()]) if match else 0
    if not 2**24 <= size < 2**50:
        raise click.BadParameter(f"{text!r} is no size from 16MiB on, such as 2GB or 512MiB.")
    return size


def limit_options(command: _Command) -> _Command:
    """The two options of a command, as ``limit_memory`` (bytes) and ``limit_time`` (seconds); None where not given."""
    memory = click.option(
        "--limit-memory", type=_size, metavar="SIZE", help="Memory to load and run first frames in: 2GB, 512MiB."
    )
    seconds = click.option(
        "--limit-time", type=click.FloatRange(min=1, max=86400), metavar="SECONDS", help="Time to do so in."
    )
    return memory(seconds(command))


def limits_of(limit_memory: int | None, limit_time: float | None, *, default: bool) -> ChildLimits | None:
    """What was asked for, the rest by default; None where nothing was and ``default`` is false."""
    from lsts_edge.runtime.bundle_trial import DEFAULT_LIMITS
    from lsts_edge.runtime.child import ChildLimits

    if limit_memory is None and limit_time is None and not default:
        return None
    if limit_time is not None and not limit_time >= 1:  # click's range lets NaN through
        raise OptionError("--limit-time", got=limit_time, expected="1..86400 seconds", fix="Give a number.")
    return ChildLimits(limit_time or DEFAULT_LIMITS.time_s, limit_memory or DEFAULT_LIMITS.memory_bytes)


def try_within(bundle: Bundle, engine: EngineOptions, limits: ChildLimits | None) -> Usage | None:
    """Load and run first frames of ``bundle`` in a child, where limits are given.

    Raises:
        BundleResources: if it does not do so within them.
    """
    from lsts_edge.runtime.bundle_trial import try_bundle

    return None if limits is None else try_bundle(bundle, engine, limits)


def usage_line(usage: Usage, engine: str) -> str:
    """What loading and first frames took, in words."""
    took = f"{usage.load_s:.1f} s to load, {1000 * usage.frames_s:.0f} ms for its first frames"
    return f"{took}, {usage.peak_memory_bytes / 1e6:.0f} MB of memory with the interpreter and {engine}"
