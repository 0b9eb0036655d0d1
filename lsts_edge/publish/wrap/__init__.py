"""Somebody's detector and clips become a bundle that runs the way that pays, with the table that it was chosen from."""

from __future__ import annotations

__all__: list[str] = []
