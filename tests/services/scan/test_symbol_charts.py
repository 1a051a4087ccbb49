"""Files of symbol charts: their names stay in their folder, their list is Markdown."""

from datetime import date
from pathlib import Path

import pandas as pd

from autonama_dagster.services.scan import symbol_charts
from autonama_dagster.services.scan.symbol_charts import (
    SCAN_PICTURE,
    draw_symbol_charts,
    links,
    write_picture,
)

DAY = date(2024, 3, 10)


def test_no_symbol_leads_out_of_the_folder(tmp_path, monkeypatch):
    names = ["../../PWNUSDT", "币安人生USDT", "A/B", "..", "BTCUSDT"]
    monkeypatch.setattr(symbol_charts, "_draw", lambda *_: b"png")
    folder = tmp_path / "results" / "charts"
    signals = pd.DataFrame({"symbol": names, "signal": "BUY"})
    files = draw_symbol_charts(folder, DAY, signals, {}, None, None)
    assert len(set(files)) == len(names)
    assert set(tmp_path.rglob("*.png")) == set(files)
    assert {f.parent for f in files} == {folder / "2024-03-10"}
    assert {f.name for f in files} >= {"BTCUSDT.png", "币安人生USDT.png"}
    assert draw_symbol_charts(folder, DAY, signals.tail(1), {}, None, None) == files[-1:]
    assert set(tmp_path.rglob("*.png")) == set(files[-1:])


def test_the_list_of_files_is_text_in_markdown():
    listed = links([Path("/r/%3Cimg%3E.png"), Path("/r/a_b`c.png")])
    assert listed.splitlines() == [
        r"- \%3Cimg\%3E: `/r/%3Cimg%3E.png`",
        r"- a\_b\`c: `` /r/a_b`c.png ``",
    ]


def test_the_days_picture_stays_and_charts_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(symbol_charts, "_draw", lambda *_: b"png")
    target = tmp_path / "2024-03-10"
    target.mkdir()
    picture = write_picture(target / SCAN_PICTURE, b"scan")
    signals = pd.DataFrame({"symbol": ["AUSDT", "BUSDT"], "signal": "BUY"})
    counted = []
    files = draw_symbol_charts(
        tmp_path, DAY, signals, {}, None, None, on_chart=lambda *of: counted.append(of)
    )
    assert counted == [(0, 2), (1, 2), (2, 2)]
    assert set(target.iterdir()) == {*files, picture}
