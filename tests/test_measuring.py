"""What the benchmarks share: fresh processes in turns, medians, bars, tables."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def measuring() -> ModuleType:
    return benchmark("measuring")


def test_a_process_counts_with_all_that_it_starts(measuring: Any) -> None:
    work = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    parent = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {work!r}])"
    sample = measuring.timed("orphan", [sys.executable, "-c", parent])
    assert sample.cpu_s > 0.3


def test_memory_of_all_processes_is_added_up(
    measuring: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process ends when both have been seen with what they hold."""
    large, look = set(), measuring._pss_bytes

    def seen(pid: int) -> int:
        found: int = look(pid)
        if found > 100_000_000:
            large.add(pid)
        if len(large) == 2:
            (tmp_path / "both").touch()
        return found

    monkeypatch.setattr(measuring, "_pss_bytes", seen)
    eat = (
        "import pathlib, time\neaten = b'x' * 100_000_000\n"
        f"while not pathlib.Path({str(tmp_path / 'both')!r}).exists(): time.sleep(0.01)"
    )
    parent = (
        f"import subprocess, sys\ntwo = [subprocess.Popen([sys.executable, '-c', {eat!r}]) "
        "for _ in range(2)]\n[p.wait() for p in two]"
    )
    sample = measuring.timed("two", [sys.executable, "-c", parent], memory=True)
    assert 200e6 < sample.peak_memory_bytes < 300e6


def test_a_failure_shows_what_was_said(measuring: Any) -> None:
    with pytest.raises(SystemExit, match="peer ended with 3:\nno licence"):
        measuring.timed("peer", [sys.executable, "-c", "print('no licence'); raise SystemExit(3)"])


def test_what_takes_too_long_is_ended(measuring: Any) -> None:
    with pytest.raises(SystemExit, match=r"peer took more than 0\.2 s"):
        measuring.timed("peer", [sys.executable, "-c", "import time; time.sleep(60)"], limit_s=0.2)


def test_threads_of_the_environment_are_left_out(
    measuring: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "OMP_NUM_THREADS" not in measuring.bare_environment()


def test_turns_alternate_who_is_first(measuring: Any) -> None:
    runs = measuring.in_turns(3, ("a", "b"), lambda name, turn: f"{name}{turn}")
    assert list(runs) == ["a0", "b0", "b1", "a1", "a2", "b2"]


def test_who_cannot_run_is_left_out_and_the_others_go_on(measuring: Any) -> None:
    runs = measuring.in_turns(2, ("a", "b"), lambda name, turn: None if name == "b" else name)
    assert list(runs) == ["a", "a"]


def test_a_table_has_medians_bars_and_who_is_missing(measuring: Any, tmp_path: Path) -> None:
    part = measuring.Part("x", "a part")
    part.samples = [measuring.Sample("peer", s, 2 * s) for s in (1.0, 9.0, 2.0)]
    part.samples += [measuring.Sample("casarun", 3.0, 1.0, 5_000_000)]
    ratio = part.ratio("casarun", "peer")
    assert ratio == 1.5
    part.figures = [
        measuring.Figure("wall time over the peer's", ratio, most=1.0),
        measuring.Figure("times faster", 4.0, least=3.0),
        measuring.Figure("alone", 1.0, "s"),
    ]
    part.skipped = {"other": "it is not installed"}
    options = measuring.parser("x").parse_args(["--json", str(tmp_path / "x.json")])
    assert measuring.finish([part], options) == 1
    found = json.loads((tmp_path / "x.json").read_text())
    text = measuring.markdown(found)
    assert "| x | wall time over the peer's | 1.5 | at most 1 | **no** |" in text
    assert "| x | times faster | 4 | at least 3 | yes |" in text
    assert "| x | alone | 1 s |  |  |" in text
    assert "| peer | 3 | 2.00 | 4.00 |  |" in text
    assert "| casarun | 1 | 3.00 | 1.00 | 5 |" in text
    assert "other: skipped, it is not installed" in text
    assert {"cores", "processor", "versions", "filesystem"} <= found["conditions"].keys()


def test_a_comparison_of_different_products_is_void(measuring: Any) -> None:
    part = measuring.Part("x", "a part", wrong=["the peaks differ"])
    assert measuring.finish([part], measuring.parser("x").parse_args([])) == 1


def test_what_a_step_takes_beside_its_action(
    measuring: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    took = {"clean": {"prepare": 0.1, "perform": 2.0, "prove": 0.3}, "idle": {}}
    lines = []
    for second, (step, spent) in enumerate(took.items()):
        lines.append({"t": f"2026-03-01T10:00:0{3 * second}.000Z", "event": "step-started"})
        lines.append({"t": f"2026-03-01T10:00:0{3 * second + 3}.000Z", "event": "step-done",
                      "wall_s": 2.5})  # fmt: skip
        for line in lines[-2:]:
            line["step"] = step
        (tmp_path / "logs" / step).mkdir(parents=True)
        (tmp_path / "logs" / step / "result.json").write_text(json.dumps({"spent_s": spent}))
    (tmp_path / ".casarun").mkdir()
    journal = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / ".casarun" / "journal.jsonl").write_text(journal)
    overhead = benchmark("overhead")
    # What the runner passes over, without a process, is not counted.
    assert overhead.beside_actions(tmp_path) == [
        {overhead.OUTSIDE: 0.5, "prepare": 0.1, "prove": 0.3, "rest": pytest.approx(0.1)}
    ]


@pytest.mark.casa
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_all_benchmarks_measure_something(tmp_path: Path) -> None:
    """Bars count for nothing in small cases; that no part is missing does, and equal products."""
    command = [sys.executable, ROOT / "benchmarks" / "all.py", "--quick"]
    done = subprocess.run(
        [*command, "--scratch", tmp_path, "--json", tmp_path / "table.json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = json.loads((tmp_path / "table.json").read_text())
    assert found["missing"] == {}, done.stderr
    assert {part["name"] for part in found["parts"]} == set("abcdef")
    assert [part["wrong"] for part in found["parts"] if part["wrong"]] == []
