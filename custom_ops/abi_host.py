"""Drive the op library through ONNX Runtime's table of functions, without ONNX Runtime: pointers in, pointers out.

The library cannot tell: it gets a table with the same slots. With device pointers and a stream its CUDA kernels run
where no onnxruntime-gpu is installed, under a sanitizer and inside a CUDA graph too. For tests and benchmarks; one
thread at a time, and ParallelFor is a loop.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lsts_edge.errors import OpLibraryError, OpLibraryProvider

__all__ = ["AbiHost", "AbiKernel", "ShapeTold", "TensorView"]

_P, _SIZE, _I64, _INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, ctypes.c_int
_SLOTS = 512
_API_VERSION = 17
_ELEMENT_TYPES = {"float32": 1, "float16": 10}
_OP_FIELDS = 24  # of OrtCustomOp at version 17, the version number included
_GET_NAME, _GET_PROVIDER, _GET_INPUT_TYPE, _KERNEL_DESTROY, _CREATE_KERNEL, _COMPUTE, _INFER = 2, 3, 4, 9, 17, 18, 19
_OFFSETS_INPUT = 3


@dataclass(frozen=True)
class TensorView:
    """A tensor that someone else owns: address (host or device), shape and NumPy type name."""

    address: int
    shape: tuple[int, ...]
    dtype: str = "float32"

    @classmethod
    def of(cls, array: Any) -> TensorView:
        """The view of a contiguous NumPy array or torch tensor; it must outlive the view."""
        if isinstance(array, np.ndarray):
            return cls(array.ctypes.data, array.shape, array.dtype.name)
        return cls(array.data_ptr(), tuple(array.shape), str(array.dtype).removeprefix("torch."))


@dataclass
class ShapeTold:
    """A tensor before it exists: NumPy type name, sizes (-1 where open) and the sizes' names (``""`` without one)."""

    dtype: str = "float32"
    shape: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


@dataclass
class _Inferring:
    """A node while its shapes are inferred: ``told`` has one entry for each of its outputs."""

    inputs: Sequence[ShapeTold]
    told: list[ShapeTold | None]
    past_the_end: list[int]


@dataclass
class _Running:
    """What the library may ask for while a kernel is made or run."""

    attributes: dict[str, str]
    inputs: Sequence[TensorView]
    outputs: Sequence[TensorView]
    stream: int = 0


class AbiHost:
    """A registered op library.

    Args:
        path: the library's file.

    Raises:
        OpLibraryError: if the file cannot be opened or refuses to register.
    """

    def __init__(self, path: Path) -> None:
        self._kept: list[Any] = []
        self._statuses: list[str] = []
        self._values: list[TensorView | ShapeTold] = []
        self._ops: list[int] = []
        self._running = _Running({}, (), ())
        self._inferring = _Inferring((), [], [])
        self._table = (_P * _SLOTS)()
        self._fill_table()
        self._fill_shape_inference()
        get_api = ctypes.CFUNCTYPE(_P, ctypes.c_uint32)(
            lambda version: ctypes.addressof(self._table) if version <= _API_VERSION else None
        )
        version_text = ctypes.CFUNCTYPE(ctypes.c_char_p)(lambda: b"1.17.0")
        self._base = (_P * 2)(ctypes.cast(get_api, _P), ctypes.cast(version_text, _P))
        self._kept += [get_api, version_text]
        try:
            library = ctypes.CDLL(str(path))
            register = ctypes.CFUNCTYPE(_P, _P, _P)(("RegisterCustomOps", library))
        except (OSError, AttributeError) as error:
            raise OpLibraryError(
                "op library cannot be opened", got=str(error), expected="RegisterCustomOps", fix="Build it again."
            ) from error
        self._check(register(1, ctypes.addressof(self._base)))

    @property
    def ops(self) -> tuple[tuple[str, str, str], ...]:
        """Name, provider (``CPUExecutionProvider`` where the op names none) and type of every op registered."""
        told = []
        for op in self._ops:
            name = self._field(op, _GET_NAME, ctypes.c_char_p, _P)(op).decode()
            provider = self._field(op, _GET_PROVIDER, ctypes.c_char_p, _P)(op) or b"CPUExecutionProvider"
            element = self._field(op, _GET_INPUT_TYPE, _INT, _P, _SIZE)(op, 0)
            dtype = {number: dtype for dtype, number in _ELEMENT_TYPES.items()}[element]
            told.append((name, provider.decode(), dtype))
        return tuple(told)

    def kernel(
        self,
        offsets: np.ndarray,
        *,
        dtype: str,
        provider: str = "CUDAExecutionProvider",
        normalization: str = "softmax",
    ) -> AbiKernel:
        """A kernel of ``LSTS``, as a session would make it.

        Args:
            offsets: ``(K, 2)`` float32, in host memory.
            dtype: ``float32`` or ``float16``.
            provider: ONNX Runtime's name of the provider.
            normalization: the node's attribute.

        Raises:
            OpLibraryProvider: if no such op was registered.
            OpLibraryError: if the library refuses.
        """
        wanted = ("LSTS", provider, dtype)
        if wanted not in self.ops:
            raise OpLibraryProvider(
                "op library", got=", ".join(map(str, self.ops)), expected=str(wanted), fix="Build it with nvcc."
            )
        op = self._ops[self.ops.index(wanted)]
        empty = TensorView(0, (), dtype)
        self._running = _Running({"normalization": normalization}, (empty, empty, empty, TensorView.of(offsets)), ())
        handle = _P()
        create = self._field(op, _CREATE_KERNEL, _P, _P, _P, _P, ctypes.POINTER(_P))
        self._check(create(op, ctypes.addressof(self._table), 1, ctypes.byref(handle)))
        return AbiKernel(self, op, int(handle.value or 0), TensorView.of(offsets))

    def infer_shapes(
        self, inputs: Sequence[ShapeTold], *, outputs: int, provider: str = "CPUExecutionProvider"
    ) -> tuple[ShapeTold | None, ...]:
        """What ``LSTS`` says about its outputs before it runs; None for an output that it leaves open.

        Args:
            inputs: the node's inputs; no sizes stand for an unknown rank.
            outputs: how many the node has.
            provider: ONNX Runtime's name of the provider.

        Raises:
            OpLibraryError: if the library refuses, or names an output that the node has not: an ONNX Runtime older
                than 1.28 does not check that index, and the process ends.
        """
        op = next(op for op, told in zip(self._ops, self.ops, strict=True) if told[:2] == ("LSTS", provider))
        self._values.clear()
        self._inferring = _Inferring(inputs, [None] * outputs, [])
        self._check(self._field(op, _INFER, _P, _P, _P)(op, 1))
        if self._inferring.past_the_end:
            raise OpLibraryError(
                "shape inference of LSTS",
                got=f"a shape for output {self._inferring.past_the_end[0]}",
                expected=f"shapes for the node's {outputs} outputs alone",
                fix="Set the shapes of required outputs only.",
            )
        return tuple(self._inferring.told)

    def _compute(self, op: int, handle: int, running: _Running) -> None:
        self._running = running
        self._values.clear()
        self._check(self._field(op, _COMPUTE, _P, _P, _P)(handle, 1))

    def _destroy(self, op: int, handle: int) -> None:
        self._field(op, _KERNEL_DESTROY, None, _P)(handle)

    @staticmethod
    def _field(op: int, index: int, result: Any, *arguments: Any) -> Callable[..., Any]:
        return ctypes.CFUNCTYPE(result, *arguments)((_P * _OP_FIELDS).from_address(op)[index] or 0)

    def _check(self, status: int | None) -> None:
        if status:
            raise OpLibraryError(
                "op library", got=self._statuses[status - 1], expected="success", fix="Follow the text above."
            )

    def _status(self, text: str) -> int:
        self._statuses.append(text)
        return len(self._statuses)

    def _value(self, tensor: TensorView | ShapeTold) -> int:
        self._values.append(tensor)
        return len(self._values)

    def _slot(self, index: int, result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], None]:
        """Put a Python function into the table."""

        def put(function: Callable[..., Any]) -> None:
            made = ctypes.CFUNCTYPE(result, *arguments)(function)
            self._kept.append(made)
            self._table[index] = ctypes.cast(made, _P).value

        return put

    def _fill_shape_inference(self) -> None:
        slot, names_of = self._slot, ctypes.POINTER(ctypes.c_char_p)

        def told(handle: int) -> ShapeTold:
            value = self._values[handle - 1]
            assert isinstance(value, ShapeTold)
            return value

        @slot(57, _P, ctypes.POINTER(_P))
        def create(out: Any) -> None:
            out[0] = self._value(ShapeTold())

        @slot(58, _P, _P, _INT)
        def set_type(value: int, element: int) -> None:
            told(value).dtype = {number: dtype for dtype, number in _ELEMENT_TYPES.items()}[element]

        @slot(59, _P, _P, ctypes.POINTER(_I64), _SIZE)
        def set_sizes(value: int, sizes: Any, rank: int) -> None:
            told(value).shape = tuple(sizes[:rank])

        @slot(63, _P, _P, names_of, _SIZE)
        def get_names(value: int, out: Any, rank: int) -> None:
            kept = [name.encode() for name in told(value).names] or [b""] * rank
            self._kept.append(kept)
            for axis in range(rank):
                out[axis] = kept[axis]

        @slot(268, _P, _P, _SIZE, ctypes.POINTER(_P))
        def get_input(_: int, index: int, out: Any) -> None:
            out[0] = self._value(self._inferring.inputs[index])

        @slot(270, _P, _P, _SIZE, _P)
        def set_output(_: int, index: int, value: int) -> None:
            if index < len(self._inferring.told):
                self._inferring.told[index] = told(value)
            else:
                self._inferring.past_the_end.append(index)

        @slot(271, _P, _P, names_of, _SIZE)
        def set_names(value: int, names: Any, rank: int) -> None:
            told(value).names = tuple(name.decode() for name in names[:rank])

    def _fill_table(self) -> None:
        """Every slot the library uses; any other one stops the process with a clear text instead of a crash."""
        slot = self._slot

        def tensor(handle: int) -> Any:
            return self._values[handle - 1]

        def set_to(pointer: Any, value: int) -> None:
            pointer[0] = value

        def absent(*_: Any) -> int:
            return self._status("no such attribute")

        pp, p_size, p_i64 = ctypes.POINTER(_P), ctypes.POINTER(_SIZE), ctypes.POINTER(_I64)
        for index in range(_SLOTS):
            slot(index, _P)(lambda index=index: self._status(f"slot {index} of the table is not served"))
        slot(0, _P, _INT, ctypes.c_char_p)(lambda _, text: self._status(text.decode()))
        slot(26, _P, ctypes.c_char_p, pp)(lambda _, out: set_to(out, 1))
        slot(27, _P, _P, _P)(lambda _, op: self._ops.append(op))
        slot(28, _P, _P, _P)(lambda *_: None)
        slot(51, _P, _P, pp)(lambda value, out: set_to(out, tensor(value).address))
        slot(60, _P, _P, ctypes.POINTER(_INT))(lambda value, out: set_to(out, _ELEMENT_TYPES[tensor(value).dtype]))
        slot(61, _P, _P, p_size)(lambda value, out: set_to(out, len(tensor(value).shape)))
        slot(65, _P, _P, pp)(lambda value, out: set_to(out, value))
        slot(85, _P, _P, ctypes.c_char_p, _P)(absent)
        slot(86, _P, _P, ctypes.c_char_p, _P)(absent)
        slot(88, _P, _P, p_size)(lambda _, out: set_to(out, len(self._running.inputs)))
        slot(89, _P, _P, p_size)(lambda _, out: set_to(out, len(self._running.outputs)))
        slot(90, _P, _P, _SIZE, pp)(lambda _, i, out: set_to(out, self._value(self._running.inputs[i])))
        slot(93, None, _P)(lambda _: None)
        slot(99, None, _P)(lambda _: None)
        slot(193, _P, _P, pp)(lambda _, out: set_to(out, self._running.stream))

        @slot(62, _P, _P, p_i64, _SIZE)
        def get_dimensions(value: int, out: Any, rank: int) -> None:
            for axis in range(rank):
                out[axis] = tensor(value).shape[axis]

        @slot(87, _P, _P, ctypes.c_char_p, _P, p_size)
        def get_string(_: int, name: bytes, out: int, size: Any) -> int | None:
            text = self._running.attributes.get(name.decode())
            if text is None:
                return absent()
            raw = text.encode() + b"\0"
            fits = len(raw) <= size[0]
            size[0] = len(raw)
            if not fits:
                return self._status("the buffer is too small")
            ctypes.memmove(out, raw, len(raw))
            return None

        @slot(91, _P, _P, _SIZE, p_i64, _SIZE, pp)
        def get_output(_: int, index: int, dims: Any, rank: int, out: Any) -> int | None:
            given, asked = self._running.outputs[index], tuple(dims[axis] for axis in range(rank))
            if given.shape != asked:
                return self._status(f"output {index}: got {given.shape}, expected {asked}. Give one of that shape.")
            set_to(out, self._value(given))
            return None

        @slot(249, _P, _P, _SIZE, ctypes.POINTER(_INT), pp)
        def get_constant(_: int, index: int, is_constant: Any, out: Any) -> None:
            set_to(is_constant, int(index == _OFFSETS_INPUT))
            set_to(out, self._value(self._running.inputs[index]))

        @slot(274, _P, _P, ctypes.CFUNCTYPE(None, _P, _SIZE), _SIZE, _SIZE, _P)
        def parallel_for(_: int, body: Callable[..., None], count: int, __: int, context: int) -> None:
            for index in range(count):
                body(context, index)


class AbiKernel:
    """One kernel and its plan; a context manager. Made by ``AbiHost.kernel``."""

    def __init__(self, host: AbiHost, op: int, handle: int, offsets: TensorView) -> None:
        self._host, self._op, self._handle, self._offsets = host, op, handle, offsets

    def run(
        self,
        memory_embedding: TensorView,
        current_embedding: TensorView,
        memory_feature: TensorView,
        aligned_feature: TensorView,
        peak_weight: TensorView | None = None,
        *,
        stream: int = 0,
    ) -> None:
        """Enqueue one call (CUDA) or run it (CPU).

        Args:
            memory_embedding: ``(N, E, H, W)``.
            current_embedding: ``(N, E, H, W)``.
            memory_feature: ``(N, C, H, W)``.
            aligned_feature: ``(N, C, H, W)``, written.
            peak_weight: ``(N, 1, H, W)`` float32, written where given.
            stream: a ``cudaStream_t`` as a number.

        Raises:
            OpLibraryError: if the library returns a status.
        """
        inputs = (memory_embedding, current_embedding, memory_feature, self._offsets)
        outputs = (aligned_feature,) if peak_weight is None else (aligned_feature, peak_weight)
        self._host._compute(self._op, self._handle, _Running({}, inputs, outputs, stream))

    def close(self) -> None:
        """Destroy the kernel; further calls do nothing."""
        if self._handle:
            self._host._destroy(self._op, self._handle)
            self._handle = 0

    def __enter__(self) -> AbiKernel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
