"""``lsts-edge data teach``: clips without labels to a COCO-VID style file, labelled by ONNX detectors."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lsts_edge.cli.group import examples
from lsts_edge.cli.show_progress import echo_progress
from lsts_edge.errors import OptionError, StreamUnreadable
from lsts_edge.read_file import read_file

if TYPE_CHECKING:
    from lsts_edge.train.teach import TaughtClip

__all__ = ["command"]

_VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg")


@click.command(
    "teach",
    short_help="Label clips by detectors as teachers.",
    epilog=examples(
        "lsts-edge data teach clips/ --teacher picodet.onnx --teacher deim.onnx --output taught/labels.json",
        "lsts-edge data teach clips/ --teacher a.onnx --output labels.json --every 6 --leave-out held_out.txt",
        "lsts-edge train --data taught/labels.json --output lite.safetensors --steps 2000",
    ),
)
@click.argument("clips", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--teacher", "teachers", multiple=True, required=True, type=click.Path(path_type=Path),
              help="ONNX detector of COCO's classes. May be repeated.")  # fmt: skip
@click.option("--output", required=True, type=click.Path(path_type=Path), help="JSON; frames go to OUTPUT.frames.")
@click.option("--every", type=int, default=3, show_default=True, help="Label and keep one frame in so many.")
@click.option("--object-score", type=float, default=0.4, show_default=True, help="Fused boxes from here on count.")
@click.option("--doubtful-score", type=float, default=0.25, show_default=True,
              help="From here on they are neither object nor background.")  # fmt: skip
@click.option("--index", type=click.Path(path_type=Path), help="JSON list: file, licence and repo of each clip.")
@click.option("--licence", default="", metavar="TEXT", help="Of clips that the index does not name.")
@click.option("--leave-out", type=click.Path(path_type=Path), help="Text file: names of clips not to label.")
@click.option("--only", type=click.Path(path_type=Path), help="Text file: names of the clips to label, no others.")
@click.option("--threads", type=int, help="Engine's threads [default: its choice].")
def command(
    clips: tuple[Path, ...],
    teachers: tuple[Path, ...],
    output: Path,
    every: int,
    object_score: float,
    doubtful_score: float,
    index: Path | None,
    licence: str,
    leave_out: Path | None,
    only: Path | None,
    threads: int | None,
) -> None:
    """Label CLIPS, videos or folders of them, by fusing what the teachers see, into the five groups.

    Boxes of which the teachers are not sure are kept as ignore boxes, each shot is a sequence, and licence and source
    of each clip are carried. An interrupted run goes on when it is started again.
    """
    from lsts_edge.runtime.engines.options import EngineOptions
    from lsts_edge.train.teach import TeachOptions, teach_clips
    from lsts_edge.train.teachers import Teacher

    options = TeachOptions(every=every, object_score=object_score, doubtful_score=doubtful_score)
    chosen = _clips(clips, index, licence, leave_out, only)
    engine = EngineOptions(threads=threads)
    content = teach_clips(chosen, [Teacher(path, engine) for path in teachers], output, options, _Timed())
    for item in content["info"]["left_out"]:
        click.echo(f"left out: {item['clip']}: {item['reason']}", err=True)
    click.echo(
        f"written: {output}: {len(content['videos'])} sequences, {len(content['images'])} frames, "
        f"{len(content['annotations'])} boxes, {len(content['ignore'])} doubtful"
    )


class _Timed:
    """A line for each clip, with the time that is left by the clips before."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    def __call__(self, what: str, done: int = 0, total: int = 0, /) -> None:
        passed = time.monotonic() - self._begin
        left = f", about {passed / done * (total - done):.0f} s left" if done else ""
        echo_progress(f"{what} [{passed:.0f} s{left}]", done, total)


def _clips(
    paths: Sequence[Path], index: Path | None, licence: str, leave_out: Path | None, only: Path | None
) -> list[TaughtClip]:
    from lsts_edge.train.held_out import held_out_names
    from lsts_edge.train.teach import NOT_STATED, TaughtClip

    found: list[Path] = []
    for path in paths:
        if path.is_file():
            found.append(path)
            continue
        inside = sorted(item for item in path.rglob("*") if item.suffix.lower() in _VIDEO_SUFFIXES)
        if not inside:
            raise StreamUnreadable(
                f"clips {path}", got="no video", expected="videos or a folder", fix="Check the path."
            )
        found += inside
    known = {Path(row["file"]).name: row for row in _rows(index)} if index else {}
    skipped = held_out_names(leave_out) if leave_out else set()
    wanted = held_out_names(only) if only else {path.name for path in found}
    chosen = []
    for path in found:
        if path.name in wanted and path.name not in skipped:
            row = known.get(path.name, {})
            stated = str(row.get("licence") or licence or NOT_STATED)
            chosen.append(TaughtClip(path, stated, str(row.get("repo") or NOT_STATED)))
    if not chosen:
        raise OptionError("clips", got="none after --only and --leave-out", expected="some", fix="Check the lists.")
    return chosen


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        rows = json.loads(read_file(path))
        return [dict(row) for row in rows if "file" in row]
    except (OSError, ValueError, TypeError) as error:
        raise OptionError(f"--index {path}", got=str(error), expected="a JSON list", fix="Check the file.") from error
