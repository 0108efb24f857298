"""Bad input is a sentence: each mistake of the table meets one, never a traceback of internals."""

import jaxtyping
import pytest

from mistakes import Mistake, data, estimators, options, sentence_of, stores, studies

PARTS = (data, studies, estimators, options, stores)
MISTAKES = [mistake for part in PARTS for mistake in part.MISTAKES]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what)
def test_a_mistake_is_a_sentence(mistake: Mistake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users have it
    lines = sentence_of(mistake, tmp_path).splitlines()
    assert any(line.startswith(mistake.says) for line in lines), lines
