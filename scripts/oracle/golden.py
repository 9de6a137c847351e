"""What scripts that make golden files share: writing them, and --check.

With --check the files are made in a temporary folder and compared with the
committed ones; the script names each file that differs and exits with 1.
"""

import argparse
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def equal(old, new):
    """What differs between two files, as one line, or None."""
    return None if old.read_bytes() == new.read_bytes() else "not what the script makes now"


def run(description, folder, make, compare=equal):
    """make(path) writes files, into folder or with --check into another one."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--check", action="store_true", help=f"compare with {folder} instead of writing there")
    folder = ROOT / folder
    if not parser.parse_args().check:
        return make(folder)
    failed = 0
    with tempfile.TemporaryDirectory() as tmp:
        make(pathlib.Path(tmp))
        made = sorted(p for p in pathlib.Path(tmp).rglob("*") if p.is_file())
        for new in made:
            old = folder / new.relative_to(tmp)
            problem = compare(old, new) if old.exists() else "not there"
            if problem:
                failed += 1
                print(f"{old.relative_to(ROOT)}: {problem}")
    print(f"{len(made)} files made again, {failed} differ")
    sys.exit(failed > 0 or not made)
