"""Which engine runs a bundle's graphs and how, as one value that is checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsts_edge.errors import OptionError
from lsts_edge.kinds import check_fields
from lsts_edge.runtime.engines.interface import BACKENDS, Backend

__all__ = ["EngineOptions"]

_PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class EngineOptions:
    """An engine, its device and its settings, and which of the bundle's graphs it runs.

    Attributes:
        backend: ``onnxruntime``, ``openvino``, or an engine that is open already, whose device and settings are fixed.
        provider: ``cpu``, ``cuda``, ``tensorrt``; with OpenVINO ``cpu``, ``gpu``, ``auto``. The one asked for is the
            one used.
        threads: threads inside an operator, 1 to 1024; None leaves the choice to the engine.
        precision: OpenVINO's inference precision, ``fp32``, ``bf16`` or ``fp16``; ONNX Runtime computes what the
            graph says and takes ``fp32`` only.
        cache_dir: where OpenVINO or TensorRT may keep compiled graphs; None keeps none.
        lsts_form: ``taps``, ``custom``, ``gridsample``, or ``auto``, which measures them on this device once; None
            takes the bundle's default.
        joined: run the joined graphs; None does so where the bundle has them.

    Raises:
        OptionError: if a name or number is not one of those above, or would be ignored.
    """

    backend: str | Backend = "onnxruntime"
    provider: str = "cpu"
    threads: int | None = None
    precision: str = "fp32"
    cache_dir: Path | None = None
    lsts_form: str | None = None
    joined: bool | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if not isinstance(self.backend, str):
            self._refuse_what_is_ignored()
            return
        if self.backend not in BACKENDS:
            expected = ", ".join(BACKENDS)
            raise OptionError("unknown backend", got=repr(self.backend), expected=expected, fix="Choose one of these.")
        providers = BACKENDS[self.backend]
        if self.provider not in providers:
            problem, expected = f"unknown provider of {self.backend}", ", ".join(providers)
            raise OptionError(problem, got=repr(self.provider), expected=expected, fix="Choose one.")
        if self.threads is not None and not 1 <= self.threads <= 1024:
            fix = "Leave it out for the engine's choice."
            raise OptionError("threads", got=self.threads, expected="1..1024", fix=fix)
        if self.backend == "openvino":
            if self.precision not in _PRECISIONS:
                expected = ", ".join(_PRECISIONS)
                raise OptionError(
                    "precision of OpenVINO", got=repr(self.precision), expected=expected, fix="Choose one."
                )
        elif self.precision != "fp32":
            fix = "Export at that precision."
            raise OptionError("precision of ONNX Runtime", got=repr(self.precision), expected="fp32", fix=fix)

    def _refuse_what_is_ignored(self) -> None:
        """An open engine has its device and settings: another word about them would have no effect."""
        plain = EngineOptions(lsts_form=self.lsts_form, joined=self.joined)
        ignored = [name for name in _OF_THE_ENGINE if getattr(self, name) != getattr(plain, name)]
        if ignored:
            got, fix = f"{', '.join(ignored)} too", "Give them to open_backend, or name the engine."
            raise OptionError("an engine that is open", got=got, expected="the engine alone", fix=fix)
        if self.lsts_form == "auto":
            fix = "Name the form, or the backend."
            raise OptionError("LSTS form auto", got="a backend already open", expected="its name", fix=fix)

    @property
    def name(self) -> str:
        """Name of the engine, open or not."""
        return self.backend if isinstance(self.backend, str) else self.backend.name

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the cache folder, which is nobody else's business: for results and other processes."""
        return {
            "backend": self.name,
            "provider": self.provider if isinstance(self.backend, str) else self.backend.provider,
            "threads": self.threads,
            "precision": self.precision,
            "lsts_form": self.lsts_form,
            "joined": self.joined,
        }


_OF_THE_ENGINE = ("provider", "threads", "precision", "cache_dir")
