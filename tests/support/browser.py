"""Headless Chromium, spoken to through pipes: what a page does, says and asks the network for."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-pipe",
)  # fmt: skip

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
_PATIENCE_S = 120


class Page:
    """An open page.

    Attributes
    ----------
    said : list of str
        Messages of the console and uncaught errors.
    asked : list of str
        Every address that was asked for.
    """

    def __init__(self, told: int, heard: int) -> None:
        self._told, self._heard = told, heard
        self._number, self._rest = 0, b""
        self._session = ""
        self.said: list[str] = []
        self.asked: list[str] = []
        self._loaded = False
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")

    def open(self, path: Path, fragment: str = "") -> None:
        """Load a file and wait until it is complete."""
        for url in ("about:blank", f"{path.as_uri()}{fragment}"):
            self._loaded = False
            self._call("Page.navigate", url=url)
            while not self._loaded:
                self._take(self._next())

    @contextmanager
    def injected(self, script: str) -> Iterator[None]:
        """Run JavaScript before that of each page which is loaded meanwhile."""
        made = self._call("Page.addScriptToEvaluateOnNewDocument", source=script)
        yield
        self._call("Page.removeScriptToEvaluateOnNewDocument", **made)

    def load(self, script: str) -> None:
        """Evaluate JavaScript that makes the page load again, and wait until it is complete."""
        self._loaded = False
        self._call("Runtime.evaluate", expression=script)
        while not self._loaded:
            self._take(self._next())

    def run(self, script: str) -> Any:
        """Evaluate JavaScript; return its value, waiting for promises."""
        found = self._call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press a key: its name, and its number on the keyboard."""
        text = "\r" if key == "Enter" else ""
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                       windowsVirtualKeyCode=code, text=text)  # fmt: skip

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Move, press, release or turn the wheel of the mouse at a point of the window."""
        button = "none" if kind in ("mouseMoved", "mouseWheel") else "left"
        params = {"button": button, "clickCount": int(button == "left"), **more}
        self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **params)

    def click(self, x: float, y: float) -> None:
        """Click at a point of the window."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.mouse(kind, x, y)

    def reach(self, element: str) -> tuple[float, float, float, float]:
        """Bring an element (a JavaScript expression) into view; return its place and size."""
        self.run(f"window.reached = {element}; 0")
        # Pictures that load on the way move it.
        self.until("""(() => {
            reached.scrollIntoView({ behavior: "instant", block: "center" });
            const { top } = reached.getBoundingClientRect();
            const still = top === window.reachedAt;
            window.reachedAt = top;
            return still && [...document.images].every((one) => one.complete
                || one.getBoundingClientRect().top > 2 * innerHeight
                || one.getBoundingClientRect().bottom < -innerHeight);
        })()""")
        box = "(({ left, top, width, height }) => [left, top, width, height])"
        left, top, width, height = self.run(f"{box}(reached.getBoundingClientRect())")
        return left, top, width, height

    def until(self, condition: str) -> None:
        """Wait until JavaScript says that something is so."""
        script = f"""new Promise((done, fail) => {{
            const end = Date.now() + {_PATIENCE_S * 1000};
            (function look() {{
                if ({condition}) done();
                else if (Date.now() > end) fail(new Error("waited in vain"));
                else setTimeout(look, 20);
            }})();
        }})"""
        self.run(script)

    def look(self, width: int, height: int, dark: bool = False) -> None:
        """Set the window's size and which colours the reader prefers."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                   deviceScaleFactor=1, mobile=False)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", media="", features=[scheme])

    def shoot(self, path: Path) -> None:
        """Write what the window shows as PNG."""
        path.write_bytes(b64decode(self._call("Page.captureScreenshot")["data"]))

    def _call(self, method: str, **params: Any) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._told, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._take(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._heard], [], [], _PATIENCE_S)
            assert ready, "the browser says nothing"
            more = os.read(self._heard, 1 << 20)
            assert more, "the browser is gone"
            self._rest += more
        first, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(first)
        return found

    def _take(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent" and params["request"]["url"] != "about:blank":
            self.asked.append(params["request"]["url"])
        elif method in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.said.append(json.dumps(params))


@contextmanager
def browser() -> Iterator[Page]:
    """Start Chromium with a profile of its own; it ends with the block."""
    assert CHROMIUM is not None
    told_read, told = os.pipe()
    heard, heard_write = os.pipe()
    with tempfile.TemporaryDirectory(prefix="casarun-browser-", ignore_cleanup_errors=True) as own:
        # Chromium reads commands from descriptor 3 and answers on 4.
        script = 'in=$1 out=$2; shift 2; exec "$@" 3<&"$in" 4>&"$out"'
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", str(told_read), str(heard_write), CHROMIUM, *_OPTIONS,
             f"--user-data-dir={own}"],
            pass_fds=(told_read, heard_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(told_read)
        os.close(heard_write)
        try:
            yield Page(told, heard)
        finally:
            process.terminate()
            process.wait(30)
            os.close(told)
            os.close(heard)
