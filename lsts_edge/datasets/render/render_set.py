"""A rendered set as a folder: pictures and COCO-VID style annotations, there whole or not at all."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2

from lsts_edge.datasets.coco_video import CocoVideo
from lsts_edge.datasets.mask_box import mask_box
from lsts_edge.datasets.publish_folder import published_folder
from lsts_edge.datasets.publish_json import publish_json
from lsts_edge.datasets.render.options import RenderOptions
from lsts_edge.datasets.render.scene import draw_scene
from lsts_edge.datasets.render.video import RenderedFrame, render_video
from lsts_edge.presets import FIVE_GROUPS
from lsts_edge.progress import Progress, silent

__all__ = ["ANNOTATIONS", "LICENCE", "render_set"]

ANNOTATIONS = "annotations.json"
LICENCE = "rendered by lsts-edge from shapes of its own, no restrictions (CC0-1.0)"
LEAST_VISIBLE, OCCLUDED_BELOW, LEAST_SIDE_PX = 0.25, 0.75, 6
"""Share of an object that must be seen to be one, below which it is called occluded, and the least side of its box."""

_JPEG_QUALITY = 92


def render_set(options: RenderOptions, output: Path, progress: Progress = silent) -> dict[str, Any]:
    """Render, and write ``OUTPUT/annotations.json`` and the pictures beside it.

    A box lies around the pixels that show an object. One that shows less than a quarter of it, or has a side below
    six pixels, is an ignore box.

    Args:
        options: what to render.
        output: a folder that is not there yet, or an empty one.
        progress: told of frames done and frames in all.

    Returns:
        The annotations.

    Raises:
        FileUnwritable: if the folder cannot be made, or has something in it.
    """
    with published_folder(output) as folder:
        content = _rendered(options, folder, progress)
        publish_json(content, folder / ANNOTATIONS)
    return content


def _rendered(options: RenderOptions, folder: Path, progress: Progress) -> dict[str, Any]:
    made = CocoVideo(FIVE_GROUPS)
    size_hw = (options.height_px, options.width_px)
    for number in range(options.videos):
        scene = draw_scene(options, number)
        name = f"rendered-{options.seed}-{number:04d}"
        figures = [
            {"instance_id": place + 1, "class": actor.figure.group, "kind": actor.figure.kind}
            for place, actor in enumerate(scene.actors)
        ]
        video = made.add_video(name, licence=LICENCE, **scene.parameters, figures=figures)
        (folder / name).mkdir()
        for frame, drawn in enumerate(render_video(scene, options.frames, [options.seed, number])):
            progress("frames", number * options.frames + frame, options.videos * options.frames)
            file = f"{name}/{frame:05d}.jpg"
            _, data = cv2.imencode(".jpg", drawn.picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            (folder / file).write_bytes(data.tobytes())
            image = made.add_image(file, size_hw, video_id=video, frame_id=frame)
            for place, actor in enumerate(scene.actors):
                _add_box(made, image, drawn, place, FIVE_GROUPS.index(actor.figure.group))
    progress("frames", options.videos * options.frames, options.videos * options.frames)
    return made.content(
        description="figures composed of simple shapes, in the five groups; no photographs",
        licence=LICENCE,
        options=dataclasses.asdict(options),
    )


def _add_box(made: CocoVideo, image: int, drawn: RenderedFrame, place: int, label: int) -> None:
    mask = drawn.shown == place
    box = mask_box(mask)
    if box is None:
        return
    visible = min(1.0, float(mask.sum()) / max(drawn.whole_px[place], 1.0))
    made.add_box(
        image,
        label,
        box,
        ignore=visible < LEAST_VISIBLE or min(box[2:]) < LEAST_SIDE_PX,
        instance_id=place + 1,
        visible=round(visible, 3),
        occluded=int(visible < OCCLUDED_BELOW),
    )
