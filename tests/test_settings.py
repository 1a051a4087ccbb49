import json
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta

import pytest

from autonama_dagster.errors import InputError
from autonama_dagster.services.inputs.parameters import quality_limits
from autonama_dagster.settings import Settings, env_name, load_settings, origins


def test_defaults_are_the_designs():
    settings = load_settings()
    assert settings.start_date == date(2025, 1, 1)
    assert (settings.universe_size, settings.lookback, settings.degree) == (100, 720, 4)
    assert (settings.kstd, settings.price_scale, settings.exchange) == (2.0, "log", "binance")


def test_the_environment_wins_over_env_file_and_that_over_the_settings_file(home, monkeypatch):
    (home / ".env").write_text("AUTONAMA_DEGREE=5\nAUTONAMA_KSTD=1.5\n")
    (home / "other").write_text("AUTONAMA_DEGREE=6\nAUTONAMA_KSTD=1.6\nAUTONAMA_LOOKBACK=500\n")
    monkeypatch.setenv("AUTONAMA_SETTINGS_FILE", str(home / "other"))
    monkeypatch.setenv("AUTONAMA_DEGREE", "7")
    settings = load_settings()
    assert (settings.degree, settings.kstd, settings.lookback) == (7, 1.5, 500)


def test_every_threshold_of_the_ledger_is_its_own_setting(monkeypatch):
    chosen = {
        "jump_ratio": 3.0, "open_gap_pct": 11.0, "stale_days": 5, "volume_pct": 6.0, "vwap_pct": 2.0
    }  # fmt: skip
    for name, value in chosen.items():
        monkeypatch.setenv(f"AUTONAMA_QUALITY_{name.upper()}", str(value))
    assert asdict(quality_limits(load_settings())) == chosen


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AUTONAMA_DEGREE", "1", "AUTONAMA_DEGREE=1: input should be greater than or equal to 2"),
        ("AUTONAMA_DEGREE", "11", "AUTONAMA_DEGREE=11: input should be less than or equal to 10"),
        ("AUTONAMA_KSTD", "x", "AUTONAMA_KSTD=x: input should be a valid number"),
        ("AUTONAMA_PRICE_SCALE", "cubic", "AUTONAMA_PRICE_SCALE=cubic: input should be 'log'"),
        ("AUTONAMA_START_DATE", "soon", "AUTONAMA_START_DATE=soon: input should be a valid date"),
        ("AUTONAMA_START_DATE", "2016-01-01", "earlier than any candle"),
        ("AUTONAMA_EXCHANGE_URL", "localhost", "AUTONAMA_EXCHANGE_URL: string should match"),
        ("AUTONAMA_SYMBOLS", "BTC/USDT", "'BTC/USDT' may only contain letters and digits"),
        ("AUTONAMA_EXCLUDE", "A" * 33, "is longer than 32 characters"),
        ("AUTONAMA_INTRADAY_SYMBOLS", "../x", "'../X' may only contain letters"),
        ("DATABASE_URL", "mysql://u:secret@h/d", "DATABASE_URL: is not a postgresql:// URL"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as caught:
        load_settings()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_start_date_in_the_future_is_refused(monkeypatch):
    later = datetime.now(UTC).date() + timedelta(days=2)
    monkeypatch.setenv("AUTONAMA_START_DATE", later.isoformat())
    with pytest.raises(InputError, match="is in the future"):
        load_settings()


def test_a_settings_file_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("AUTONAMA_SETTINGS_FILE", "/nowhere/settings")
    with pytest.raises(InputError, match="AUTONAMA_SETTINGS_FILE=/nowhere/settings: no such file"):
        load_settings()


@pytest.mark.parametrize("setting", ["ARCHIVE_LOCATION", "EXCHANGE_URL", "ALERT_WEBHOOK"])
def test_a_refused_address_is_told_without_its_login(monkeypatch, setting):
    monkeypatch.setenv(f"AUTONAMA_{setting}", "ftp://me:planted@mirror.example/x")
    with pytest.raises(InputError, match=f"AUTONAMA_{setting}") as caught:
        load_settings()
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("name", ["BINANCE_API_SECRET", "BINANCE_SECRET"])
def test_both_names_of_the_secret_are_read_and_never_shown(monkeypatch, name):
    monkeypatch.setenv("BINANCE_API_KEY", "planted-key")
    monkeypatch.setenv(name, "planted-secret")
    settings = load_settings()
    assert settings.binance_api_secret.get_secret_value() == "planted-secret"
    assert "planted" not in repr(settings) + str(settings)


def test_every_setting_has_a_name_in_the_environment_and_a_description():
    for field, info in Settings.model_fields.items():
        assert env_name(field).isupper()
        assert info.description


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("AUTONAMA_DEGRE=3", "there is no setting AUTONAMA_DEGRE; the nearest is AUTONAMA_DEGREE"),
        ("export autonama_kst=2", "there is no setting AUTONAMA_KST; the nearest is AUTONAMA_KSTD"),
        ("DEGREE=3", "there is no setting DEGREE; the nearest is AUTONAMA_DEGREE"),
        ("DATABSE_URL=x", "there is no setting DATABSE_URL; the nearest is DATABASE_URL"),
        ("BINANCE_APIKEY=x", "there is no setting BINANCE_APIKEY; the nearest is BINANCE_API_KEY"),
        ("AUTONAMA_HOME=/x", "AUTONAMA_HOME is only read from the environment; set it there"),
        ("AUTONAMA_KSTD 2", "line 1 is not NAME=value and is ignored"),
    ],
)
@pytest.mark.parametrize("place", [".env", "AUTONAMA_SETTINGS_FILE"])
def test_a_name_nobody_reads_is_told_once(home, monkeypatch, capfd, line, warning, place):
    file = home / place
    file.write_text(f"{line}\nPGUSER=me\nDAGSTER_HOME=/there\n# a comment\n")
    if place != ".env":
        monkeypatch.setenv(place, str(file))
    monkeypatch.delenv("AUTONAMA_WARNED", raising=False)
    load_settings()
    load_settings()
    assert len(capfd.readouterr().err.splitlines()) == 1
    monkeypatch.delenv("AUTONAMA_WARNED")
    load_settings()
    assert capfd.readouterr().err.startswith(f"warning: {file}: {warning}")
    monkeypatch.delenv("AUTONAMA_WARNED")


def test_a_misspelt_variable_is_told_as_json_where_logs_are(monkeypatch, capsys):
    monkeypatch.setenv("AUTONAMA_LOOKBAK", "300")
    monkeypatch.setenv("AUTONAMA_LOG_FORMAT", "json")
    monkeypatch.setenv("LOOKBACK", "300")  # of another program
    monkeypatch.setenv("AUTONAMA_WARNED", "")
    load_settings()
    found = json.loads(capsys.readouterr().err)
    assert found["level"] == "warning"
    assert "no setting AUTONAMA_LOOKBAK; the nearest is AUTONAMA_LOOKBACK" in found["message"]


def test_every_setting_that_is_set_says_where(home, monkeypatch):
    (home / ".env").write_text("AUTONAMA_DEGREE=5\nautonama_kstd=2.0\nBINANCE_SECRET=x\n")
    (home / "other").write_text("AUTONAMA_DEGREE=6\nAUTONAMA_LOOKBACK=500\n")
    monkeypatch.setenv("AUTONAMA_SETTINGS_FILE", str(home / "other"))
    monkeypatch.setenv("AUTONAMA_UNIVERSE_SIZE", "7")
    monkeypatch.setenv("AUTONAMA_DEGREE", "")
    env = str(home / ".env")
    assert origins() == {
        "universe_size": "environment",
        "degree": env,
        "kstd": env,
        "binance_api_secret": env,
        "lookback": str(home / "other"),
    }


def test_a_pair_cannot_be_always_and_never_scanned(monkeypatch):
    monkeypatch.setenv("AUTONAMA_SYMBOLS", "ethusdt, BTCUSDT,ethusdt")
    assert load_settings().symbols == ("ETHUSDT", "BTCUSDT")
    monkeypatch.setenv("AUTONAMA_EXCLUDE", "SOLUSDT,BTCUSDT")
    with pytest.raises(InputError, match="contains BTCUSDT, also in AUTONAMA_SYMBOLS"):
        load_settings()
