"""The command `autonama`: the list of commands, and how errors reach the user.

Commands are imported when they run, so that `autonama --help` answers at once.
"""

import atexit
import importlib
import os
import signal
import sys
from contextlib import suppress
from typing import TextIO

import click

from autonama_dagster.cli.shared.guard import guarded
from autonama_dagster.system import stop_signals as signals
from resources.waiting import introduce

EXAMPLES = """\b
Examples:
  autonama demo                            try everything on a synthetic market
  autonama scan                            scan yesterday's top 100, store and show the result
  autonama scan --symbols BTCUSDT,ETHUSDT  a what-if: shown, not stored
  autonama show signals --signal BUY       read what is stored
  autonama up                              the Dagster UI on http://127.0.0.1:3000
"""

# Command, module under autonama_dagster.cli, one line for --help.
COMMANDS: dict[str, tuple[str, str]] = {
    "scan": ("compute.scan", "Scan a day: universe, candles, channels, signals, summary."),
    "backfill": ("compute.backfill", "Fill all tables for a range of days."),
    "show": ("inspect.show", "Show stored signals, alerts, summaries, correlations or candles."),
    "explain": (
        "inspect.explain",
        "Trace a signal to the candles it came from, and verify its hashes.",
    ),
    "revisions": (
        "inspect.revisions",
        "List candles that have changed, and the rows that are stale because of it.",
    ),
    "verify": ("inspect.verify", "Recompute stored rows from candles and compare."),
    "anchor": (
        "inspect.anchor",
        "List and check the log of Merkle roots that is kept outside the database.",
    ),
    "demo": ("compute.demo", "Scan a synthetic market, offline."),
    "up": ("serve.up", "Open the Dagster UI with its daemon."),
    "status": (
        "inspect.status",
        "Show what is up to date, missing or failing; exit code 1 if there is a problem.",
    ),
    "metrics": ("serve.metrics", "Serve Prometheus metrics."),
    "db": (
        "database.db",
        "Manage the project's database: start, stop, psql, backup, restore, drop, ...",
    ),
    "replay": ("serve.replay", "Run a local exchange that replays recorded or synthetic candles."),
    "retire": ("compute.retire", "Stop computing a symbol."),
    "settings": ("inspect.settings", "Show every setting, its value and where it was set."),
}


_DRIVERS = {"psycopg", "psycopg2", "sqlalchemy", "adbc_driver_manager"}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Commands in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command's module and take the command of its name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"autonama_dagster.cli.{COMMANDS[cmd_name][0]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; the error for one that does not exist suggests the nearest."""
        if not args[0].startswith("-") and args[0] not in COMMANDS:
            raise click.exceptions.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    epilog=EXAMPLES,
    invoke_without_command=True,
    # With colours, so that click leaves controls to the guard, which shows what it takes out.
    context_settings={"help_option_names": ["-h", "--help"], "color": True},
)
@click.option(
    "--home",
    type=click.Path(file_okay=False),
    help="Folder of .env, data and results (default: AUTONAMA_HOME, or the checkout).",
)
@click.option(
    "--debug", is_flag=True, help="Show tracebacks (accepted anywhere on the command line)."
)
@click.version_option(package_name="autonama", message="%(prog)s %(version)s")
@click.pass_context
def autonama(ctx: click.Context, home: str | None, debug: bool) -> None:  # noqa: ARG001
    """Point-in-time scan of the crypto market: regression channels, signals and their lineage."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    if home is not None:
        os.environ["AUTONAMA_HOME"] = os.path.abspath(os.path.expanduser(home))  # noqa: PTH100, PTH111
    introduce(str(ctx.invoked_subcommand))


def program() -> None:
    """The program: `main`, and an end at once. Python takes seconds to free what ends with it."""
    try:
        main()
    except SystemExit as ended:
        atexit._run_exitfuncs()  # noqa: SLF001  (as multiprocessing ends its processes)
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # it has been told
                _flush(stream)
        os._exit(ended.code if isinstance(ended.code, int) else 1)


def main() -> None:
    """Run the command line; every error is one line, see `--debug`."""
    with guarded(), signals.listening():
        _run()


def _run() -> None:
    own, rest = _split(sys.argv[1:])
    debug = "--debug" in own
    arguments = [*(a for a in own if a != "--debug"), *rest]
    if odd := [a for a in arguments if not _is_text(a)]:
        _fail(f"argument {odd[0]!a}: not UTF-8 text; write it in UTF-8", 2)
    try:
        code = autonama.main(arguments, prog_name="autonama", standalone_mode=False)
        _flush(sys.stdout)  # here, where an error is told
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "")
        sys.exit(0)
    except click.ClickException as error:
        hint = f" (see '{error.ctx.command_path} --help')" if getattr(error, "ctx", None) else ""  # type: ignore[attr-defined]
        _fail(_one_line(error.format_message()) + hint, 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped", 128 + (signals.heard() or signal.SIGINT))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:  # noqa: BLE001 - all of them end as told
        if debug:
            from traceback import print_exc  # noqa: PLC0415

            print_exc()
            sys.exit(int(getattr(error, "exit_code", 1)))
        if number := signals.heard():  # what it interrupted says so in its own words
            _fail("stopped", 128 + number)
        _fail(_one_line(_text(error)), int(getattr(error, "exit_code", 1)))
    sys.exit(code if isinstance(code, int) else 0)


def _flush(stream: TextIO | None) -> None:
    if stream is not None:  # which was closed before we began
        stream.flush()


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Our own arguments, and what follows `--` and belongs to another program."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:end], arguments[end:]


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:  # bytes of another encoding, as Python keeps them
        return False
    return True


def _text(error: Exception) -> str:
    from autonama_dagster.errors import AutonamaError  # noqa: PLC0415

    if isinstance(error, AutonamaError):
        return str(error)
    if type(error).__module__.partition(".")[0] in _DRIVERS:
        from resources.postgres.errors import database_error  # noqa: PLC0415

        return str(database_error(None, error))
    if isinstance(error, OSError) and error.filename is not None:
        return f"{str(error.filename)[:200]}: {error.strerror}; use another file or folder"
    return f"unexpected {type(error).__name__}: {error}; run again with --debug for the traceback"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _fail(text: str, code: int) -> None:
    click.echo(f"autonama: {text}", err=True, color=True)
    sys.exit(code)
