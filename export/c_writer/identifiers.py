"""Names and texts of a model as C: nothing that a model says can end a string, a comment or an identifier."""

from __future__ import annotations

import re
import unicodedata

from edge_runtime.errors import QuantizationError

_LONGEST_NAME = 48  # compilers tell names of 63 letters apart, and ours end in up to 15 more
_LONGEST_TEXT = 1_000  # bytes of a string; C99 asks compilers for 4,095
_KEYWORD_TEXT = """alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept const
consteval constexpr constinit const_cast continue co_await co_return co_yield decltype default delete do double
dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable namespace new
noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires restrict
return short signed sizeof static static_assert static_cast struct switch template this thread_local throw true try
typedef typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq"""  # of C and of C++
_KEYWORDS = frozenset(_KEYWORD_TEXT.split())
_FILE_TEXT = """arduino assert complex ctype errno fenv inttypes iso646 limits locale main math memory setjmp signal
stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar unistd version
wchar wctype"""  # NAME.h would stand in the place of a header that others include, NAME.c in that of main.c
_FILES = frozenset(_FILE_TEXT.split())


def c_identifier(text: str) -> str:
    """`text` as an identifier of C and C++: letters, digits and single underscores, at most 48 of them.

    Accents are taken off; what is left of other letters is an underscore. "model" where nothing is left, before a
    digit, and after a keyword or the name of a header, which the files would stand in the place of.
    """
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    name = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_")
    if not name or name[0].isdigit():
        name = f"model_{name}".rstrip("_")
    name = name[:_LONGEST_NAME].rstrip("_")
    return f"{name}_model" if name in _KEYWORDS or name.lower() in _FILES else name


def c_string(text: str) -> str:
    """`text` as a string literal in UTF-8. Raises QuantizationError for more than 1,000 bytes.

    All but plain letters is written in octal: of quotes, backslashes, newlines and trigraphs none is left.
    """
    content = text.encode()
    if len(content) > _LONGEST_TEXT:
        raise QuantizationError(
            f"a name has {len(content):,} bytes, expected at most {_LONGEST_TEXT:,} in C: {text[:40]!r}...; shorten it"
        )
    return '"' + "".join(_escaped(byte) for byte in content) + '"'


def _escaped(byte: int) -> str:
    letter = chr(byte)
    return letter if 32 <= byte < 127 and letter not in '"\\?' else f"\\{byte:03o}"


def comment_text(text: str) -> str:
    """`text` as it may stand in a comment, on one line."""
    return re.sub(r"[^A-Za-z0-9 _.,:;=+()<>-]", "_", text)[:200]
