"""Several processes as one: rows of a batch and of its random numbers shared out, sums and choices over all of them."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import TypeVar

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from lsts_edge.errors import LstsEdgeError, OptionError, TrainingError

__all__ = ["ALONE", "Processes", "joined"]

_T = TypeVar("_T")
_LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets
_MOST_QUIET = datetime.timedelta(minutes=30)  # one process may read its data that much longer than another


@dataclass(frozen=True)
class Processes:
    """The processes that train one network together, as one of them sees them.

    Each draws the random numbers of the whole batch from the same generator and takes its own rows, every
    ``count``-th from ``rank`` on: the union is what one process alone would draw.

    Attributes:
        rank: of this process.
        count: of all processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def rows(self, values: torch.Tensor) -> torch.Tensor:
        """This process's rows of what all processes have."""
        return values if self.count == 1 else values[self.rank :: self.count]

    def uniform(self, rows: int, *shape: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
        """``(rows, *shape)`` of 0..1, this process's ``rows`` of the numbers of all."""
        return self.rows(torch.rand((rows * self.count, *shape), generator=generator)).to(device)

    def normal(self, rows: int, *shape: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
        """The same of the normal distribution."""
        return self.rows(torch.randn((rows * self.count, *shape), generator=generator)).to(device)

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """Of all processes' values, the same in each; no gradient goes through."""
        value = value.detach()
        if self.count > 1:
            value = value.clone()
            distributed.all_reduce(value)
        return value

    def gather(self, value: torch.Tensor) -> torch.Tensor:
        """All processes' values of one shape, ``(count, *shape)``; no gradient goes through."""
        value = value.detach().contiguous()
        if self.count == 1:
            return value[None]
        parts = [torch.empty_like(value) for _ in range(self.count)]
        distributed.all_gather(parts, value)
        return torch.stack(parts)

    def from_first(self, make: Callable[[], _T]) -> _T:
        """What the first process makes, in each; the others do not call ``make``."""
        if self.count == 1:
            return make()
        made = [make() if self.is_first else None]
        distributed.broadcast_object_list(made, src=0, device=torch.device("cpu"))
        return made[0]  # type: ignore[return-value]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            distributed.barrier()


ALONE = Processes()


@contextlib.contextmanager
def joined(device: str) -> Iterator[tuple[Processes, str]]:
    """Join the processes that torchrun started; without it this process is alone.

    An error leaves as itself from the process where it happened first. The others, which only miss that one, or
    meet the same error, leave without a word.

    Args:
        device: as asked for: ``cpu``, or ``cuda`` for one GPU of this machine a process.

    Yields:
        The processes, and this one's device.

    Raises:
        OptionError: if several processes are to share one GPU by name, or there are fewer GPUs.
        TrainingError: if another process is gone without an error.
    """
    if not all(name in os.environ for name in _LAUNCHED) or os.environ["WORLD_SIZE"] == "1":
        yield ALONE, device
        return
    signal.signal(signal.SIGTERM, _leave)  # torchrun ends the others so, after one's error, and says so itself
    local = int(os.environ["LOCAL_RANK"])
    if os.environ["RANK"] != "0":
        signal.signal(signal.SIGINT, _leave)
    store, rank, count = next(rendezvous("env://"))
    failures = PrefixStore("failures", store)
    try:
        if device.startswith("cuda:"):
            fix = "Say cuda; each process takes its own."
            raise OptionError("--device with several processes", got=device, expected="cpu or cuda", fix=fix)
        backend = "gloo"
        if device == "cuda":
            there = torch.cuda.device_count()
            if local >= there:
                got, fix = f"{there} GPUs, process {local + 1}", "Start as many processes as GPUs, or use --device cpu."
                raise OptionError("--device cuda", got=got, expected="a GPU for each of a machine", fix=fix)
            device = f"cuda:{local}"
            backend = "cpu:gloo,cuda:nccl"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=_MOST_QUIET)
        if backend != "gloo":
            torch.cuda.set_device(local)
        yield Processes(rank, count), device
        distributed.destroy_process_group()
    except SystemExit:
        raise
    except BaseException as error:
        try:
            first = failures.add("count", 1) == 1
        except RuntimeError:  # whoever kept count is gone too
            first = rank == 0
        if not first:
            sys.exit(error.exit_status if isinstance(error, LstsEdgeError) else 1)
        if isinstance(error, RuntimeError) and not isinstance(error, LstsEdgeError) and _of_a_peer(error):
            raise TrainingError(
                "another process of this run is gone",
                got=str(error).splitlines()[0][:200],
                expected="all of them to the end",
                fix="See what ended it; --resume goes on from the last save.",
            ) from error
        raise


def _of_a_peer(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, distributed.DistError) or any(word in text for word in ("gloo", "nccl", "connection"))


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
