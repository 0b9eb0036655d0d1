"""A detector on a real camera process for a long time: what the run holds, sample by sample, as JSON.

``python camera_soak.py --minutes 10 --output soak.json``, with ``tests`` and the checkout on PYTHONPATH. The camera is
killed and started again now and then, and the consumer is slower than it. Ends with status 1 where anything grew.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cameras import Camera
from resources import ALLOWED_BYTES, growth, used

from lsts_edge.benchmarks.envelope import Origin
from lsts_edge.runtime import Detections, Detector, Frame, open_source
from lsts_edge.runtime.loop import RunSummary, run_stream
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.video import VideoSink

_SAMPLES = 120  # in the file, however long it lasts


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--frames", type=int, help="end after so many instead")
    parser.add_argument("--bundle", type=Path, help="the package's by default")
    parser.add_argument("--output", type=Path, help="the results; none by default")
    parser.add_argument("--restart-every-s", type=float, default=60.0)
    parser.add_argument("--consumer-ms", type=float, default=60.0, help="that the callback takes")
    parser.add_argument("--leak-bytes", type=int, default=0, help="that the callback keeps of each frame, planted")
    return parser.parse_args()


@contextmanager
def _restarted(camera: Camera, every_s: float) -> Iterator[None]:
    """The camera loses its power for a second, again and again."""
    done = threading.Event()

    def restart() -> None:
        while not done.wait(every_s):
            camera.kill()
            done.wait(1.0)
            camera.start()

    thread = threading.Thread(target=restart, name="power of the camera")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def soak(options: argparse.Namespace) -> dict[str, object]:
    """Run it; counts, samples and what grew."""
    samples: list[dict[str, float]] = []
    kept: list[bytes] = []
    summary = RunSummary()
    begin_s = time.monotonic()

    def on_result(frame: Frame, detections: Detections) -> None:
        kept.extend([frame.image.tobytes()[:1] * options.leak_bytes] if options.leak_bytes else [])
        time.sleep(options.consumer_ms / 1000)
        passed_s = time.monotonic() - begin_s
        done = summary.frames / options.frames if options.frames else passed_s / (60.0 * options.minutes)
        if done * _SAMPLES > len(samples):
            samples.append({"passed_s": round(passed_s, 2), "frames": summary.frames, **used()})
        if done >= 1.0:
            source.stop()

    detector = Detector(options.bundle)
    with tempfile.TemporaryDirectory() as folder, Camera("mjpeg").start() as camera:
        source = open_source(camera.url)
        sinks = [JsonLinesSink(Path("/dev/null")), VideoSink(Path(folder) / "out.mkv")]
        with _restarted(camera, options.restart_every_s):
            run_stream(detector, source, sinks, on_result=on_result, summary=summary)
    chosen = ("minutes", "frames", "restart_every_s", "consumer_ms", "leak_bytes")
    return {
        "what": "a detector on a local HTTP camera of 25 frames a second that is killed and started again",
        "origin": dataclasses.asdict(Origin.here()),
        "bundle": {"name": detector.manifest.name, "digest": detector.bundle.digest},
        "settings": {name: getattr(options, name) for name in chosen},
        "frames": summary.frames,
        "dropped": summary.dropped,
        "reconnects": summary.reconnects,
        "allowed_growth_bytes": ALLOWED_BYTES,
        "grew": growth(samples),
        "samples": samples,
    }


def main() -> None:
    """Run, write, judge."""
    logging.disable()
    options = _options()
    result = soak(options)
    samples = result.pop("samples")
    rows = ",\n".join("  " + json.dumps(sample) for sample in samples)  # type: ignore[attr-defined]
    text = f'{json.dumps(result, indent=1)[:-2]},\n "samples": [\n{rows}\n ]\n}}\n'
    if options.output is not None:
        options.output.write_text(text)
    print(text)
    sys.exit(1 if result["grew"] else 0)


if __name__ == "__main__":
    main()
