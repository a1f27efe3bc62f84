"""Stand-ins for modules, in processes of their own: this one has the real ones already."""

from __future__ import annotations

import subprocess
import sys

import pytest


def say(code: str) -> str:
    """Run Python code in a new process; return what it printed."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nobody_sees_a_stand_in_afterwards() -> None:
    code = """
from casarun.casa.stand_ins import standing_in
with standing_in():
    import scipy.stats as held, scipy.special
import sys
assert "scipy.stats" not in sys.modules
import scipy, scipy.stats, scipy.special
assert scipy.stats is not held and type(scipy.stats).__name__ == "module"
print(held.norm is scipy.stats.norm, scipy.special.erf(0.0))
"""
    assert say(code) == "True 0.0"


def test_names_that_are_called_only_are_looked_for_when_they_are_called() -> None:
    code = """
from casarun.casa.stand_ins import standing_in
with standing_in():
    from scipy.stats import scoreatpercentile
import sys
print("scipy.stats" in sys.modules, end=" ")
print(scoreatpercentile([1.0, 2.0, 3.0], 50), "scipy.stats" in sys.modules)
"""
    assert say(code) == "False 2.0 True"


def test_any_other_name_is_the_real_one() -> None:
    code = """
from casarun.casa.stand_ins import standing_in
with standing_in():
    from scipy.stats import norm
    import scipy.stats
print(isinstance(norm, scipy.stats.rv_continuous))
"""
    assert say(code) == "True"


def test_a_module_that_is_there_already_is_not_stood_in_for() -> None:
    code = """
import scipy.signal
from casarun.casa.stand_ins import standing_in
with standing_in():
    import scipy.signal as again
print(again is scipy.signal, type(again).__name__)
"""
    assert say(code) == "True module"


def test_a_module_that_needs_one_gets_the_real_one() -> None:
    code = """
from casarun.casa.stand_ins import standing_in
with standing_in():
    import scipy.ndimage, scipy.optimize
    from scipy.optimize import least_squares
print(least_squares(lambda x: x - 2.0, 0.0).x.round(6)[0])
print(scipy.ndimage.gaussian_filter([0.0, 1.0, 0.0], 0.1)[1])
"""
    assert say(code).split() == ["2.0", "1.0"]


def test_a_package_is_stood_in_for_with_what_is_in_it() -> None:
    code = """
from casarun.casa.stand_ins import standing_in
with standing_in():
    import matplotlib.transforms, matplotlib as held
    from matplotlib import pyplot
    from matplotlib.ticker import MultipleLocator
import sys
print([name for name in sys.modules if name.startswith("matplotlib")], end=" ")
print(held.transforms.Bbox.unit().width, held.__name__, MultipleLocator(2.0).tick_values(0, 4)[1])
import matplotlib
from matplotlib.transforms import Bbox
print(held is matplotlib, held.transforms.Bbox is Bbox, pyplot.Line2D.__module__)
"""
    said = ["[]", "1.0", "matplotlib", "0.0", "False", "True", "matplotlib.lines"]
    assert say(code).split() == said


def test_a_part_of_a_package_that_is_not_stood_in_for_ends_all() -> None:
    code = """
from casarun.casa.stand_ins import standing_in
with standing_in():
    import matplotlib as held
    from matplotlib.path import Path
    import matplotlib
print(held is matplotlib, Path.unit_circle().codes[0], matplotlib.path.Path is Path)
"""
    assert say(code).split() == ["False", "1", "True"]


@pytest.mark.casa
def test_casa_is_whole() -> None:
    code = """
import sys
from casarun.casa import preload
assert not preload.FAILURE, preload.FAILURE
for name in ("scipy.stats", "scipy.interpolate", "matplotlib"):
    assert name not in sys.modules, name
import casatasks
from casatasks.private import (
    partitionhelper, simutil, solar_system_setjy, task_plotbandpass, task_polfromgain
)
print(task_plotbandpass.matplotlib.transforms.Bbox.unit().width)
print(solar_system_setjy.interp1d([1.0, 2.0], [3.0, 5.0])(1.5))
print(simutil.scoreatpercentile([1.0, 2.0, 3.0], 50), simutil.spspec.erf(0.0))
print(partitionhelper.plt.cm.Paired is not None, int(task_polfromgain.mypl.zeros(3).sum()))
print(all(callable(getattr(casatasks, name)) for name in ("tclean", "sdatmcor", "plotweather")))
"""
    assert say(code).split() == ["1.0", "4.0", "2.0", "0.0", "True", "0", "True"]


@pytest.mark.casa
def test_a_casatasks_that_stand_ins_do_not_satisfy_gets_the_real_modules() -> None:
    code = """
import sys
from casarun.casa import stand_ins
asked = []
def refuse(self, name):
    asked.append(name)
    raise TypeError(name)
stand_ins._StandIn.__getattr__ = refuse
from casarun.casa import preload
assert not preload.FAILURE, preload.FAILURE
import casatasks
print(bool(asked), "scipy.stats" in sys.modules, callable(casatasks.tclean))
"""
    assert say(code) == "True True True"
