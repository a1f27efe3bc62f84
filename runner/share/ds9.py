"""Images in SAOImage DS9: one that runs, found by XPA or SAMP, or a new one.

A command is the same text in all three: told by XPA (``frame new``), by SAMP, or given to a new DS9
as options (``-frame new``). Paths in it are plain (`plain_paths`), and there is nothing else in
it that comes from data.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ..errors import DataError
from . import samp, xpa

_START_S: Final = 60.0
_SETTLES_S: Final = 1.0
_FILES: Final = ("fits ", "regions ")
_NO_SCREEN: Final = ": there is no screen (DISPLAY is not set)"


@dataclass(frozen=True)
class Frame:
    """What one frame of DS9 shows.

    Attributes
    ----------
    fits : Path
        The image; plain.
    regions : tuple of Path
        Region files to draw on it; plain.
    """

    fits: Path
    regions: tuple[Path, ...] = ()

    @property
    def commands(self) -> tuple[str, ...]:
        """What shows it in a frame that is there."""
        return (
            f"fits {self.fits}",
            "scale mode 99.5",
            *(f"regions load {path}" for path in self.regions),
            "zoom to fit",
        )


MATCHED: Final = ("tile yes", "lock frame wcs")
"""Several images: side by side, the same piece of sky in each."""


class Running(Protocol):
    """A DS9 that can be spoken to."""

    @property
    def how(self) -> str:
        """By what."""

    def tell(self, command: str, *, patient: bool = False) -> None:
        """Give a command."""

    def ask(self, command: str) -> str:
        """Return an answer."""


def command_line(frames: Sequence[Frame], title: str) -> list[str]:
    """Return the command that shows images in a new DS9."""
    words = ["ds9", "-title", title]
    for number, frame in enumerate(frames):
        commands = frame.commands if number == 0 else ("frame new", *frame.commands)
        words += [word for command in commands for word in f"-{command}".split()]
    for command in MATCHED if len(frames) > 1 else ():
        words += f"-{command}".split()
    return words


def show(frames: Sequence[Frame], *, new: bool = False) -> str:
    """Show images in DS9.

    Parameters
    ----------
    frames : sequence of Frame
        The images, a frame each.
    new : bool
        Start a DS9, even if one runs.

    Returns
    -------
    str
        Where they are shown, for a person.

    Raises
    ------
    DataError
        If DS9 is not there, or does not show them.
    """
    if not new:
        server = xpa.running()
        if server is not None:
            return f"the running DS9 '{server.name}' (by XPA){_tell(server, frames)}"
        with samp.running() as client:
            if client is not None:
                return f"the running DS9 (by SAMP){_tell(client, frames)}"
    return _start(frames)


def _tell(server: Running, frames: Sequence[Frame]) -> str:
    """Show images in a running DS9, behind what it shows already; return what did not work."""
    for number, frame in enumerate(frames):
        if number or not _has_empty_frame(server):
            server.tell("frame new")
        for command in frame.commands:
            if command.startswith(_FILES):
                server.tell(command, patient=True)
            else:
                _try(server, command)
        _require(server, frame)
    matched = [_try(server, command) for command in (MATCHED if len(frames) > 1 else ())]
    return "" if all(matched) else "; DS9 cannot match them on the sky"


def _try(server: Running, command: str) -> bool:
    """Give a command that an image without a place on the sky may not be fit for."""
    try:
        server.tell(command)
    except DataError:
        return False
    return True


def _has_empty_frame(server: Running) -> bool:
    return bool(server.ask("frame")) and server.ask("frame has fits") == "no"


def _require(server: Running, frame: Frame) -> None:
    """Require that the current frame shows an image: by SAMP a missing file is no error."""
    shown = server.ask("file")
    if not shown.startswith(str(frame.fits)):
        raise DataError(f"DS9 did not open {frame.fits}: it shows {shown or 'nothing'}")


def installed() -> bool:
    """Say whether DS9 is on the PATH."""
    return shutil.which("ds9") is not None


def _start(frames: Sequence[Frame]) -> str:
    """Start a DS9 that outlives this process.

    Where XPA's programs are there, it is started empty and told what to show: it answers while it
    still reads its options, so that nobody would know when all is shown, nor what it refused.
    """
    if not installed():
        raise DataError("no DS9 runs, and ds9 is not on the PATH")
    title = f"casarun-{os.getpid()}"
    if xpa.installed():
        process = _begin(["ds9", "-title", title])
        server = _heard_of(process, title)
        if server is not None:
            return f"a new DS9{_tell(server, frames)}"
        process.kill()  # empty as it is
        process.wait()
    process = _begin(command_line(frames, title))
    time.sleep(_SETTLES_S)
    _require_up(process)
    return "a new DS9"


def _begin(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


def _heard_of(process: subprocess.Popen[bytes], title: str) -> xpa.Xpa | None:
    """Wait until a new DS9 answers, unless it never does."""
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        time.sleep(0.2)
        _require_up(process)
        found = xpa.running(title)
        if found is not None:
            return found
    return None


def _require_up(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        code = f", with exit code {process.returncode}"
        raise DataError(f"ds9 ended at once{code if screen else _NO_SCREEN}")
