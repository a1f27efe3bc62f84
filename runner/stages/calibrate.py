"""Stage ``calibrate``: the flux model and the chain of solutions.

The chain follows the practice of the VLA CASA guides: a short-interval phase on the bandpass
calibrator, so that the bandpass does not decorrelate; the bandpass; phases per integration,
so that amplitudes do not decorrelate; phases per scan, to be carried to the targets;
amplitudes; and the flux scale from the primary calibrator to the others. What is known before
(`known_tables`) is applied to each of them.
"""

from __future__ import annotations

from .. import heuristics, standards
from ..errors import did_you_mean
from ..plan import Json
from . import known_tables, proofs
from .applied_tables import Table, applied, table_path
from .draft import Draft, Roles, Subject, check, ids


def steps(draft: Draft, subject: Subject) -> dict[str, Table]:
    """Add the steps of the calibration; return its tables by kind."""
    roles = subject.roles
    if not (roles.flux and roles.bandpass and roles.phase):
        return {}
    known = known_tables.steps(draft, subject)
    _setjy(draft, subject)
    solver = _Solver(draft, subject, known)
    everyone = roles.calibrators
    if solver.delays_wanted():
        solver.gaincal("delay", roles.bandpass, "delay", gaintype="K", combine="scan")
    solver.gaincal("phase0", roles.bandpass, "phase", gaintype="G", calmode="p")
    solver.bandpass()
    # Superseded by the bandpass, which was solved with it applied.
    solver.drop("phase0")
    solver.gaincal("phase-int", everyone, "phase", calmode="p")
    solver.drop("phase-int")
    solver.gaincal("phase-scan", everyone, "scan", calmode="p")
    solver.drop("phase-scan")
    solver.gaincal("amp", everyone, "amp", calmode="a", after=["phase-int"])
    if set(everyone) - set(roles.flux):
        solver.fluxscale()
    return solver.tables


def _setjy(draft: Draft, subject: Subject) -> None:
    """Add the steps that set the flux calibrator's model, one for each model image."""
    flux = draft.recipe.calibrators.flux
    for field in subject.fields(subject.roles.flux):
        models = {"": ()} if flux.fluxdensity else _models(draft, subject, field.id)
        for number, (model, spws) in enumerate(models.items()):
            draft.add(
                f"{subject.name}.setjy.{field.id}{f'.{number}' if len(models) > 1 else ''}",
                "casa:setjy",
                {
                    "vis": subject.working,
                    "field": str(field.id),
                    **({"spw": ids(spws)} if len(models) > 1 else {}),
                    **_flux_params(draft),
                    **({"model": model} if model else {}),
                    # The virtual model cannot hold a source that moves.
                    "usescratch": _moves(draft),
                    **draft.recipe.calibrate.setjy,
                },
                stage="calibrate",
                title=f"flux model of {field.name}",
                updates=(subject.working,),
                checks=(check("setjy", fields=[str(field.id)]),),
                dataset=subject.name,
            )


def _flux_params(draft: Draft) -> dict[str, Json]:
    """Return where the flux density comes from: the recipe, or a standard."""
    flux = draft.recipe.calibrators.flux
    if not flux.fluxdensity:
        return {"standard": flux.standard, "scalebychan": True}
    return {
        "standard": "manual",
        "fluxdensity": [*flux.fluxdensity, 0, 0, 0, 0][:4],
        "spix": flux.spix,
        "reffreq": flux.reffreq,
    }


def _moves(draft: Draft) -> bool:
    """Tell whether the flux calibrator is a body of the solar system."""
    flux = draft.recipe.calibrators.flux
    return not flux.fluxdensity and flux.standard in standards.PLANETARY


def _models(draft: Draft, subject: Subject, field_id: int) -> dict[str, tuple[int, ...]]:
    """Return the model images of a flux calibrator, each with its spectral windows.

    A point source has an empty name.
    """
    model = draft.recipe.calibrators.flux.model
    observation = subject.observation
    spws = observation.spws_of_fields({field_id})
    if model != "auto":
        return {"" if model == "point" else model: spws}
    field = observation.field(field_id)
    standard = draft.recipe.calibrators.flux.standard
    found: dict[heuristics.Choice, tuple[int, ...]] = {}
    for spw in spws:
        choice = heuristics.model_image(field, observation.spw(spw).centre_hz, standard)
        same = next((other for other in found if other.value == choice.value), choice)
        found[same] = (*found.get(same, ()), spw)
    for choice, its in found.items():
        where = f".spw {ids(its)}" if len(found) > 1 else ""
        draft.choose("calibrators.flux.model", subject.name + where, choice)
    return {str(choice.value): its for choice, its in found.items()}


class _Solver:
    """Adds one solution after the other, each with those before it applied."""

    def __init__(self, draft: Draft, subject: Subject, known: list[Table]) -> None:
        self.draft = draft
        self.subject = subject
        self.roles: Roles = subject.roles
        self.settings = draft.recipe.calibrate
        self.refant = self._refant()
        self.spw = self._spw()
        self.intervals: dict[str, str] = {}
        self.tables = {table.kind: table for table in known}
        self.active = list(known)

    def _refant(self) -> str:
        antennas = self.subject.observation.antennas
        if self.settings.refant == "auto":
            choice = heuristics.refant(self.subject.observation)
            return str(self.draft.choose("calibrate.refant", self.subject.name, choice))
        known = {antenna.name for antenna in antennas} | {str(antenna.id) for antenna in antennas}
        for name in (part.strip() for part in self.settings.refant.split(",")):
            if name not in known:
                names = [antenna.name for antenna in antennas]
                self.draft.problem(
                    f"dataset {self.subject.name} has no antenna '{name}' with data; antennas: "
                    f"{', '.join(names)}{did_you_mean(name, names)}",
                    ("calibrate", "refant"),
                )
        return self.settings.refant

    def _spw(self) -> str:
        if self.settings.spw != "auto":
            return self.settings.spw
        choice = heuristics.solve_channels(self.subject.observation.spws)
        return str(self.draft.choose("calibrate.spw", self.subject.name, choice))

    def _solint(self, kind: str, fields: tuple[int, ...]) -> str:
        """Return the interval of a kind of solution: delay, bandpass, phase, amp."""
        given: str = getattr(self.settings.solint, kind)
        if given != "auto":
            return given
        if kind not in self.intervals:
            scans = [
                scan for scan in self.subject.observation.scans if set(fields) & set(scan.field_ids)
            ]
            choice = heuristics.solint(kind, self.subject.observation, scans)
            key = f"calibrate.solint.{kind}"
            self.intervals[kind] = str(self.draft.choose(key, self.subject.name, choice))
        return self.intervals[kind]

    def delays_wanted(self) -> bool:
        """Tell whether delays are to be solved for."""
        if self.settings.delay != "auto":
            return self.settings.delay == "yes"
        choice = heuristics.delay(self.subject.observation.spws)
        return bool(self.draft.choose("calibrate.delay", self.subject.name, choice) == "yes")

    def drop(self, kind: str) -> None:
        """Stop applying a table to the solutions that come."""
        self.active = [table for table in self.active if table.kind != kind]

    def gaincal(
        self,
        kind: str,
        fields: tuple[int, ...],
        solint: str,
        after: list[str] | None = None,
        **params: Json,
    ) -> None:
        """Add a solution by gaincal; `solint` names the interval: delay, phase, scan, amp."""
        for other in after or []:
            self.active.append(self.tables[other])
        interval = "inf" if solint == "scan" else self._solint(solint, self.roles.calibrators)
        gaintype = params.pop("gaintype", self.settings.gaintype)
        params = {"gaintype": gaintype, "solint": interval, **params}
        # A delay wants every channel that is not flagged.
        spw = "" if gaintype == "K" else self.spw
        self._solve(
            kind, "gaincal", fields, params | {"spw": spw, **self.settings.gaincal},
            per_field=gaintype != "K",
        )  # fmt: skip

    def bandpass(self) -> None:
        """Add the bandpass, on every channel, all scans together."""
        params = {
            "bandtype": "B",
            "combine": "scan",
            "solint": self._solint("bandpass", self.roles.bandpass),
            "spw": "",
            **self.settings.bandpass,
        }
        self._solve("bandpass", "bandpass", self.roles.bandpass, params, per_field=False)

    def _solve(
        self, kind: str, task: str, fields: tuple[int, ...], params: dict[str, Json],
        *, per_field: bool,
    ) -> None:  # fmt: skip
        path = table_path(self.subject, kind)
        names = self.subject.names(fields)
        self.draft.add(
            f"{self.subject.name}.{kind}",
            f"casa:{task}",
            {
                "vis": self.subject.working,
                "caltable": path,
                "field": ids(fields),
                "refant": self.refant,
                "minsnr": self.settings.minsnr,
                "minblperant": self.settings.minblperant,
                "parang": self.settings.parang,
                **self._applied_to(fields),
                **params,
            },
            stage="calibrate",
            title=f"{TITLES[kind]} of {names}",
            reads=(self.subject.working, *(table.path for table in self.active)),
            writes=(path,),
            checks=(proofs.solutions(self.draft, self.subject, path, fields if per_field else ()),),
            dataset=self.subject.name,
        )
        interp = "linear" if per_field else "nearest"
        table = Table(kind, path, per_field, interp, fields)
        self.tables[kind] = table
        self.active.append(table)

    def _applied_to(self, fields: tuple[int, ...]) -> dict[str, Json]:
        """Return the parameters that apply the active tables while solving."""
        if not self.active:
            return {}
        return applied(self.active, self.subject, source=fields, to=fields, solving=True)

    def fluxscale(self) -> None:
        """Add the step that carries the flux scale to the other calibrators."""
        roles = self.roles
        path = table_path(self.subject, "fluxscale")
        others = tuple(sorted(set(roles.calibrators) - set(roles.flux)))
        amp = self.tables["amp"]
        self.draft.add(
            f"{self.subject.name}.fluxscale",
            "fluxscale",
            {
                "vis": self.subject.working,
                "caltable": amp.path,
                "fluxtable": path,
                "reference": ids(roles.flux),
                "transfer": ids(others),
                **self.draft.recipe.calibrate.fluxscale,
            },
            stage="calibrate",
            title=f"flux scale from {self.subject.names(roles.flux)} "
            f"to {self.subject.names(others)}",
            reads=(self.subject.working, amp.path),
            writes=(path, f"{path}.json"),
            checks=(
                check("caltable", path=path),
                check("fluxscale", fields=[str(i) for i in others]),
            ),
            dataset=self.subject.name,
        )
        self.tables["fluxscale"] = Table("fluxscale", path, True, "linear", roles.calibrators)


TITLES = {
    "delay": "delays",
    "phase0": "first phases",
    "bandpass": "bandpass",
    "phase-int": "phases per interval",
    "phase-scan": "phases per scan",
    "amp": "amplitudes",
}
"""What each table of the chain holds, for a person."""
