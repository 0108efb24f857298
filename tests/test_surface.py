"""Public names, their parameters and the columns of tables are those of `tests/golden/surface.txt`.

Which names there are, and that they have docstrings, is for `tests/test_exports.py`.
"""

import difflib

from surface import FILE, surface


def test_the_public_surface_is_the_one_that_was_written_down():
    recorded, found = FILE.read_text().splitlines(), surface().splitlines()
    changes = "\n".join(
        difflib.unified_diff(recorded, found, "recorded", "found", lineterm="", n=6)
    )
    assert not changes, f"{changes}\n`python tests/surface.py` tells how to renew the record"
