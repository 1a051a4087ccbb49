import pytest

from autonama_dagster.text.pair_names import LONGEST, pair_name, typed_name


@pytest.mark.parametrize(
    "name",
    [
        "BTCUSDT",
        "1000CATUSDT",
        "1",
        "\u5e01\u5b89\u4eba\u751fUSDT",  # Chinese
        "\u30d3\u30c3\u30c8\u30b3\u30a4\u30f3USDT",  # Japanese, voiced kana composed
        "\u0411\u0418\u0422USDT",
        "\u05d1\u05d9\u05d8USDT",
        "\u00c9TH\u0661USDT",  # composed, and a digit of another script
        "A" * LONGEST,
    ],
)
def test_letters_and_digits_of_any_script(name):
    assert pair_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        None,
        7,
        b"BTCUSDT",
        ["BTCUSDT"],
        "A" * (LONGEST + 1),
        "../../../PWNUSDT",
        "..",
        "C:USDT",
        "=1+1USDT",
        "@SUM(1)USDT",
        "<img/src=x>USDT",
        "[red]USDT",
        "BTC-USDT",
        "BTC_USDT",
        "BTC USDT",
        "BTCUSDT\n",
        "BTC|USDT",
        "A\x00USDT",
        "A\x1b[31mUSDT",
        "\ud800USDT",
        "BTC\u202eUSDT",  # turns the text around
        "BTC\u200bUSDT",
        "BTC\ufeffUSDT",
        "BTC\u00adUSDT",
        "E\u0301THUSDT",  # a mark that combines: the composed letter in another form
        "\u212bUSDT",  # the unit of length, which is a letter's look-alike
        "\uff22\uff34\uff23USDT",  # full width
        "BTC\u00b2USDT",
        "BTC\u2167USDT",
        "\ufb01USDT",
        "\u3164USDT",  # blank letters
        "\u115fUSDT",
        "\u1160USDT",
        "\uffa0USDT",
        "\U0001f680USDT",
        "btcusdt",
        "\u0431USDT",
        "STRASSE\u00df",
        "\ue000USDT",
    ],
)
def test_nothing_else(name):
    with pytest.raises(
        ValueError, match=r"expected a name|longer than|letters and digits|look-alike|upper case"
    ) as raised:
        pair_name(name)
    assert str(raised.value).isascii()
    assert len(str(raised.value)) < 120


def test_what_is_typed_means_a_name():
    assert typed_name(" btcusdt ") == "BTCUSDT"
    assert typed_name("\uff42\uff54\uff43usdt") == "BTCUSDT"
    assert typed_name("e\u0301usdt") == "\u00c9USDT"
    with pytest.raises(ValueError, match="letters and digits"):
        typed_name("../x")
