"""Text from outside, escaped for each medium: safe there, and no two texts become one."""

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import ROOT

from autonama_dagster.text.escaping import (
    chat_text,
    csv_text,
    encodable,
    file_name,
    markdown,
    markdown_code,
    visible,
    without_controls,
)

NASTY = st.text(
    st.one_of(st.sampled_from("\\/.%'=+-@|`<[\x1b\u202e\u200b\n\t\r币é"), st.characters())
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("BTCUSDT", "BTCUSDT"),
        ("币安人生USDT", "币安人生USDT"),
        ("\x1b[31mX", r"\x1b[31mX"),
        ("\u202eTDSU", r"\u202eTDSU"),
        ("A\nB\tC\x9bD", r"A\nB\tC\x9bD"),
        (r"\x1b", r"\\x1b"),
        ("\udce4", r"\udce4"),
    ],
)
def test_what_nobody_can_see_becomes_an_escape(text, shown):
    assert visible(text) == shown


@given(NASTY, NASTY)
def test_texts_that_differ_look_different(one, other):
    for escaped in (visible, lambda text: encodable(text, "ascii"), file_name):
        assert (escaped(one) == escaped(other)) == (one == other)
        assert escaped(one).isprintable()
    assert encodable(one, "ascii").isascii()


def test_lines_stay_lines_and_json_stays_json():
    assert without_controls('{"a": "\\u5e01"}\n\t"\x1b[2J"') == '{"a": "\\u5e01"}\n\t"\\x1b[2J"'


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1USDT", "'=1+1USDT"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", r"'\r=1"),
        (" =1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("'=1", "''=1"),
        (-1.5, "-1.5"),
        (-3, "-3"),
        (None, ""),
        ("币安人生USDT", "币安人生USDT"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a,b\nc", "a,b\nc"),
    ],
)
def test_a_formula_is_text_in_a_csv_file_and_a_number_a_number(cell, written):
    text = csv_text(("name", "=x"), [(cell, 1)])
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["name", "'=x"], [written, "1"]]


@given(NASTY)
def test_no_cell_begins_like_a_formula(text):
    ((cell, _),) = list(csv.reader(io.StringIO(csv_text((text, "b"), []), newline="")))
    assert not re.match(r"\s*[=+\-@]", cell)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("币安人生USDT", "币安人生USDT"),
        ("A|B", r"A\|B"),
        ("<img src=x>", r"\<img src\=x\>"),
        ("[x](javascript:1)", r"\[x\]\(javascript\:1\)"),
        ("`a`\n# b", r"\`a\` \# b"),
        ("$x$", r"\$x\$"),
    ],
)
def test_markdown_says_what_the_text_says(text, written):
    assert markdown(text) == written


@pytest.mark.parametrize(
    ("text", "written"), [("a b", "`a b`"), ("a`b", "`` a`b ``"), ("``", "``` `` ```")]
)
def test_code_in_markdown_ends_where_it_should(text, written):
    assert markdown_code(text) == written


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("BTCUSDT", "BTCUSDT"),
        ("币安人生USDT", "币安人生USDT"),
        ("../../../PWNUSDT", "%2E%2E%2F%2E%2E%2F%2E%2E%2FPWNUSDT"),
        ("..", "%2E%2E"),
        ("", "%"),
        ("a\0b", "a%00b"),
        ("%2E", "%252E"),
    ],
)
def test_a_name_of_a_file_has_no_dot_and_no_slash(text, name):
    assert file_name(text) == name


@given(NASTY)
def test_a_file_stays_in_its_folder(text):
    folder = Path("/results")
    path = folder / f"{file_name(text)}.png"
    assert path.resolve().parent == folder
    assert len(path.name.encode()) <= 255


def test_long_names_of_files_differ_too():
    one, other = "币" * 300, "币" * 299 + "安"
    assert len(file_name(one).encode()) <= 200
    assert file_name(one) != file_name(other)


def test_a_file_system_that_lacks_a_script_gets_ascii(monkeypatch):
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "latin-1")
    assert file_name("é币") == "é%E5%B8%81"


@pytest.mark.parametrize(
    ("pattern", "only"),
    [
        (r"\bConsole\(|\bScreen\((?!Console\))", {"autonama_dagster/cli/shared/screen.py"}),
        (
            r"csv\.(Dict)?[wW]riter\(|\.to_(csv|html|markdown)\(",
            {"autonama_dagster/text/escaping.py"},
        ),
        (r"rich\.markup|from_markup|markup=True", set()),
        (r"symbol\}\.(png|csv|json|svg)", set()),
    ],
)
def test_each_medium_has_one_door(pattern, only):
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("autonama_dagster", "assets", "resources")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(pattern, path.read_text(encoding="utf-8"))
    }
    assert found == only


@given(NASTY)
def test_in_a_chat_nobody_is_mentioned_and_no_link_is_hidden(text):
    shown = chat_text(text)
    assert not re.search(r"[<>@]|\]\(", shown)
    assert shown.isprintable() or set(shown) & {"\n", "\t"}
    assert chat_text("BTCUSDT: HTTP 503, try again") == "BTCUSDT: HTTP 503, try again"
