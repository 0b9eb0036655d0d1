"""The study as Markdown: what of the paper holds here, then every table, rows that were not run among them."""

from __future__ import annotations

from lsts_edge.benchmarks.accuracy.recipes import TABLES
from lsts_edge.benchmarks.accuracy.study_result import StudyClaim, StudyResult, StudyTableRow
from lsts_edge.tables import markdown_table

__all__ = ["claims_table", "same_work", "study_markdown", "study_text"]


_FIGURE_5 = (
    "Share of the sampling locations within a cell, and within three, of the position itself, before and after "
    "training; and of the objects' own motion over 1 to 10 frames in the training sequences."
)


_SAME_WORK = (
    "Each row of ours beside the best of the ways that need no training at no more multiply-adds a frame. Moving boxes "
    "by flow costs no multiply-adds of a network, but a fixed time: such a way fits into the time of ours once the "
    "detector takes so many times as long as moving its boxes, which is the last column; a cheaper detector leaves it "
    "time for a longer interval only. Work stands for time here, which flatters ours: its frames between keyframes run "
    "several graphs."
)


def study_markdown(result: StudyResult, file: str = "") -> str:
    """The whole page.

    Args:
        result: of one data set.
        file: name of the result's file; empty: the one that the preset's study has.
    """
    file = file or f"study-{result.settings.preset}.json"
    settings, rows = result.settings, result.data.rows
    parts = [
        f"# The study: the paper's comparisons on {settings.validation}",
        _what(result, file),
        *([settings.note] if settings.note else []),
        _how(result),
        "## What of the paper holds here",
        markdown_table(*claims_table(result)),
        "*Holds* and *does not*: the interval leaves out zero. *Within noise*: it does not; this study cannot tell.",
    ]
    for table, title in TABLES.items():
        of_table = [row for row in rows if row.table == table]
        if of_table:
            header = ["row", "AP50", "95 %", "AP50 of each seed", "slow / medium / fast"]
            header += ["parameters, M", "G multiply-adds a frame", "paper, mAP on ImageNet VID"]
            parts += [f"## {title}", markdown_table(header, [_row_cells(row) for row in of_table])]
            parts.append(f"```sh\n{settings.command} --tables {table}\n```")
    beside = same_work(rows)
    if beside:
        parts += ["## From which cost of the heavy network on learned alignment pays", _SAME_WORK, beside]
    spread = _offsets(rows)
    if spread:
        parts += [
            "## Figure 5: where learned locations went",
            _FIGURE_5,
            spread,
        ]
    missing = [[row.row, row.label, row.why_not] for row in rows if not row.runs]
    if missing:
        parts += ["## Not run", markdown_table(["row", "what", "why"], missing)]
    return "\n\n".join(parts) + "\n"


def claims_table(result: StudyResult) -> tuple[list[str], list[list[str]]]:
    """Head and rows: every claim, what was found, and the paper's points."""
    header = ["claim", "here, points of AP50", "95 %", "seeds", "verdict", "paper, points of mAP on ImageNet VID"]
    return header, [_claim_cells(claim) for claim in result.data.claims]


def study_text(result: StudyResult) -> str:
    """A line for each row, and for each claim that can be judged."""
    lines = []
    for row in result.data.rows:
        runs = ", ".join(f"{run.ap50:.3f}" for run in row.runs)
        lines.append(f"{row.row:32} {_figure(row.ap50)}  {runs or row.why_not}")
    for claim in result.data.claims:
        if claim.points is not None and claim.interval is not None:
            low, high = claim.interval
            lines.append(f"{claim.verdict:13} {claim.points:+6.1f} [{low:+.1f}, {high:+.1f}]  {claim.claim}")
    ran = sum(bool(row.runs) for row in result.data.rows)
    return "\n".join([*lines, f"{ran} of {len(result.data.rows)} rows run"])


def _what(result: StudyResult, file: str) -> str:
    settings = result.settings
    return (
        f"Written by `lsts-edge bench study` from `benchmarks/results/{file}`; nothing is filled in by hand. "
        f"Measured on {settings.validation} ({settings.validation_sequences} sequences), trained on "
        f"{settings.train} ({settings.train_sequences}). The backbone of `{settings.checkpoint}` ({settings.preset}, "
        f"SHA-256 `{settings.checkpoint_sha256[:8]}...`) "
        "is frozen and its features are cached; a row trains Transform, alignment, SRFU, DFA and head for "
        f"{settings.steps} steps of {settings.batch} triplets. Its figures say nothing about ImageNet VID, where the "
        "paper's are from: those stand in columns of their own, for their order."
    )


def _how(result: StudyResult) -> str:
    settings, rows = result.settings, result.data.rows
    ran = sum(bool(row.runs) for row in rows)
    return (
        f"{ran} of {len(rows)} rows were run. AP50 is the mean over the seeds; intervals are 95 % over sequences "
        f"and seeds drawn anew ({settings.resamples:,} draws), and two rows are compared on the same draws. With "
        f"{settings.validation_sequences} sequences a difference of two or three points is seldom more than noise."
    )


def _claim_cells(claim: StudyClaim) -> list[str]:
    if claim.points is None or claim.interval is None:
        here = ["-", "-", "-"]
    else:
        low, high = claim.interval
        here = [f"{claim.points:+.1f}", f"{low:+.1f} .. {high:+.1f}", str(claim.seeds)]
    paper = "-" if claim.paper_points is None else f"{claim.paper_points:+.1f}"
    return [claim.claim, *here, claim.verdict, paper]


def _row_cells(row: StudyTableRow) -> list[str]:
    paper = "-" if row.paper_map is None else f"{row.paper_map:.1f}"
    work = "-" if row.multiply_adds is None else f"{row.multiply_adds / 1e9:.3f}"
    if not row.runs or row.ap50_interval is None:
        return [row.label, "not run", "-", "-", "-", "-", work, paper]
    low, high = row.ap50_interval
    kinds = row.runs[0].vid_map_by_motion
    motion = " / ".join(_mean([run.vid_map_by_motion[kind] for run in row.runs]) for kind in kinds)
    parameters = "-" if row.parameters is None else f"{row.parameters / 1e6:.2f}"
    seeds = ", ".join(f"{run.ap50:.3f}" for run in row.runs)
    return [row.label, _figure(row.ap50), f"{low:.3f} .. {high:.3f}", seeds, motion or "-", parameters, work, paper]


def same_work(rows: tuple[StudyTableRow, ...]) -> str:
    """Every schedule of the full model, and the best untrained way that costs no more, where both were run."""
    run = [row for row in rows if row.ap50 is not None and row.multiply_adds is not None]
    whole = next((row for row in run if row.table == "table-1" and row.interval is None), None)
    ways = [row for row in run if row.row.startswith(("ways-hold", "ways-flow-boxes", "ways-smaller-input"))]
    if whole is None or not ways:
        return ""
    cells = []
    for row in (row for row in run if row.table == "intervals"):
        allowed = [way for way in ways if (way.multiply_adds or 0) <= (row.multiply_adds or 0)]
        if not allowed:
            continue
        best = max(allowed, key=lambda way: way.ap50 or 0.0)
        share, rival = ((one.multiply_adds or 0) / (whole.multiply_adds or 1) for one in (row, best))
        times = "-"
        if best.row.startswith("ways-flow-boxes"):
            times = "more than any" if share <= rival else f"{(1 - rival) / (share - rival):.1f} x"
        wins = "ours" if (row.ap50 or 0) > (best.ap50 or 0) else "the rival"
        cells.append(
            [row.label, f"{share:.2f}", _figure(row.ap50), best.label, f"{rival:.2f}", _figure(best.ap50), wins, times]
        )
    if not cells:
        return ""
    header = ["ours", "work, of every frame's", "AP50", "best simple rival", "work", "AP50", "better", "it fits from"]
    found = markdown_table(header, cells)
    if all(line[6] != "ours" for line in cells):
        found += "\n\nAfter this training it pays on none of them, whatever the detector costs."
    return found


def _offsets(rows: tuple[StudyTableRow, ...]) -> str:
    cells = []
    for row in rows:
        spread = row.offsets
        if spread is None or row.table not in ("table-2-ours", "table-4"):
            continue
        for axis in ("x", "y"):
            shares = [getattr(spread, f"{kind}_{axis}") for kind in ("start", "learned", "motion")]
            near = [
                f"{_within(spread.bins, share, 1.5):.0%} / {_within(spread.bins, share, 3.5):.0%}" for share in shares
            ]
            cells.append([f"{row.label}, {axis}", *near, f"{spread.mean_shift:.2f}"])
    header = ["row, axis", "start", "learned", "motion of objects", "mean shift, cells"]
    return markdown_table(header, cells) if cells else ""


def _within(bins: tuple[float, ...], shares: tuple[float, ...], reach: float) -> float:
    return sum(
        share for low, high, share in zip(bins, bins[1:], shares, strict=False) if -reach <= low and high <= reach
    )


def _mean(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.2f}" if known else "-"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
