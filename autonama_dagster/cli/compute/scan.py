"""`autonama scan`: one day's scan, stored; or a what-if, shown."""

import os
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import click

from autonama_dagster.analytics.candles.intervals import STORED
from autonama_dagster.analytics.scan.channel import ChannelParams
from autonama_dagster.cli.compute.old_config import read_old_config
from autonama_dagster.cli.shared.anchors import warn_of_log
from autonama_dagster.cli.shared.progress import StepProgress
from autonama_dagster.cli.shared.render import print_result
from autonama_dagster.cli.shared.screen import Screen, screen
from autonama_dagster.cli.shared.symbols import chosen_symbols
from autonama_dagster.days import last_closed_day, parse_day
from autonama_dagster.errors import ExchangeError, InputError
from autonama_dagster.services.scan.results import ScanResult, export, results_folder, stored_result
from autonama_dagster.settings import CORE_MOVERS, Settings, load_settings, user_path
from resources.exchange.base import Exchange
from resources.exchange.memo import MemoExchange

EXAMPLES = """\b
Examples:
  autonama scan
  autonama scan --date 2023-12-29 --generate-charts
  autonama scan --symbols BTCUSDT,ETHUSDT --degree 3 --kstd 2.5
  autonama scan --core-movers --format json
  autonama scan --symbols BTCUSDT,ETHUSDT --interval 1h --date 2023-12-29
"""

# Flag and setting, where their names differ.
_FIELDS = {"top": "universe_size", "days": "lookback"}


@click.command(epilog=EXAMPLES)
@click.option(
    "--date", "day", metavar="YYYY-MM-DD", help="Day to scan (default: the latest closed)."
)
@click.option("--top", type=int, metavar="N", help="Scan the N largest pairs.")
@click.option("--top-100", is_flag=True, help="The same as --top 100.")
@click.option("--symbols", metavar="A,B", help="Scan these pairs, e.g. BTCUSDT,ETHUSDT.")
@click.option("--core-movers", is_flag=True, help=f"Scan {', '.join(CORE_MOVERS)}.")
@click.option("--degree", type=int, help="Degree of the polynomial, 2 to 10.")
@click.option(
    "--kstd", type=float, help="Half-width of the channel in standard deviations, 1 to 3."
)
@click.option(
    "--days",
    type=int,
    help="Length of the window in calendar days, 30 to 1000; with --interval, in candles.",
)
@click.option(
    "--interval",
    type=click.Choice(STORED),
    help="1d: the daily scan. Others: a what-if of the last candle of this length that closed "
    "by the end of the day.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Settings file (config.json) of the old scripts.",
)
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Results folder.")
@click.option("--generate-charts", is_flag=True, help="Draw a chart of every symbol with a signal.")
@click.option("--correlation-analysis", is_flag=True, help="Also show the day's correlations.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
def scan(
    day: str | None,
    top: int | None,
    top_100: bool,
    symbols: str | None,
    core_movers: bool,
    config: Path | None,
    output: Path | None,
    generate_charts: bool,
    correlation_analysis: bool,
    form: str,
    interval: str | None,
    **numbers: Any,
) -> None:
    """Scan a day: find pairs outside their regression channel, with confirmations.

    With the configured parameters the scan is stored, once per day: a second run shows the stored
    result. With other parameters, symbols or intervals it is a what-if: shown and exported but not
    stored. --interval needs --symbols, --core-movers or AUTONAMA_INTRADAY_SYMBOLS.
    """
    chosen = _symbols(symbols, core_movers=core_movers, top=top, top_100=top_100)
    wanted_day = None if day is None else parse_day(day)
    flags = {"top": 100 if top_100 else top, **numbers}
    given = {k: v for k, v in flags.items() if v is not None}
    base, settings, interval = _settings(config, given, output, interval)
    if interval is not None:
        chosen = _intraday_symbols(
            chosen, settings, has_top=bool(top or top_100), with_charts=generate_charts
        )
    folder = results_folder(settings.results_path)
    errors = screen(stderr=True)
    result = run_scan(
        base, settings, wanted_day, chosen, errors, with_charts=generate_charts, interval=interval
    )
    document, table = export(result, folder)
    if form == "json":
        click.echo(document.read_text(encoding="utf-8"), nl=False)
    else:
        print_result(screen(), result, with_correlation=correlation_analysis)
    click.echo(f"results: {document} and {table.name}", err=True)
    if result.charts:
        click.echo(f"charts: {len(result.charts)} in {result.charts[0].parent}", err=True)


def run_scan(
    base: Settings,
    settings: Settings,
    day: date | None,
    chosen: tuple[str, ...] | None,
    console: Screen,
    *,
    with_charts: bool,
    interval: str | None = None,
) -> ScanResult:
    """Scan with `settings`; stored when they are the configured ones (`base`), else a what-if.

    With an interval the chosen symbols are scanned on its candles, which is a what-if too.
    """
    from resources.exchange.build import build_exchange  # noqa: PLC0415
    from resources.postgres.migrate import ready_url  # noqa: PLC0415
    from resources.warehouse.warehouse import Warehouse  # noqa: PLC0415

    progress = StepProgress(console, settings.log_format)
    tables = Warehouse(lambda: ready_url(settings))
    stored = chosen is None and settings == base and interval is None
    source = MemoExchange(build_exchange(settings), on_progress=progress.requests)
    with progress.running(), closing(source) as exchange, closing(tables) as warehouse:
        progress.step("get the exchange's time")
        target = _day(day, exchange, settings, stored=stored)
        if stored:
            result = _stored(
                settings, target, exchange, warehouse, progress, with_charts=with_charts
            )
        elif interval is not None:
            from autonama_dagster.services.scan.what_if_interval import what_if_interval  # noqa: PLC0415

            result = what_if_interval(
                settings,
                interval,
                target,
                chosen or (),
                exchange=exchange,
                warehouse=warehouse,
                on_step=progress.step,
            )
        else:
            result = _what_if(
                settings, target, chosen, exchange, warehouse, progress, with_charts=with_charts
            )
    if stored:
        warn_of_log(settings)
    require_data(result)
    return replace(result, seconds=progress.seconds)


def require_data(result: ScanResult) -> None:
    """Make sure that something was fetched, if anything failed: else there is no result to show."""
    if result.failed and (result.signals["status"] == "NO_DATA").all():
        raise ExchangeError(f"no candles could be fetched: {result.refusal}")


def _stored(
    settings: Settings,
    day: date,
    exchange: MemoExchange,
    warehouse: Any,
    progress: StepProgress,
    *,
    with_charts: bool,
) -> ScanResult:
    progress.step("load Dagster")
    from autonama_dagster.orchestration.automation.candle_checks import ask_after_scan  # noqa: PLC0415
    from autonama_dagster.orchestration.scanner import Scanner  # noqa: PLC0415
    from resources.instance.home import open_instance  # noqa: PLC0415

    with open_instance() as instance:
        scanner = Scanner(
            settings,
            instance=instance,
            exchange=exchange,
            warehouse=warehouse,
            on_step=progress.step,
            progress=progress,
        )
        if scanner.scan(day, with_charts=with_charts):
            ask_after_scan(
                settings,
                instance=instance,
                exchange=exchange.source,
                warehouse=warehouse,
                on_step=progress.step,
            )
    progress.step("read the results")
    result = stored_result(warehouse, settings, day)
    if not with_charts:
        return result
    folder = settings.results_path / "charts" / day.isoformat()
    return replace(result, charts=tuple(sorted(folder.glob("*.png"))))


def _what_if(
    settings: Settings,
    day: date,
    chosen: tuple[str, ...] | None,
    exchange: Exchange,
    warehouse: Any,
    progress: StepProgress,
    *,
    with_charts: bool,
) -> ScanResult:
    from autonama_dagster.services.scan.what_if import what_if  # noqa: PLC0415

    return what_if(
        settings,
        day,
        chosen,
        exchange=exchange,
        warehouse=warehouse,
        on_step=progress.step,
        with_charts=with_charts,
    )


def _symbols(
    symbols: str | None, *, core_movers: bool, top: int | None, top_100: bool
) -> tuple[str, ...] | None:
    choices = [symbols is not None, core_movers, top is not None, top_100]
    if sum(choices) > 1:
        raise InputError(
            "--top, --top-100, --symbols and --core-movers cannot be combined: use one"
        )
    if core_movers:
        return CORE_MOVERS
    return chosen_symbols(symbols)


def _intraday_symbols(
    chosen: tuple[str, ...] | None, settings: Settings, *, has_top: bool, with_charts: bool
) -> tuple[str, ...]:
    """Symbols of a scan with an interval: those given, else those of the setting."""
    if with_charts:
        raise InputError("--generate-charts draws daily candles: remove it or --interval")
    names = chosen or (() if has_top else settings.intraday_symbols)
    if not names:
        raise InputError(
            "--interval needs pairs: add --symbols or --core-movers, or set "
            "AUTONAMA_INTRADAY_SYMBOLS=BTCUSDT,ETHUSDT"
        )
    return names


def _settings(
    config: Path | None, flags: dict[str, Any], output: Path | None, interval: str | None
) -> tuple[Settings, Settings, str | None]:
    """The configured settings, and those with the values of an old config file and the flags.

    The file's keys and database go into the environment, where every part of the program finds
    them. The interval is that of a what-if: None for the daily scan.
    """
    base = load_settings()
    wanted: dict[str, Any] = {}
    if config is not None:
        environment, wanted = read_old_config(config, base)
        os.environ.update(environment)
    of_file = wanted.pop("interval", None)
    if of_file is not None and of_file not in STORED:
        raise InputError(
            f"--config {config}: default_settings.interval {of_file}: use one of "
            f"{', '.join(STORED)}"
        )
    interval = interval or of_file
    folder = wanted.pop("output", None)
    if output is None and folder:
        output = Path(folder)
    place = {} if output is None else {"results_dir": user_path(output).absolute()}
    base = load_settings(**place)
    fields = {
        **_checked(wanted, f"--config {config}: default_settings."),
        **_checked(flags, "--"),
    }
    settings = load_settings(**place, **fields)
    try:
        ChannelParams(settings.degree, settings.kstd, settings.price_scale, settings.lookback)
    except ValueError as error:
        raise InputError(
            f"{error}; choose more days (--days, AUTONAMA_LOOKBACK) or a lower degree "
            "(--degree, AUTONAMA_DEGREE)"
        ) from None
    return base, settings, None if interval == "1d" else interval


def _checked(flags: dict[str, Any], origin: str) -> dict[str, Any]:
    """Values by the name of their setting; an error names the flag and its range."""
    fields = {}
    for flag, value in flags.items():
        name = _FIELDS.get(flag, flag)
        try:
            load_settings(**{name: value})
        except InputError:
            field = Settings.model_fields[name]
            kind = "number" if field.annotation is float else "whole number"
            low, high = (
                getattr(m, k) for k in ("ge", "le") for m in field.metadata if hasattr(m, k)
            )
            raise InputError(f"{origin}{flag} {value}: use a {kind} from {low} to {high}") from None
        fields[name] = value
    return fields


def _day(wanted: date | None, exchange: Exchange, settings: Settings, *, stored: bool) -> date:
    latest = last_closed_day(exchange.server_time())
    day = wanted or latest
    if day > latest:
        raise InputError(
            f"--date {day}: this day has not closed yet; the latest closed day is {latest}"
        )
    if stored and day < settings.start_date:
        raise InputError(
            f"--date {day}: is before the first partition; set AUTONAMA_START_DATE={day} or "
            "scan a later day"
        )
    return day
