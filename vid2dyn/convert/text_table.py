"""Tables in text files as programs and countries write them: separator, decimal comma, encoding, columns.

One reader for all tables of text. What cannot be read without a guess is refused with the line and the cure.
"""

from __future__ import annotations

import csv
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vid2dyn.core.errors import DataError

_SEPARATORS = ",;\t"
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_LAST_DIGIT = {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
"""Numbers to the last digit: older versions of pandas round what they read unless told not to; newer ones warn."""
_LOOK = 200                       # lines that tell the dialect


@dataclass(frozen=True)
class Dialect:
    """How a text table is written.

    Parameters
    ----------
    separator : str
        Between columns; a regular expression of blanks where blanks separate.
    decimal : str
        Point or comma.
    encoding : str
        Of the text.
    names : tuple of str
        Of the columns, stripped of blanks and quotes.
    header : int
        Lines before the one with the names.
    """

    separator: str
    decimal: str
    encoding: str
    names: tuple[str, ...]
    header: int = 0


def dialect_of(path: Path) -> Dialect:
    """The dialect of a text table with a header line.

    Raises
    ------
    DataError
        For a file that is no text, has no header, or a line of other length among its first ones.

    Examples
    --------
    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "a.csv"
    >>> _ = place.write_text("frame;y;x\\n0;1,5;2,5\\n")
    >>> dialect_of(place)
    Dialect(separator=';', decimal=',', encoding='utf-8-sig', names=('frame', 'y', 'x'), header=0)
    """
    encoding, before, lines = _first_lines(path)
    if not lines:
        raise DataError(f"{path}: not a text table. Export it as comma-separated text with a header line.")
    header = lines[0]
    separator = max(_SEPARATORS, key=header.count)
    if not header.count(separator):
        separator = r"\s+" if len(header.split()) > 1 else ","
    names = tuple(name.strip().strip('"').strip() for name in _fields(header, separator))
    rows = [_fields(line, separator) for line in lines[1:]]
    _same_length(path, names, rows, separator, before + 2)
    comma = separator != "," and any(_DECIMAL_COMMA.fullmatch(value.strip()) for row in rows for value in row)
    return Dialect(separator, "," if comma else ".", encoding, names, before)


def read_text(path: Path, dialect: Dialect, *, as_text: bool = False) -> pd.DataFrame:
    """The table with the names of `dialect`; every value as text where `as_text`.

    Raises
    ------
    DataError
        For rows longer than the header, or what pandas cannot read, with the line.
    """
    options = {"sep": dialect.separator, "encoding": dialect.encoding, "skipinitialspace": True, "index_col": False,
               "names": [f"column {k}" for k in range(len(dialect.names))], "header": None,
               "skiprows": dialect.header + 1,
               "skip_blank_lines": True}
    if dialect.separator == r"\s+":
        options |= {"engine": "c"}
    try:
        with warnings.catch_warnings():                      # of separators at the ends of lines; see `_count_fields`
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
            if as_text:
                table = pd.read_csv(path, dtype=str, **options)  # type: ignore[call-overload]
            else:
                table = pd.read_csv(path, decimal=dialect.decimal, **_LAST_DIGIT,  # type: ignore[call-overload]
                                    **options)
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable table ({error}). Export it again as comma-separated text.") from None
    _count_fields(path, dialect)
    table.columns = pd.Index(dialect.names)
    return table


def one_named(path: Path, names: tuple[str, ...], wanted: str) -> str | None:
    """The column that is called `wanted`, whatever its case; None if there is none.

    The one written in lower case is taken before others. Two of one name are refused: which counts nobody knows.

    >>> one_named(Path("a.csv"), ("Frame", "X", "x"), "x")
    'x'
    """
    found = [name for name in names if name.casefold() == wanted.casefold()]
    exact = [name for name in found if name == wanted] or found
    if len(exact) > 1:
        raise DataError(f"{path}: columns {', '.join(map(repr, exact))}: which one is {wanted} is unclear. Rename or "
                        "remove "
                        "all but one.")
    return exact[0] if exact else None


def _first_lines(path: Path) -> tuple[str, int, list[str]]:
    """Encoding, the number of blank lines at the start, and the first lines that are not blank."""
    with open(path, "rb") as stream:
        start = stream.read(1 << 18)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif b"\0" in start:
        return "utf-8-sig", 0, []
    else:
        encoding = "utf-8-sig" if _decodes(path) else "cp1252"
    try:
        text = start[: len(start) // 2 * 2].decode(encoding, errors="replace")
    except UnicodeError:
        return encoding, 0, []
    whole = text.splitlines()
    if len(start) == 1 << 18 and len(whole) > 1:
        whole.pop()                                            # the last one may be cut
    before = next((k for k, line in enumerate(whole) if line.strip()), 0)
    return encoding, before, [line for line in whole if line.strip()][:_LOOK]


def _decodes(path: Path) -> bool:
    """Whether the file is UTF-8 throughout."""
    try:
        with open(path, encoding="utf-8") as stream:
            while stream.read(1 << 20):
                pass
    except UnicodeDecodeError:
        return False
    return True


def _fields(line: str, separator: str) -> list[str]:
    return line.split() if separator == r"\s+" else next(csv.reader([line], delimiter=separator, skipinitialspace=True))


def _same_length(path: Path, names: tuple[str, ...], rows: list[list[str]], separator: str,
                 first: int) -> None:
    """Refuse rows, the first of which is line `first`, that are longer than the header by more than empty ends."""
    for number, row in enumerate(rows, start=first):
        if any(value.strip() for value in row[len(names):]):
            commas = separator == "," and len(row) > len(names)
            cure = ("Perhaps numbers have a decimal comma: export the table with semicolons or with decimal points."
                    if commas else "Name every column, or remove what is behind the last one.")
            raise DataError(f"{path}, line {number}: {len(row)} values, but the header names {len(names)} columns "
                            f"({', '.join(names)[:120]}). {cure}")


def _count_fields(path: Path, dialect: Dialect) -> None:
    """The same for all lines, where the count of separators leaves a doubt; memory for one line.

    Where every line ends with a separator, pandas drops what stands behind it without a word.
    """
    if dialect.separator == r"\s+":
        return
    most = len(dialect.names) - 1
    with open(path, encoding=dialect.encoding, errors="replace", newline="") as stream:
        for number, line in enumerate(stream, start=1):
            if line.count(dialect.separator) > most and '"' not in line:
                row = _fields(line.rstrip("\r\n"), dialect.separator)
                _same_length(path, dialect.names, [row], dialect.separator, number)
