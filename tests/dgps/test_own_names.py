"""Effects under the names that the data have for units and periods, ``| fcode + year``."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import mcsim
from mcsim import Panel, Sample, Study
from mcsim._definitions.describe import describe
from mcsim._run.replay import replay
from mcsim.dgps import Bootstrap
from mcsim.errors import InputError
from mcsim.estimators import fixed_effects, iv_2sls, liml

UNITS, YEARS = 12, range(2000, 2004)


def draw(rng):
    index = pd.MultiIndex.from_product([range(UNITS), YEARS], names=["fcode", "year"])
    z, x, y = rng.normal(size=(3, len(index)))
    return pd.DataFrame({"y": x + y, "x": x + z, "z": z}, index=index)


PANEL, SCHEMA = mcsim.from_frame(draw(np.random.default_rng(0)))

PAIRS = [
    (fixed_effects("y ~ x | unit + time"), fixed_effects("y ~ x | fcode + year")),
    (fixed_effects("y ~ x | unit + time"), fixed_effects("y ~ x | year + fcode")),
    (fixed_effects("y ~ x | time", vcov="HC1"), fixed_effects("y ~ x | year", vcov="HC1")),
    (fixed_effects("y ~ x | unit + time"), fixed_effects("y ~ x | unit + year")),
    (iv_2sls("y ~ 1 | unit | x ~ z"), iv_2sls("y ~ 1 | fcode | x ~ z")),
    (liml("y ~ 1 | unit + time | x ~ z"), liml("y ~ 1 | fcode + year | x ~ z")),
]


@pytest.mark.parametrize(("ours", "own"), PAIRS, ids=[str(own.formula) for _, own in PAIRS])
def test_estimates_are_those_of_unit_and_time(ours, own):
    expected, found = (mcsim.estimate({"e": e}, PANEL, schema=SCHEMA) for e in (ours, own))
    pd.testing.assert_frame_equal(found, expected)


@mcsim.host
def host_dgp(rng, design):
    return draw(rng), {"x": 1.0}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    "dgp", [Bootstrap(PANEL, truth={"x": 1.0}, schema=SCHEMA), host_dgp], ids=["native", "host"]
)
def test_studies_are_those_of_unit_and_time(dgp, tmp_path):
    ours, own = PAIRS[0]
    study = Study(dgp, {"ours": ours, "own": own})
    results = mcsim.run(study, reps=16, workers=0, progress=False, store=tmp_path / "s")
    rows = results.replicates.set_index("estimator").drop(columns="status")
    pd.testing.assert_frame_equal(
        rows.loc["own"].reset_index(drop=True), rows.loc["ours"].reset_index(drop=True)
    )
    cell = results.study["cells"][0]["hash"][:12]
    _, replayed = replay(study, tmp_path / "s", cell, 3)
    assert (replayed["value"] == replayed["stored"]).all()


def test_a_definition_is_what_the_user_wrote():
    ours, own = PAIRS[0]
    assert describe(own)["formula"]["effects"] == ["fcode", "year"]
    assert describe(ours)["formula"]["effects"] == ["unit", "time"]
    assert own.with_schema(SCHEMA, {}).formula.effects == ours.formula.effects
    assert ours.with_schema(SCHEMA, {}) is ours


def test_a_dgp_without_a_schema_does_not_know_the_names():
    def bare(key, design):
        y, x = jax.random.normal(key, (2, UNITS, 4))
        return Sample(Panel({"y": y, "x": jnp.abs(x)}), {"x": 0.0})

    with pytest.raises(
        InputError, match="the effects fcode and year are not known here; write 'y ~ x"
    ):
        mcsim.run(Study(bare, PAIRS[0][1]), reps=2, workers=0, progress=False)


def test_a_host_dgp_with_other_names_is_told():
    study = Study(host_dgp, fixed_effects("y ~ x | firm"))
    with pytest.raises(InputError, match="'firm' is not a fixed effect, expected fcode or year"):
        mcsim.run(study, reps=2, workers=0, progress=False)
