"""The page of a wrapped detector opens with the answer, holds every row, and needs nothing from elsewhere."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
from wrap_study import ROWS, agreed, make_study

from lsts_edge.publish.wrap.report import study_html
from lsts_edge.publish.wrap.study import ClipUsed, DrawnBox, LeftOut, Study, WorstFrame
from lsts_edge.publish.wrap.worst_sheet import read_pictures
from videos import write_video

_VOID = {"meta", "image", "rect", "path", "circle"}
HOSTILE = "</style><script src=//x>alert('1')</script><img src=x onerror=alert(1)>\x1b[2J"


class Page(HTMLParser):
    """What a page says, what it refers to, and the cells of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]
        self._open += [] if tag in _VOID else [tag]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert tag in _VOID or self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open and self._open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def _without_network(text: str) -> Page:
    page = Page(text)
    assert all(reference.startswith("data:image/jpeg;base64,") for reference in page.references)
    addresses = set(re.findall(r"\w+://[^\s\"'<>]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}, "a name, never fetched"
    assert "@import" not in text and "url(" not in text and "script" not in page.tags
    return page


def test_it_opens_with_the_answer() -> None:
    study = make_study()
    page = _without_network(study_html(study))
    opening = page.text.partition("Agreement against time")[0]
    chosen = study.chosen
    for told in (study.verdict, study.command, chosen.label, f"{chosen.agreement.pooled:.3f}", study.machine.name):
        assert told in opening
    assert f"{chosen.time_ms.mean:.2f} ms" in opening and "x as fast" in opening
    assert "is not reached" not in opening
    missed = study_html(dataclasses.replace(study, met=False))
    assert "agreement of 0.85 asked for" in missed.partition("Agreement against time")[0]


def test_every_row_is_in_the_table() -> None:
    rows = [line for line in Page(study_html(make_study())).rows if len(line) == 21][1:]
    assert [line[0] for line in rows] == [str(place) for place in range(1, len(ROWS) + 1)]
    ranked = sorted(ROWS, key=lambda row: row.time_ms.mean)
    assert [line[1:3] for line in rows] == [[row.label, f"{row.engine} {row.precision}"] for row in ranked]
    assert [line[9] for line in rows] == [f"{row.agreement.pooled:.3f}" for row in ranked]


def test_undefined_agreement_is_called_undefined() -> None:
    rows = [dataclasses.replace(row, agreement=agreed(None), by_distance=(), on_front=row.chosen) for row in ROWS]
    page = _without_network(study_html(make_study(tuple(rows))))
    assert "Agreement is undefined for every way" in page.text
    table = [line for line in page.rows if len(line) == 21][1:]
    assert len(table) == len(ROWS) and all(line[9:14] == ["undefined"] * 5 for line in table)
    one = tuple(dataclasses.replace(row, agreement=agreed(None)) if row is ROWS[-1] else row for row in ROWS)
    assert "1 more have no defined agreement" in study_html(make_study(one))


def test_text_of_others_stays_text() -> None:
    study = make_study(name=HOSTILE)
    box = DrawnBox(1, 2, 30, 40, 0.5, HOSTILE)
    study = dataclasses.replace(
        study,
        verdict=HOSTILE,
        notes=(HOSTILE,),
        detector=dataclasses.replace(study.detector, classes=(HOSTILE,), assumptions=(HOSTILE,)),
        machine=dataclasses.replace(study.machine, name=HOSTILE, packages={HOSTILE: HOSTILE}),
        clips=(ClipUsed(HOSTILE, "", 2, 2, 2, 1, 2, "both"),),
        left_out=(LeftOut(HOSTILE, HOSTILE),),
        rows=tuple(dataclasses.replace(row, engine=HOSTILE, reason=HOSTILE) for row in study.rows),
        worst=(WorstFrame(HOSTILE, HOSTILE, 1, 1, 1, 0, (box,), (box,)),),
    )
    text = study_html(study)
    page = _without_network(text)
    assert "img" not in page.tags and "<script" not in text and "\x1b" not in text
    assert text.count("</style>") == page.tags.count("style")
    assert "<script src=//x>" in page.text, "still there to be read"


def test_worst_frames_are_pictures_of_their_clip(tmp_path: Path) -> None:
    frames = [np.full((48, 64, 3), value, np.uint8) for value in (10, 60, 110, 160, 210)]
    clip = tmp_path / "clip.mp4"
    write_video(clip, frames)
    truth, wrong = DrawnBox(5, 5, 25, 30, 0.9, "person"), DrawnBox(40, 5, 60, 30, 0.6, "dog")
    moved = DrawnBox(6, 5, 26, 30, 0.8, "person")
    worst = (
        WorstFrame("clip.mp4", str(clip), 3, 1, 0, 1, (truth,), (moved, wrong)),
        WorstFrame("clip.mp4", str(clip), 0, 0, 1, 0, (truth,), ()),
        WorstFrame("gone.mp4", str(tmp_path / "gone.mp4"), 2, 2, 1, 0, (truth,), ()),
        WorstFrame("clip.mp4", str(clip), 99, 2, 1, 0, (truth,), ()),
    )
    found = read_pictures(worst)
    assert [None if image is None else round(float(image.mean()), -1) for image in found] == [160, 10, None, None]
    study: Study = dataclasses.replace(make_study(), worst=worst)
    text = study_html(study)
    page = _without_network(text)
    assert page.tags.count("image") == 2 and page.text.count("boxes alone") == 2
    assert "clip.mp4, frame 3, 1 after its keyframe: 0 missed, 1 wrong" in page.text
    named = re.findall(r'<text class="(truth|found)" [^>]*>([^<]*)<', text)
    assert named == [("found", "dog 0.60"), *[("truth", "person 0.90")] * 3], "what has a partner is not named"


def test_a_frame_of_a_labelled_sequence_is_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "00007.png"
    cv2.imwrite(str(path), np.full((24, 32, 3), 90, np.uint8))
    found = read_pictures([WorstFrame("sequence", str(path), 7, 1, 0, 1, (), ())])
    assert found[0] is not None and found[0].shape == (24, 32, 3) and abs(float(found[0].mean()) - 90) < 3
    assert read_pictures([WorstFrame("camera", "/dev/null", 0, 1, 0, 1, (), ())]) == [None]


def test_a_study_of_one_way_and_a_budget() -> None:
    every = next(row for row in ROWS if row.way == "every-frame")
    study = make_study((dataclasses.replace(every, chosen=True, on_front=True),))
    study = dataclasses.replace(study, worst=(), min_agreement=None, budget_ms=5.0)
    page = _without_network(study_html(study))
    assert "nothing faster" in page.text and "5 ms asked for" in page.text
    assert "by distance from" not in page.text and "differs most" not in page.text
