"""Call the compiled op with NumPy arrays, without ONNX Runtime: for OpenVINO, benchmarks and tests.

The library's second entry, ``lsts_ops_describe``, hands out a table of C functions (``include/library.h``); this is
that table in ctypes. Threads are the library's own.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any

import numpy as np

from lsts_edge.custom_ops.finder import library_path, open_library
from lsts_edge.errors import OpLibraryVersion, OptionError, ShapeError
from lsts_edge.opspec import LSTS, NORMALIZATIONS

__all__ = ["NativeLsts", "copy_peak", "cpu_kernels", "multiply_add_peak"]

_TABLE_VERSION = 1
_MESSAGE_BYTES = 1024
_DTYPES = {"float32": 0, "float16": 1}


class _Call(ctypes.Structure):
    _fields_ = [
        ("memory_embedding", ctypes.c_void_p),
        ("current_embedding", ctypes.c_void_p),
        ("memory_feature", ctypes.c_void_p),
        ("aligned_feature", ctypes.c_void_p),
        ("peak_weight", ctypes.c_void_p),
        ("n", ctypes.c_int64),
        ("e", ctypes.c_int64),
        ("c", ctypes.c_int64),
        ("h", ctypes.c_int64),
        ("w", ctypes.c_int64),
        ("dtype", ctypes.c_int32),
    ]


_CREATE = ctypes.CFUNCTYPE(
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_int64,
    ctypes.c_int32,
    ctypes.c_char_p,
    ctypes.c_int32,
    ctypes.c_char_p,
    ctypes.c_size_t,
)
_RUN = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.POINTER(_Call), ctypes.c_char_p, ctypes.c_size_t)


class _Table(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint32),
        ("version", ctypes.c_uint32),
        ("create", _CREATE),
        ("destroy", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
        ("run", _RUN),
        ("scratch_bytes", ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.POINTER(_Call))),
        ("tap_count", ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)),
        ("kernel_name", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_int32)),
        ("multiply_add_peak", ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_char_p, ctypes.c_int32, ctypes.c_double)),
        ("copy_peak", ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64, ctypes.c_int32, ctypes.c_double)),
    ]


def _table() -> Any:
    path = library_path()
    pointer = ctypes.POINTER(_Table)()
    entry = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)(("lsts_ops_describe", open_library(path)))
    entry(ctypes.addressof(pointer))
    table = pointer.contents
    if table.version != _TABLE_VERSION or table.size < ctypes.sizeof(_Table):
        raise OpLibraryVersion(
            f"op library {path.name}: table of functions",
            got=f"version {table.version}, {table.size} bytes",
            expected=f"version {_TABLE_VERSION}, {ctypes.sizeof(_Table)} bytes",
            fix="Install lsts-edge again.",
        )
    return table


def cpu_kernels() -> tuple[str, ...]:
    """Names of the kernels that this CPU can run, the fastest first.

    Raises:
        OpLibraryError: if the library cannot be used (see ``library_path``).
    """
    table = _table()
    names: list[str] = []
    while (name := table.kernel_name(len(names))) is not None:
        names.append(name.decode())
    return tuple(names)


def multiply_add_peak(threads: int = 1, seconds: float = 0.2, kernel: str | None = None) -> float:
    """Multiply-adds per second on registers alone, the best of the passes that fit into ``seconds``.

    Args:
        threads: how many run at once, >= 1.
        seconds: how long to try.
        kernel: one of ``cpu_kernels()``; the fastest unless given.

    Raises:
        OpLibraryError: if the library cannot be used.
        OptionError: if this CPU has no such kernel or ``threads`` is out of range.
    """
    peak = float(_table().multiply_add_peak(kernel.encode() if kernel else None, threads, seconds))
    if peak <= 0.0:
        raise OptionError(
            "peak of a kernel",
            got=f"{kernel}, {threads} threads",
            expected=f"one of {', '.join(cpu_kernels())}, at least 1 thread",
            fix="Leave out the kernel.",
        )
    return peak


def copy_peak(size_bytes: int, threads: int = 1, seconds: float = 0.2) -> float:
    """Bytes copied per second between two buffers of that size (each read once, written once), the best pass.

    Args:
        size_bytes: of each buffer.
        threads: how many copy at once, >= 1.
        seconds: how long to try.

    Raises:
        OpLibraryError: if the library cannot be used.
        OptionError: if a number is out of range.
    """
    peak = float(_table().copy_peak(size_bytes, threads, seconds))
    if peak <= 0.0:
        raise OptionError("peak of copying", got=f"{size_bytes} bytes", expected=">= 1 a thread", fix="Copy more.")
    return peak


class NativeLsts:
    """The op with its plan, threads and scratch memory; calls may come from several threads.

    Args:
        offsets: ``(K, 2)``, ``(x, y)`` in feature cells; taken as float32.
        normalization: ``softmax`` or ``linear``.
        threads: the caller included; every processor this process may use unless given.
        kernel: one of ``cpu_kernels()``; the fastest unless given.

    Raises:
        OpLibraryError: if the library cannot be used.
        OptionError: if an argument is out of range.
        ShapeError: if ``offsets`` is not ``(K, 2)``.
    """

    def __init__(
        self,
        offsets: np.ndarray,
        normalization: str = "softmax",
        *,
        threads: int | None = None,
        kernel: str | None = None,
    ) -> None:
        table = np.ascontiguousarray(offsets, np.float32)
        if table.ndim != 2 or table.shape[1] != 2:
            raise ShapeError("LSTS offsets", got=table.shape, expected="(K, 2)", fix="Give (x, y) pairs.")
        if normalization not in NORMALIZATIONS:
            raise OptionError(
                "LSTS normalization", got=normalization, expected=", ".join(NORMALIZATIONS), fix="Use softmax."
            )
        self._functions = _table()
        self._locations = len(table)
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        self._handle = self._functions.create(
            table.ctypes.data,
            len(table),
            NORMALIZATIONS.index(normalization),
            kernel.encode() if kernel else None,
            len(os.sched_getaffinity(0)) if threads is None else threads,
            message,
            _MESSAGE_BYTES,
        )
        if not self._handle:
            raise OptionError(
                "the op library refused the plan",
                got=message.value.decode(),
                expected="offsets, kernel and threads in range",
                fix="Correct the argument that the text names.",
            )
        self._close = weakref.finalize(self, self._functions.destroy, self._handle)

    @property
    def tap_count(self) -> int:
        """U, the number of distinct taps."""
        return int(self._functions.tap_count(self._handle))

    def scratch_bytes(
        self, embedding_shape: tuple[int, ...], memory_shape: tuple[int, ...], dtype: str = "float32"
    ) -> int:
        """Memory that one call needs beside its tensors, all threads together.

        Args:
            embedding_shape: ``(N, E, H, W)``.
            memory_shape: ``(N, C, H, W)``.
            dtype: of the maps.
        """
        count, channels, height, width = memory_shape
        call = _Call(n=count, e=embedding_shape[1], c=channels, h=height, w=width, dtype=_DTYPES[dtype])
        return int(self._functions.scratch_bytes(self._handle, ctypes.byref(call)))

    def __call__(
        self,
        memory_embedding: np.ndarray,
        current_embedding: np.ndarray,
        memory_feature: np.ndarray,
        *,
        aligned: np.ndarray | None = None,
        peak: np.ndarray | None = None,
    ) -> np.ndarray:
        """Align the memory with the current feature (see ``lsts_edge.opspec.lsts_reference``).

        Args:
            memory_embedding: ``(N, E, H, W)`` float32 or float16.
            current_embedding: ``(N, E, H, W)`` of the same type.
            memory_feature: ``(N, C, H, W)`` of the same type.
            aligned: C-contiguous array that receives the result; made unless given.
            peak: ``(N, 1, H, W)`` float32, receives the peak weights where given.

        Returns:
            ``(N, C, H, W)`` of the same type.

        Raises:
            ShapeError: if shapes or types do not fit.
            OptionError: if the library refuses the call.
        """
        maps = [np.ascontiguousarray(a) for a in (memory_embedding, current_embedding, memory_feature)]
        embedding, current, feature = maps
        out = np.empty(feature.shape, feature.dtype) if aligned is None else aligned
        fits = (
            embedding.ndim == 4
            and feature.ndim == 4
            and embedding.shape == current.shape
            and embedding.shape[:1] + embedding.shape[2:] == feature.shape[:1] + feature.shape[2:]
            and {a.dtype.name for a in maps} == {feature.dtype.name}
            and feature.dtype.name in LSTS.tolerance
            and _takes(out, feature.shape, feature.dtype)
        )
        fits = fits and (peak is None or _takes(peak, (len(feature), 1, *feature.shape[2:]), np.dtype(np.float32)))
        if not fits:
            raise ShapeError(
                "LSTS tensors do not fit each other",
                got=", ".join(f"{a.shape} {a.dtype}" for a in (*maps, out, *([] if peak is None else [peak]))),
                expected="(N, E, H, W), (N, E, H, W), (N, C, H, W), all float32 or float16; results contiguous",
                fix="Give embeddings and feature of one map.",
            )
        count, channels, height, width = feature.shape
        call = _Call(
            embedding.ctypes.data,
            current.ctypes.data,
            feature.ctypes.data,
            out.ctypes.data,
            None if peak is None else peak.ctypes.data,
            count,
            embedding.shape[1],
            channels,
            height,
            width,
            _DTYPES[feature.dtype.name],
        )
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        if self._functions.run(self._handle, ctypes.byref(call), message, _MESSAGE_BYTES):
            raise OptionError(
                "the op library refused the call",
                got=message.value.decode(),
                expected="a call it can run",
                fix="Correct what the text names.",
            )
        return out


def _takes(array: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    return array.shape == shape and array.dtype == dtype and array.flags.c_contiguous and array.flags.writeable
