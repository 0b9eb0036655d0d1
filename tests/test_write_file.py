"""Files are whole or as they were; what is no file of its own is written into."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsts_edge.write_file import write_file


def test_a_new_file_and_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    for content in (b"one", b"another"):
        write_file(path, content)
        assert path.read_bytes() == content and path.stat().st_mode & 0o777 == 0o644
    write_file(path, iter([b"in ", b"parts"]))
    assert path.read_bytes() == b"in parts" and os.listdir(tmp_path) == ["out.bin"]


def test_what_breaks_off_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    write_file(path, b"before")

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_file(path, broken())
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["out.bin"]


def test_links_pipes_and_devices_stay_what_they_are(tmp_path: Path) -> None:
    real, link, pipe, device = (tmp_path / name for name in ("real", "link", "pipe", "device"))
    real.write_bytes(b"before")
    link.symlink_to(real)
    write_file(link, b"after")
    assert link.is_symlink() and real.read_bytes() == b"after"
    os.mkfifo(pipe)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write_file(pipe, b"through")
    reader.join()
    assert found == [b"through"] and pipe.is_fifo()
    device.symlink_to("/dev/null")
    write_file(device, b"away")
    assert device.is_symlink() and Path("/dev/null").is_char_device()


def test_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent" / "out.bin"):
        with pytest.raises(OSError, match=r"directory"):
            write_file(path, b"")
    assert os.listdir(tmp_path) == []
