"""The anchor log: lines that are whole, in a chain, and by one writer at a time."""

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime

import pytest

from autonama_dagster.errors import AnchorError
from resources.anchor_log import NOTHING, Draft, Roots, opened, read_log

NOW = datetime(2023, 12, 30, 0, 12, tzinfo=UTC)
DAY = date(2023, 12, 29)
FETCHED = datetime(2023, 12, 30, 0, 5, 1, 250_000, tzinfo=UTC)
CANDLES = Roots(2, "c" * 64, {"ETHUSDT": "0000000e", "BTCUSDT": "0000000b"}, FETCHED)
SUMMARY = Roots(1, "d" * 64, {})
APPEND = """
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from resources.anchor_log import Draft, Roots, opened
for n in range(20):
    with opened(Path(sys.argv[1])) as log:
        drafts = [Draft(date(2023, 12, 1 + n), {"t": Roots(n, "a" * 64, {})})] * 2
        log.append(drafts, datetime.now(UTC))
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "anchors.jsonl"


def append(path, *drafts):
    with opened(path) as log:
        return log.append(drafts or [Draft(DAY, {"ohlcv_1d": CANDLES})], NOW)


def test_lines_are_read_as_they_were_written(path):
    append(path, Draft(DAY, {"ohlcv_1d": CANDLES, "analysis_summary": SUMMARY}))
    (line,) = read_log(path).lines
    assert (line.day, line.made_at, line.number) == (DAY, NOW, 1)
    assert dict(line.tables) == {"ohlcv_1d": CANDLES, "analysis_summary": SUMMARY}
    assert line.is_whole


def test_each_line_has_the_root_of_the_line_before(path):
    first, second = append(path, Draft(DAY, {}), Draft(DAY, {}))
    (third,) = append(path)
    lines = read_log(path).lines
    assert [line.root for line in lines] == [first, second, third]
    assert [line.before for line in lines] == [NOTHING, first, second]


@pytest.mark.parametrize("field", ["rows", "root", "marks", "newest"])
def test_a_changed_line_is_not_whole(path, field):
    append(path)
    fields = json.loads(path.read_text())
    changed = {"rows": 3, "root": "e" * 64, "marks": "0000000a 0000000e", "newest": NOW.isoformat()}
    fields["tables"]["ohlcv_1d"][field] = changed[field]
    path.write_text(json.dumps(fields) + "\n")
    assert not read_log(path).lines[0].is_whole


def test_a_line_written_halfway_counts_for_nothing_and_the_chain_goes_on(path):
    (root,) = append(path)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:100])
    append(path)
    content = read_log(path)
    assert content.torn == (2,)
    assert [line.number for line in content.lines] == [1, 3]
    assert content.lines[1].before == root


def test_a_line_that_lacks_its_end_alone_is_whole(path):
    append(path)
    path.write_bytes(path.read_bytes().rstrip())
    append(path)
    content = read_log(path)
    assert (len(content.lines), content.torn) == (2, ())
    assert content.lines[1].before == content.lines[0].root


def test_two_processes_at_once_make_one_chain(path):
    writers = [subprocess.Popen([sys.executable, "-c", APPEND, path]) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    lines = read_log(path).lines
    assert len(lines) == 80
    assert [line.before for line in lines] == [NOTHING, *(line.root for line in lines[:-1])]


def test_others_may_not_read_a_new_log(path):
    append(path)
    assert path.stat().st_mode & 0o077 == 0


def test_a_log_that_cannot_be_written_is_one_line_that_names_it(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for wrong in (file / "anchors.jsonl", tmp_path, tmp_path / "none" / "anchors.jsonl"):
        with pytest.raises(AnchorError, match="AUTONAMA_ANCHOR_FILE") as error:
            append(wrong)
        assert f"cannot write the anchor log {wrong}: " in str(error.value)


def test_a_full_disk_leaves_a_log_that_goes_on(path, monkeypatch):
    append(path)
    write = os.write
    with monkeypatch.context() as patched:
        parts = iter([50])

        def halfway(descriptor, data):
            if (size := next(parts, None)) is None:
                raise OSError(28, "No space left on device")
            return write(descriptor, data[:size])

        patched.setattr(os, "write", halfway)
        with pytest.raises(AnchorError, match="No space left on device"):
            append(path)
    append(path)
    assert [line.number for line in read_log(path).lines] == [1, 3]


def test_a_log_of_a_later_format_is_refused(path):
    append(path)
    path.write_text(path.read_text().replace('"format":1', '"format":2'))
    with pytest.raises(AnchorError, match=r"line 1 of .* has format 2 .* upgrade"):
        read_log(path)


def test_no_file_is_no_log(path):
    assert read_log(path) is None
