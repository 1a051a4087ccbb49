"""Requests that other pages have a browser send are refused; those of programs and ours are not."""

import asyncio
from urllib.parse import quote, unquote

import pytest

from autonama_dagster.cli.serve.dagster_webserver import GuardedUi
from autonama_dagster.system.web_guard import Guard

OURS = "127.0.0.1:3000"
MUTATION = "mutation { wipe }"
QUERY = "{ version }"
JSON = {"content_type": "application/json"}


async def answer_everything(scope, receive, send):  # noqa: ARG001
    """A stand-in for Dagster's UI."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


@pytest.fixture
def ui():
    return GuardedUi(
        answer_everything, Guard("127.0.0.1", "https://ui.example.com", "AUTONAMA_UI_URL")
    )


def sent(ui, kind="http", method="GET", path="/", host=OURS, **headers):
    """What is sent in answer to a request."""
    given = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    plain, _, query = path.partition("?")
    scope = {
        "type": kind,
        "method": method,
        "path": unquote(plain),
        "query_string": query.encode(),
        "headers": [(n.encode(), v.encode()) for n, v in given.items()],
    }
    messages = []

    async def send(message):
        messages.append(message)

    asyncio.run(ui(scope, None, send))
    return messages


def status(ui, method="GET", path="/", host=OURS, **headers):
    return sent(ui, "http", method, path, host, **headers)[0]["status"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:3000", "localhost", "LOCALHOST:3000", "[::1]:3000", "127.0.0.1", "ui.example.com"],
)
def test_names_of_the_server_are_answered(ui, host):
    assert status(ui, host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:3000", "127.0.0.1.evil.example", "localhost.evil.example",
        "evil@127.0.0.1", "192.168.1.5:3000", "0.0.0.0:3000", "", "[::1", "127.0.0.1:3000/evil",
        "evil.ui.example.com",
    ],
)  # fmt: skip
def test_other_names_are_refused_to_read_too(ui, host):
    assert status(ui, host=host) == 403


def test_a_request_of_two_hosts_is_refused():
    for other in ("evil.example", "localhost"):  # a proxy may look at either
        assert Guard().refusal([("host", OURS), ("host", other)], is_read=True)


def test_a_program_of_http_1_0_names_no_host():
    assert Guard().refusal([], is_read=True) is None
    assert Guard().refusal([], is_read=False) is None
    assert Guard().refusal([("origin", "http://evil.example")], is_read=False)


def test_a_public_address_may_be_written_in_capitals():
    guard = Guard(public_url="https://UI.Example.com/")
    headers = [("host", "ui.example.com"), ("origin", "https://ui.example.com")]
    assert guard.refusal(headers, is_read=False) is None
    inside = [("host", OURS), headers[1]]  # of a proxy that names the server
    assert guard.refusal(inside, is_read=False) is None


def test_a_network_that_is_served_may_use_addresses_but_no_names():
    guard = Guard("0.0.0.0")
    assert guard.refusal([("host", "192.168.1.5:3000")], is_read=True) is None
    assert guard.refusal([("host", "evil.example")], is_read=True)


@pytest.mark.parametrize(
    "headers",
    [
        {},  # a program
        {"origin": f"http://{OURS}", "sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"origin": "https://ui.example.com", "sec_fetch_site": "same-origin"},  # through the proxy
    ],
)
@pytest.mark.parametrize("path", ["/graphql", "/report_asset_materialization/alerts"])
def test_own_pages_and_programs_may_change_something(ui, path, headers):
    assert status(ui, "POST", path, **JSON, **headers) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8000"},
        {"origin": "http://localhost:3000"},  # another origin than 127.0.0.1:3000
        {"origin": "ftp://127.0.0.1:3000"},
        {"origin": "http://ui.example.com"},  # the public one is https
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": f"http://{OURS}", "sec_fetch_site": "cross-site"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_pages_change_nothing(ui, method, headers):
    for path in ("/graphql", "/report_asset_materialization/alerts"):
        assert status(ui, method, path, **JSON, **headers) == 403


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
        "text/plain; application/json", "application/jsonx", "",
    ],
)  # fmt: skip
def test_bodies_that_a_form_can_send_are_refused(ui, kind):
    assert status(ui, "POST", "/graphql", content_type=kind) == 403


def test_a_body_without_a_type_is_refused(ui):
    assert status(ui, "POST", "/graphql") == 403


@pytest.mark.parametrize(
    "document",
    [
        MUTATION,
        "mutation M { wipe } query Q { version }",
        "query Q { version } mutation M { wipe }",
        "# query\nmutation { wipe }",
        "fragment F on T { a } mutation { wipe }",
        "subscription { logs }",
        "no graphql",
        "{" * 5000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_by_get_nothing_but_queries_is_executed(ui, method, document):
    assert status(ui, method, f"/graphql?query={quote(document)}") == 403
    assert status(ui, method, f"/graphql?query={quote(QUERY)}&query={quote(document)}") == 403
    assert status(ui, method, f"/%67raphql?query={quote(document)}") == 403


@pytest.mark.parametrize("query", ["", f"?query={quote(QUERY)}", "?query=query+Q+%7B+version+%7D"])
def test_queries_are_answered(ui, query):
    assert status(ui, path=f"/graphql{query}") == 200
    assert status(ui, path=f"/graphql{query}", sec_fetch_site="cross-site") == 200  # it is opaque


@pytest.mark.parametrize(
    ("headers", "is_open"),
    [
        ({}, True),
        ({"origin": f"http://{OURS}"}, True),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"host": "evil.example", "origin": "http://evil.example"}, False),
    ],
)
def test_web_sockets_open_for_own_pages_alone(ui, headers, is_open):
    (message,) = sent(ui, "websocket", path="/graphql", **headers)
    assert message["type"] == ("websocket.accept" if is_open else "websocket.close")


def test_no_other_page_frames_ours(ui):
    assert (b"x-frame-options", b"SAMEORIGIN") in sent(ui)[0]["headers"]


def test_a_refusal_is_one_line_that_says_why(ui):
    _, body = sent(ui, host="evil.example")
    assert body["body"].decode() == (
        "Host evil.example: not a name of this server; to allow it, set AUTONAMA_UI_URL\n"
    )


def test_no_setting_is_named_where_there_is_none():
    reason = Guard().refusal([("host", "evil.example")], is_read=True)
    assert reason == "Host evil.example: not a name of this server"
