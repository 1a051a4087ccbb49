"""Odd values at every door: each ends with one line of ours, never with another library's error.

A door that runs a command meets a third of the values, and every value a third of the doors.
"""

import re
import zlib

import click
import pytest
import stamina

from autonama_dagster.cli.main import autonama
from autonama_dagster.errors import InputError
from autonama_dagster.settings import Settings, env_name, load_settings

ODD = (
    *("", " ", ",", "nan", "inf", "-1", "0", "1e400", "9" * 400, "true", "null", "[]"),
    *("ü" * 40, "\udcff", "a\nb", "2024-03-10T25:00", "%s%n", "'; --", "~no-such-user/x"),
    *("/dev/null/x", "x" * 5000, "\uff19", "+5", "0x10", "1_0", "\u202e", "2024-02-30"),
)  # fmt: skip
UNEXPECTED = re.compile(r"unexpected \w+(Error|Exception|Warning|Exit)")
# What a command needs besides the option, so that the option is looked at.
NEEDS = {
    "backfill": ["--from", "2024-03-09"],
    "explain": ["BTCUSDT"],
    "revisions": ["--since", "2024-03-11"],
    "replay serve": ["--synthetic", "1", "--port", "1"],
    "show": ["signals"],
    "up": ["--port", "1"],
    "metrics": ["--port", "1"],
}
# They would do it: passed to another program, or a market of any number.
LEFT_OUT = {("db psql", "arguments"), ("demo", "seed")}


def doors():
    def leaves(command, path):
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                yield from leaves(command.get_command(click.Context(command), name), [*path, name])
        else:
            yield " ".join(path), command

    for path, command in leaves(autonama, []):
        for option in command.params:
            is_open = not getattr(option, "is_flag", False)
            is_open = is_open and not isinstance(option.type, click.Choice)
            if is_open and (path, option.name) not in LEFT_OUT:
                yield path, option


def third(door):
    """The values of a door, the same at every run."""
    return ODD[zlib.crc32(door.encode()) % 3 :: 3]


@pytest.fixture
def nothing_serves(monkeypatch, tmp_path):
    """A value that is in order after all starts no server, makes no role, and no folder here."""
    monkeypatch.chdir(tmp_path)

    def refused(*_, **__):
        raise click.UsageError("it would have begun")

    monkeypatch.setattr("autonama_dagster.web.server.start_web_server", refused)
    monkeypatch.setattr("autonama_dagster.cli.serve.replay.serve_market", refused)
    monkeypatch.setattr("resources.postgres.roles.reader_role._make", refused)
    monkeypatch.setattr("autonama_dagster.cli.serve.up.start_dagster", refused)
    monkeypatch.setenv("AUTONAMA_EXCHANGE_URL", "http://127.0.0.1:1")
    with stamina.set_testing(testing=True, attempts=1):
        yield


@pytest.mark.usefixtures("day", "nothing_serves")
@pytest.mark.parametrize(("path", "option"), list(doors()), ids=lambda x: getattr(x, "name", x))
def test_an_odd_value_of_an_option_is_one_line(run, path, option):
    is_option = isinstance(option, click.Option)
    needed = NEEDS.get(path, [])
    if not is_option and option.name in {"symbol", "what", "file"}:
        needed = []
    elif is_option and option.opts[0] in needed:
        needed = [a for a in needed if a not in needed[needed.index(option.opts[0]) :][:2]]
    for odd in third(f"{path} {option.name}"):
        ended = run(
            *path.split(), *needed, *([f"{option.opts[0]}={odd}"] if is_option else ["--", odd])
        )
        said(ended, odd)


def said(ended, odd):
    """The end is one of ours."""
    assert ended.code in {0, 1, 2}, (odd, ended)
    assert not UNEXPECTED.search(ended.err), (odd, ended.err)
    assert "Traceback" not in ended.err, odd
    if ended.code:
        assert ended.err.splitlines()[-1].startswith("autonama: "), (odd, ended.err)


def accepted():
    """Whether the settings can be used; a refusal is one line."""
    try:
        load_settings()
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return False
    return True


@pytest.mark.parametrize("field", Settings.model_fields)
def test_an_odd_value_of_a_setting_is_one_line(run, home, monkeypatch, field):
    for odd in ODD:
        monkeypatch.setenv(env_name(field), odd)
        if accepted():
            said(run("settings"), odd)
        monkeypatch.delenv(env_name(field))
        if odd != "\udcff":
            (home / ".env").write_text(f"{env_name(field)}={odd}\n", encoding="utf-8")
            accepted()
            (home / ".env").unlink()


@pytest.mark.usefixtures("day", "nothing_serves")
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("AUTONAMA_HOME", "db status"),
        ("AUTONAMA_SETTINGS_FILE", "settings"),
        ("AUTONAMA_RESULTS_DIR", "explain BTCUSDT --format png"),
        ("AUTONAMA_EXCHANGE_URL", "scan"),
        ("AUTONAMA_ARCHIVE_LOCATION", "scan --core-movers"),
        ("DATABASE_URL", "show signals"),
    ],
)
def test_an_odd_value_of_a_place_is_one_line(run, monkeypatch, name, line):
    values = list(third(name))
    if name.endswith("_URL"):
        kind = "http" if "EXCHANGE" in name else "postgresql"
        values += [f"{kind}://{odd}" for odd in ODD]
        values += [f"{kind}://h:x{odd}/y" for odd in third(name)]
        values = [v for v in values if v.strip()]  # an empty one is as good as none
        values += [f"{kind}://127.0.0.1:99999/x", f"{kind}://[::1", f"{kind}://[x]:1/y"]
    if "ARCHIVE" in name:
        monkeypatch.setenv("AUTONAMA_EXCHANGE", "archive")
    for odd in values:
        monkeypatch.setenv(name, odd)
        said(run(*line.split()), odd)
