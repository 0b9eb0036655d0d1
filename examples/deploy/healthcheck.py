"""Whether a process has written anything since this was asked last: status 0, otherwise 1."""

from __future__ import annotations

import sys
from pathlib import Path


def main(process: str = "1", memory: str = "/tmp/written") -> int:
    """Compare the bytes that the process has written so far with those of the last time."""
    lines = Path(f"/proc/{process}/io").read_text().splitlines()
    written = next(line for line in lines if line.startswith("wchar:"))
    before = Path(memory).read_text() if Path(memory).exists() else ""
    Path(memory).write_text(written)
    return int(written == before)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
