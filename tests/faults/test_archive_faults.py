"""Files of the bulk archive that are damaged: a whole scan from a local mirror."""

import hashlib
import io
import zipfile
from collections import defaultdict
from datetime import UTC, datetime

import pandas as pd
import pytest
from fault_support import DAY, SETTINGS, SYMBOLS, Stage, candle_lines
from projects import project

from resources.warehouse.candle_queries import RANKING, failed_fetches


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """The market's closed months as the archive packs them."""
    folder = tmp_path_factory.mktemp("mirror")
    for number, symbol in enumerate(SYMBOLS):
        months = defaultdict(list)
        for line in candle_lines(number):
            opened = datetime.fromtimestamp(int(line.partition(",")[0]) / 1000, UTC)
            months[f"{opened:%Y-%m}"].append(line)
        for month, lines in months.items():
            name = f"{symbol}-1d-{month}"
            path = folder / "data/spot/monthly/klines" / symbol / "1d" / f"{name}.zip"
            path.parent.mkdir(parents=True, exist_ok=True)
            put(path, packed(name, lines))
    return folder


def packed(name, lines):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"{name}.csv", "\n".join(lines) + "\n")
    return content.getvalue()


def put(path, content):
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    path.with_name(f"{path.name}.CHECKSUM").write_text(f"{digest}  {path.name}\n")


@pytest.fixture(scope="module")
def opened(mirror, server, postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    source = {"exchange": "archive", "archive_location": str(mirror)}
    with project(folder, postgres, server.url, **SETTINGS, **source) as found:
        found.scanner().scan(DAY)
        stage = Stage(found, server, found.tables())
        assert set(stage.status().values()) == {"OK"}
        yield stage


def costs_one_symbol(stage, path, damaged, says):
    honest = path.read_bytes()
    damaged(path)
    stage.scan()
    assert stage.status() == {"BTCUSDT": "OK", "SOLUSDT": "OK"}
    assert failed_fetches(stage.warehouse, DAY, RANKING) == ["ETHUSDT"]
    log = stage.warehouse.read("fetch_log").query("symbol == 'ETHUSDT'")
    assert log["message"].str.contains(says, regex=False).all()
    put(path, honest)
    stage.scan()
    stage.check_complete("fetch_log", "ohlcv_1d")  # which say when they were asked
    found, expected = stage.project.tables()["ohlcv_1d"], stage.expected["ohlcv_1d"]
    pd.testing.assert_series_equal(found["row_hash"], expected["row_hash"])


@pytest.fixture
def december(mirror):
    return mirror / "data/spot/monthly/klines/ETHUSDT/1d/ETHUSDT-1d-2023-12.zip"


def test_checksum_mismatch(stage, december):
    def damaged(path):
        checksum = path.with_name(f"{path.name}.CHECKSUM")
        checksum.write_text(checksum.read_text()[::-1])

    costs_one_symbol(stage, december, damaged, "does not match its CHECKSUM: try again later")


def test_a_month_that_was_cut_short(stage, december):
    """The days that the file lacks are in files of their own."""
    honest = december.read_bytes()
    with zipfile.ZipFile(io.BytesIO(honest)) as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    put(december, packed(december.stem, lines[:7]))
    folder = december.parents[4] / "daily/klines/ETHUSDT/1d"
    folder.mkdir(parents=True)
    for n, line in enumerate(lines[7:], 8):
        name = f"ETHUSDT-1d-2023-12-{n:02}"
        put(folder / f"{name}.zip", packed(name, [line]))
    stage.scan()
    stage.check_complete("fetch_log", "ohlcv_1d")
    found, expected = stage.project.tables()["ohlcv_1d"], stage.expected["ohlcv_1d"]
    pd.testing.assert_series_equal(found["row_hash"], expected["row_hash"])
    put(december, honest)


def test_corrupt_zip(stage, december):
    def damaged(path):
        put(path, path.read_bytes()[:-40])

    costs_one_symbol(stage, december, damaged, "cannot be read")
