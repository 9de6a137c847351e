"""Makes models/tokenizer/nfc.txt: the tables of Unicode normalization form C.

    .cache/oracle/venv/bin/python scripts/oracle/nfc_table.py [--check]

They come from Python's copy of the Unicode database (version 14), less what
Hugging Face tokenizers, whose tables are older, does not know: a model was trained
on text as that library normalizes it. tokenizer_goldens.py has the answers for
every code point.
"""

import unicodedata

import golden
from tokenizers import normalizers

assert unicodedata.unidata_version == "14.0.0", "run it with Python 3.11"
nfc, nfd = normalizers.NFC().normalize_str, normalizers.NFD().normalize_str


def is_mark(c):
    """Whether c, of a class other than 0, moves past a mark of another class."""
    k = unicodedata.combining(c)
    text = "a" + (c + "\u0334" if k > 1 else "\u0315" + c)
    return nfd(text) != text


lines, classes = [], []
for c in map(chr, range(0x110000)):
    parts = unicodedata.decomposition(c)
    if parts and "<" not in parts and nfd(c) != c:
        first, *second = parts.split()
        assert len(second) <= 1 and (not second or not unicodedata.decomposition(chr(int(second[0], 16))))
        back = second and nfc(c) == c
        lines.append(" ".join([f"{ord(c):X}", first.lstrip("0"), *(s.lstrip("0") for s in second), *([] if back else ["!"])]))
    k = unicodedata.combining(c)
    if k and is_mark(c):
        if classes and classes[-1][0] == k and classes[-1][2] == ord(c) - 1:
            classes[-1][2] = ord(c)
        else:
            classes.append([k, ord(c), ord(c)])
lines += [f"{k} {a:X}-{b:X}" for k, a, b in classes]
golden.run(__doc__, "models/tokenizer", lambda out: (out / "nfc.txt").write_text("\n".join(lines) + "\n"))
