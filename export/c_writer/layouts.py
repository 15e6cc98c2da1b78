"""Which files C is written as: the two alone, with a program for a host, or as an Arduino library."""

from __future__ import annotations

_PLAIN = {"{p}.c": "model.c.j2", "{p}.h": "model.h.j2"}
# file by file, {p} for the name: what it is made from
LAYOUTS: dict[str, dict[str, str]] = {
    "c": _PLAIN,
    "c-project": {
        **{f"{{p}}_project/{file}": template for file, template in _PLAIN.items()},
        "{p}_project/main.c": "main.c.j2",
        "{p}_project/Makefile": "Makefile.j2",
    },
    "arduino": {
        **{f"{{p}}/src/{file}": template for file, template in _PLAIN.items()},
        "{p}/library.properties": "library.properties.j2",
        "{p}/examples/{p}_example/{p}_example.ino": "example.ino.j2",
    },
}


def layout_files(layout: str, name: str) -> dict[str, str]:
    """The templates by the paths of the files made from them. name: an identifier. layout: a key of `LAYOUTS`."""
    return {file.format(p=name): template for file, template in LAYOUTS[layout].items()}
