"""The studies of synthetic difference in differences: their designs, and their figures in small."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mcsim
from mcsim.errors import InputError

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture
def studies(monkeypatch):
    """The two study files, or a skip where the data are not at hand."""
    monkeypatch.syspath_prepend(str(STUDIES))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import synthetic_did
    import synthetic_did_coverage

    try:
        synthetic_did.data()
    except InputError as error:
        pytest.skip(str(error))
    return synthetic_did, synthetic_did_coverage


def test_the_published_figures_name_cells_of_the_studies(studies):
    for file, count in zip(studies, (128, 27), strict=True):
        study, published = file.study(), file.published()
        assert len(published) == count
        assert set(published["dgp"]) == set(study.dgps)
        assert set(published["estimator"]) <= set(study.methods)


def test_the_model_is_the_published_one(studies):
    """Table 2: size of F, M and noise, and the autoregression, in the baseline design."""
    model = studies[0].designs()["baseline"].source
    sizes = [np.sqrt(np.mean(np.square(part))) for part in (model.additive, model.interactive)]
    np.testing.assert_allclose(sizes, [0.992, 0.100], atol=5e-4)
    assert np.sqrt(model.covariance[0, 0]) == pytest.approx(0.098, abs=5e-4)
    assert model.coefficients == (0.01, -0.06)


@pytest.mark.slow
def test_figures_agree_with_the_published_ones(studies):
    file = studies[0]
    study = file.study()
    small = replace(study, dgp={"baseline": study.dgps["baseline"]})
    results = mcsim.run(small, reps=1024, progress=False)
    published = file.published().query("dgp == 'baseline'")
    compared = mcsim.compare(results.summary(measures=["rmse", "bias"]), published)
    assert compared.df == 8
    assert compared.largest < 4
