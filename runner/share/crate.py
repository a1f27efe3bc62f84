"""A run described as an RO-Crate: what it was made from, by what, by whom, and what came of it.

By the profiles Workflow Run RO-Crate 0.5 and Process Run Crate 0.5
(https://www.researchobject.org/workflow-run-crate/): the recipe is the workflow, the run one
action, and each step another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import quote

from ..engine.journal_state import JournalState
from ..errors import DataError
from ..plan import Plan, Step
from . import contents
from .contents import Part
from .people import Credit

NAME: Final = "ro-crate-metadata.json"
_NOT_THERE: Final = "rocrate is not installed: pip install 'casarun[share]'"
_SHA256: Final = "https://w3id.org/ro/terms/workflow-run#sha256"
_PROFILES: Final = (
    ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate", "1.0"),
)
_LANGUAGE: Final = "#recipe-language"
_HOME: Final = {
    "casatools": "https://casa.nrao.edu/",
    "casatasks": "https://casa.nrao.edu/",
    "casadata": "https://casa.nrao.edu/",
    "numpy": "https://numpy.org/",
    "python": "https://www.python.org/",
}
_MOST_STEPS: Final = 2000
_TYPES: Final = {
    ".fits": "application/fits", ".json": "application/json", ".html": "text/html",
    ".toml": "application/toml", ".py": "text/x-python", ".png": "image/png",
    ".ecsv": "text/csv", ".xml": "application/x-votable+xml", ".reg": "text/plain",
}  # fmt: skip


@dataclass(frozen=True)
class Input:
    """Data that a run was made from.

    Attributes
    ----------
    path : str
        Where the run found them.
    sha256 : str
        Of the file, or of a folder as `casarun.share.contents.digest` makes it.
    name : str
        Where they are in the crate, a folder's ending in ``/``; empty if they are not.
    """

    path: str
    sha256: str
    name: str = ""


@dataclass(frozen=True)
class Described:
    """What a crate is about.

    Attributes
    ----------
    plan : Plan
        Of the run.
    meta : mapping
        The content of ``docs/run.json``.
    state : JournalState
        What the journal says.
    credit : Credit
        People and licence.
    recipe : str
        The path of the recipe in the crate, which is the workflow.
    inputs : sequence of Input
        What steps read and none makes.
    parts : sequence of Part
        What is in the crate.
    digests : mapping of str to str
        SHA-256 of the parts by name.
    """

    plan: Plan
    meta: Mapping[str, Any]
    state: JournalState
    credit: Credit
    recipe: str
    inputs: Sequence[Input]
    parts: Sequence[Part]
    digests: Mapping[str, str] = field(default_factory=dict)


def describe(run: Described) -> dict[str, Any]:
    """Return the content of ``ro-crate-metadata.json``.

    Raises
    ------
    DataError
        If the library `rocrate` is not installed.
    """
    try:
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise DataError(_NOT_THERE) from None
    crate = _Crate(ROCrate(version="1.1"), run)
    crate.people()
    crate.software()
    crate.data()
    crate.workflow()
    crate.action()
    if len(run.plan.steps) <= _MOST_STEPS:
        for step in run.plan.steps:
            crate.step(step)
    return crate.finished()


def _reference(identifiers: Iterable[str]) -> list[dict[str, str]]:
    return [{"@id": one} for one in identifiers]


class _Crate:
    """A crate in the making."""

    def __init__(self, crate: Any, run: Described) -> None:
        self._crate, self._run = crate, run
        self._by_path: dict[str, str] = {}
        self._people: list[str] = []
        self._parameters: list[str] = []
        self._actions: list[str] = []

    def _add(self, identifier: str, kind: str | list[str], **properties: Any) -> str:
        from rocrate.model import ContextEntity

        said = {key: value for key, value in properties.items() if value not in ("", None, [])}
        made = ContextEntity(self._crate, identifier, {"@type": kind, **said})
        self._crate.add(made)
        return str(made.id)

    def people(self) -> None:
        """Add who made it."""
        for number, person in enumerate(self._run.credit.people):
            where = f"https://orcid.org/{person.orcid}" if person.orcid else f"#person-{number}"
            self._people.append(
                self._add(where, "Person", name=person.name, affiliation=person.affiliation)
            )

    def software(self) -> None:
        """Add the software with its versions, and the language of recipes."""
        for name, version in self._run.meta["versions"].items():
            self._add(
                f"#{name}", "SoftwareApplication", name=name, softwareVersion=version,
                url=_HOME.get(name, ""),
            )  # fmt: skip
        self._add(
            _LANGUAGE, "ComputerLanguage", name="casarun recipe", version="1",
            url="https://toml.io/", description="TOML, as casarun's recipe.schema.json has it.",
        )  # fmt: skip

    def data(self) -> None:
        """Add inputs and products, each with its checksum."""
        for number, one in enumerate(self._run.inputs):
            name = PurePosixPath(one.path).name
            kind = "Dataset" if one.name.endswith("/") else "File"
            work = {"@id": self._parameter(f"input-{number}", name, kind)}
            if one.name:
                made = self._data(one.name, one.sha256, exampleOfWork=work)
            else:
                made = self._add(
                    f"#input-{number}", "CreativeWork", name=name, sha256=one.sha256,
                    description=f"Not in the crate; the run had it as {one.path}",
                    exampleOfWork=work,
                )  # fmt: skip
            self._by_path[one.path] = made
        for part in self._run.parts:
            if part.name == self._run.recipe:
                continue
            made = self._data(part.name, self._run.digests[part.name])
            self._by_path[part.name.rstrip("/")] = made

    def _data(self, there: str, sha256: str, **properties: Any) -> str:
        """Add a file or folder of the crate."""
        from rocrate.model import Dataset, File

        path = PurePosixPath(there)
        kind = Dataset if there.endswith("/") else File
        said = {"name": path.name, "sha256": sha256, **properties}
        if kind is File and path.suffix in _TYPES:
            said["encodingFormat"] = _TYPES[path.suffix]
        return str(self._crate.add(kind(self._crate, None, there, properties=said)).id)

    def _parameter(self, identifier: str, name: str, kind: str) -> str:
        made = self._add(
            f"#parameter-{identifier}", "FormalParameter", name=name, additionalType=kind,
            conformsTo={"@id": "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"},
        )  # fmt: skip
        self._parameters.append(made)
        return made

    def workflow(self) -> None:
        """Add the recipe."""
        run = self._run
        outputs = [self._parameter("output", "products", "Dataset")]
        properties = {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "name": run.meta["title"] or run.meta["name"],
            "programmingLanguage": {"@id": _LANGUAGE},
            "input": _reference(p for p in self._parameters if p not in outputs),
            "output": _reference(outputs),
        }
        made = self._data(run.recipe, run.digests[run.recipe], **properties)
        self._crate.root_dataset["mainEntity"] = {"@id": made}

    def action(self) -> None:
        """Add the run as a whole, with what casarun chose for it."""
        run, meta = self._run, self._run.meta
        products = [self._by_path[path] for path in self._products() if path in self._by_path]
        chosen = [
            self._add(
                f"#choice-{number}", "PropertyValue", name=f"{auto.key} of {auto.subject}",
                value=str(auto.value), description=auto.reason,
            )
            for number, auto in enumerate(run.plan.autos)
        ]  # fmt: skip
        done = meta["state"] == "done"
        made = self._add(
            "#run", "CreateAction", name=f"casarun: {meta['title'] or meta['name']}",
            instrument={"@id": self._crate.root_dataset["mainEntity"].id},
            startTime=meta["started"], endTime=meta["ended"],
            agent=_reference(self._people), actionStatus=_status(done),
            object=_reference([*(self._by_path[one.path] for one in run.inputs), *chosen]),
            result=_reference(products),
        )  # fmt: skip
        self._actions.append(made)

    def _products(self) -> list[str]:
        made = dict.fromkeys(path for step in self._run.plan.steps for path in step.writes)
        return [*made, "qa/index.html", "qa/metrics.json"]

    def step(self, step: Step) -> None:
        """Add a step that ran: with which tool, when, from what and to what."""
        record = self._run.state.steps.get(step.id)
        if record is None or record.done is None:
            return
        tool = self._tool(step.action)
        end = datetime.fromisoformat(record.done["t"])
        start = end - timedelta(seconds=float(record.done.get("wall_s") or 0.0))
        touched = [*step.reads, *step.updates]
        said = self._run.meta["steps"].get(step.id, {})
        made = self._add(
            f"#step-{quote(step.id)}", "CreateAction", name=step.title,
            instrument={"@id": tool}, startTime=start.isoformat(), endTime=end.isoformat(),
            actionStatus=_status(said.get("state") in ("done", "skipped")),
            object=_reference(self._by_path[path] for path in touched if path in self._by_path),
            result=_reference(
                self._by_path[path] for path in (*step.writes, *step.updates)
                if path in self._by_path
            ),
        )  # fmt: skip
        self._actions.append(made)

    def _tool(self, action: str) -> str:
        """Add the tool of an action, once; return its identifier."""
        task = action.removeprefix("casa:")
        package = "casatasks" if task != action else "casarun"
        version = self._run.meta["versions"].get(package, "")
        return self._add(
            f"#{package}-{task}", "SoftwareApplication", name=task, softwareVersion=version,
            isPartOf={"@id": f"#{package}"},
        )  # fmt: skip

    def finished(self) -> dict[str, Any]:
        """Return the crate as JSON."""
        run, root = self._run, self._crate.root_dataset
        profiles = [self._add(where, "CreativeWork", name=name, version=version)
                    for where, name, version in _PROFILES]  # fmt: skip
        root["name"] = run.meta["title"] or run.meta["name"]
        root["description"] = (
            f"A reduction of radio-interferometric data by casarun: {root['name']}"
        )
        root["datePublished"] = run.meta["ended"]
        root["conformsTo"] = _reference(profiles)
        root["mentions"] = _reference(self._actions)
        root["author"] = _reference(self._people)
        root["license"] = self._license()
        self._crate.metadata.extra_terms["sha256"] = _SHA256
        found: dict[str, Any] = self._crate.metadata.generate()
        return found

    def _license(self) -> Any:
        said = self._run.credit.license
        if not said:
            return "None was given: ask the authors before you use it."
        where = said if "://" in said else f"https://spdx.org/licenses/{quote(said)}"
        return {"@id": self._add(where, "CreativeWork", name=said)}


def _status(done: bool) -> dict[str, str]:
    word = "Completed" if done else "Failed"
    return {"@id": f"http://schema.org/{word}ActionStatus"}


def input_of(path: str, digest: bool = True) -> Input:
    """Describe an input that stays where it is."""
    from pathlib import Path

    place = Path(path)
    part = Part(f"{place.name}/" if place.is_dir() else place.name, place)
    return Input(path, contents.digest(part) if digest and place.exists() else "")
