"""DS9 by XPA: the programs ``xpaget`` and ``xpaset``, called without a shell."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import Final

from ..errors import DataError

QUICK_S: Final = 10.0
"""What takes longer to answer stands behind a dialog."""

PATIENT_S: Final = 300.0
"""For reading a large file."""

_SERVER: Final = re.compile(
    r"^DS9 (?P<name>\S+) \S*g\S* (?P<address>\S+) (?P<user>\S+)$", re.MULTILINE
)


def installed() -> bool:
    """Say whether XPA's programs are on the PATH."""
    return all(map(shutil.which, ("xpaget", "xpaset")))


@dataclass(frozen=True)
class Xpa:
    """A running DS9.

    Attributes
    ----------
    name : str
        As XPA knows it: ``ds9``.
    address : str
        Where it listens; it tells it from others of that name.
    method : str
        ``XPA_METHOD`` by which it was found; empty for the user's own.
    """

    name: str
    address: str
    method: str = ""
    how: str = field(default="XPA", init=False)

    def tell(self, command: str, *, patient: bool = False) -> None:
        """Give a command.

        Raises
        ------
        DataError
            If DS9 refuses it, or does not answer.
        """
        _call(["xpaset", "-p", self.address], command, self.method, patient)

    def ask(self, command: str) -> str:
        """Return an answer.

        Raises
        ------
        DataError
            If there is none.
        """
        return _call(["xpaget", self.address], command, self.method, False).strip()


def running(name: str = "") -> Xpa | None:
    """Return a running DS9 of this user, the first that is found.

    Parameters
    ----------
    name : str, optional
        Only one of this name.
    """
    if not installed():
        return None
    # Where a machine does not know its own name, XPA's default finds nothing.
    for method in ("",) if "XPA_METHOD" in os.environ else ("", "local"):
        try:
            servers = _call(["xpaget", "xpans"], "", method, False)
        except DataError:
            continue
        for found in _SERVER.finditer(servers):
            if name in ("", found["name"]) and found["user"] in _ourselves():
                return Xpa(found["name"], found["address"], method)
    return None


def _ourselves() -> set[str]:
    """Return what XPA may call this user; a name server can know of the DS9s of others, too."""
    names = {os.environ.get(name, "") for name in ("XPA_LOGNAME", "USER", "LOGNAME")}
    with contextlib.suppress(KeyError):
        names.add(pwd.getpwuid(os.getuid()).pw_name)
    return names | {"unknown"}


def _call(program: list[str], command: str, method: str, patient: bool) -> str:
    env = {**os.environ, **({"XPA_METHOD": method} if method else {})}
    limit = PATIENT_S if patient else QUICK_S
    try:
        done = subprocess.run(  # noqa: S603
            [*program, *command.split()], env=env, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=limit, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise DataError(
            f"DS9 has not answered for {limit:.0f} s; a dialog may be open in it"
        ) from None
    except OSError as error:
        raise DataError(f"{program[0]} cannot be run: {error.strerror}") from error
    said = done.stderr.strip()
    if done.returncode or "XPA$ERROR" in said:
        if "no 'xpa" in said:
            raise DataError("DS9 has ended")
        why = said.removeprefix("XPA$ERROR").strip() or "without a word"
        raise DataError(f"DS9 refused '{command}': {why}")
    return done.stdout
