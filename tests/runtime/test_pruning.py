"""Programs without dead steps: only what leads to boxes, in the frame or in a later one, is left."""

from __future__ import annotations

from lsts_edge.bundle.manifest import Step
from lsts_edge.runtime.pruning import prune

HEAVY = Step("heavy", {"image": "image"}, {"feature": "task"})
EMBED = Step("embed", {"feature": "task"}, {"embedding": "task_embedding"})
HEAD = Step("head", {"task": "task"}, {"boxes": "boxes", "scores": "scores", "labels": "labels"})
LIGHT = Step("light", {"image": "image"}, {"feature": "high"})
ALIGN = Step("align", {"memory": "task", "embedding": "task_embedding", "current": "high"}, {"aligned": "task"})
STATE = ("task", "task_embedding")


def test_what_somebody_reads_stays() -> None:
    programs = {"first": (HEAVY, EMBED, HEAD), "propagated": (LIGHT, ALIGN, HEAD)}
    assert prune(programs, STATE) == (programs, STATE)


def test_alone_a_first_frame_needs_no_embedding() -> None:
    assert prune({"first": (HEAVY, EMBED, HEAD)}, STATE) == ({"first": (HEAVY, HEAD)}, ())


def test_an_input_that_a_replacement_does_not_read_takes_its_makers_along() -> None:
    moved = Step("align", {"memory": "task"}, {"aligned": "task"})
    kept, carried = prune({"first": (HEAVY, EMBED, HEAD), "propagated": (LIGHT, moved, HEAD)}, STATE)
    assert kept == {"first": (HEAVY, HEAD), "propagated": (moved, HEAD)}
    assert carried == ("task",)


def test_what_is_carried_to_a_later_kind_is_made_though_this_one_does_not_read_it() -> None:
    keep = Step("keep", {"image": "image"}, {"gray": "gray"})
    warp = Step("warp", {"memory": "task", "gray": "gray"}, {"aligned": "warped"})
    last = Step("head", {"task": "warped"}, dict(HEAD.outputs))
    programs = {"first": (HEAVY, HEAD, keep), "propagated": (warp, last)}
    assert prune(programs, ("task", "gray")) == (programs, ("task", "gray"))
