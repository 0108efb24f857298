"""A reader who follows a call opens few files of mcsim."""

import pytest

from entered import CASES, LIMITS, entered_by


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_few_files_are_entered(case):
    files = entered_by(case)
    assert len(files) <= LIMITS[case], "\n".join(files)
