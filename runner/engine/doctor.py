"""Is this machine ready? CASA and its data, cores, memory, disk, and what may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .doctor_casa import casa, casa_configuration, python
from .doctor_machine import folder_findings, machine_findings, process_findings, tools
from .finding import Finding
from .machine import look

__all__ = ["Finding", "as_json", "examine", "ready"]


def examine(folder: Path) -> list[Finding]:
    """Look at what a run in `folder` would need.

    Parameters
    ----------
    folder : Path
        Where runs would live; it need not be there yet.

    Returns
    -------
    list of Finding
        A run would work if none is bad; each that is not good says the way out.
    """
    return [
        python(),
        *casa(),
        *casa_configuration(Path.home()),
        *machine_findings(look()),
        *folder_findings(folder),
        *process_findings(),
        *tools(),
    ]


def ready(findings: list[Finding]) -> bool:
    """Tell whether a run would work."""
    return all(finding.state != "bad" for finding in findings)


def as_json(findings: list[Finding]) -> Mapping[str, object]:
    """Return what was found as plain data: ``ready`` and the ``findings``."""
    return {
        "ready": ready(findings),
        "findings": [
            {"what": one.what, "state": one.state, "text": one.text, "advice": one.advice}
            for one in findings
        ],
    }
