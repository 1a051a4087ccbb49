"""The server of `autonama metrics` and `autonama up`: metrics, and the pictures of signals."""

import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import date
from http.client import HTTPConnection
from urllib.parse import urlsplit

import dagster as dg
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from autonama_dagster.errors import InputError
from autonama_dagster.schemas.partitions import key_of
from autonama_dagster.services.lineage import receipt_picture
from autonama_dagster.services.lineage.receipt_picture import draw_receipt
from autonama_dagster.services.lineage.receipts import read_receipt
from autonama_dagster.services.monitoring.metrics import METRICS
from autonama_dagster.settings import load_settings
from autonama_dagster.web import server as web
from autonama_dagster.web.server import start_web_server

DAY = date(2024, 3, 10)
PICTURE = f"/explain/BTCUSDT/{DAY}.png"


@contextmanager
def served(settings):
    server = start_web_server(settings, "127.0.0.1", 0)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def server(day):
    with served(day.settings) as running:
        yield running


def get(server, path):
    return requests.get(f"{server.url}{path}", timeout=60)


def sent(server, method, path):
    """Status, headers and content of a request whose path is sent as it is."""
    connection = HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_metrics_are_served(server):
    found = {f.name: f for f in text_string_to_metric_families(get(server, "/metrics").text)}
    assert server.metrics_url == f"{server.url}/metrics"
    assert {f"autonama_{name}" for name in ("up", "problems", "scan_age_seconds")} <= set(found)
    assert set(found) <= {f"autonama_{name}" for name in METRICS}
    assert {f.type for f in found.values()} == {"gauge"}
    assert found["autonama_up"].documentation == METRICS["up"][1]


def test_a_picture_is_what_explain_draws(server, day):
    receipt = read_receipt(day.warehouse, day.settings, "BTCUSDT", DAY)
    expected = draw_receipt(day.warehouse, day.settings, receipt)
    assert expected.startswith(b"\x89PNG")
    for _ in range(2):
        answer = get(server, PICTURE)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
        assert answer.content == expected
    assert get(server, PICTURE.replace("BTC", "ETH")).content != expected


def test_many_pictures_at_once_are_drawn_one_after_the_other(server, monkeypatch):
    drawing, most = [], []

    def counted(*arguments):
        drawing.append(1)
        most.append(len(drawing))
        try:
            return draw_receipt(*arguments)
        finally:
            drawing.pop()

    monkeypatch.setattr(receipt_picture, "draw_receipt", counted)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(get(server, PICTURE))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [a.status_code for a in answers] == [200] * 4
    assert len({a.content for a in answers}) == 1
    assert most == [1] * 4


def test_who_waits_too_long_is_told_so(server, monkeypatch):
    began, go_on = threading.Event(), threading.Event()

    def slow(*_):
        began.set()
        go_on.wait(60)
        return b""

    monkeypatch.setattr(receipt_picture, "draw_receipt", slow)
    monkeypatch.setattr(web, "PATIENCE_S", 0.05)
    first = threading.Thread(target=get, args=(server, PICTURE))
    first.start()
    assert began.wait(60)
    answer = get(server, PICTURE)
    go_on.set()
    first.join()
    assert (answer.status_code, answer.text) == (503, "busy with other pictures; try again\n")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/explain/NOPEUSDT/2024-03-10.png", "no signal of NOPEUSDT is stored"),
        ("/explain/BTCUSDT/2024-03-01.png", "no signal of BTCUSDT on 2024-03-01 is stored"),
        ("/explain/%E5%B8%81USDT/2024-03-10.png", "no signal of 币USDT is stored"),
        ("/explain/../2024-03-10.png", "no signal of .. is stored"),
        ("/explain/BTCUSDT/2024-02-30.png", "not found: metrics are at"),
        ("/explain/BTCUSDT/2024-03-10", "not found: metrics are at"),
        ("/explain/BTCUSDT/2024-03-10.png/", "not found: metrics are at"),
        ("/explain/../../x", "not found: metrics are at"),
        ("/explain/..%2f..%2fetc%2fpasswd", "not found: metrics are at"),
        ("/explain/BTCUSDT%27%20OR%20true/2024-03-10.png", "not found: metrics are at"),
        ("/explain/BTCUSDT%00/2024-03-10.png", "not found: metrics are at"),
        ("/explain/%FF/2024-03-10.png", "not found: metrics are at"),
        (f"/explain/{'A' * 51}/2024-03-10.png", "not found: metrics are at"),
        ("/metrics/x", "not found: metrics are at"),
        ("/favicon.ico", "not found: metrics are at"),
        ("/", "not found: metrics are at"),
    ],
)
def test_what_is_not_there_is_one_line(server, path, says):
    status, headers, content = sent(server, "GET", path)
    assert (status, headers["Content-Type"]) == (404, "text/plain; charset=utf-8")
    (line,) = content.decode().splitlines()
    assert says in line


def test_head_has_the_headers_alone(server):
    address = urlsplit(server.url)
    found = []
    for path in (PICTURE, "/explain/../../x"):
        with socket.create_connection((address.hostname, address.port), timeout=60) as sock:
            sock.sendall(f"HEAD {path} HTTP/1.0\r\n\r\n".encode())
            found.append(b"".join(iter(lambda: sock.recv(65536), b"")))
    assert found[0].startswith(b"HTTP/1.0 200 OK\r\n")
    assert found[0].endswith(b"\r\n\r\n")
    length = len(get(server, PICTURE).content)
    assert f"Content-Length: {length}\r\n".encode() in found[0]
    assert found[1].startswith(b"HTTP/1.0 404 Not Found\r\n")
    assert found[1].endswith(b"\r\n\r\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(server, method):
    status, headers, content = sent(server, method, PICTURE)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert content == b"only GET and HEAD are allowed\n"


@pytest.mark.parametrize("url", [None, "postgresql://u:hidden@127.0.0.1:9/nothing"])
def test_a_lost_database_is_one_line_and_starts_nothing(url, home, caplog):
    with served(load_settings(DATABASE_URL=url, exchange_url="http://127.0.0.1:9")) as server:
        answer = get(server, PICTURE)
        metrics = get(server, "/metrics").text
    assert answer.status_code == 503
    assert answer.text == "cannot reach the database; run `autonama status` for details\n"
    assert "autonama_up 0" in metrics
    assert PICTURE in caplog.text
    assert "hidden" not in caplog.text
    assert not (home / ".autonama").exists()


def test_a_database_that_comes_back_is_used(day, monkeypatch):
    lost = load_settings(DATABASE_URL="postgresql://u@127.0.0.1:9/nothing")
    pictures = web.Pictures(lost)
    assert pictures.answer(PICTURE).status == 503
    monkeypatch.setattr(pictures, "_settings", day.settings)
    assert pictures.answer(PICTURE).status == 200


def test_a_defect_is_logged_and_not_shown(server, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError("the secret of the drawing")

    monkeypatch.setattr(receipt_picture, "draw_receipt", broken)
    answer = get(server, PICTURE)
    assert answer.status_code == 500
    assert answer.text == "cannot draw the picture; see this server's log\n"
    assert "the secret of the drawing" in caplog.text
    assert "Traceback" in caplog.text


def test_the_link_of_a_materialisation_leads_to_the_picture(server, day):
    event = day.instance.get_latest_data_version_record(
        dg.AssetKey("signals"), partition_key=key_of(DAY, "BTCUSDT")
    )
    link = event.asset_materialization.metadata["picture"]
    assert isinstance(link, dg.UrlMetadataValue)
    address = load_settings().pictures_url
    assert link.value.startswith(f"{address}/explain/")
    assert get(server, link.value.removeprefix(address)).content.startswith(b"\x89PNG")


def test_a_port_in_use(day):
    with served(day.settings) as server:
        port = int(re.search(r":(\d+)$", server.url)[1])
        with pytest.raises(InputError, match=f"--port {port}: cannot listen"):
            start_web_server(day.settings, "127.0.0.1", port)
    with pytest.raises(requests.ConnectionError):
        get(server, "/metrics")


def test_a_server_without_pictures_does_not_load_what_draws_them():
    loaded = "import sys, autonama_dagster.web.server; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "autonama_dagster.web.server" in found
    assert {"matplotlib", "dagster", "autonama_dagster.services.lineage.receipts"}.isdisjoint(found)


@pytest.mark.parametrize("path", ["/metrics", PICTURE, "/"])
def test_a_name_that_was_made_to_point_here_reads_nothing(server, path):
    answer = requests.get(
        f"{server.url}{path}", headers={"Host": "rebound.example:9464"}, timeout=60
    )
    assert answer.status_code == 403
    assert answer.text.startswith("Host rebound.example:9464: not a name of this server")
    assert answer.text.rstrip().endswith("to allow it, set AUTONAMA_PICTURES_URL")


def test_a_network_reaches_the_metrics_by_its_own_names(day):
    server = start_web_server(day.settings, "0.0.0.0", 0)
    try:
        address = server.url.replace("0.0.0.0", "127.0.0.1")
        answer = requests.get(f"{address}/none", headers={"Host": "metrics:9464"}, timeout=60)
        assert answer.status_code == 404
    finally:
        server.close()
