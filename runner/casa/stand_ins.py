"""Stand-ins for what CASA's tasks import and hardly ever use: SciPy's statistics, plots.

``import casatasks`` imports every task, and for some single-dish tasks, histograms and planets
more than half of its time goes into SciPy and Matplotlib: 0.8 s in which no step can
begin. While it is imported these modules are stood in for; a stand-in imports the real one when
anything is asked of it. Other code never sees one: they are withdrawn as soon as CASA is there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final

CALLED_LATER: Final[Mapping[str, tuple[str, ...]]] = {
    "matplotlib": (),
    "matplotlib.cbook": (),
    "matplotlib.pyplot": (),
    "matplotlib.ticker": ("FormatStrFormatter", "MultipleLocator", "ScalarFormatter"),
    "matplotlib.transforms": (),
    "pylab": (),
    "numpy.f2py": (),
    "numpy.f2py.auxfuncs": ("throw_error",),
    "scipy.fftpack": (),
    "scipy.interpolate": ("interp1d",),
    "scipy.linalg": (),
    "scipy.optimize": (),
    "scipy.signal": (),
    "scipy.special": (),
    "scipy.stats": ("scoreatpercentile",),
}
"""The modules; and of each what casatasks takes out of it by name, but only ever calls.

Any other name that is taken is the real one.
"""

_PACKAGES: Final = ("numpy.f2py", "matplotlib")
_OF_SCIPY_ITSELF: Final = ("scipy._", "scipy.version")
"""What ``import scipy`` imports."""


class _StandIn(ModuleType):
    """A module that is imported when something is asked of it."""

    def __getattr__(self, name: str) -> Any:
        stands = sys.modules.get(self.__name__) is self
        # The import system asks for the former; the latter it imports when they are not there.
        if name.startswith("__") or (stands and f"{self.__name__}.{name}" in CALLED_LATER):
            raise AttributeError(name)
        if stands and name in CALLED_LATER[self.__name__]:
            return partial(_call, self.__name__, name)
        return getattr(_real(self.__name__), name)


def _call(module: str, name: str, /, *args: Any, **keywords: Any) -> Any:
    return getattr(_real(module), name)(*args, **keywords)


def _real(name: str) -> ModuleType:
    """Import a module itself, even while it is stood in for."""
    _end(name)
    return import_module(name)


def _end(name: str) -> None:
    """Stand in no more for a module and others of its package: they need each other."""
    package = name.partition(".")[0]
    for other in CALLED_LATER:
        if other.partition(".")[0] == package:
            _Finder.real.add(other)
            _withdraw(other)


def _withdraw(name: str) -> None:
    """Forget a stand-in; who has it already keeps it."""
    stand_in = sys.modules.get(name)
    if isinstance(stand_in, _StandIn):
        del sys.modules[name]
        parent, _, child = name.rpartition(".")
        if parent in sys.modules and vars(sys.modules[parent]).get(child) is stand_in:
            delattr(sys.modules[parent], child)


class _Finder(MetaPathFinder, Loader):
    """Finds the stand-ins, before anything else is looked for."""

    real: Final[set[str]] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a stand-in's spec, or None for any other module."""
        if fullname.startswith("scipy.") and fullname not in CALLED_LATER:
            if not fullname.startswith(_OF_SCIPY_ITSELF):
                _end(fullname)  # what it is made of needs the real ones
            return None
        if fullname.startswith("matplotlib.") and fullname not in CALLED_LATER:
            return PathFinder.find_spec(fullname, _real("matplotlib").__path__)
        if fullname not in CALLED_LATER or fullname in self.real:
            return None
        return ModuleSpec(fullname, self, is_package=fullname in _PACKAGES)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return a stand-in."""
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Leave it as it is."""


@contextmanager
def standing_in() -> Iterator[None]:
    """Have modules stood in for that are not there yet, within the block."""
    _Finder.real.clear()
    for name in [name for name in CALLED_LATER if name in sys.modules]:
        _end(name)
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in CALLED_LATER:
            _withdraw(name)
