"""A hook of the site's docstring reader: one example is read as examples are."""

import re
from typing import Any

import griffe


class OneExample(griffe.Extension):
    """Reads the section "Example:" as "Examples:", the name that griffe knows."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            value = obj.docstring.value
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", value, flags=re.MULTILINE)
