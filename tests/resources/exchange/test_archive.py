import io
import itertools
import re
import zipfile
from datetime import UTC, datetime, timedelta

import pytest
from archive_support import (
    DAY_MS,
    ArchiveServer,
    Mirror,
    damage_checksum,
    damage_content,
    empty_checksum,
    lines,
    packed,
    put,
    remove_checksum,
    utc,
)

from autonama_dagster.analytics.candles.klines import raw_kline, row_hash
from autonama_dagster.errors import (
    BadAnswerError,
    ExchangeError,
    InputError,
    OutageError,
    SymbolFetchError,
)
from resources.exchange.archive import files as archive_files
from resources.exchange.archive.archive import PUBLICATION_LAG, ArchiveExchange
from resources.exchange.archive.files import LARGEST
from resources.exchange.base import KlinesRequest, SymbolInfo, from_ms

NOW = datetime(2024, 3, 5, 0, 5, tzinfo=UTC)
DAY = timedelta(days=1)
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore"
)


@pytest.fixture
def mirror(tmp_path):
    return Mirror(tmp_path / "mirror of mine")


def local(mirror, now=NOW):
    return ArchiveExchange(mirror.folder, clock=lambda: now + PUBLICATION_LAG)


def open_days(klines):
    return [from_ms(row.open_time).date() for row in klines.rows]


def days_of(first, count):
    return [(first + n * DAY).date() for n in range(count)]


def test_closed_months_and_the_days_of_the_current_one(mirror):
    mirror.add("BTCUSDT", "2024-01", lines(utc(2024, 1, 1), 31))
    mirror.add("BTCUSDT", "2024-02", lines(utc(2024, 2, 1), 29))
    for day in (1, 2, 3, 4):
        mirror.add("BTCUSDT", f"2024-03-0{day}", lines(utc(2024, 3, day), 1))
    klines = local(mirror).klines("BTCUSDT", "1d", utc(2024, 1, 10), utc(2024, 3, 6))
    assert open_days(klines) == days_of(utc(2024, 1, 10), 22 + 29 + 4)
    assert (klines.source, klines.asked_at) == ("archive", NOW)


def test_header_row_or_none_milliseconds_or_microseconds(mirror):
    mirror.add("BTCUSDT", "2023-11", lines(utc(2023, 11, 1), 30))
    mirror.add("BTCUSDT", "2023-12", [HEADER, *lines(utc(2023, 12, 1), 31)])
    mirror.add("BTCUSDT", "2024-01", lines(utc(2024, 1, 1), 31, scale=1000))
    klines = local(mirror).klines("BTCUSDT", "1d", utc(2023, 11, 1), utc(2024, 2, 1))
    assert open_days(klines) == days_of(utc(2023, 11, 1), 92)
    assert {row.close_time - row.open_time for row in klines.rows} == {DAY_MS - 1}


def test_the_same_candle_hashes_alike_by_rest_and_archive(mirror):
    mirror.add("BTCUSDT", "2024-01", lines(utc(2024, 1, 1), 1, scale=1000))
    (row,) = local(mirror).klines("BTCUSDT", "1d", utc(2024, 1, 1), utc(2024, 1, 2)).rows
    open_ms = int(utc(2024, 1, 1).timestamp()) * 1000
    rest = [
        open_ms,
        "1.50000000",
        "1.60000000",
        "1.40000000",
        "1.55000000",
        "9.00000000",
        open_ms + DAY_MS - 1,
        "13.50000000",
        7,
        "4.00000000",
        "6.00000000",
        "0",
    ]
    assert row_hash(row) == row_hash(raw_kline(rest))


def test_rows_out_of_order_and_twice(mirror):
    rows = lines(utc(2024, 1, 1), 31)
    mirror.add("BTCUSDT", "2024-01", [*rows[20:], *rows[:20], rows[3]])
    klines = local(mirror).klines("BTCUSDT", "1d", utc(2024, 1, 1), utc(2024, 2, 1))
    assert open_days(klines) == days_of(utc(2024, 1, 1), 31)


@pytest.mark.parametrize("kept", [range(7), range(7, 31), [*range(10), *range(20, 31)], range(0)])
def test_days_that_a_months_file_lacks_come_from_their_own_files(mirror, kept):
    rows = lines(utc(2023, 5, 1), 31)
    mirror.add("BTCUSDT", "2023-05", [rows[n] for n in kept])
    for n, row in enumerate(rows):
        mirror.add("BTCUSDT", f"2023-05-{n + 1:02}", [row])
    klines = local(mirror).klines("BTCUSDT", "1d", utc(2023, 5, 1), utc(2023, 6, 1))
    assert open_days(klines) == days_of(utc(2023, 5, 1), 31)
    assert len(klines.origins) == 1 + 31 - len(kept)


def test_hours_that_a_months_file_lacks_come_from_the_days_files(mirror):
    starts = [utc(2023, 5, 1) + n * DAY for n in range(31)]
    days = [hours(start) for start in starts]
    cut = [*days[:20], days[20][:5], *days[21:]]
    mirror.add("BTCUSDT", "2023-05", [row for day in cut for row in day], "1h")
    mirror.add("BTCUSDT", "2023-05-21", days[20], "1h")
    klines = local(mirror).klines("BTCUSDT", "1h", utc(2023, 5, 1), utc(2023, 6, 1))
    assert len(klines.rows) == 31 * 24
    assert len(klines.origins) == 2


def test_a_whole_month_costs_no_daily_file(mirror):
    mirror.add("BTCUSDT", "2023-05", lines(utc(2023, 5, 1), 31))
    exchange, asked = local(mirror), []
    read = exchange._store.read
    exchange._store.read = lambda path, stop: asked.append(path) or read(path, stop)
    exchange.klines("BTCUSDT", "1d", utc(2023, 5, 1), utc(2023, 6, 1))
    assert len(asked) == 2


def hours(start):
    """A day's hourly rows."""
    rest = "1.5,1.6,1.4,1.55,9"
    opens = [int(start.timestamp()) * 1000 + n * 3_600_000 for n in range(24)]
    return [f"{t},{rest},{t + 3_599_999},13.5,7,4,6,0" for t in opens]


@pytest.mark.parametrize(
    ("name", "rows", "says"),
    [
        ("BTCUSDT-1d-2023-05", hours(utc(2023, 5, 2)), "candles of 1:00:00 hours, 1d was"),
        (
            "BTCUSDT-1d-2023-05",
            lines(utc(2023, 5, 2), 31),
            "2023-06-01 00:00, which was not requested",
        ),
        ("BTCUSDT-1d-2023-05", lines(utc(2023, 4, 30), 31), "2023-04-30 00:00, which was not"),
        ("ETHUSDT-1d-2023-05", lines(utc(2023, 5, 1), 31), "it contains 'ETHUSDT-1d-2023-05.csv'"),
        ("BTCUSDT-1h-2023-05", lines(utc(2023, 5, 1), 31), "it contains 'BTCUSDT-1h-2023-05.csv'"),
    ],
)
def test_a_file_of_another_pair_interval_or_month_is_named(mirror, name, rows, says):
    path = mirror.add("BTCUSDT", "2023-05", rows)
    put(path, packed(name, rows))
    with pytest.raises(SymbolFetchError, match=says):
        local(mirror).klines("BTCUSDT", "1d", utc(2023, 5, 1), utc(2023, 6, 1))


def test_folders_that_are_no_names_are_left_out_and_counted(mirror):
    for name in ("BTCUSDT", "btcUSDT", "A BUSDT", "\u5e01\u5b89USDT"):
        mirror.add(name, "2023-05", lines(utc(2023, 5, 1), 31))
    exchange = local(mirror)
    assert [pair.symbol for pair in exchange.symbols()] == ["BTCUSDT", "\u5e01\u5b89USDT"]
    assert len(exchange.left_out) == 2


@pytest.mark.parametrize(
    "time", [datetime(1970, 1, 20, tzinfo=UTC), datetime(2300, 1, 1, tzinfo=UTC)]
)
def test_a_machine_whose_clock_cannot_be_right(mirror, time):
    with pytest.raises(ExchangeError, match="the clock of this machine is wrong"):
        local(mirror, time).server_time()


def test_a_missing_month_has_no_candles(mirror):
    mirror.add("LUNAUSDT", "2023-10", lines(utc(2023, 10, 1), 31))
    mirror.add("LUNAUSDT", "2023-12", lines(utc(2023, 12, 1), 31))
    exchange = local(mirror)
    klines = exchange.klines("LUNAUSDT", "1d", utc(2023, 10, 1), utc(2024, 1, 1))
    assert open_days(klines) == days_of(utc(2023, 10, 1), 31) + days_of(utc(2023, 12, 1), 31)
    assert exchange.klines("NONEUSDT", "1d", utc(2023, 1, 1), utc(2024, 3, 5)).rows == ()


def test_until_the_monthly_file_comes_out_its_days_are_daily_files(mirror):
    for day in range(1, 30):
        mirror.add("BTCUSDT", f"2024-02-{day:02}", lines(utc(2024, 2, day), 1))
    mirror.add("BTCUSDT", "2024-03-01", lines(utc(2024, 3, 1), 1))
    klines = local(mirror).klines("BTCUSDT", "1d", utc(2024, 2, 10), utc(2024, 3, 2))
    assert open_days(klines) == days_of(utc(2024, 2, 10), 21)


def test_a_candle_that_has_not_closed_does_not_enter(mirror):
    mirror.add("BTCUSDT", "2024-03-04", lines(utc(2024, 3, 4), 1))
    ends = utc(2024, 3, 5)
    for now, count in ((ends - DAY / 2, 0), (ends, 1)):
        exchange = local(mirror, now)
        assert exchange.server_time() == now
        assert len(exchange.klines("BTCUSDT", "1d", utc(2024, 3, 1), ends).rows) == count


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_content, "does not match its CHECKSUM"),
        (damage_checksum, "does not match its CHECKSUM"),
        (remove_checksum, "CHECKSUM is missing"),
        (empty_checksum, "CHECKSUM is missing"),
    ],
)
def test_a_file_that_fails_its_checksum_is_named(mirror, damage, says):
    mirror.add("ETHUSDT", "2024-01", lines(utc(2024, 1, 1), 31))
    damage(mirror.add("BTCUSDT", "2024-01", lines(utc(2024, 1, 1), 31)))
    asked = [
        KlinesRequest(s, "1d", utc(2024, 1, 1), utc(2024, 2, 1)) for s in ("BTCUSDT", "ETHUSDT")
    ]
    answers = local(mirror).klines_many(asked)
    assert isinstance(answers["BTCUSDT"], SymbolFetchError)
    assert "BTCUSDT-1d-2024-01.zip" in str(answers["BTCUSDT"])
    assert says in str(answers["BTCUSDT"])
    assert len(answers["ETHUSDT"].rows) == 31


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 no zip", b"<html></html>"],
)
def test_a_corrupt_zip_is_named(mirror, content):
    put(mirror.add("BTCUSDT", "2024-01", []), content)
    with pytest.raises(SymbolFetchError, match=r"BTCUSDT-1d-2024-01.zip cannot be read"):
        local(mirror).klines("BTCUSDT", "1d", utc(2024, 1, 1), utc(2024, 2, 1))


@pytest.mark.parametrize("row", ["1704067200000,1.5,1.6", "soon,1,1,1,1,1,later,1,1,1,1,0", "é"])
def test_rows_that_are_none_are_named(mirror, row):
    mirror.add("BTCUSDT", "2024-01", [HEADER, row])
    with pytest.raises(SymbolFetchError, match=r"BTCUSDT-1d-2024-01.zip cannot be read") as error:
        local(mirror).klines("BTCUSDT", "1d", utc(2024, 1, 1), utc(2024, 2, 1))
    assert "\n" not in str(error.value)


def test_an_encrypted_zip_is_named(mirror):
    path = mirror.add("BTCUSDT", "2024-01", lines(utc(2024, 1, 1), 1))
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    put(path, bytes(content))
    with pytest.raises(SymbolFetchError, match=r"cannot be read.*password"):
        local(mirror).klines("BTCUSDT", "1d", utc(2024, 1, 1), utc(2024, 2, 1))


def test_symbols_include_the_delisted_and_the_youngest(mirror):
    for symbol in ("LUNAUSDT", "BTCUSDT", "BTCBUSD"):
        mirror.add(symbol, "2022-01", [])
    mirror.add("NEWUSDT", "2024-03-04", [])
    exchange = local(mirror)
    assert exchange.knows_delisted
    assert exchange.symbols() == [
        SymbolInfo("BTCUSDT", "BTC", "USDT"),
        SymbolInfo("LUNAUSDT", "LUNA", "USDT"),
        SymbolInfo("NEWUSDT", "NEW", "USDT"),
    ]
    assert exchange.symbols("BUSD") == [SymbolInfo("BTCBUSD", "BTC", "BUSD")]


def test_a_folder_that_is_no_mirror(tmp_path):
    with pytest.raises(InputError, match="not a mirror of the archive"):
        ArchiveExchange(tmp_path)


def test_real_files_around_the_change_to_microseconds(mirror, market_data):
    folder = market_data / "archive_raw" / "spot_1h_no_header_us_since_2025"
    for month in ("2024-11", "2024-12", "2025-01", "2025-02"):
        rows = (folder / f"BTCUSDT-1h-{month}.csv").read_text().splitlines()
        mirror.add("BTCUSDT", month, rows, interval="1h")
    exchange = local(mirror, utc(2025, 6, 1))
    klines = exchange.klines("BTCUSDT", "1h", utc(2024, 12, 30), utc(2025, 1, 3))
    times = [row.open_time for row in klines.rows]
    assert times == list(range(times[0], times[0] + 96 * 3_600_000, 3_600_000))
    assert from_ms(times[0]) == utc(2024, 12, 30)
    first_of_2025 = klines.rows[48]
    assert first_of_2025.open == "93576.00000000"
    assert from_ms(first_of_2025.close_time + 1) == utc(2025, 1, 1, 1)


def test_a_real_file_with_a_header(mirror, market_data):
    folder = market_data / "archive_raw" / "um_5m_with_header_ms"
    rows = (folder / "BTCUSDT-5m-2025-01.csv").read_text().splitlines()
    mirror.add("BTCUSDT", "2025-01", rows, interval="5m")
    exchange = local(mirror, utc(2025, 6, 1))
    klines = exchange.klines("BTCUSDT", "5m", utc(2025, 1, 1), utc(2025, 1, 1, 1))
    assert len(klines.rows) == 12
    assert klines.rows[0].volume == "341.604"


class TestOverHttp:
    @pytest.fixture
    def server(self, mirror):
        served = ArchiveServer(mirror.folder)
        yield served
        served.close()

    @pytest.fixture
    def exchange(self, server, fast):
        with ArchiveExchange(
            server.url + "/", retry=fast, clock=lambda: NOW + PUBLICATION_LAG
        ) as opened:
            yield opened

    def test_same_candles_as_from_disk(self, mirror, exchange):
        mirror.add("BTCUSDT", "2024-02", lines(utc(2024, 2, 1), 29))
        mirror.add("BTCUSDT", "2024-03-01", lines(utc(2024, 3, 1), 1))
        asked = ("BTCUSDT", "1d", utc(2023, 12, 1), utc(2024, 3, 5))
        assert exchange.klines(*asked) == local(mirror).klines(*asked)
        assert len(exchange.klines(*asked).rows) == 30

    def test_the_listing_is_read_to_its_end(self, mirror, exchange):
        names = [f"S{n}USDT" for n in range(5)]
        for name in names:
            mirror.add(name, "2024-01", [])
        assert [pair.symbol for pair in exchange.symbols()] == names

    def test_a_listing_that_does_not_say_how_it_goes_on(self, mirror, exchange, monkeypatch):
        for name in "ABCDE":
            mirror.add(f"{name}USDT", "2023-05", lines(utc(2023, 5, 1), 31))
        honest = ArchiveServer.listing
        unmarked = lambda *args: re.sub(b"<NextMarker>.*</NextMarker>", b"", honest(*args))  # noqa: E731
        monkeypatch.setattr(ArchiveServer, "listing", unmarked)
        assert len(exchange.symbols()) == 5

    def test_a_listing_that_goes_round_in_circles(self, mirror, exchange, monkeypatch):
        for name in "ABCDE":
            mirror.add(f"{name}USDT", "2023-05", lines(utc(2023, 5, 1), 31))
        honest = ArchiveServer.listing
        monkeypatch.setattr(ArchiveServer, "listing", lambda s, prefix, _: honest(s, prefix, ""))
        with pytest.raises(ExchangeError, match="never ends"):
            exchange.symbols()

    def test_server_errors_and_damaged_transfers_are_repeated(self, mirror, server, exchange):
        path = mirror.add("BTCUSDT", "2024-01", lines(utc(2024, 1, 1), 31))
        server.faults[path.name] = [(503, b""), (200, path.read_bytes()[:-9])]
        klines = exchange.klines("BTCUSDT", "1d", utc(2024, 1, 1), utc(2024, 2, 1))
        assert len(klines.rows) == 31
        assert sum(call.endswith(".zip") for call in server.calls) == 3

    def test_an_archive_that_is_down(self, server, exchange):
        server.faults["BTCUSDT-1d-2024-01.zip"] = [(503, b"")] * 3
        with pytest.raises(OutageError, match="HTTP 503"):
            exchange.klines("BTCUSDT", "1d", utc(2024, 1, 1), utc(2024, 2, 1))

    def test_an_archive_that_refuses(self, server, exchange):
        server.faults["BTCUSDT-1d-2024-01.zip"] = [(403, b"")] * 3
        with pytest.raises(ExchangeError, match=r"HTTP 403.*AUTONAMA_ARCHIVE_LOCATION"):
            exchange.klines("BTCUSDT", "1d", utc(2024, 1, 1), utc(2024, 2, 1))
        assert len(server.calls) == 1

    def test_a_redirect_is_not_followed(self, server, exchange):
        server.headers = {"Location": f"{server.url}/elsewhere"}
        server.faults["BTCUSDT-1d-2024-01.zip"] = [(302, b"")] * 3
        with pytest.raises(ExchangeError, match=r"HTTP 302.*AUTONAMA_ARCHIVE_LOCATION"):
            exchange.klines("BTCUSDT", "1d", utc(2024, 1, 1), utc(2024, 2, 1))
        assert len(server.calls) == 1

    def test_a_file_without_measure_is_garbage(self, server, exchange):
        server.faults["BTCUSDT-1d-2024-01.zip"] = [(200, bytes(LARGEST + 1))] * 3
        with pytest.raises(BadAnswerError, match="larger than 33,554,432 bytes"):
            exchange.klines("BTCUSDT", "1d", utc(2024, 1, 1), utc(2024, 2, 1))

    @pytest.mark.parametrize("steps", ["stay", "go on for ever"])
    def test_a_listing_without_end(self, server, exchange, monkeypatch, steps):
        monkeypatch.setattr(archive_files, "_MOST_PAGES", 20)
        pages = itertools.count()

        def listing(*_):
            number = 0 if steps == "stay" else next(pages)
            return (
                f"<ListBucketResult><IsTruncated>true</IsTruncated><NextMarker>A{number:09}"
                "</NextMarker></ListBucketResult>"
            ).encode()

        server.listing = listing
        with pytest.raises(ExchangeError, match=r"data/spot.* never ends"):
            exchange.symbols()
        assert len(server.calls) <= 3 * 20

    @pytest.mark.parametrize("body", [b"<html><br></html>", b"", b"<html><br/></html>"])
    def test_a_site_without_a_listing(self, server, exchange, body):
        server.faults[""] = [(200, body)] * 3
        with pytest.raises(ExchangeError, match="lists no data/spot") as error:
            exchange.symbols()
        assert not isinstance(error.value, SymbolFetchError)


def honest(info):
    """A zip file that tells how large its file is."""


def lying(info):
    """A zip file that says its file has 100 bytes."""
    info.file_size = 100


@pytest.mark.parametrize(("claim", "says"), [(honest, "MB"), (lying, "")])
def test_a_file_that_grows_without_measure_is_damaged(mirror, claim, says):
    rows = lines(utc(2024, 1, 1), 31)
    path = mirror.add("BTCUSDT", "2024-01", rows)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTCUSDT-1d-2024-01.csv", "\n".join(rows) + "\n" * LARGEST)
        claim(archive.filelist[0])
    put(path, content.getvalue())
    with pytest.raises(BadAnswerError, match=rf"BTCUSDT-1d-2024-01.zip cannot be read.*{says}"):
        local(mirror).klines("BTCUSDT", "1d", utc(2024, 1, 1), utc(2024, 2, 1))


def test_nobody_listens(fast):
    with (
        ArchiveExchange("http://127.0.0.1:9", retry=fast) as exchange,
        pytest.raises(OutageError, match=r"cannot reach 127.0.0.1:9"),
    ):
        exchange.symbols()
