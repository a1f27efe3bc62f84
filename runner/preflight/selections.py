"""Every selection of a recipe held against the data that it applies to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from .. import selection
from ..casa.recipe_parameters import flag_command_words
from ..errors import KeyPath
from ..observation import Observation, Scan
from ..plan import Step
from ..recipe.model import Recipe
from ..selection import flag_command
from ..selection.error import numbers
from ..stages.draft import Draft, Subject
from ..stages.image import Picture

Params = Mapping[str, Any]

_BY_SCAN = ("scan", "intent", "timerange", "spw", "observation")
# tclean passes over an MS in which these select no row, as long as another has some.
_ROWS = ("scan", "timerange", "uvrange", "observation")
_FIELDS = ("reference", "transfer")
_CHANNELS = ("fitspec", "fitspw")


def check(draft: Draft, subjects: Sequence[Subject], pictures: Sequence[Picture]) -> None:
    """Add to a draft which selections cannot be read, or select nothing.

    Parameters
    ----------
    draft : Draft
        With all steps of the plan.
    subjects : sequence of Subject
        The datasets.
    pictures : sequence of Picture
        The images.
    """
    raw = [subject for subject in subjects if not subject.dataset.calibrated]
    for subject in draft.each("dataset", raw):
        _calibration(draft, subject)
    _flags(draft, raw)
    for subject in draft.each("dataset", subjects):
        _contsub(draft, subject)
    for picture in draft.each("target", pictures, attrgetter("target")):
        _image(draft, picture)
    _steps(draft, subjects)


def _calibration(draft: Draft, subject: Subject) -> None:
    settings = draft.recipe.calibrate
    roles = subject.roles
    if settings.spw != "auto":
        given = {"spw": settings.spw}
        if not _say(draft, subject, given, subject.observation, ("calibrate",)):
            _leave_data(draft, subject, given, roles.calibrators, ("calibrate",), each=True)
    for name, fields, each in (
        ("setjy", roles.flux, True),
        ("gaincal", roles.calibrators, True),
        ("bandpass", roles.bandpass, False),
        ("fluxscale", (), False),
        ("applycal", (), False),
    ):
        params = getattr(settings, name)
        key = ("calibrate", name)
        if not _say(draft, subject, params, subject.observation, key):
            _leave_data(draft, subject, params, fields, key, each=each)


def _say(
    draft: Draft,
    subject: Subject,
    params: Params,
    observation: Observation,
    key: KeyPath,
    of: str = "",
) -> bool:
    """Add what is wrong with selections to the draft; tell whether anything is."""
    wrong = selection.check(params, observation)
    for name, message in wrong.items():
        which = f"{of} of dataset {subject.name}" if of and name in _BY_SCAN[:3] else ""
        draft.problem(f"{which or f'dataset {subject.name}'}: {message}", (*key, name),
                      dataset=subject.name)  # fmt: skip
    return bool(wrong)


def _leave_data(
    draft: Draft,
    subject: Subject,
    params: Params,
    field_ids: Sequence[int],
    key: KeyPath,
    *,
    each: bool,
) -> None:
    """Refuse selections that leave a field without data, each of them good by itself."""
    observation, given = subject.observation, _given(params)
    lost = _lost(observation, given, field_ids)
    if not lost or (len(lost) < len(field_ids) and not each):
        return
    draft.problem(
        f"dataset {subject.name}: {_leaves_nothing(observation, given, lost[0])}",
        (*key, *given) if len(given) == 1 else key,
    )


def _given(params: Params) -> dict[str, str]:
    """Return the selections that concern scans, as far as they are texts."""
    found = {name: params.get(name) for name in _BY_SCAN}
    return {
        name: str(value)
        for name, value in found.items()
        if isinstance(value, (str, int)) and not isinstance(value, bool) and value != ""
    }


def _lost(
    observation: Observation, given: Mapping[str, str], field_ids: Sequence[int]
) -> list[int]:
    """Return the fields of which selections leave nothing, each of them good by itself."""
    if not given:
        return []
    left = {
        field_id
        for scan in observation.scans
        if _selected(scan, given, observation)
        for field_id in scan.field_ids
    }
    return [field_id for field_id in field_ids if field_id not in left]


def _leaves_nothing(observation: Observation, given: Mapping[str, str], field_id: int) -> str:
    """Say where the data of a field are that selections leave out."""
    field = observation.field(field_id)
    scans = {scan.number for scan in observation.scans if field.id in scan.field_ids}
    where = f"{'scan' if len(scans) == 1 else 'scans'} {numbers(scans)}"
    if set(given) == {"spw"}:
        where = f"spw {numbers(observation.spws_of_fields({field.id}))}"
    said = " ".join(f"{name}='{value}'" for name, value in given.items())
    return f"{said} leaves no data of {field.name}, which is in {where}"


def _selected(scan: Scan, texts: Mapping[str, str], observation: Observation) -> bool:
    """Tell whether selections that are good by themselves leave anything of a scan."""
    if "scan" in texts and scan.number not in selection.scans(texts["scan"], observation):
        return False
    if "observation" in texts and scan.obs_id not in selection.observations(
        texts["observation"], observation
    ):
        return False
    if "intent" in texts and scan.intents:
        chosen = selection.intents(texts["intent"], observation)
        if not set(chosen) & set(scan.intents):
            return False
    if "spw" in texts:
        spws = {spw.spw_id for spw in selection.spws(texts["spw"], observation)}
        if not spws & set(scan.spw_ids):
            return False
    if "timerange" not in texts:
        return True
    margin = scan.integration_s
    return any(
        begin - margin <= scan.end_mjd_s and end + margin >= scan.start_mjd_s
        for begin, end in selection.timerange(texts["timerange"], observation)
    )


def _flags(draft: Draft, subjects: Sequence[Subject]) -> None:
    if not subjects:
        return
    for index, command in enumerate(draft.recipe.flag.manual):
        _command(draft, subjects, command, ("flag", "manual", index))
    for subject in draft.each("dataset", subjects):
        _say(draft, subject, draft.recipe.flag.flagdata, subject.observation, ("flag", "flagdata"))


def _command(draft: Draft, subjects: Sequence[Subject], command: str, key: KeyPath) -> None:
    """Check a flag command, which may be meant for one dataset of several."""
    problem = flag_command.syntax(command, *flag_command_words())
    if problem:
        draft.problem(problem, key)
        return
    wrong = [flag_command.selections(command, subject.observation) for subject in subjects]
    if all(wrong):
        where = f"dataset {subjects[0].name}"
        if len(subjects) > 1:
            where = f"it flags nothing in any dataset; {where}"
        for message in wrong[0].values():
            draft.problem(f"{where}: {message}", key)


def _contsub(draft: Draft, subject: Subject) -> None:
    contsub = draft.recipe.contsub
    if contsub is None:
        return
    for name, field_ids in subject.targets.items():
        observation = subject.observation.part(field_ids)
        wrong = selection.check({"spw": contsub.fitspec}, observation)
        for message in wrong.values():
            draft.problem(f"dataset {subject.name}: {message}", ("contsub", "fitspec"))
        _say(draft, subject, contsub.uvcontsub, observation, ("contsub", "uvcontsub"), name)


def _image(draft: Draft, picture: Picture) -> None:
    image, count = picture.image, len(picture.subjects)
    seen = [
        (
            subject,
            subject.observation.part(subject.targets[picture.target]),
            _for_one(image.tclean, place, count),
        )
        for place, subject in enumerate(picture.subjects)
    ]
    empty = [
        {name for name in selection.check(params, observation) if name in _ROWS}
        for _, observation, params in seen
    ]
    passed_over = {n for names in empty for n in names if not all(n in other for other in empty)}
    wrong = False
    for subject, observation, params in seen:
        params = {name: value for name, value in params.items() if name not in passed_over}
        spw = _say(draft, subject, {"spw": image.spw}, observation, picture.key())
        rest = _say(draft, subject, params, observation, picture.key("tclean"), picture.target)
        wrong = wrong or spw or rest
    if not (wrong or passed_over):
        _need_rows(draft, picture, seen)


def _need_rows(
    draft: Draft, picture: Picture, seen: Sequence[tuple[Subject, Observation, Params]]
) -> None:
    """Refuse selections that are good by themselves and together leave nothing to image."""
    for _, observation, params in seen:
        given = _given({**params, "spw": picture.image.spw})
        fields = [field.id for field in observation.fields]
        if len(_lost(observation, given, fields)) < len(fields):
            return
    subject, observation, _ = seen[-1]
    draft.problem(
        f"dataset {subject.name}: {_leaves_nothing(observation, given, fields[0])}",
        picture.key(*(["spw"] if set(given) == {"spw"} else ["tclean"])),
        dataset=subject.name,
    )


def _for_one(params: Params, place: int, count: int) -> Params:
    """Return the parameters for one MS of several, where a list has one value for each."""
    return {
        name: value[place] if isinstance(value, (list, tuple)) and len(value) == count else value
        for name, value in params.items()
    }


def _steps(draft: Draft, subjects: Sequence[Subject]) -> None:
    """Check the selections of the recipe's own steps on MSs that casarun makes."""
    if not draft.recipe.step:
        return
    known = {path: found for subject in subjects for path, found in _products(subject)}
    for step in draft.steps:
        index = _index(draft.recipe, step)
        if index is None:
            continue
        key: KeyPath = ("step", index, "params")
        vis = step.params.get("vis", ())
        paths = [vis] if isinstance(vis, str) else list(vis)
        for place, path in enumerate(paths):
            if path in known:
                subject, observation = known[path]
                params = _for_one(step.params, place, len(paths))
                _say(draft, subject, params, observation, key)
                _other_selections(draft, subject, params, observation, key)
        if step.action in ("casa:flagdata", "casa:flagcmd"):
            _step_commands(draft, step, [known[path] for path in paths if path in known], key)


def _products(subject: Subject) -> Iterator[tuple[str, tuple[Subject, Observation]]]:
    """Yield the MSs of a dataset and what is in each."""
    observation = subject.observation
    yield subject.pristine, (subject, observation)
    yield subject.working, (subject, observation)
    if subject.roles.calibrators:
        yield subject.calibrated, (subject, observation.part(subject.roles.calibrators))
    for name, field_ids in subject.targets.items():
        part = observation.part(field_ids)
        yield subject.target_ms(name), (subject, part)
        yield subject.target_ms(name, contsub=True), (subject, part)
        yield subject.target_ms(name, selfcal=True), (subject, part)


def _index(recipe: Recipe, step: Step) -> int | None:
    """Return which step of the recipe a step of the plan is."""
    if step.stage != "step":
        return None
    step_id = f".{step.id.rstrip('+')}"
    for index, custom in enumerate(recipe.step):
        if step_id.endswith(f".step.{custom.name or custom.task}"):
            return index
    return None


def _other_selections(
    draft: Draft, subject: Subject, params: Params, observation: Observation, key: KeyPath
) -> None:
    """Check parameters of other names that hold selections: fields, and channels."""
    for names, kind in ((_FIELDS, "field"), (_CHANNELS, "spw")):
        for name in names:
            if isinstance(params.get(name), str):
                for message in selection.check({kind: params[name]}, observation).values():
                    draft.problem(
                        f"dataset {subject.name}: {message}", (*key, name), dataset=subject.name
                    )


def _step_commands(
    draft: Draft, step: Step, there: Sequence[tuple[Subject, Observation]], key: KeyPath
) -> None:
    """Check flag commands that a step of the recipe gives as a list."""
    commands = step.params.get("inpfile", ())
    for command in [commands] if isinstance(commands, str) else commands:
        if not isinstance(command, str) or "=" not in command:
            continue
        message = flag_command.syntax(command, *flag_command_words())
        if message:
            draft.problem(f"{message} (in '{command}')", (*key, "inpfile"))
        for subject, observation in () if message else there:
            for wrong in flag_command.selections(command, observation).values():
                draft.problem(
                    f"dataset {subject.name}: {wrong}", (*key, "inpfile"), dataset=subject.name
                )
