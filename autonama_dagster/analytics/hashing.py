"""What a number was made from: hashes of candles, of parameters and of the code itself."""

import hashlib
import json
import tokenize
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import metadata, resources
from io import BytesIO
from tokenize import COMMENT, DEDENT, ENCODING, INDENT, NEWLINE, NL, STRING

import numpy as np

from autonama_dagster.analytics.candles import Candles
from autonama_dagster.analytics.windows import Windows

type_JSON = None
