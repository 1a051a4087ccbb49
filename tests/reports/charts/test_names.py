"""Names in pictures: any script that a font has, else the whole escape; never two alike."""

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from autonama_dagster.reports.charts import names
from autonama_dagster.reports.charts.names import fonts_for, printable, short_names
from autonama_dagster.reports.charts.style import render

CACHES = (names._font_of, names._families, names._characters)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A font of this machine with two Chinese characters; its name."""
    path = tmp_path / "made.ttf"
    characters = {ord(c): f"c{i}" for i, c in enumerate("币安")}
    made = FontBuilder(1000, isTTF=True)
    made.setupGlyphOrder([".notdef", *characters.values()])
    made.setupCharacterMap(characters)
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    pen.lineTo((500, 700))
    pen.lineTo((900, 0))
    pen.closePath()
    outline = pen.glyph()
    made.setupGlyf(dict.fromkeys([".notdef", *characters.values()], outline))
    made.setupHorizontalMetrics(dict.fromkeys([".notdef", *characters.values()], (1000, 0)))
    made.setupHorizontalHeader(ascent=800, descent=-200)
    made.setupNameTable({"familyName": "Aaa Made Up", "styleName": "Regular"})
    made.setupOS2()
    made.setupPost()
    made.save(path)
    entry = font_manager.ttfFontProperty(font_manager.get_font(str(path)))
    listed = [*font_manager.fontManager.ttflist, entry]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", listed)
    for cache in CACHES:
        cache.cache_clear()
    yield "Aaa Made Up"
    for cache in CACHES:
        cache.cache_clear()


@pytest.fixture
def only_ours(monkeypatch):
    """A machine with no font but those of matplotlib."""
    ours = [e for e in font_manager.fontManager.ttflist if "mpl-data" in e.fname]
    assert ours
    monkeypatch.setattr(font_manager.fontManager, "ttflist", ours)
    for cache in CACHES:
        cache.cache_clear()
    yield
    for cache in CACHES:
        cache.cache_clear()


@pytest.mark.usefixtures("only_ours")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("币安人生USDT", r"\u5e01\u5b89\u4eba\u751fUSDT"),
        ("ΩUSDT", "ΩUSDT"),
        ("\u202eX", r"\u202eX"),
        ("\\", "\\\\"),
        ("$x$", "$x$"),
    ],
)
def test_what_no_font_has_is_all_escaped(text, shown):
    assert printable(text) == shown
    assert fonts_for([text]) == ["DejaVu Sans"]


def test_a_font_of_the_machine_draws_what_ours_lacks(installed, drawn):
    assert printable("币安USDT") == "币安USDT"
    assert fonts_for(["币安USDT", "BTCUSDT"]) == ["DejaVu Sans", installed]
    render(400, 100, lambda page: page.title("币安USDT", ""), None, names=["币安USDT"])
    assert "币安USDT" in drawn.words()  # a glyph that is missing is a warning, an error here


@pytest.mark.usefixtures("only_ours")
@pytest.mark.parametrize(
    ("symbols", "shown"),
    [
        (["BTCUSDT", "1000SATSUSDT", "USDT"], ["BTC", "1000SATS", "USDT"]),
        (["AVERYLONGNAMEUSDT"], ["AVERY…NAME"]),
        (["币USDT"], [r"\u5e01"]),
        (["币安人生USDT", "币安人二USDT"], [r"\u5e0…751f", r"\u5e0…4e8c"]),
        (["XUSDT", "X"], ["XUSDT", "X"]),
    ],
)
def test_short_names_are_never_alike(symbols, shown):
    assert list(short_names(symbols).values()) == shown


@pytest.mark.usefixtures("only_ours")
def test_names_that_differ_in_the_middle_are_longer():
    first, second = short_names(["ABCDEF0GHIJKLMUSDT", "ABCDEF1GHIJKLMUSDT"]).values()
    assert (first, second) == ("ABCDEF0GHIJKLM", "ABCDEF1GHIJKLM")


@pytest.mark.usefixtures("only_ours")
def test_a_title_is_never_cut(drawn):
    name = printable("币安" * 16)
    render(400, 100, lambda page: page.title(name, "", 370), None, names=[name])
    (title,) = (t for t in drawn.texts() if "u5e01" in t.get_text())
    assert title.get_text().replace("\n", "") == name
    assert title.get_window_extent().width <= 1.05 * 370
