"""Files of the public bulk archive: their names, where they lie, and what they must look like."""

import csv
import hashlib
import io
import queue
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from xml.etree import ElementTree as ET

from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.analytics.candles.klines import RawKline, raw_kline
from autonama_dagster.days import DAY, days_of, midnight
from autonama_dagster.errors import (
    BadAnswerError,
    ExchangeError,
    InputError,
    OutageError,
)
from resources.exchange.base import (
    KlinesRequest,
    Origin,
    check_rows,
    from_ms,
    to_ms,
)
from resources.http.session import HttpSession, Limits, asked, failures, host_of

MONTHLY: Final = "data/spot/monthly/klines/"
DAILY: Final = "data/spot/daily/klines/"

# The site itself lists nothing; the bucket behind it does.
_LISTINGS: Final = {
    "data.binance.vision": "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision"
}

_SETTING: Final = "AUTONAMA_ARCHIVE_LOCATION"

# A month of minutes, the largest file, has some 6 MB unpacked.
LARGEST: Final = 32 << 20
_MOST_PAGES: Final = 1000  # of a listing, with a thousand folders each

_UNREADABLE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    csv.Error,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,  # zipfile: encrypted, or packed in a way Python cannot read
    ValueError,
)


class FileStore(Protocol):
    """Where the archive's files lie."""

    def read(self, path: str, stop: threading.Event) -> bytes | None:
        """Content of a file; None where there is none."""
        ...

    def folders(self, prefix: str, stop: threading.Event) -> list[str]:
        """Names of the folders in the folder `prefix`."""
        ...

    def close(self) -> None:
        """Release the connections."""
        ...


class LocalStore:
    """A mirror on disk: the folder that holds `data/`."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "data" / "spot").is_dir():
            raise InputError(f"{folder} is not a mirror of the archive: it has no data/spot folder")
        self._folder = folder

    def read(self, path: str, stop: threading.Event) -> bytes | None:  # noqa: ARG002
        """Content of a file; None where there is none."""
        try:
            return (self._folder / path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ExchangeError(f"cannot read {path} of the archive: {error}") from None

    def folders(self, prefix: str, stop: threading.Event) -> list[str]:  # noqa: ARG002
        """Names of the folders in the folder `prefix`; none where it does not exist."""
        folder = self._folder / prefix
        return [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []

    def close(self) -> None:
        """Nothing to release."""


class HttpStore:
    """The archive over HTTP, or a mirror that serves the same paths."""

    def __init__(self, url: str, timeout: float, deadline: float) -> None:
        self._url = url.rstrip("/")
        self._host = host_of(url)
        self._listing = _LISTINGS.get(self._host, self._url)
        self._timeout, self._limits = timeout, Limits(LARGEST, deadline)
        self._idle: queue.LifoQueue[HttpSession] = queue.LifoQueue()

    def read(self, path: str, stop: threading.Event) -> bytes | None:
        """Content of a file; None where there is none."""
        return self._get(f"{self._url}/{path}", path, stop)

    def folders(self, prefix: str, stop: threading.Event) -> list[str]:
        """Names of the folders in the folder `prefix`, from the S3 listing."""
        names: list[str] = []
        marker, following = "", ""
        for _ in range(_MOST_PAGES):
            query = {"delimiter": "/", "prefix": prefix, "marker": marker}
            body = self._get(self._listing, f"the listing of {prefix}", stop, query)
            page, following = _parse_listing(body or b"", prefix, self._host)
            names += page
            if not following:
                return names
            if following <= marker:
                break
            marker = following
        raise BadAnswerError(
            f"the listing of {prefix} by {self._host} never ends: set {_SETTING} to the "
            "archive or a mirror"
        )

    def close(self) -> None:
        """Close the connections that are not in use."""
        while not self._idle.empty():
            self._idle.get().close()

    def _get(
        self, url: str, about: str, stop: threading.Event, query: dict[str, str] | None = None
    ) -> bytes | None:
        who = asked(url)
        with self._session() as session, failures(about, who, _SETTING, self._limits):
            session.stop = stop
            response = session.get(url, params=query)
        status = response.status_code
        if status == HTTPStatus.OK:
            return response.content
        if status == HTTPStatus.NOT_FOUND:
            return None
        answer = f"{about}: {who} returned HTTP {status}"
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            raise OutageError(f"{answer}: try again later")
        raise ExchangeError(f"{answer}: check {_SETTING}")

    @contextmanager
    def _session(self) -> Iterator[HttpSession]:
        """A session of one's own: threads must not share one."""
        try:
            session = self._idle.get_nowait()
        except queue.Empty:
            session = HttpSession(timeout=self._timeout, limits=self._limits)
        try:
            yield session
        except BaseException:
            session.close()
            raise
        self._idle.put(session)


def _parse_listing(body: bytes, prefix: str, host: str) -> tuple[list[str], str]:
    """Folder names of one page of an S3 listing, and where the next page begins ("" at the end)."""
    try:
        root = ET.fromstring(body)  # noqa: S314  (expat 2.4.1 and later bound entity expansion)
    except ET.ParseError:
        root = ET.Element("")
    if root.tag.rpartition("}")[2] != "ListBucketResult":
        raise BadAnswerError(f"{host} lists no {prefix}: set {_SETTING} to the archive or a mirror")
    found = [element.text or "" for element in root.iterfind("{*}CommonPrefixes/{*}Prefix")]
    names = [text.removeprefix(prefix).rstrip("/") for text in found]
    if root.findtext("{*}IsTruncated") != "true":
        return names, ""
    # Where a page does not say how to go on, its last entry does.
    return names, root.findtext("{*}NextMarker") or max(found, default=prefix)


class CandleFile(NamedTuple):
    """Rows of a file, and the checksum it was checked against."""

    path: str
    sha256: str
    rows: list[RawKline]

    @property
    def origin(self) -> Origin:
        """The file as the origin of its candles."""
        times = [row.open_time for row in self.rows] or [0]
        return Origin(min(times), max(times) + 1, "archive", file=self.path, sha256=self.sha256)


def read_candles(
    store: FileStore, path: str, symbol: str, stop: threading.Event
) -> CandleFile | None:
    """Rows of one zip file, checked against its `.CHECKSUM`; None where there is no file.

    Raises
    ------
    BadAnswerError
        If the checksum is missing or differs, or the file is no zip of twelve-column rows, of the
        pair, interval and time that it is named after.
    """
    content = store.read(path, stop)
    if content is None:
        return None
    name = path.rpartition("/")[2]
    checksum = (store.read(f"{path}.CHECKSUM", stop) or b"").split()
    if not checksum:
        raise BadAnswerError(f"{symbol}: {name}.CHECKSUM is missing: try again later")
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256.encode() != checksum[0].lower():
        raise BadAnswerError(f"{symbol}: {name} does not match its CHECKSUM: try again later")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            held = archive.namelist()
            if held != [f"{name.removesuffix('.zip')}.csv"]:
                raise ValueError(f"it contains {', '.join(held)!a:.80}")
            text = _unpacked(archive).decode("ascii")
        rows = [raw_kline(row) for row in _rows_without_header(text)]
        interval, first, end = _named(name, symbol)
        check_rows(rows, interval, to_ms(midnight(first)), to_ms(midnight(end)))
        return CandleFile(path, sha256, rows)
    except _UNREADABLE as error:
        raise BadAnswerError(
            f"{symbol}: {name} cannot be read ({error}): try again later"
        ) from None


def _unpacked(archive: zipfile.ZipFile) -> bytes:
    """The first file of a zip file, whose own word on its size is not believed."""
    with archive.open(archive.namelist()[0]) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"more than {LARGEST >> 20} MB unpacked")
    return content


def _rows_without_header(text: str) -> Iterator[list[str]]:
    for number, row in enumerate(csv.reader(io.StringIO(text))):
        is_header = number == 0 and row and not row[0].isdigit()
        if row and not is_header:
            yield row


class MonthFiles(NamedTuple):
    """Files of one month.

    Attributes
    ----------
    monthly
        None while the month is the current one.
    daily
        By day, as far as the request reaches.
    is_recent
        Whether a month without its file may lie in daily files alone: the current one does, and the
        one before does until its file comes out.
    """

    monthly: str | None
    daily: Mapping[date, str]
    is_recent: bool


def candle_files(request: KlinesRequest, now: datetime) -> Iterator[MonthFiles]:
    """Files that may hold a request's candles, by month."""
    stem = _stem(request.symbol, request.interval)
    today = now.date()
    first = from_ms(request.start_ms).date()
    last = min(from_ms(request.end_ms - 1).date(), today)
    current = today.replace(day=1)
    month = first.replace(day=1)
    while month <= last:
        following = next_month(month)
        from_day, to_day = max(first, month), min(last, following - DAY)
        days = days_of(from_day, to_day)
        monthly = monthly_file(request.symbol, request.interval, month)
        yield MonthFiles(
            monthly if month < current else None,
            {day: f"{DAILY}{stem}{day:%Y-%m-%d}.zip" for day in days},
            following >= current,
        )
        month = following


def missing_days(rows: Sequence[RawKline], days: Iterable[date], interval: str) -> list[date]:
    """Those of the days that lack a candle which opens on them.

    Of candles longer than a day: all days, if there is no row at all.
    """
    grid = INTERVALS[interval]
    if not grid.divides_day:
        return [] if rows else [*days]
    opens = {row.open_time for row in rows}
    return [
        day
        for day in days
        if not opens.issuperset(
            grid.opens_between(to_ms(midnight(day)), to_ms(midnight(day + DAY)))
        )
    ]


def monthly_file(symbol: str, interval: str, month: date) -> str:
    """Path of the file with a month's candles; any day of the month names it."""
    return f"{MONTHLY}{_stem(symbol, interval)}{month:%Y-%m}.zip"


def _stem(symbol: str, interval: str) -> str:
    return f"{symbol}/{interval}/{symbol}-{interval}-"


def _named(name: str, symbol: str) -> tuple[str, date, date]:
    """Interval, first day, and day after the last, that a file's name says."""
    interval, _, period = name.removeprefix(f"{symbol}-").removesuffix(".zip").partition("-")
    first = date.fromisoformat(period if period.count("-") > 1 else f"{period}-01")
    return interval, first, first + DAY if period.count("-") > 1 else next_month(first)


def next_month(month: date) -> date:
    """First day of the month after the one that begins on this day."""
    return (month + timedelta(days=31)).replace(day=1)
