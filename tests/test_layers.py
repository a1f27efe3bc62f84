"""Imports go strictly downwards, and only the door imports CASA."""

import ast
from pathlib import Path

import casarun

ROOT = Path(casarun.__file__).parent

LAYERS = {
    "errors": 0, "quantities": 0, "files": 0, "syncing": 0, "folder": 0, "image_view": 0,
    "lock": 0, "__init__": 0,
    "recipe": 1, "configuration": 1, "observation": 1, "selection": 1, "standards": 1,
    "plan": 2, "heuristics": 2, "casa": 2,
    "cubes": 3, "stages": 3, "preflight": 3, "starter": 3, "qa": 3,
    "engine": 4,
    "report": 5, "share": 5, "compare": 5,
    "api": 6,
    "cli": 7, "__main__": 7,
}  # fmt: skip
DOOR = {"casatools", "casatasks", "casaconfig"}


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if "recipes" not in path.parts)


def layer_name(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported(path: Path) -> list[tuple[str, int]]:
    """Return the top names of casarun, and of other packages with level 0, that are imported."""
    found: list[tuple[str, int]] = []
    depth = len(path.relative_to(ROOT).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name.split(".")[0], 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append(((node.module or "").split(".")[0], 0))
        elif isinstance(node, ast.ImportFrom) and node.level == depth:
            if node.module:
                found.append((node.module.split(".")[0], 1))
            else:
                found += [(alias.name, 1) for alias in node.names]
    return found


def test_every_module_has_a_layer() -> None:
    assert {layer_name(path) for path in modules()} <= set(LAYERS)


def test_imports_go_downwards() -> None:
    wrong = []
    for path in modules():
        mine = layer_name(path)
        for name, level in imported(path):
            if level == 1 and name in LAYERS and name != mine:
                relative = str(path.relative_to(ROOT))
                if LAYERS[name] > LAYERS[mine]:
                    wrong.append(f"{relative} imports {name}")
    assert wrong == []


def test_only_the_door_imports_casa() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in modules()
        if layer_name(path) != "casa" and any(name in DOOR for name, level in imported(path))
    ]
    assert wrong == []


def test_only_one_module_calls_tasks() -> None:
    callers = [
        str(path.relative_to(ROOT))
        for path in modules()
        if any(name == "casatasks" for name, level in imported(path))
    ]
    assert callers == ["casa/invoke.py", "casa/preload.py"]
