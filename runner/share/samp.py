"""DS9 by SAMP: calls of a hub that is there already, in XML-RPC.

Source: IVOA Recommendation SAMP 1.3, sections 3 and 4 (Standard Profile).
"""

from __future__ import annotations

import os
import xmlrpc.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from ..errors import DataError

_QUICK_S: Final = 10
_PATIENT_S: Final = 300
_FAULTS: Final = (OSError, xmlrpc.client.Error, ValueError, TypeError)


def lock_file() -> Path | None:
    """Return the file in which a hub says how to call it; None where the standard has no place."""
    given = os.environ.get("SAMP_HUB", "")
    if given:
        url = given.removeprefix("std-lockurl:")
        return Path(unquote(urlsplit(url).path)) if url.startswith("file://") else None
    with suppress(RuntimeError):
        return Path("~/.samp").expanduser()
    return None


class Samp:
    """A running DS9, called through a hub."""

    how = "SAMP"

    def __init__(self, hub: Any, key: str, client: str) -> None:
        self._hub, self._key, self._client = hub, key, client

    def tell(self, command: str, *, patient: bool = False) -> None:
        """Give a command.

        Raises
        ------
        DataError
            If DS9 refuses it, or does not answer.
        """
        self._call("ds9.set", command)

    def ask(self, command: str) -> str:
        """Return an answer.

        Raises
        ------
        DataError
            If there is none.
        """
        return str(self._call("ds9.get", command).get("value", "")).strip()

    def _call(self, kind: str, command: str) -> Mapping[str, Any]:
        message = {"samp.mtype": kind, "samp.params": {"cmd": command}}
        try:
            answer = self._hub.callAndWait(self._key, self._client, message, str(_PATIENT_S))
        except _FAULTS as error:
            raise DataError(f"DS9 has not answered by SAMP: {error}") from None
        if not isinstance(answer, Mapping) or answer.get("samp.status") != "samp.ok":
            raise DataError(f"DS9 refused '{command}'")
        result = answer.get("samp.result")
        return result if isinstance(result, Mapping) else {}


@contextmanager
def running() -> Iterator[Samp | None]:
    """Give a DS9 that is registered with a running hub, or None."""
    found = _registered()
    if found is None:
        yield None
        return
    hub, key = found
    try:
        clients = hub.getSubscribedClients(key, "ds9.set")
    except _FAULTS:
        clients = {}
    try:
        yield Samp(hub, key, min(clients)) if clients else None
    finally:
        with suppress(*_FAULTS):
            hub.unregister(key)


def _registered() -> tuple[Any, str] | None:
    """Return the hub and the key that it gave us; None where there is none that answers."""
    path = lock_file()
    try:
        lines = path.read_text("utf-8", "replace").splitlines() if path else []
    except OSError:
        return None
    told = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    try:
        url = urlsplit(told.get("samp.hub.xmlrpc.url", ""))
        if url.scheme != "http" or not url.hostname:
            return None
        hub = _hub(url.geturl(), _QUICK_S)
        answer: Any = hub.register(told.get("samp.secret", ""))
        key = str(answer["samp.private-key"])
        hub.declareMetadata(key, {"samp.name": "casarun"})
    except (*_FAULTS, KeyError):
        return None
    return _hub(url.geturl(), _PATIENT_S + _QUICK_S), key


def _hub(url: str, limit_s: float) -> Any:
    return xmlrpc.client.ServerProxy(url, transport=_Transport(limit_s)).samp.hub


class _Transport(xmlrpc.client.Transport):
    """Connections that do not wait for ever."""

    def __init__(self, limit_s: float) -> None:
        super().__init__()
        self._limit_s = limit_s

    def make_connection(self, host: Any) -> HTTPConnection:
        made = super().make_connection(host)
        made.timeout = self._limit_s
        return made
