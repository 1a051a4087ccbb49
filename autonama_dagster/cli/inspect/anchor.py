"""`autonama anchor`: the log of roots outside the database, and its comparison with the tables."""

import json
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from autonama_dagster.cli.shared.groups import Group
from autonama_dagster.days import parse_day
from autonama_dagster.errors import AnchorError, InputError
from autonama_dagster.settings import Settings, load_settings
from autonama_dagster.text.labels import counted

if TYPE_CHECKING:
    from autonama_dagster.services.anchors.check import Finding
    from resources.anchor_log import Content, Line

_WORDS: Final = {
    "changed": "not as it was anchored",
    "missing": "gone",
    "remade": "computed again since: run `autonama anchor add`",
    "line": "the line was changed",
    "chain": "does not continue the line before: lines were changed, removed or put in",
}
_date = click.option("--date", "day", metavar="YYYY-MM-DD", help="Only lines of this day.")
_form = click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")


@click.group(cls=Group)
def anchor() -> None:
    """List and check the anchor log, a file with the Merkle roots of every day's rows.

    The log (AUTONAMA_ANCHOR_FILE) is written after each day's scan or backfill. Each line has the
    root of the line before, so the last root covers everything: publish it where nobody can change
    it, and pass it to `autonama anchor check --root` later.

    \b
    Examples:
      autonama anchor list
      autonama anchor check
    """  # noqa: D301


@anchor.command()
def add() -> None:
    """Append what the log lacks, as a scan does: for days that were made where no log is kept.

    \b
    Example:
      autonama anchor add
    """  # noqa: D301
    from autonama_dagster.services.anchors.anchors import anchor as append  # noqa: PLC0415
    from resources.postgres.migrate import ready_url  # noqa: PLC0415
    from resources.warehouse.warehouse import Warehouse  # noqa: PLC0415

    settings = load_settings()
    path = _path(settings)
    with closing(Warehouse(lambda: ready_url(settings, reads=True), reads=True)) as warehouse:
        roots = append(warehouse, path, datetime.now(UTC))
    click.echo(f"{path}: {counted(len(roots), 'line')} appended")
    if roots:
        click.echo(f"root: {roots[-1]}")


@anchor.command("list")
@_date
@_form
def list_(day: str | None, form: str) -> None:
    """List the lines of the log.

    \b
    Examples:
      autonama anchor list
      autonama anchor list --date 2023-12-29 --format json
    """  # noqa: D301
    wanted = None if day is None else parse_day(day)
    _, content = _read(load_settings())
    lines = _of_day(content, wanted)
    if form == "json":
        click.echo(json.dumps([_document(line) for line in lines], indent=2))
        return
    _print_lines(lines)


@anchor.command()
@_date
@click.option("--root", metavar="HEX", help="A root published earlier; the log must contain it.")
@_form
def check(day: str | None, root: str | None, form: str) -> int:
    """Compare the log with the tables.

    Every line must continue the one before. Candles must be those that were anchored, as they were
    known then; results those of the latest line of their day, unless they were computed again
    since. The exit code is 1 if something is not as it was anchored.

    \b
    Examples:
      autonama anchor check
      autonama anchor check --date 2023-12-29
    """  # noqa: D301
    from autonama_dagster.services.anchors.check import check_candles, check_chain  # noqa: PLC0415
    from autonama_dagster.services.anchors.results import check_results  # noqa: PLC0415
    from resources.postgres.migrate import ready_url  # noqa: PLC0415
    from resources.warehouse.warehouse import Warehouse  # noqa: PLC0415

    wanted = None if day is None else parse_day(day)
    settings = load_settings()
    path, content = _read(settings)
    lines = _of_day(content, wanted)
    if root is not None and root not in {line.root for line in content.lines}:
        raise AnchorError(
            f"root {root[:70]} is in no line of {path}: the log was changed or cut since, or this "
            "is the log of another database"
        )
    found = check_chain(content)
    with closing(Warehouse(lambda: ready_url(settings, reads=True), reads=True)) as warehouse:
        found += check_candles(warehouse, lines)
        found += check_results(warehouse, lines, {*settings.retention_days})
    if form == "json":
        click.echo(json.dumps(_verdict(content, lines, found), indent=2))
    else:
        _print_findings(path, content, lines, found)
    return 1 if _grave(found) else 0


def _path(settings: Settings) -> Path:
    if settings.anchor_path is None:
        raise InputError("AUTONAMA_ANCHOR_FILE=none: no anchors are made; name a file")
    return settings.anchor_path


def _read(settings: Settings) -> tuple[Path, "Content"]:
    from resources.anchor_log import read_log  # noqa: PLC0415

    path = _path(settings)
    content = read_log(path)
    if content is None:
        raise AnchorError(
            f"there is no anchor log {path}: a scan, a backfill or `autonama anchor add` makes "
            "it; if there was one, somebody has moved or deleted it"
        )
    return path, content


def _of_day(content: "Content", day: date | None) -> list["Line"]:
    return [line for line in content.lines if day in {None, line.day}]


def _document(line: "Line") -> dict[str, Any]:
    return {
        "line": line.number,
        "day": line.day.isoformat(),
        "made_at": line.made_at.isoformat(),
        "tables": {name: {"rows": of.rows, "root": of.root} for name, of in line.tables.items()},
        "before": line.before,
        "root": line.root,
    }


def _print_lines(lines: Sequence["Line"]) -> None:
    from autonama_dagster.cli.shared.screen import screen  # noqa: PLC0415
    from autonama_dagster.cli.shared.tables import Column, print_table  # noqa: PLC0415

    columns = (
        Column("line", [str(line.number) for line in lines], is_number=True),
        Column("day", [str(line.day) for line in lines]),
        Column("made (UTC)", [f"{line.made_at:%Y-%m-%d %H:%M}" for line in lines]),
        Column("root", [line.root for line in lines]),
        Column("rows", [_rows(line) for line in lines], is_long=True),
    )
    if lines:
        print_table(screen(), columns, None, "use --format json")
    else:
        click.echo("no lines")


def _rows(line: "Line") -> str:
    return ", ".join(f"{name} {of.rows}" for name, of in line.tables.items())


def _grave(found: Sequence["Finding"]) -> int:
    return sum(f.what != "remade" for f in found)


def _verdict(
    content: "Content", lines: Sequence["Line"], found: Sequence["Finding"]
) -> dict[str, Any]:
    return {
        "is_match": not _grave(found),
        "lines": len(lines),
        "torn_lines": list(content.torn),
        "root": content.root,
        "findings": [
            {
                "line": f.line,
                "day": f.day.isoformat(),
                "table": f.table,
                "symbol": f.symbol,
                "finding": f.what,
            }
            for f in found
        ],
    }


def _print_findings(
    path: Path, content: "Content", lines: Sequence["Line"], found: Sequence["Finding"]
) -> None:
    click.echo(f"{path}: {counted(len(lines), 'line')}, root {content.root}")
    for number in content.torn:
        click.echo(f"  line {number}: was written halfway, and counts for nothing")
    for f in found:
        about = " ".join(filter(None, (f.table, f.symbol)))
        click.echo(f"  line {f.line}, {f.day}{f', {about}' if about else ''}: {_WORDS[f.what]}")
    grave = _grave(found)
    click.echo(counted(grave, "finding") if grave else "everything is as it was anchored")
