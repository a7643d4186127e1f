"""Text in tables is made as in a sandbox, which has no pyarrow: here an extra may have brought it."""

from __future__ import annotations

import pandas

pandas.set_option("mode.string_storage", "python")  # before the test modules make their tables
