"""CANFAR's session API on this machine, as its documentation has it (skaha's ``service.yaml``).

`POST /session` with the parameters in the query, one session each, answers with its id; `GET
/session` lists, `GET /session/ID` tells of one, with ``view=logs`` and ``view=events`` as plain
text; `DELETE /session/ID` ends one. Without a token: 401. Unknown images: 400. Unknown ids: 404.
``args`` is split at spaces. A session can run its command here, as the container would.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "a-token"
IMAGE = "images.canfar.net/lab/casarun:latest"
BASE = "/skaha/v1"


@dataclass
class FakeSession:
    """A session: what was asked for, how it is, what it has printed."""

    id: str
    asked: dict[str, list[str]]
    status: str = "Pending"
    logs: str = ""
    process: subprocess.Popen[str] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What it finds in its environment."""
        return dict(pair.split("=", 1) for pair in self.asked.get("env", []))

    def told(self) -> dict[str, Any]:
        """Return what the platform tells of it."""
        return {
            "id": self.id, "userid": "me", "type": self.asked["type"][0],
            "image": self.asked["image"][0], "name": self.asked["name"][0], "status": self.status,
            "startTime": "2026-11-27T04:00:00Z", "expiryTime": "2026-12-11T04:00:00Z",
            "requestedCPUCores": self.asked.get("cores", ["1"])[0],
            "requestedRAM": f"{self.asked.get('ram', ['1'])[0]}G",
        }  # fmt: skip


class Platform(ThreadingHTTPServer):
    """The platform; `sessions` are those that it has not dropped."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sessions: dict[str, FakeSession] = {}
        self.requests: list[str] = []
        self.most_sessions = 100
        self.answers = True

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}{BASE}/"

    @property
    def environ(self) -> dict[str, str]:
        """What the client needs to know."""
        return {"CANFAR_URL": self.url, "CANFAR_TOKEN": TOKEN}

    def run(self, session: FakeSession, path: Mapping[str, str]) -> None:
        """Let a session run its command to its end, as a container of this machine."""
        command = [*session.asked["cmd"], *session.asked["args"][0].split(" ")]
        session.status = "Running"
        environ = {**path, **session.environment}
        session.process = subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        session.logs, _ = session.process.communicate(timeout=600)
        session.status = "Failed" if session.process.returncode else "Completed"

    def drop(self) -> None:
        """Forget what has ended."""
        live = ("Pending", "Running")
        self.sessions = {k: one for k, one in self.sessions.items() if one.status in live}


class _Handler(BaseHTTPRequestHandler):
    server: Platform

    def _begin(self) -> tuple[str, dict[str, list[str]]] | None:
        """Return path and query; None where that was answered already."""
        parts = urlsplit(self.path)
        self.server.requests.append(f"{self.command} {parts.path.removeprefix(BASE)}")
        if not self.server.answers:
            self._say(503, "service busy")
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._say(401, "not authenticated")
        elif not parts.path.startswith(f"{BASE}/session"):
            self._say(404, "no such thing")
        else:
            rest = parts.path.removeprefix(f"{BASE}/session").strip("/")
            return rest, parse_qs(parts.query, keep_blank_values=True)
        return None

    def _say(self, code: int, text: str, kind: str = "text/plain") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def do_POST(self) -> None:
        begun = self._begin()
        if begun is None:
            return
        _, asked = begun
        if {"name", "image", "type"} - set(asked):
            self._say(400, "missing parameters")
        elif asked["image"] != [IMAGE]:
            self._say(400, f"unknown or private image: {asked['image'][0]}")
        elif not all(part.isalnum() for part in asked["name"][0].split("-")):
            self._say(400, "name can only contain alpha-numeric chars and '-'")
        elif len(self.server.sessions) >= self.server.most_sessions:
            self._say(400, "too many sessions")
        else:
            number = f"s{len(self.server.requests):07d}"
            self.server.sessions[number] = FakeSession(number, asked)
            self._say(200, f"{number}\r\n")

    def do_GET(self) -> None:
        begun = self._begin()
        if begun is None:
            return
        which, query = begun
        if not which:
            all_of_them = [one.told() for one in self.server.sessions.values()]
            self._say(200, json.dumps(all_of_them), "application/json")
        elif which not in self.server.sessions:
            self._say(404, "session not found")
        else:
            one, view = self.server.sessions[which], query.get("view", [""])[0]
            if view == "logs":
                self._say(200, one.logs)
            elif view == "events":
                self._say(200, "Normal  Scheduled  assigned to a node\n")
            else:
                self._say(200, json.dumps(one.told()), "application/json")

    def do_DELETE(self) -> None:
        begun = self._begin()
        if begun is None:
            return
        one = self.server.sessions.pop(begun[0], None)
        if one is None:
            self._say(404, "session not found")
            return
        if one.process is not None and one.process.poll() is None:
            one.process.terminate()
        self._say(200, "")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def platform() -> Iterator[Platform]:
    """Give the platform, which answers while this lasts."""
    with Platform() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
