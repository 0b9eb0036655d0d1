"""A connection that was lost leaves nothing behind: neither threads, descriptors nor memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from resources import growth


def _reconnect(root: Path, *words: str) -> list[dict[str, int]]:
    """In a process of its own, where no other test has left free memory in which a leak would hide."""
    program = str(Path(__file__).with_name("many_reconnections.py"))
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}
    done = subprocess.run(
        [sys.executable, program, *words], capture_output=True, text=True, timeout=250, env=environment
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, int]] = json.loads(done.stdout)
    return found


def test_sixty_lost_connections_leave_nothing_and_a_planted_leak_is_caught(root: Path) -> None:
    """Each was 1.4 MB that waited for the garbage collector: its error held the frames that held the decoder."""
    rows = _reconnect(root, "60")
    assert len(rows) == 60
    assert max(row["sources"] for row in rows) == 1
    assert growth(rows) == {}
    assert "resident_bytes" in growth(_reconnect(root, "24", "leak"))
