"""The same input gives the same bytes, in this process and in one with another matplotlibrc."""

import hashlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from places import ROOT

from autonama_dagster.reports.charts.explain import explain_chart
from autonama_dagster.reports.charts.heatmap import correlation_heatmap
from autonama_dagster.reports.charts.scan import scan_summary
from autonama_dagster.reports.charts.symbol import symbol_chart

SCRIPT = """
import hashlib, pickle, sys
for chart, arguments in pickle.load(open(sys.argv[1], "rb")):
    print(hashlib.sha256(chart(**arguments)).hexdigest())
"""
MATPLOTLIBRC = """
backend: pdf
font.family: serif
font.size: 23
text.usetex: True
timezone: Asia/Tokyo
axes.facecolor: red
axes.formatter.use_locale: True
path.simplify: False
figure.autolayout: True
savefig.dpi: 33
"""


@pytest.fixture
def calls(make_candles, chart_inputs, explain_inputs, make_pairs, make_signals):
    random = np.random.default_rng(7)
    names = [f"S{i:02}USDT" for i in range(30)]
    matrix = np.corrcoef(random.normal(size=(30, 90)) + random.normal(size=90))
    signals = make_signals(dict(zip(names, random.normal(0, 2, 30), strict=True)))
    day = pd.Timestamp("2023-12-09")
    labelled = {"date": day, "source_label": "synthetic"}
    return [
        (symbol_chart, chart_inputs(make_candles(last_move=0.6))),
        (explain_chart, explain_inputs(make_candles(700, last_move=0.6, missing=(9, 50)))),
        (correlation_heatmap, {"pairs": make_pairs(names, matrix), **labelled}),
        (scan_summary, {"signals": signals, "kstd": 2.0, "expected": {}, **labelled}),
    ]


def test_the_same_input_gives_the_same_bytes(calls):
    for chart, arguments in calls:
        assert chart(**arguments) == chart(**arguments)


def test_another_process_with_another_matplotlibrc_gives_the_same_bytes(calls, tmp_path):
    inputs = tmp_path / "calls.pickle"
    inputs.write_bytes(pickle.dumps(calls))
    (tmp_path / "matplotlibrc").write_text(MATPLOTLIBRC)
    theirs = {"MPLCONFIGDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "TZ": "Asia/Tokyo"}
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(inputs)],
        env=os.environ | theirs,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [hashlib.sha256(chart(**arguments)).hexdigest() for chart, arguments in calls]
    assert answer.stdout.split() == expected
