"""Names of columns in the spelling of an exporter, which keeps letters and digits alone."""

from __future__ import annotations

import re
from collections.abc import Sequence


def respelled(names: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """Which of the names stand for which wanted one that is not among them: {"length (cm)": "length__cm_"}.

    skl2onnx makes inputs of a DataFrame's columns, with _ for all but letters and digits. A name that two columns
    would have so stands for neither.
    """
    spelled = [re.sub(r"\W", "_", name) for name in names]
    lacking = set(wanted) - set(names)
    pairs = zip(names, spelled, strict=True)
    return {name: new for name, new in pairs if new in lacking and spelled.count(new) == 1}
