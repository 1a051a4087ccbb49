"""What a long-running command says about itself."""

import json

from autonama_dagster.cli.shared.notices import notice


def test_as_text_it_is_the_line_alone(capsys):
    notice("text", "Dagster ended; it is started again", level="warning", code=-9)
    assert capsys.readouterr() == ("", "Dagster ended; it is started again\n")


def test_as_json_it_is_one_object_with_its_fields(capsys):
    notice("json", "Dagster ended; it is started again", level="warning", code=-9)
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    found = json.loads(line)
    assert out == ""
    assert list(found) == ["time", "level", "message", "code"]
    assert list(found.values())[1:] == ["warning", "Dagster ended; it is started again", -9]
