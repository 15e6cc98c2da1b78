"""Print a code block of the README: the one that follows the comment <!-- NAME -->."""

import pathlib
import re
import sys

readme = pathlib.Path(__file__).parent.parent / "README.md"
pattern = rf"<!-- {re.escape(sys.argv[1])} -->\n+```sh\n(.*?)```"
match = re.search(pattern, readme.read_text(encoding="utf-8"), re.DOTALL)
if match is None:
    sys.exit(f"{readme.name}: no sh block follows the comment <!-- {sys.argv[1]} -->")
print(match[1])
