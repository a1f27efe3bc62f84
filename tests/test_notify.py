"""Whoever is to know that a run has ended is told: what, how, and never to the run's harm."""

from __future__ import annotations

import json
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from email import message_from_string, policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from casarun.api.opening import Options, Reduction, open_recipe
from casarun.api.running import RunResult
from casarun.api.telling import told
from casarun.engine.outcome import Failure, Outcome
from casarun.errors import Cause, DataError, ExitCode, RefusedError
from casarun.folder import RunFolder
from casarun.plan import Plan
from casarun.share import news
from support.cli import recipe

METRICS: dict[str, Any] = {
    "verdict": "warn",
    "checks": [
        {"name": "dynamic_range", "subject": "M51, c", "verdict": "pass", "value": 80.0,
         "limit": 20, "text": "peak over noise"},
        {"name": "residual_peak", "subject": "M51, c", "verdict": "warn", "value": 12.34,
         "limit": 10.0, "text": "is the largest residual", "advice": "Clean deeper"},
    ],
    "images": {"M51": {"c": {"peak_jy_per_beam": 0.0524, "rms_noise_jy_per_beam": 9e-4,
                             "dynamic_range": 58.2}}},
    "datasets": {"day1": {"flagged_fraction": {"total": 0.2514}}},
}  # fmt: skip
FAILED = {
    "day1.bandpass": Failure(Cause.POSTCONDITION, "no solutions", "Choose another refant", 1,
                             Path("/logs"))
}  # fmt: skip
TELL = "import os, sys; open(sys.argv[1], 'w').write(sys.stdin.read())"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder with a dataset; the user's configuration is below it."""
    (tmp_path / "a.ms").mkdir()
    (tmp_path / "config" / "casarun").mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def define(place: Path, **notifiers: dict[str, Any]) -> None:
    """Write the user's configuration."""
    lines = []
    for name, table in notifiers.items():
        lines.append(f"[notify.{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    (place / "config" / "casarun" / "config.toml").write_text("\n".join(lines) + "\n")


def command(*words: str, program: str = sys.executable) -> dict[str, Any]:
    return {"command": [program, *words]}


def opened(place: Path, notify: str = 'to = "me"', title: str = "The whirlpool") -> Reduction:
    path = recipe(
        place,
        f'[project]\nname = "m51"\ntitle = {json.dumps(title)}\n[[dataset]]\nvis = "a.ms"\n'
        f"[notify]\n{notify}\n",
    )
    reduction = open_recipe(path, Options())
    reduction.folder.private.mkdir(parents=True, exist_ok=True)
    return reduction


def ended(
    reduction: Reduction,
    code: ExitCode = ExitCode.DONE,
    ran: int = 3,
    failed: dict[str, Failure] | None = None,
) -> tuple[RunResult, list[dict[str, Any]]]:
    """Let a run end in some way; return its result and what listeners heard."""
    outcome = Outcome(done=[str(n) for n in range(ran)], failed=failed or {})
    result = RunResult(code, outcome, Plan(()), reduction.folder, METRICS)
    heard: list[dict[str, Any]] = []
    return told(reduction, heard.append, lambda: result), heard


def text(folder: RunFolder, code: ExitCode, failed: dict[str, Failure], metrics: Any) -> list[str]:
    outcome = Outcome(done=["a"], failed=failed)
    told = news.of_run("m51", "The whirlpool", folder, outcome, metrics, code)
    return told.text().splitlines()


def test_the_message(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "qa").mkdir()
    folder.report.touch()
    assert text(folder, ExitCode.DONE, {}, METRICS) == [
        "m51: The whirlpool",
        f"Verdict: warn (exit code 0); 1 step run, on {socket.gethostname()}.",
        "",
        "Look at:",
        "1. largest residual of M51, c (warn): 12.3 sigma is the largest residual (limit: at "
        "most 10 sigma). Clean deeper",
        "2. dynamic range of M51, c (passed, nearest to its limit): 80.0 peak over noise "
        "(limit: at least 20)",
        "3. M51, c: peak 52.4 mJy/beam, noise 900 µJy/beam, dynamic range 58",
        "",
        f"Report: {tmp_path}/qa/index.html",
        f"Run folder: {tmp_path}",
    ]


def test_what_failed_comes_first_as_in_the_report(tmp_path: Path) -> None:
    missing = [
        {"name": "product_made", "subject": "M51, c", "verdict": "fail", "value": False,
         "limit": True, "text": "not made: no solutions"}
    ]  # fmt: skip
    failing = [
        {"name": "flagged_fraction", "subject": f"day{n}", "verdict": "fail", "value": 0.9,
         "limit": 0.8, "text": "of all cross-correlations are flagged"} for n in (1, 2)
    ]  # fmt: skip
    metrics = METRICS | {"checks": [*METRICS["checks"], *missing, *failing]}
    told = text(RunFolder(tmp_path), ExitCode.STEP_FAILED, FAILED, metrics)
    assert told[1].startswith("Verdict: a step failed (exit code 1); ")
    assert told[4:] == [
        "1. day1.bandpass failed: no solutions. Choose another refant",
        "2. flagged visibilities of day1 (fail): 90.0 % of all cross-correlations are flagged "
        "(limit: at most 80.0 %)",
        "3. largest residual of M51, c (warn): 12.3 sigma is the largest residual (limit: at "
        "most 10 sigma). Clean deeper",
        "",
        "There is no report.",
        f"Run folder: {tmp_path}",
    ]


def test_a_dataset_that_was_set_aside_is_told_once(place: Path) -> None:
    define(place, me=command("-c", TELL, str(place / "told")))
    run = opened(place)
    aside = {"day3": "no field matches 'T*'"}

    def start(ran: int) -> str:
        outcome = Outcome(done=[str(n) for n in range(ran)])
        result = RunResult(
            ExitCode.STEP_FAILED, outcome, Plan(()), run.folder, METRICS, aside
        )  # fmt: skip
        told(run, None, lambda: result)
        found = place / "told"
        text = found.read_text() if found.exists() else ""
        found.unlink(missing_ok=True)
        return text

    assert "\n1. dataset day3 failed: no field matches 'T*'\n" in start(4)
    assert start(0) == ""
    aside["day4"] = "no field matches 'T*'"
    assert "dataset day4" in start(0)


def test_what_comes_from_data_does_not_drive_a_terminal(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    told = news.of_run("m51", "\x1b[2J\x07", folder, Outcome(), {}, ExitCode.DONE).text()
    assert told.startswith("m51: \\x1b[2J\\x07\n")


def test_a_command_gets_the_message_and_the_words(place: Path) -> None:
    define(
        place,
        me=command("-c", TELL, str(place / "told"), "{title}"),
        other=command(
            "-c", "import os, sys; open(sys.argv[1], 'w').write(str((sys.argv[2:], "
            "os.environ['CASARUN_KIND'], os.environ['CASARUN_EXIT_CODE'], os.getcwd())))",
            str(place / "words"), "{title}", "-{name}", "{folder}",
        ),
    )  # fmt: skip
    result, heard = ended(opened(place, 'to = ["me", "other"]'))
    assert (result.exit_code, heard) == (ExitCode.DONE, [])
    assert (place / "told").read_text().startswith("m51: The whirlpool\nVerdict: warn")
    run = str(place / "runs" / "m51")
    expected = (["casarun: m51: warn", "-m51", run], "success", "0", str(Path.home()))
    assert (place / "words").read_text() == str(expected)


def test_no_shell_is_between(place: Path) -> None:
    define(place, me=command("-c", TELL, str(place / "told"), "$(touch {folder}/x)", "; touch x"))
    title = f"$(touch {place}/y) `touch {place}/y`; touch {place}/y"
    _, heard = ended(opened(place, title=title))
    assert heard == []
    assert title in (place / "told").read_text()
    assert not list(place.rglob("[xy]"))


BAD = {
    "fails": (
        command("-c", "import sys; print('no route to host'); sys.exit(3)"),
        "ended with exit code 3: no route to host",
    ),
    "dies": (
        command("-c", "import os; os.kill(os.getpid(), 9)"),
        "was killed by SIGKILL",
    ),
    "is not there": (
        command(program="no-such-program"),
        "there is no program no-such-program on the PATH",
    ),
    "is not there, absolute": (command(program="/no/such"), "there is no program /no/such"),
    "hangs": (
        command("-c", "import time; time.sleep(100)") | {"timeout": "300ms"},
        "took longer than 0.3 s and was ended",
    ),
    "has an address that is none": ({"url": "nonsense://x"}, "ended with exit code 1: "
                                    "address 1 is none that Apprise knows"),
}  # fmt: skip


@pytest.mark.parametrize("how", BAD)
@pytest.mark.parametrize("code", [ExitCode.DONE, ExitCode.STEP_FAILED])
def test_a_notifier_that_does_not_work_is_told_and_changes_nothing(
    place: Path, how: str, code: ExitCode
) -> None:
    notifier, said = BAD[how]
    define(place, me=notifier, good=command("-c", TELL, str(place / "told")))
    result, heard = ended(opened(place, 'to = ["me", "good"]'), code)
    assert result.exit_code == code
    assert heard == [{"event": "notifier-failed", "name": "me", "message": said}]
    assert (place / "told").exists()  # the next one is told all the same


def test_what_a_notifier_started_ends_with_it(place: Path) -> None:
    pid = place / "pid"
    # A shell has begun within its time, on the busiest machine.
    outer = f"sleep 600 & echo $! > '{pid}'; wait"
    define(place, me=command("-c", outer, program="/bin/sh") | {"timeout": "3s"})
    _, heard = ended(opened(place))
    assert heard[0]["message"] == "took longer than 3 s and was ended"
    assert not lives(int(pid.read_text()))


def lives(pid: int) -> bool:
    """Tell whether a process goes on; the kernel has a while to end it."""
    for _ in range(100):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return False
        except psutil.NoSuchProcess:
            return False
        time.sleep(0.1)
    return True


class _Server(HTTPServer):
    code = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[str, dict[str, Any]]] = []


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, json.loads(body)))
        self.send_response(self.server.code)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    """Give a web server of this machine that notes what it is told."""
    with _Server() as web:
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        yield web
        web.shutdown()
        thread.join()


def test_a_webhook(place: Path, server: _Server) -> None:
    define(place, me={"url": f"json://127.0.0.1:{server.server_port}/hook"})
    result, heard = ended(opened(place), ExitCode.STEP_FAILED, failed=FAILED)
    assert (result.exit_code, heard) == (ExitCode.STEP_FAILED, [])
    ((path, body),) = server.got
    assert path.startswith("/hook")
    assert body["title"] == "casarun: m51: a step failed"
    assert body["type"] == "failure"
    assert "\n1. day1.bandpass failed: no solutions. Choose another refant\n" in body["message"]


def test_a_server_that_refuses(place: Path, server: _Server) -> None:
    server.code = 500
    define(place, me={"url": f"json://127.0.0.1:{server.server_port}/secret"})
    result, heard = ended(opened(place))
    assert result.exit_code == ExitCode.DONE
    assert heard[0]["message"].startswith("ended with exit code 1: ")
    assert "500" in heard[0]["message"] or "Internal Server Error" in heard[0]["message"]
    assert "secret" not in heard[0]["message"]


def test_only_what_was_asked_for_is_told(place: Path) -> None:
    define(place, me=command("-c", TELL, str(place / "told")))
    for on, code, is_told in (
        (["failure"], ExitCode.DONE, False),
        (["failure"], ExitCode.INTERRUPTED, False),
        (["failure"], ExitCode.QA_FAILED, True),
        (["failure"], ExitCode.STEP_FAILED, True),
        (["success"], ExitCode.STEP_FAILED, False),
        (["success"], ExitCode.DONE, True),
        (["stopped"], ExitCode.INTERRUPTED, True),
        ([], ExitCode.STEP_FAILED, False),
    ):
        ended(opened(place, f'to = "me"\non = {json.dumps(on)}'), code)
        assert (place / "told").exists() == is_told, (on, code)
        (place / "told").unlink(missing_ok=True)


def is_told(place: Path, reduction: Reduction, code: ExitCode, **more: Any) -> bool:
    ended(reduction, code, **more)
    found = (place / "told").exists()
    (place / "told").unlink(missing_ok=True)
    return found


def test_the_same_is_not_told_every_ten_minutes(place: Path) -> None:
    define(place, me=command("-c", TELL, str(place / "told")))
    run = opened(place)
    assert not is_told(place, run, ExitCode.DONE, ran=0)  # nothing was done, nothing was wrong
    assert is_told(place, run, ExitCode.DONE)
    assert not is_told(place, run, ExitCode.DONE, ran=0)
    assert is_told(place, run, ExitCode.STEP_FAILED, failed=FAILED)
    assert not is_told(place, run, ExitCode.STEP_FAILED, ran=0, failed=FAILED)
    other = {"day2.bandpass": FAILED["day1.bandpass"]}
    assert is_told(place, run, ExitCode.STEP_FAILED, ran=0, failed=other)
    assert is_told(place, run, ExitCode.DONE, ran=0)  # it is well again
    assert not is_told(place, run, ExitCode.DONE, ran=0)


def test_what_could_not_be_told_is_told_the_next_time(place: Path) -> None:
    define(place, me=command("-c", "import sys; sys.exit(1)"))
    run = opened(place)
    assert not is_told(place, run, ExitCode.DONE)
    define(place, me=command("-c", TELL, str(place / "told")))
    assert is_told(place, run, ExitCode.DONE, ran=0)
    assert not is_told(place, run, ExitCode.DONE, ran=0)


@pytest.mark.parametrize("error", [DataError("a.ms: not a MeasurementSet"), RuntimeError("oh")])
def test_what_ends_a_run_early_is_told_and_goes_on(place: Path, error: Exception) -> None:
    define(place, me=command("-c", TELL, str(place / "told")))

    def work() -> RunResult:
        raise error

    with pytest.raises(type(error), match=str(error)):
        told(opened(place), None, work)
    verdict = "refused (exit code 2)" if isinstance(error, DataError) else "a bug in casarun (exit"
    lines = (place / "told").read_text().splitlines()
    assert lines[1].startswith(f"Verdict: {verdict}")
    assert lines[4] == f"1. {error}"


def refusal(place: Path, notify: str) -> str:
    with pytest.raises(RefusedError) as error:
        opened(place, notify)
    return str(error.value).splitlines()[0]


def test_a_recipe_can_only_name_what_its_user_has_defined(place: Path) -> None:
    config = place / "config" / "casarun" / "config.toml"
    start = f"{place}/recipe.toml:8:"
    assert refusal(place, 'to = "me"') == (
        f"{start}6: notify.to: no notifier is named 'me' in your own {config}: there is no such "
        "file. Define it, or run without: --set 'notify.to=[]'"
    )
    define(place, me=command("x"), lab=command("x"))
    assert refusal(place, 'to = ["me", "lap"]') == (
        f"{start}13: notify.to[1]: no notifier is named 'lap' in your own {config}: there is 'me', "
        "'lab'; did you mean 'lab'? Define it, or run without: --set 'notify.to=[]'"
    )
    opened(place, 'to = ["me", "lab"]')


def test_a_configuration_that_is_wrong_is_told_with_its_own_place(place: Path) -> None:
    define(place, me={"comand": ["x"]})
    config = place / "config" / "casarun" / "config.toml"
    assert refusal(place, 'to = "me"') == (
        f"{config}:1:9: notify.me: give either a command or a url"
    )


def test_a_recipe_that_tells_nobody_does_not_look_at_the_configuration(place: Path) -> None:
    define(place, me={"comand": ["x"]})
    assert opened(place, "to = []").loaded.recipe.notify.to == ()


class _Post(socketserver.StreamRequestHandler):
    """As much of SMTP as a letter needs."""

    def handle(self) -> None:
        self._say("220 post")
        letter: list[str] = []
        while line := self.rfile.readline().decode().strip():
            word = line.upper()
            if word.startswith("DATA"):
                self._say("354 go on")
                while (text := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    letter.append(text)
                self.server.letters.append("\n".join(letter))  # type: ignore[attr-defined]
            elif word.startswith("QUIT"):
                self._say("221 bye")
                return
            self._say("250 fine")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


def test_an_email(place: Path) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Post) as post:
        post.letters = []  # type: ignore[attr-defined]
        threading.Thread(target=post.serve_forever, args=(0.02,), daemon=True).start()
        where = f"mailto://127.0.0.1:{post.server_address[1]}"
        define(place, me={"url": f"{where}?from=a@example.org&to=lab@example.org&mode=insecure"})
        result, heard = ended(opened(place, title="<b>M 51</b>"), ExitCode.STEP_FAILED, 1, FAILED)
        post.shutdown()
    assert (result.exit_code, heard) == (ExitCode.STEP_FAILED, [])
    (letter,) = post.letters  # type: ignore[attr-defined]
    told = message_from_string(letter, policy=policy.default)
    assert told["Subject"] == "casarun: m51: a step failed"
    assert "lab@example.org" in told["To"]
    body = told.get_body(("plain",))
    assert body is not None
    text = body.get_content()
    assert "1. day1.bandpass failed: no solutions. Choose another refant" in text
    page = told.get_body(("html",))
    if page is not None:  # what comes from a recipe is no markup
        assert "<b>" not in page.get_content()
