"""Why a source could not be opened or read: the likely cause of FFmpeg's error, and what to do about it."""

from __future__ import annotations

import errno

import av.error

from lsts_edge.errors import StreamError, StreamUnauthorized, StreamUnreadable

__all__ = ["broke_off", "cannot_open", "silent"]

_EXPECTED = "a video file, image folder, camera or stream URL"


def cannot_open(name: str, error: BaseException, timeout_s: float | None) -> StreamError:
    """The error that says why ``name`` could not be opened."""
    got, fix = _cause(error, timeout_s)
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        expected = "a user name and password that it knows"
        return StreamUnauthorized(f"{name} lets nobody in", got=got, expected=expected, fix=fix)
    return StreamUnreadable(f"cannot open {name}", got=got, expected=_EXPECTED, fix=fix)


def broke_off(name: str, error: BaseException, timeout_s: float | None) -> StreamError:
    """The error that says why ``name`` could not be read on."""
    got, fix = _cause(error, timeout_s)
    return StreamError(f"{name} broke off", got=got, expected="frames or the end of the stream", fix=fix)


def silent(name: str, timeout_s: float) -> StreamError:
    """The error that says that nothing came for too long."""
    fix = "Check that the camera or server is on and the network lets it through."
    return StreamError(f"{name} broke off", got=f"nothing for {timeout_s:g} s", expected="frames", fix=fix)


def _cause(error: BaseException, timeout_s: float | None) -> tuple[str, str]:
    """What happened, and what to do."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, av.error.HTTPUnauthorizedError):
        return (
            "401, user name or password refused",
            "Check both in the URL (rtsp://USER:PASSWORD@...), special characters percent-encoded.",
        )
    if isinstance(error, av.error.HTTPForbiddenError):
        return "403, forbidden", "Check the user's rights on the camera."
    if isinstance(error, av.error.HTTPNotFoundError):
        return "404, nothing at this path", "Check the path of the URL; the camera's manual names it."
    if isinstance(error, av.error.ExitError):
        waited = "" if timeout_s is None else f" within {timeout_s:g} s"
        return f"no answer{waited}", "Check that the camera or server is on and the network lets it through."
    if isinstance(error, av.error.InvalidDataError):
        return "nothing that FFmpeg knows as a video", "Check what it is; ffprobe may tell."
    if isinstance(error, av.error.ProtocolNotFoundError):
        return "a protocol that this build of FFmpeg lacks", "Use another URL of the camera, or a PyAV that has it."
    if number == errno.ECONNREFUSED:
        return "connection refused", "The machine is there and nothing listens: check the port and the camera's server."
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT):
        return str(getattr(error, "strerror", error)), "The machine is not reached: check cable and address."
    if number == errno.EBUSY:
        return "a camera that is busy", "Another program has it open: end that one."
    if number == errno.EACCES:
        return "no permission", "Join the group of the device or file (for cameras: video)."
    if number in (errno.ENODEV, errno.ENXIO):
        return "no such device", "Plug the camera in; v4l2-ctl --list-devices names those there are."
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return reason, "Check the path; ffprobe tells what the file is."
