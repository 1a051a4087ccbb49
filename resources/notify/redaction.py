"""Text without secrets: what leaves the machine, or stays in a log, goes through here."""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from autonama_dagster.settings import Settings
from autonama_dagster.text.escaping import without_login

_HIDDEN: Final = "***"
_OPTION: Final = re.compile(r"(?i)\b(\w*(?:password|passwd|secret|token|api_?key))=[^\s&'\"]+")


def without_secrets(text: str, settings: Settings) -> str:
    """Text with every secret of the settings, every login in a URL and every password hidden.

    Of a URL that is a secret, its password and what follows the host are hidden also where they
    stand alone.
    """
    for secret in sorted(_secrets(settings), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return _OPTION.sub(rf"\1={_HIDDEN}", without_login(text))


def _secrets(settings: Settings) -> set[str]:
    found: set[str] = set()
    for value in dict(settings).values():
        if not isinstance(value, SecretStr):
            continue
        secret = value.get_secret_value()
        found.add(secret)
        if "://" in secret:
            parts = urlsplit(secret)
            if parts.scheme.startswith("http"):
                found.add(f"{parts.path}?{parts.query}" if parts.query else parts.path)
            _, _, login = parts.netloc.rpartition("@")[0].partition(":")
            found |= {login, unquote(login)}
    return found - {"", "/"}
