"""Video decoders: one picture of each codec is decoded here; hardware decoders are named, though nothing uses them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import av
import av.error
import numpy as np
from av.codec.hwaccel import hwdevices_available

from lsts_edge.doctor.finding import Finding

__all__ = ["CODECS", "LEFT_BGR", "RIGHT_BGR", "check_decoders"]

CODECS = {"H.264": "h264.h264", "HEVC": "hevc.hevc", "MJPEG": "mjpeg.mjpeg", "AV1": "av1.ivf"}
"""What cameras and files come in, and a picture in it: the left half red, the right half turquoise."""

LEFT_BGR, RIGHT_BGR = (40, 40, 200), (200, 200, 40)
_RGB_TOLERANCE = 12  # of the codecs' rounding
_SAMPLES = Path(__file__).resolve().parents[1] / "data" / "doctor"
_HARDWARE = ("_v4l2m2m", "_cuvid", "_nvv4l2dec", "_qsv", "_vaapi", "_amf", "_rkmpp", "_mediacodec")
_DEVICES = {
    "v4l2m2m": "video*",
    "cuvid": "nvidia0",
    "nvv4l2dec": "nvhost-nvdec",
    "qsv": "dri/renderD*",
    "vaapi": "dri/renderD*",
    "rkmpp": "mpp_service",
}


def check_decoders(dev: Path = Path("/dev"), samples: Path = _SAMPLES) -> list[Finding]:
    """Decode a picture of each codec and look at its colours; name the hardware decoders of this build.

    Args:
        dev: where the kernel shows devices.
        samples: folder of the pictures.
    """
    found = [_software(codec, samples / file) for codec, file in CODECS.items()]
    return [*found, *_hardware(dev)]


def _software(codec: str, path: Path) -> Finding:
    try:
        name, picture = _decoded(path)
    except (av.error.FFmpegError, ValueError, OSError) as error:
        fix = "Install a PyAV whose FFmpeg has it: pip install --force-reinstall av."
        got = f"not decoded: {getattr(error, 'strerror', None) or error}"
        return Finding("decoder-missing", "warning", f"decoder of {codec}", got, fix, {"codec": codec})
    height, width = picture.shape[:2]
    halves = picture[:, : width // 3], picture[:, -(width // 3) :]
    off = max(
        float(np.abs(half.reshape(-1, 3).mean(axis=0) - colour).max())
        for half, colour in zip(halves, (LEFT_BGR, RIGHT_BGR), strict=True)
    )
    facts = {"codec": codec, "decoder": name, "colour_error": round(off, 1)}
    if off > _RGB_TOLERANCE:
        fix = "Do not trust boxes from such videos; reinstall PyAV: pip install --force-reinstall av."
        return Finding("decoder-wrong", "error", f"decoder of {codec}", f"colours off by {off:.0f}", fix, facts)
    return Finding("decoder-ok", "ok", f"decoder of {codec}", f"{name} decoded {width}x{height}", facts=facts)


def _decoded(path: Path) -> tuple[str, np.ndarray]:
    with av.open(io.BytesIO(path.read_bytes()), "r", format=path.suffix[1:]) as container:
        stream = container.streams.video[0]
        for picture in container.decode(stream):
            return stream.codec_context.name, picture.to_ndarray(format="bgr24")
    raise ValueError("no picture")


def _hardware(dev: Path) -> Iterator[Finding]:
    names = sorted(name for name in av.codecs_available if name.endswith(_HARDWARE) and _decodes(name))
    with_device = [name for name in names if any(dev.glob(_DEVICES.get(name.rpartition("_")[2], "no device")))]
    facts = {"decoders": names, "with_device": with_device, "devices": list(hwdevices_available())}
    here = ", ".join(with_device) or "none with a device node here"
    got = f"{here}; this PyAV has {len(names)}. Frames are decoded on the processor all the same"
    yield Finding("decoder-hardware", "note", "hardware decoders", got, facts=facts)


def _decodes(name: str) -> bool:
    try:
        return bool(av.codec.Codec(name, "r").is_decoder)
    except av.codec.codec.UnknownCodecError:
        return False
