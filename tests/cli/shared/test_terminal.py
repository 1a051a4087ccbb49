"""What reaches a terminal: data is text, tables fit, nothing is cut or hidden in silence."""

import io
import sys

import click
import pandas as pd
import pytest
from rich.cells import cell_len

from autonama_dagster.cli.inspect.show_tables import _ALERT_COLUMNS
from autonama_dagster.cli.main import COMMANDS
from autonama_dagster.cli.shared.guard import guarded
from autonama_dagster.cli.shared.render import print_records, print_signals
from autonama_dagster.cli.shared.screen import Screen, screen
from autonama_dagster.cli.shared.tables import Column, print_table

NAMES = [
    "[/x]USDT", "[red]A", ":smile:", "=1+1USDT", "<img src=x>", "\x1b[31mX", "币安人生USDT", "A|B",
    "\u202eTDSU", "A\nB", "$x$", "\\u5e01", "\x9b2J",
]  # fmt: skip


def printed(width, tell, encoding="utf-8"):
    """What `tell` prints on a terminal of a width and an encoding."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding)
    tell(Screen(file=stream, width=width, highlight=False))
    stream.flush()
    return raw.getvalue().decode(encoding)


def signals(names=("AUSDT",), kind="BUY", confirmations=("MACD_POSITIVE", "TREND_BEARISH")):
    row = {
        "signal": kind, "signal_strength": 40.0, "z_score": -2.5, "close": 1.5, "lower_band": 1.6,
        "upper_band": 2.0, "band_width_pct": 25.0, "target_return_pct": 33.3, "risk_level": "HIGH",
        "volatility_level": "LOW", "trend": "BEARISH", "confirmations": list(confirmations),
    }  # fmt: skip
    return pd.DataFrame([{"symbol": name} | row for name in names])


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_wherever_it_is_printed(name, encoding):
    def tell(console):
        print_signals(console, signals([name]), f"Signals of {name}", "")
        print_records(console, [{"symbol": name, "name": name}], name)
        console.say((name, "bold red"), f" {name}")
        console.print(name, style="yellow")

    out = printed(300, tell, encoding)
    assert all(c.isprintable() or c == "\n" for c in out)
    shown = "".join(c if c.isprintable() and c != "\\" else ascii_escape(c) for c in name)
    shown = shown.encode(encoding, "backslashreplace").decode(encoding)
    assert out.count(shown) == 8


def ascii_escape(character):
    return character.encode("unicode_escape").decode()


def test_wide_names_stand_in_line():
    out = printed(200, lambda c: print_signals(c, signals(["币安人生USDT", "A"]), "", ""))
    rows = [line for line in out.splitlines() if "BUY" in line]
    assert len({cell_len(line[: line.index("BUY")]) for line in rows}) == 1


@pytest.mark.parametrize(("width", "is_shown"), [(80, False), (110, False), (200, True)])
def test_confirmations_come_before_what_a_narrow_terminal_hides(width, is_shown):
    out = printed(width, lambda c: print_signals(c, signals(), "T", "use --format csv"))
    assert "✓ MACD  ✗ trend" in out
    assert "✓ agree with the signal, ✗ oppose it" in out
    assert ("hidden: " in out) is not is_shown
    assert all(cell_len(line) <= width for line in out.splitlines())
    titles = " ".join(out.split("──")[0].split())
    hidden = " ".join(out.split("hidden: ")[-1].split())
    for title in ("lower", "upper", "volatility", "trend", "risk", "target"):
        assert (title in titles) or (title in hidden)
    assert is_shown or "widen the terminal or use --format csv" in hidden


def test_marks_in_ascii_and_of_hold():
    out = printed(200, lambda c: print_signals(c, signals(), "T", ""), "ascii")
    assert "for: MACD  against: trend" in out
    out = printed(200, lambda c: print_signals(c, signals(kind="HOLD"), "T", ""))
    assert "MACD_POSITIVE, TREND_BEARISH" in out
    assert "✓" not in out


def test_what_is_unknown_in_a_row_is_shown_and_is_no_error():
    frame = signals(kind="[/]", confirmations=("NEW_[/]_ONE",))
    assert "✗ NEW_[/]_ONE" in printed(200, lambda c: print_signals(c, frame, "T", ""))


def test_a_column_that_cannot_go_is_broken_into_lines():
    columns = (Column("name", ["x" * 100]), Column("number", ["1"], is_number=True))
    out = printed(28, lambda c: print_table(c, columns, None))
    assert out.count("x") == 100
    assert "1 column is hidden: number; widen the terminal" in " ".join(out.split())
    out = printed(40, lambda c: print_table(c, columns, None))
    assert out.count("x") == 100
    assert "hidden" not in out


def test_a_pipe_has_all_columns(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    print_signals(screen(), signals(), "T", "")
    out = capsys.readouterr().out
    assert "hidden" not in out
    monkeypatch.setenv("COLUMNS", "80")
    print_signals(screen(), signals(), "T", "")
    assert "hidden" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["COLUMNS", "LINES"])
@pytest.mark.parametrize("size", ["0", "²", "", "-1", "9" * 5000])
def test_a_size_that_is_none_hides_nothing(capsys, monkeypatch, name, size):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv(name, size)
    print_signals(screen(), signals(), "T", "")
    out = capsys.readouterr().out
    assert "AUSDT" in out
    assert "hidden" not in out


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_nothing_that_is_printed_is_a_command_of_the_terminal(monkeypatch, encoding):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    with guarded():
        click.echo("a\x1b[2Jb\u202e 币\n\tc\r", color=True)
        sys.stdout.flush()
    name = "币" if encoding == "utf-8" else r"\u5e01"
    assert raw.getvalue().decode(encoding) == f"a\\x1b[2Jb\\u202e {name}\n\tc\\r\n"
    assert isinstance(sys.stdout, io.TextIOWrapper)


def test_an_error_shows_what_it_is_about(run):
    ended = run("explain\x1b[31m")
    assert ended.error.startswith(r"autonama: No such command 'explain\x1b[31m'.")


@pytest.mark.parametrize("arguments", [(), ("--home", "."), ("db",), ("replay",)])
def test_a_group_alone_prints_its_help(run, arguments):
    ended = run(*arguments)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("Usage: autonama")
    if "db" not in arguments and "replay" not in arguments:
        assert all(f"\n  {name} " in ended.out for name in COMMANDS)


def test_alerts_show_the_closes_and_returns_under_the_names_of_signals():
    from autonama_dagster.text.labels import label  # noqa: PLC0415

    assert label("current_price") == label("close") == "close"
    assert label("potential_return") == label("potential_return_pct") == "potential return %"
    assert label("avg_potential_return").endswith(label("potential_return_pct"))
    assert set(_ALERT_COLUMNS) >= {"confirmations", "potential_return"}
