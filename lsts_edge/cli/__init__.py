"""The ``lsts-edge`` program: one file per command, each imported only when it is called."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import click

from lsts_edge import __version__
from lsts_edge.cli.group import LazyGroup
from lsts_edge.errors import FileUnusable, LstsEdgeError, PackageMissing
from lsts_edge.redact import redact_text

__all__ = ["command_line", "main"]

TRACEBACK_VARIABLE = "LSTS_EDGE_TRACEBACK"
_INTERRUPTED = 128 + signal.SIGINT

_COMMANDS = {
    "demo": ("lsts_edge.cli.demo", "Show boxes on a real video: export, verify, run, picture."),
    "wrap": ("lsts_edge.cli.wrap", "Make a bundle of your own ONNX detector, run the way that pays."),
    "export": ("lsts_edge.cli.export", "Turn a checkpoint into a bundle of ONNX subgraphs."),
    "verify": ("lsts_edge.cli.verify", "Compare a bundle with torch, frame by frame, state carried."),
    "inspect": ("lsts_edge.cli.inspect", "Check a bundle's files and show what is in it."),
    "sign": ("lsts_edge.cli.sign", "Sign a bundle with your Ed25519 key."),
    "doctor": ("lsts_edge.cli.doctor", "Check this machine, a bundle or a source, and print the fixes."),
    "run": ("lsts_edge.cli.run", "Detect objects in a video."),
    "data": ("lsts_edge.cli.data", "Make training data: label clips by detectors."),
    "import-mxnet": ("lsts_edge.cli.import_mxnet", "Turn the released code's MXNet parameters into a checkpoint."),
    "train": ("lsts_edge.cli.train", "Train a checkpoint on annotated video."),
    "evaluate": ("lsts_edge.cli.evaluate", "Measure the accuracy of a bundle or checkpoint."),
    "bench": ("lsts_edge.cli.bench", "Count and time: params, op, latency, compare, report."),
}

# Import name of a package that is not part of the base install -> the extra that brings it.
_EXTRAS = {
    "torch": "export",
    "onnx": "wrap",
    "onnx_graphsurgeon": "wrap",
    "onnxscript": "export",
    "onnx_ir": "export",
    "safetensors": "export",
    "onnxruntime": "cpu",
    "openvino": "openvino",
    "pycocotools": "evaluate",
    "matplotlib": "bench",
    "cryptography": "sign",
    "tensorboard": "tensorboard",
    "trackers": "track",
    "paho": "mqtt",
    "pybullet": "render",
}

_received: list[int] = []  # signals that are ending the program

command_line = LazyGroup(
    name="lsts-edge",
    commands=_COMMANDS,
    help="Video object detection on edge devices: learned spatio-temporal sampling between keyframes.",
    epilog="Exit status: 0 done, 1 check failed, 2 usage, 3 bundle, 4 op library, 5 stream, 6 provider, 7 checkpoint, "
    "8 live source lost, 9 what was asked of wrap is not kept.",
)
command_line = click.version_option(__version__, prog_name="lsts-edge")(command_line)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and leave the process with its exit status; an error is one line, never a traceback.

    Args:
        arguments: the words after the program's name; None takes them from the command line.

    Raises:
        SystemExit: always.
    """
    _received.clear()
    signal.signal(signal.SIGTERM, _on_terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
        signal.signal(signal.SIGHUP, _on_terminate)
    for stream in (sys.stdout, sys.stderr):  # a file name need not be text, and a terminal need not have its letters
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = command_line.main(arguments, prog_name="lsts-edge", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.Abort:
        _fail("interrupted", "stopped from the keyboard", _INTERRUPTED)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "lsts-edge"
        _fail("usage", f"{error.format_message()} See '{path} --help'.", error.exit_code)
    except click.ClickException as error:
        _fail("usage", error.format_message(), error.exit_code)
    except LstsEdgeError as error:
        _fail(error.code, str(error), error.exit_status)
    except ModuleNotFoundError as error:
        missing = _package_missing(error)
        _fail(missing.code, str(missing), missing.exit_status)
    except OSError as error:
        refused = _refused(error)
        _fail(refused.code, str(refused), refused.exit_status)
    except UnicodeEncodeError as error:  # an argument of bytes that are no text, where it has to be text
        _fail("usage", f"Text that cannot be written: {ascii(error.object)[:80]}. Give it in UTF-8.", 2)
    except Exception as error:
        hint = f"This is a bug; {TRACEBACK_VARIABLE}=1 shows where."
        _fail(LstsEdgeError.code, f"{type(error).__name__}: {error}. {hint}", LstsEdgeError.exit_status)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(code: str, text: str, status: int) -> None:
    if _received:  # inside an import, the exception of the signal comes out as an error of the import
        sys.exit(128 + _received[-1])
    if os.environ.get(TRACEBACK_VARIABLE) == "1" and code != "usage":
        raise
    with contextlib.suppress(OSError):  # standard error may be full too
        click.echo(f"error[{code}]: {redact_text(text, sys.argv)}", err=True)  # click's own messages repeat the words
    sys.exit(status)


def _refused(error: OSError) -> FileUnusable:
    """What the operating system says no to; where it names no file, it is standard output that takes no more."""
    reason = error.strerror or str(error) or type(error).__name__
    if isinstance(error.filename, (str, bytes)):
        expected, fix = "one that can be used", "Check the path and its rights."
        return FileUnusable(f"cannot use {os.fsdecode(error.filename)}", got=reason, expected=expected, fix=fix)
    if error.errno not in (errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF):
        return FileUnusable(
            "the system refuses", got=reason, expected="that it can be done", fix="Check what it names."
        )
    with contextlib.suppress(OSError, ValueError):  # what is left in its buffer would fail once more at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    expected, fix = "somebody who reads it, and room", "Let the reader run on, or free some space."
    return FileUnusable("cannot write to standard output", got=reason, expected=expected, fix=fix)


def _package_missing(error: ModuleNotFoundError) -> LstsEdgeError:
    package = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(package)
    if extra is None:
        return LstsEdgeError(
            "a module cannot be imported", got=str(error), expected="a whole install", fix="Reinstall."
        )
    return PackageMissing(
        "this command needs a package that is not installed",
        got=f"no {package}",
        expected=f"the extra [{extra}]",
        fix=f'Run: pip install "lsts-edge[{extra}]"',
    )


def _on_terminate(number: int, frame: FrameType | None) -> None:
    """Leave by an exception, so that every output file is closed; a second signal ends at once."""
    signal.signal(number, signal.SIG_DFL)
    _received.append(number)
    click.echo(f"error[terminated]: stopped by {signal.Signals(number).name}", err=True)
    sys.exit(128 + number)


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    """The same for Ctrl-C, by the exception that it raises everywhere."""
    signal.signal(number, signal.default_int_handler)
    _received.append(number)
    click.echo("error[interrupted]: stopped from the keyboard", err=True)
    raise KeyboardInterrupt
