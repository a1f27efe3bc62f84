"""What a recipe knows before the first solution, and what of it cannot be."""

from __future__ import annotations

from .fault import Fault, call, lacking, plain
from .parts import GOOD

_CAL = "[calibrate]\n"
_GENCAL = (
    '[[step]]\ntask = "gencal"\nafter = "calibrate"\n[step.params]\n'
    'caltable = "caltables/{dataset}.antpos"\ncaltype = "antpos"\nantenna = "ea02"\n'
    "parameter = [0.1, 0.0, 0.0]\n"
)

KNOWN: tuple[Fault, ...] = (
    Fault("table-missing", "misspelt the path of a calibration table",
          f'{GOOD}{_CAL}tables = [«"{{recipe}}/mine.cal"»]\n', "check",
          plain(call("gaincal", vis="{vis}", caltable="g", field="1", refant="ea01",
                     gaintable="mine.cal"))),
    Fault("table-is-ms", "took an MS for a calibration table",
          f'{GOOD}{_CAL}tables = [«"{{shared}}/good.ms"»]\n', "check",
          plain(call("gaincal", vis="{vis}", caltable="g", field="1", refant="ea01",
                     gaintable="{vis}"))),
    Fault("table-late", "made a table of known corrections after the first solution",
          f'{GOOD}{_CAL}tables = [«"caltables/good.antpos"»]\n{_GENCAL}', "check",
          lacking("a script applies a table that is not there yet, and CASA raises")),
    Fault("table-spwmap", "gave an spwmap of one spw for data of two",
          f'{GOOD}{_CAL}tables = [{{ table = "caltables/good.antpos", spwmap = «[0]» }}]\n'
          + _GENCAL.replace('after = "calibrate"', 'before = "calibrate"'), "check",
          plain(call("gencal", vis="{vis}", caltable="o", caltype="opac", parameter=[0.1]),
                call("applycal", vis="{vis}", gaintable="o", spwmap=[0]))),
    Fault("positions-antenna", "gave an offset of an antenna that is not there",
          f"{GOOD}{_CAL}priors = {{ antenna_positions = {{ ea99 = «[0.1, 0.0, 0.0]» }} }}\n",
          "check",
          plain(call("gencal", vis="{vis}", caltable="p", caltype="antpos", antenna="ea99",
                     parameter=[0.1, 0.0, 0.0]))),
    Fault("positions-short", "left a coordinate of an antenna's offset out",
          f"{GOOD}{_CAL}priors = {{ antenna_positions = {{ ea02 = «[0.1, 0.0]» }} }}\n", "static",
          plain(call("gencal", vis="{vis}", caltable="p", caltype="antpos", antenna="ea02",
                     parameter=[0.1, 0.0]))),
    Fault("opacity-many", "gave three opacities for two spws",
          f"{GOOD}{_CAL}priors = {{ opacity = «[0.1, 0.1, 0.2]» }}\n", "check",
          plain(call("gencal", vis="{vis}", caltable="o", caltype="opac", spw="0,1",
                     parameter=[0.1, 0.1, 0.2]))),
)  # fmt: skip
"""Tables that are none, or not of the data; numbers that do not fit."""
