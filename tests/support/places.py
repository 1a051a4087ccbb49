"""Where things are, however deep a test lies."""

from pathlib import Path

HELPERS = Path(__file__).resolve().parent  # modules for tests, for a PYTHONPATH
ROOT = next(folder for folder in HELPERS.parents if (folder / "pyproject.toml").is_file())
DOCS = ROOT / "docs"
