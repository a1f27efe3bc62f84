"""Write what casarun says of each fault today into ``messages.toml``, to be read and judged.

    python -m faults.renew [FOLDER [ID...]]

The messages are what the tests ask for: what stands there must be what a user should read.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

from . import stage
from .fault import MESSAGES
from .table import FAULTS


def main() -> None:
    """Renew all messages, or those of some faults."""
    place = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    shared, stories = place / "shared", place / "stories"
    stage.prepare(shared)
    known = tomllib.loads(MESSAGES.read_text()) if MESSAGES.is_file() else {}
    for name in sys.argv[2:] or list(FAULTS):
        fault = FAULTS[name]
        shutil.rmtree(stories / name, ignore_errors=True)
        try:
            told = stage.act(fault, stage.folder_of(fault, shared, stories), shared)
        except (RuntimeError, OSError) as error:
            sys.stdout.write(f"{name}: NOT MADE {error}\n")
            continue
        known[name] = told.said
        off = (
            ""
            if told.marks == fault.marks(shared) or fault.where == "step"
            else f" at {told.marks}"
        )
        code = "" if told.exit_code == fault.exit_code else f" EXIT {told.exit_code}"
        sys.stdout.write(f"{name}:{code}{off} failed={sorted(told.failed)}\n")
        sys.stdout.writelines(f"    {line}\n" for line in told.said)
        sys.stdout.flush()
    lines = [f"{name} = [\n" + "".join(f"    {json.dumps(line, ensure_ascii=False)},\n"
             for line in known[name]) + "]\n" for name in FAULTS if name in known]  # fmt: skip
    MESSAGES.write_text("# What casarun must say of each fault, word for word.\n" + "".join(lines))


if __name__ == "__main__":
    main()
