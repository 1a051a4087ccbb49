"""The generated pages of `docs/`: what `make docs` writes, and what the tests compare them with."""

from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from sqlalchemy.dialects import postgresql

from autonama_dagster.configuration.files import PLACES
from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.schemas.ddl import sql_type
from autonama_dagster.schemas.registry import TABLES, VIEWS
from autonama_dagster.settings import Settings, env_names

FOLDER = Path(__file__).resolve().parents[1] / "docs"

_SETTINGS_HEAD = """\
# Settings

Generated from `autonama_dagster/configuration/` by `make docs`. `autonama settings` prints the values in use.

The environment wins over `.env` in the project folder, and that over the file named by `AUTONAMA_SETTINGS_FILE`.
A value that is out of range ends the command with one line and exit code 2.

| name | default | range | meaning |
|---|---|---|---|
"""  # noqa: E501

_PLACES_HEAD = """
## Where settings and data are

These are read from the environment alone.

| name | default | meaning |
|---|---|---|
"""


def settings_page() -> str:
    """Markdown of `docs/settings.md`: every setting by the name it is read under."""
    rows = [
        _row(_names(name), _default(field), _range(field), str(field.description))
        for name, field in Settings.model_fields.items()
    ]
    places = [_row(f"`{name}`", default, text) for name, default, text in PLACES]
    return _SETTINGS_HEAD + "".join(rows) + _PLACES_HEAD + "".join(places)


def data_dictionary() -> str:
    """Markdown of `docs/data-dictionary.md`: every table and view, every column."""
    lines = [
        "# Data dictionary",
        "",
        f"Tables and views of schema `{SCHEMA}`, generated from the pandera models by `make docs`.",
    ]
    for t in TABLES.values():
        key = f"Key: {', '.join(f'`{k}`' for k in t.key)}." if t.key else "No key."
        by = {"date_symbol": "date x symbol", None: "none"}.get(t.partitions, t.partitions)
        lines += ["", f"## `{t.name}`", "", f"{t.description} {key} Partitions: {by}.", ""]
        lines += ["| column | type | NULL | meaning |", "|---|---|---|---|"]
        for name in t.columns:
            col = t.schema.columns[name]
            kind = sql_type(t, name).compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
            null = "yes" if col.nullable else "no"
            text = str(col.description).replace("|", "\\|")
            lines.append(f"| `{name}` | {kind.lower()} | {null} | {text} |")
    for name, (text, _) in VIEWS.items():
        lines += ["", f"## `{name}` (view)", "", text]
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Text of every generated page by its file name in `docs/`."""
    return {"settings.md": settings_page(), "data-dictionary.md": data_dictionary()}


def main() -> None:
    """Write the generated pages."""
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def _row(*cells: str) -> str:
    escaped = (cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells)
    return f"| {' | '.join(escaped)} |\n"


def _names(name: str) -> str:
    """Every environment variable the setting is read from, the first one wins."""
    return " or ".join(f"`{choice}`" for choice in env_names(name))


def _default(field: FieldInfo) -> str:
    return "" if field.default in (None, ()) else f"`{field.default}`"


def _range(field: FieldInfo) -> str:
    """The values a setting may take, where its type or its bounds say so."""
    if field.annotation == SecretStr | None:
        return "secret"
    bounds = {
        name: getattr(limit, name)
        for limit in field.metadata
        for name in ("ge", "le")
        if hasattr(limit, name)
    }
    if bounds:
        return f"{bounds['ge']} to {bounds['le']}"
    choices = getattr(field.annotation, "__args__", ())
    return ", ".join(f"`{c}`" for c in choices if isinstance(c, str))


if __name__ == "__main__":
    main()
