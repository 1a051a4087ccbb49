"""A mirror of the bulk archive in a folder, the same over HTTP, and ways to damage its files."""

import hashlib
import io
import threading
import zipfile
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

MONTHLY, DAILY = "data/spot/monthly/klines", "data/spot/daily/klines"
DAY_MS = 86_400_000


def utc(*date):
    return datetime(*date, tzinfo=UTC)


def lines(first, days, scale=1):
    """Daily rows as the archive prints them; `scale` 1000 for microseconds."""
    start = int(first.timestamp()) * 1000
    opens = [start + n * DAY_MS for n in range(days)]
    rest = "1.50000000,1.60000000,1.40000000,1.55000000,9.00000000"
    more = "13.50000000,7,4.00000000,6.00000000,0"
    return [f"{t * scale},{rest},{(t + DAY_MS) * scale - 1},{more}" for t in opens]


def packed(name, rows):
    """The zip file of these rows."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.csv", "\n".join(rows) + "\n")
    return content.getvalue()


def put(path, content):
    """Write a file with the checksum that fits it."""
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    path.with_name(f"{path.name}.CHECKSUM").write_text(f"{digest}  {path.name}\n")
    return path


class Mirror:
    """A folder in the archive's layout."""

    def __init__(self, folder):
        self.folder = folder
        (folder / MONTHLY).mkdir(parents=True)

    def add(self, symbol, period, rows, interval="1d"):
        """Put one zip file with its checksum; the period says whether monthly or daily."""
        name = f"{symbol}-{interval}-{period}"
        kind = MONTHLY if period.count("-") == 1 else DAILY
        path = self.folder / kind / symbol / interval / f"{name}.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        return put(path, packed(name, rows))


def damage_content(path):
    path.write_bytes(path.read_bytes()[:-30])


def damage_checksum(path):
    path.with_name(f"{path.name}.CHECKSUM").write_text(f"{'0' * 64}  {path.name}\n")


def remove_checksum(path):
    path.with_name(f"{path.name}.CHECKSUM").unlink()


def empty_checksum(path):
    path.with_name(f"{path.name}.CHECKSUM").write_text("")


class ArchiveServer:
    """Serves a mirror over HTTP with S3's listing, two folders a page, and faults on demand."""

    def __init__(self, folder):
        self.folder, self.calls, self.faults = folder, [], {}
        self.headers = {}
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                url = urlsplit(self.path)
                query = parse_qs(url.query)
                served.calls.append(url.path)
                status, body = served.answer(url.path.strip("/"), query)
                self.send_response(status)
                for name, value in served.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, path, query):
        faults = self.faults.get(path.rpartition("/")[2], [])
        if faults:
            return faults.pop(0)
        if "prefix" in query:
            return 200, self.listing(query["prefix"][0], query.get("marker", [""])[0])
        file = self.folder / path
        return (200, file.read_bytes()) if file.is_file() else (404, b"<Error>NoSuchKey</Error>")

    def listing(self, prefix, marker):
        folder = self.folder / prefix
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        keys = [key for key in (f"{prefix}{name}/" for name in names) if key > marker]
        page = "".join(f"<CommonPrefixes><Prefix>{k}</Prefix></CommonPrefixes>" for k in keys[:2])
        more = len(keys) > 2
        following = f"<NextMarker>{keys[1]}</NextMarker>" if more else ""
        return (
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{following}{page}</ListBucketResult>"
        ).encode()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
