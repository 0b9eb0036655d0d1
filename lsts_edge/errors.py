"""Every error raised on purpose, each with a stable code and a process exit status."""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AnnotationError",
    "BenchmarkDevice",
    "BenchmarkResult",
    "BundleError",
    "BundleResources",
    "CheckFailed",
    "CheckpointError",
    "CheckpointUnsafe",
    "ClipUnavailable",
    "DetectorError",
    "DetectorRefused",
    "DetectorSize",
    "DetectorSpecError",
    "DetectorUnknown",
    "DigestMismatch",
    "ExportError",
    "FileUnusable",
    "FileUnwritable",
    "KeyFileError",
    "LstsEdgeError",
    "ManifestError",
    "OpLibraryDigest",
    "OpLibraryError",
    "OpLibraryMissing",
    "OpLibraryProvider",
    "OpLibraryVersion",
    "OptionError",
    "PackageMissing",
    "PolicyError",
    "ProviderError",
    "ProviderMissing",
    "ProviderUnavailable",
    "ShapeError",
    "SignatureError",
    "StateConcurrent",
    "StateError",
    "StreamEmpty",
    "StreamError",
    "StreamLost",
    "StreamUnauthorized",
    "StreamUnreadable",
    "TrainingError",
]


class LstsEdgeError(Exception):
    """Base of every error raised on purpose.

    ``code`` and ``exit_status`` are stable; the prose is not. Each subclass also derives from the
    builtin exception that a plain caller would catch.

    Args:
        problem: what went wrong, naming the file, tensor or option.
        got: the value found.
        expected: the value, range or kind that would have been accepted.
        fix: what the reader can do about it, as a sentence.
    """

    code: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = 1

    def __init__(self, problem: str, *, got: object, expected: object, fix: str) -> None:
        super().__init__(f"{problem}: got {got}, expected {expected}. {fix}")
        self.problem = problem
        self.got = got
        self.expected = expected
        self.fix = fix


class CheckFailed(LstsEdgeError, AssertionError):
    """A check ran to its end and the answer is no (parity, a figure below its floor)."""

    code = "check-failed"
    exit_status = 1


class OptionError(LstsEdgeError, ValueError):
    """An option or argument outside its range."""

    code = "option"
    exit_status = 2


class BenchmarkResult(LstsEdgeError, ValueError):
    """A benchmark's result file that cannot be read, or a result that cannot be written."""

    code = "benchmark-result"
    exit_status = 1


class BenchmarkDevice(BenchmarkResult):
    """Times of different devices in one comparison."""

    code = "benchmark-device"


class PackageMissing(LstsEdgeError, ImportError):
    """A command needs a package that this install does not have."""

    code = "package-missing"
    exit_status = 2


class AnnotationError(LstsEdgeError, ValueError):
    """An annotation file that cannot be read, or that has nothing in common with the model's classes."""

    code = "annotations"
    exit_status = 2


class TrainingError(LstsEdgeError, RuntimeError):
    """Training cannot go on (a loss that is not finite, a resume that does not fit)."""

    code = "training"
    exit_status = 1


class FileUnusable(LstsEdgeError, OSError):
    """A file, folder or standard output that the operating system refuses."""

    code = "file"
    exit_status = 1


class FileUnwritable(LstsEdgeError, OSError):
    """An output path that cannot be written (exists, read-only, disk full)."""

    code = "file-unwritable"
    exit_status = 1


class ExportError(LstsEdgeError, RuntimeError):
    """The model cannot be written as the subgraphs asked for."""

    code = "export"
    exit_status = 1


class DetectorError(LstsEdgeError, ValueError):
    """Somebody's detector cannot be wrapped."""

    code = "detector"
    exit_status = 2


class DetectorRefused(DetectorError):
    """The file is no valid ONNX, points outside itself, is too large or needs operators that are not standard."""

    code = "detector-refused"


class DetectorUnknown(DetectorError):
    """The model's inputs and outputs are of no family that we know, or of none that was asked for."""

    code = "detector-unknown"


class DetectorSize(DetectorError):
    """The detector has no size of its own and none was given, or cannot run at the size asked for."""

    code = "detector-size"


class DetectorSpecError(DetectorError):
    """What was said about the detector is unknown, of another kind, or does not fit the model."""

    code = "detector-spec"


class BundleError(LstsEdgeError, ValueError):
    """The bundle directory is missing, incomplete, has extra files or holds something refused."""

    code = "bundle"
    exit_status = 3


class ManifestError(BundleError):
    """``manifest.json`` is malformed, too large, of an unknown schema or contradicts itself."""

    code = "bundle-manifest"


class DigestMismatch(BundleError):
    """A file's bytes are not those the manifest was written for."""

    code = "bundle-digest"


class BundleResources(BundleError):
    """A bundle that wants more memory or time to load and run its first frames than it may have."""

    code = "bundle-resources"


class SignatureError(BundleError):
    """A bundle that no trusted key has signed, or whose ``signature.json`` is damaged."""

    code = "bundle-signature"


class KeyFileError(BundleError):
    """A file that should hold a key for signatures and does not."""

    code = "key-file"


class PolicyError(BundleError):
    """The device's policy on signatures cannot be followed, or forbids what was asked."""

    code = "policy"


class OpLibraryError(LstsEdgeError, ImportError):
    """The compiled custom-op library cannot be used."""

    code = "oplib"
    exit_status = 4


class OpLibraryMissing(OpLibraryError):
    """No custom-op library was built into this install."""

    code = "oplib-missing"


class OpLibraryDigest(OpLibraryError):
    """The library file is not the one that was built with this install."""

    code = "oplib-digest"


class OpLibraryProvider(OpLibraryError):
    """The library holds no kernels for the provider, or none that this machine's driver can run."""

    code = "oplib-provider"


class OpLibraryVersion(OpLibraryError):
    """The library and the op specifications (or the engine) disagree about a version."""

    code = "oplib-version"


class StreamError(LstsEdgeError, OSError):
    """A video source failed."""

    code = "stream"
    exit_status = 5


class ClipUnavailable(StreamError):
    """A demo clip cannot be had: no network, or other bytes than those pinned."""

    code = "clip-unavailable"


class StreamUnreadable(StreamError):
    """The source does not exist or is no video."""

    code = "stream-unreadable"


class StreamEmpty(StreamError):
    """The source opened and gave no frame."""

    code = "stream-empty"


class StreamUnauthorized(StreamUnreadable):
    """The camera or server refuses the user name or password."""

    code = "stream-unauthorized"


class StreamLost(StreamError):
    """A live source was there and is gone for good; what it gave before is kept."""

    code = "stream-lost"
    exit_status = 8


class ProviderError(LstsEdgeError, RuntimeError):
    """An inference engine or execution provider failed."""

    code = "provider"
    exit_status = 6


class ProviderMissing(ProviderError):
    """No engine is installed, or two packages that overwrite each other are."""

    code = "provider-missing"


class ProviderUnavailable(ProviderError):
    """The provider asked for is not the provider this machine gives."""

    code = "provider-unavailable"


class CheckpointError(LstsEdgeError, ValueError):
    """A checkpoint does not fit the preset; the text lists every difference."""

    code = "checkpoint"
    exit_status = 7


class CheckpointUnsafe(CheckpointError):
    """A checkpoint file that would run code when read."""

    code = "checkpoint-unsafe"


class ShapeError(LstsEdgeError, ValueError):
    """An array has the wrong rank, size or type."""

    code = "shape"
    exit_status = 1


class StateError(LstsEdgeError, RuntimeError):
    """The memory carried between frames cannot be used."""

    code = "state"
    exit_status = 1


class StateConcurrent(StateError):
    """Two threads pushed frames into one detector."""

    code = "state-concurrent"
