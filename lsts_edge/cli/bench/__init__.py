"""``lsts-edge bench``: count and time what the other commands build; one file per measurement."""

from __future__ import annotations

from lsts_edge.cli.group import LazyGroup

__all__ = ["command"]

command = LazyGroup(
    name="bench",
    commands={
        "params": ("lsts_edge.cli.bench.params", "Parameters and multiply-adds, beside the paper's."),
        "op": ("lsts_edge.cli.bench.op", "The LSTS op's forms and kernels, one by one."),
        "latency": ("lsts_edge.cli.bench.latency", "Milliseconds per keyframe and propagated frame."),
        "compare": ("lsts_edge.cli.bench.compare", "Methods, LSTS forms, engines and peers side by side."),
        "sweep": ("lsts_edge.cli.bench.sweep", "Keyframe intervals side by side."),
        "elsewhere": ("lsts_edge.cli.bench.elsewhere", "Accuracy on pictures from elsewhere, beside other detectors."),
        "study": ("lsts_edge.cli.bench.study", "The paper's comparisons, repeated on annotated video."),
        "suite": ("lsts_edge.cli.bench.suite", "Every measurement on this machine, and the report."),
        "report": ("lsts_edge.cli.bench.report", "One page, and the README's table, from stored results."),
    },
    help="Count parameters and measure time on this machine; each result is one JSON.",
)
