"""What was measured when a detector was wrapped, as one page: the answer first, then a plot, then all the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lsts_edge.page.curves_plot import Curve, curves_plot
from lsts_edge.page.document import Table, escaped, fact_tiles, figure, folded, page, table
from lsts_edge.page.front_plot import FrontPlot, Mark
from lsts_edge.publish.wrap.study import Agreed, Study, StudyRow
from lsts_edge.publish.wrap.worst_sheet import Picture, read_pictures, worst_sheet
from lsts_edge.tables import number

__all__ = ["study_html"]

UNDEFINED = "undefined"
_NEIGHBOURS = 3
_HEADER = (
    "", "way", "engine", "ms", "p50", "p99", "keyframe", "propagated", "x as fast", "agreement", "95 %", "by class",
    "truth lower", "truth higher", "new objects", "misplaced", "false", "AP50", "half", "choosing half", "why",
)  # fmt: skip
_READ = (
    "ms: mean milliseconds from picture to boxes, keyframes and propagated frames mixed as they come; p50 and p99 "
    "likewise. x as fast: as the detector on every frame, same engine and precision, paired. Agreement: AP50 against "
    "the detector's own boxes on every frame, with its 95 % interval over the clips; by class: mean over the classes "
    "with enough boxes; truth lower and higher: where boxes are true from a score 0.1 lower or higher on. New objects: "
    "share of those that came after the keyframe and were shown. Misplaced: loose or double boxes a propagated frame; "
    "false: boxes on nothing. Choosing half: agreement on the clips that chose. Undefined: nothing to agree with was "
    "found there."
)


def study_html(study: Study, pictures: Sequence[Picture | None] | None = None) -> str:
    """A page that needs no other file and no network.

    Args:
        study: what was measured.
        pictures: of ``study.worst``, in their own size; None reads them from their clips, and an entry of None was
            not to be had.
    """
    ranked = sorted(study.rows, key=lambda row: row.time_ms.mean)
    parts = [f"<h1>{escaped(study.name)}: how to run it on video</h1>", *_answer(study)]
    parts += ["<h2>Agreement against time</h2>", *_front(study, ranked)]
    parts += _by_distance(study)
    if study.worst:
        found = read_pictures(study.worst) if pictures is None else pictures
        parts += ["<h2>Where it differs most</h2>", worst_sheet(study.worst, found)]
    parts += ["<h2>What this stands on</h2>", *_ground(study, ranked)]
    return page(f"{study.name}: how to run it on video", parts)


def _answer(study: Study) -> Iterator[str]:
    row, every = study.chosen, study.every_frame(study.chosen)
    stated, asked = row.agreement.pooled, study.min_agreement
    if study.met and asked is not None and stated is not None and stated < asked:
        missed = (
            f"On clips that had no part in the choice the default keeps {stated:.3f}, not {asked:g}: give more clips."
        )
        yield f'<p class="warn">{escaped(missed)}</p>'
    if not study.met:
        yield f'<p class="warn">{escaped(f"What was asked for ({_asked(study)}) is not reached by any way.")}</p>'
    yield f'<p class="lead">{escaped(study.verdict)}</p>'
    yield f"<pre><code>{escaped(study.command)}</code></pre>"
    interval = "" if row.agreement.low is None else f", 95 % {_interval(row.agreement)}"
    alone = row.way == "every-frame"
    facts = [
        (row.label, "the bundle's default"),
        (f"{number(row.time_ms.mean)} ms", f"a frame, {number(1e3 / row.time_ms.mean)} frames a second; {_where(row)}"),
        ("nothing faster", "of what was measured keeps what was asked for")
        if alone
        else (
            f"{number(row.speedup)} x as fast",
            f"every frame takes {number(every.time_ms.mean)} ms; paired",
        ),
        (_share(row.agreement.pooled), f"agreement with the detector on every frame{interval}"),
        *([] if row.ap50 is None else [(_share(row.ap50.value), "AP50 against labels")]),
    ]
    yield fact_tiles(facts)
    about = f"Measured on {study.machine.name}{_threads(study)}, on {study.sample.words}."
    yield f'<p class="note">{escaped(about)}</p>'
    yield f'<p class="note">{escaped(row.reason)}</p>' if row.reason else ""


def _front(study: Study, ranked: list[StudyRow]) -> Iterator[str]:
    marks = [
        Mark(
            row.time_ms.mean,
            row.agreement.pooled,
            place,
            row.label,
            f"{place}: {row.label}, {_where(row)}: {number(row.time_ms.mean)} ms, {_share(row.agreement.pooled)}",
            row.way,
            row.agreement.low,
            row.agreement.high,
            row.on_front,
            row.chosen,
        )
        for place, row in enumerate(ranked, 1)
        if row.agreement.pooled is not None
    ]
    missing = len(ranked) - len(marks)
    if marks:
        plot = FrontPlot(
            marks, "ms a frame, picture to boxes", "agreement", study.min_agreement, study.budget_ms, _asked(study)
        )
        about = (
            f"{len(marks)} ways; up and left is better. The line is the front: nothing as fast agrees better. Its dots "
            "are named, the ringed one is the bundle's default, thin lines are 95 % intervals; point at any dot for "
            "what it is. Numbers are those of the tables."
        )
        if missing:
            about += f" {missing} more have no defined agreement and are in the table only."
        yield figure(plot.svg, about)
    else:
        yield '<p class="warn">Agreement is undefined for every way: the detector finds nothing in these clips.</p>'
    yield _short_table(ranked)
    yield _all_ways(ranked)


def _short_table(ranked: list[StudyRow]) -> str:
    """The part of the front around the chosen way, and the rivals that have something said of them."""
    places = list(enumerate(ranked, 1))
    front = [place for place, row in places if row.on_front or row.chosen]
    middle = next(index for index, place in enumerate(front) if ranked[place - 1].chosen)
    near = front[max(middle - _NEIGHBOURS, 0) : middle + _NEIGHBOURS + 1]
    shown = [(place, row) for place, row in places if place in near or row.reason]
    lines = []
    for place, row in shown:
        cells = [f"{place} {row.label}", number(row.time_ms.mean), _times(row), _share(row.agreement.pooled)]
        lines.append([*cells, _where(row), "the default" if row.chosen else row.reason])
    strong = frozenset(index for index, (_, row) in enumerate(shown) if row.chosen)
    header = ("next to the default", "ms", "x as fast", "agreement", "engine", "why it is named")
    return table(Table(header, lines, strong), fold=False)


def _all_ways(ranked: list[StudyRow]) -> str:
    lines = []
    for place, row in enumerate(ranked, 1):
        time, agreed = row.time_ms, row.agreement
        cells = [str(place), row.label, _where(row), *map(number, (time.mean, time.p50, time.p99))]
        cells += [number(row.keyframe_ms), number(row.propagated_ms), _times(row), _share(agreed.pooled)]
        cells += [_interval(agreed), *map(_share, (agreed.classes, agreed.at_lower, agreed.at_upper))]
        cells += ["-" if value is None else f"{value:.2f}" for value in _faults(row)]
        cells += ["-" if row.ap50 is None else _share(row.ap50.value), row.half, _share(row.choosing_agreement)]
        lines.append([*cells, row.reason])
    strong = frozenset(index for index, row in enumerate(ranked) if row.chosen)
    content = f'<p class="note">{escaped(_READ)}</p>{table(Table(_HEADER, lines, strong), fold=False)}'
    return folded(f"All {len(ranked)} ways, the fastest first", content)


def _by_distance(study: Study) -> Iterator[str]:
    """The chosen way, and each other way at its longest interval, where a curve is longest."""
    chosen = study.chosen
    kinds = dict.fromkeys(row.way for row in study.rows if len(row.by_distance) > 1)

    def alike(row: StudyRow) -> tuple[bool, bool, float]:
        same_graph = (row.engine, row.precision) == (chosen.engine, chosen.precision)
        return same_graph, (row.width_px, row.height_px) == (chosen.width_px, chosen.height_px), row.keyframe_interval

    longest = [max((row for row in study.rows if row.way == kind), key=alike) for kind in kinds]
    shown = [chosen, *(row for row in longest if row is not chosen)]
    curves = [
        Curve(
            f"{row.way} {row.schedule}",
            row.way,
            [(at.distance, at.value) for at in row.by_distance],
            strong=row is chosen,
        )
        for row in shown
        if len(row.by_distance) > 1 and any(at.value is not None for at in row.by_distance)
    ]
    if not curves:
        return
    yield "<h2>Agreement by distance from the keyframe</h2>"
    about = "Each way at its longest interval" + (
        ", and the bundle's default (thick)." if len(chosen.by_distance) > 1 else "."
    )

    def draw(width_px: int) -> str:
        return curves_plot(curves, width_px, x_title="frames after the keyframe", y_title="agreement")

    yield figure(draw, f"{about} Distance 0 is the keyframe itself.")


def _ground(study: Study, ranked: list[StudyRow]) -> Iterator[str]:
    truth, detector = study.truth, study.detector
    about = f"A box of the detector is true from score {truth.words}; {study.sample.true_boxes} boxes were to be found."
    yield f"<p>{escaped(about)}</p>"
    header = ("truth from score", f"{truth.lower:.2f}", f"{truth.score:.2f} (used)", f"{truth.upper:.2f}")
    agreed = study.chosen.agreement
    cells = [study.chosen.label, *map(_share, (agreed.at_lower, agreed.pooled, agreed.at_upper))]
    yield table(Table(header, [cells]))
    yield from (f"<p>{escaped(note)}</p>" for note in study.notes)
    if study.left_out:
        yield table(Table(("left out", "why"), [[item.name, item.reason] for item in study.left_out]))
    clips = [
        [
            clip.name,
            f"{clip.width_px}x{clip.height_px}",
            str(clip.frames),
            str(clip.shots),
            str(clip.frames_used),
            clip.half,
        ]
        for clip in study.clips
    ]
    header_clips = ("clip", "pixels", "frames", "shots", "frames used", "half")
    yield table(Table(header_clips, clips), caption="Clips", fold=True)
    facts = [
        ("file", detector.file),
        ("SHA-256", detector.sha256),
        ("family", detector.family),
        ("input", f"{detector.width_px}x{detector.height_px}, {detector.sizes}"),
        *(("assumed", text) for text in detector.assumptions),
        ("classes", f"{len(detector.classes)}: {', '.join(detector.classes)}"),
        ("machine", f"{study.machine.name}{_threads(study)}, key {study.machine.key}"),
        *((name, version) for name, version in sorted(study.machine.packages.items())),
        ("frames that chose", str(study.sample.choosing_frames)),
        ("frames that state", f"{study.sample.stating_frames}, halves by {study.sample.split_by}"),
        ("true boxes", str(study.sample.true_boxes)),
        ("timed frames", f"{study.sample.timed_frames}, {number(study.sample.minutes)} minutes in all"),
        ("bundle", study.bundle_digest or "not written"),
    ]
    yield table(Table(("what", "value"), facts), caption="The detector and the machine", fold=True)


def _asked(study: Study) -> str:
    if study.min_agreement is not None:
        return f"agreement of {study.min_agreement:g} asked for"
    return "" if study.budget_ms is None else f"{study.budget_ms:g} ms asked for"


def _threads(study: Study) -> str:
    count = study.machine.threads
    return "" if count is None else f", {count} thread{'s' * (count != 1)}"


def _where(row: StudyRow) -> str:
    return f"{row.engine} {row.precision}"


def _times(row: StudyRow) -> str:
    return f"{row.speedup:.2f}"


def _faults(row: StudyRow) -> tuple[float | None, float | None, float | None]:
    return row.new_object_recall, row.misplaced_per_frame, row.false_per_frame


def _share(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:.3f}"


def _interval(agreed: Agreed) -> str:
    return UNDEFINED if agreed.low is None or agreed.high is None else f"{agreed.low:.3f} to {agreed.high:.3f}"
