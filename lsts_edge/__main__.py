"""``python -m lsts_edge``: the same program as ``lsts-edge``."""

from __future__ import annotations

from lsts_edge.cli import main

if __name__ == "__main__":
    main()
