"""Run all benchmarks and write one table: ratios measured side by side, medians of several runs.

    python benchmarks/all.py --scratch DISK --json table.json --markdown table.md
    python benchmarks/all.py --only a,e --times 5
    python benchmarks/all.py --only c --pclean PEER/bin/python
    python benchmarks/all.py --quick

Each part is a script of its own beside this one, run in a fresh process. Exits with 1 where a bar
is missed, a comparison is void, or a part could not be measured; the others are measured even so.
The files are written after each part: all of them take one to two hours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import measuring

PARTS = {
    "a": ("compare.py", "NGC 5921 end to end, beside a script"),
    "b": ("eight.py", "eight datasets, beside a script and a pool"),
    "c": ("cube.py", "cubes, beside one tclean and casa-pclean"),
    "d": ("cube_processing.py", "cube processing, beside CASA's tasks"),
    "e": ("overhead.py", "what a step costs, and a run with nothing to do"),
    "f": ("start.py", "start-up, beside an empty interpreter"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts that were asked for; see the module."""
    options = _options(argv)
    parts: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    text = ""
    with measuring.scratch_folder(options) as scratch:
        for name in options.only or PARTS:
            said = _run(name, scratch / f"{name}.json", options)
            if isinstance(said, str):
                missing[name] = said
            else:
                parts += said
            text = _written(parts, missing, scratch, options)
    sys.stdout.write(text)
    good = all(f["kept"] for part in parts for f in part["figures"])
    return 0 if good and not missing and not any(part["wrong"] for part in parts) else 1


def _written(
    parts: list[dict[str, Any]], missing: dict[str, str], scratch: Path, options: argparse.Namespace
) -> str:
    """Write what was found until now to the files that were asked for; return it as Markdown."""
    here = measuring.conditions(scratch)
    found = {"conditions": here, "quick": options.quick, "parts": parts, "missing": missing}
    text = measuring.markdown(found)
    text += "".join(f"\n**{name}** was not measured: {why}\n" for name, why in missing.items())
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    return text


def _run(name: str, result: Path, options: argparse.Namespace) -> list[dict[str, Any]] | str:
    """Run one part; return what it found, or why it found nothing."""
    script = measuring.HERE / PARTS[name][0]
    if not script.is_file():
        return f"{script.name} is not there"
    command = [sys.executable, str(script), "--json", str(result)]
    command += ["--times", str(options.times)] if options.times else []
    command += ["--scratch", str(options.scratch)] if options.scratch else []
    command += ["--quick"] if options.quick else []
    command += ["--pclean", str(options.pclean)] if options.pclean and name == "c" else []
    sys.stderr.write(f"{name}: {PARTS[name][1]}\n")
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if not result.is_file():
        lines = done.stdout.strip().splitlines() or [f"it ended with {done.returncode}"]
        return lines[-1]
    found: list[dict[str, Any]] = json.loads(result.read_text(encoding="utf-8"))["parts"]
    return found


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = measuring.parser(__doc__)
    parser.set_defaults(times=None)
    parser.add_argument("--only", type=_names, help=f"parts, of {','.join(PARTS)}: --only a,e")
    parser.add_argument("--markdown", type=Path, help="write the table there, too")
    parser.add_argument("--pclean", type=Path, help="a Python that has casa-pclean, for part c")
    return parser.parse_args(argv)


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"'{unknown[0]}' is none of {','.join(PARTS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
