"""`autonama replay`: a local exchange for offline work."""

from pathlib import Path

import click

from autonama_dagster.cli.shared.groups import Group
from autonama_dagster.errors import InputError
from autonama_dagster.replay.clock import Clock
from autonama_dagster.replay.faults import Faults
from autonama_dagster.replay.market.recorded import RecordedMarket
from autonama_dagster.replay.market.synthetic import SyntheticMarket
from autonama_dagster.replay.server import serve as serve_market

EXAMPLES = """\b
Examples:
  autonama replay serve --synthetic 7
  autonama replay serve --data candles/ --now 2023-12-30T00:05:00Z --port 8790
  autonama replay serve --synthetic 7 --fault http-500:symbol=BTCUSDT,count=2
Then, in another terminal:
  AUTONAMA_EXCHANGE_URL=http://127.0.0.1:8790 autonama scan
"""


@click.group(cls=Group)
def replay() -> None:
    """Run a local exchange that replays recorded or synthetic candles.

    \b
    Example:
      autonama replay serve --synthetic 7
    """  # noqa: D301


@replay.command(epilog=EXAMPLES)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of recorded candles: 1d/BTCUSDT.csv.gz etc., in Binance's columns.",
)
@click.option(
    "--synthetic", "seed", type=int, metavar="SEED", help="Synthetic market instead of --data."
)
@click.option("--now", metavar="INSTANT", help="Freeze the clock, e.g. 2023-12-30T00:05:00Z.")
@click.option("--tick", is_flag=True, help="Start the clock at --now and let it run.")
@click.option("--port", type=click.IntRange(0, 65535), default=8790, show_default=True)
@click.option(
    "--fault", "faults", multiple=True, metavar="KIND[:KEY=VALUE,...]", help="Fault to inject."
)
def serve(
    data: Path | None,
    seed: int | None,
    now: str | None,
    tick: bool,
    port: int,
    faults: tuple[str, ...],
) -> None:
    """Serve Binance's REST protocol on 127.0.0.1 until Ctrl-C.

    The clock follows the machine's unless --now freezes it. --fault may be repeated; an
    unknown kind lists the valid ones.
    """
    if (data is None) == (seed is None):
        raise InputError("use either --data DIR or --synthetic SEED")
    market = RecordedMarket(data) if data is not None else SyntheticMarket(int(seed or 0))
    serve_market(
        market,
        clock=Clock(now, ticking=tick),
        faults=Faults.parse(*faults),
        port=port,
        on_ready=lambda url: click.echo(f"replay exchange on {url}  (Ctrl-C stops it)"),
    )
