"""The files of a bundle: which names are allowed, and that they are those of its graphs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lsts_edge.bundle.check import check, check_digest
from lsts_edge.bundle.graphs import GraphInfo, ir_weights

__all__ = ["FileInfo", "check_files"]

MAX_FILES = 256
MAX_FILE_BYTES = (1 << 31) - 1  # protobuf's own limit for one message
MAX_IR_XML_BYTES = 4 << 20  # walked in Python before the engine reads it
FILE_SUFFIXES = (".onnx", ".xml", ".bin", ".npz", ".json", ".txt", ".md")

_OURS = ("manifest.json", "signature.json")
_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"
_FILE_NAME = re.compile(rf"{_SEGMENT}(/{_SEGMENT}){{0,2}}")


@dataclass(frozen=True)
class FileInfo:
    """A file's SHA-256 and size in bytes."""

    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        check_digest("files: sha256", self.sha256)
        check(0 <= self.bytes <= MAX_FILE_BYTES, "files: bytes", self.bytes, f"0..{MAX_FILE_BYTES}")


def check_files(files: Mapping[str, FileInfo], graphs: Mapping[str, GraphInfo]) -> None:
    """Refuse names that are not plain, and graph files that are missing, too large or nobody's.

    Raises:
        ManifestError: naming the file.
    """
    check(len(files) <= MAX_FILES, "files", f"{len(files)} files", f"at most {MAX_FILES}")
    for name in files:
        plain = bool(_FILE_NAME.fullmatch(name)) and name.endswith(FILE_SUFFIXES) and name.lower() not in _OURS
        expected = f"a relative name of letters, digits, '.', '_', '-' ending in {', '.join(FILE_SUFFIXES)}"
        check(plain, "files: name", ascii(name)[:80], expected)
    _check_unique_folded(files)
    used = {file for graph in graphs.values() for file in graph.forms.values()}
    for xml in (file for graph in graphs.values() for file in graph.ir.values()):
        used |= {xml, ir_weights(xml)}
        size = files[xml].bytes if xml in files else 0
        check(size <= MAX_IR_XML_BYTES, f"files: {xml}", f"{size} bytes", f"at most {MAX_IR_XML_BYTES} bytes")
    listed = {name for name in files if name.endswith((".onnx", ".xml", ".bin"))}
    expected = "each graph's files, and no other .onnx, .xml or .bin"
    check(used == listed, "files", f"graph files {sorted(used ^ listed)[:4]}", expected)


def _check_unique_folded(names: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        check(other == name, "files: name", name, f"names that differ in more than case (also {other})")
