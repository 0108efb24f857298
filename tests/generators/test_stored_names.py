"""Names in model files and hashes: a field that was renamed keeps its stored name."""

import json

import jax
import numpy as np
import pytest
from safetensors import safe_open

from mcsim import Column, Panel, Schema
from mcsim._definitions.describe import describe
from mcsim.generators import WGAN, GaussianCopula, load, save
from mcsim.generators._storage.model_files import STORED
from mcsim.generators._storage.trees import decode_tree, describe_schema

SCHEMA = Schema((Column("wage", "continuous", 0.0, mass_points=(0.0,)),))
WRITTEN_BEFORE = (
    '{"class": "Schema", "fields": {"columns": [{"class": "Column", "fields": {"name": "wage", '
    '"kind": "continuous", "lower": 0.0, "upper": {"float": "inf"}, "atoms": [0.0], "levels": []}}'
    '], "unit": "unit", "time": "time", "period_labels": [0]}}'
)
DEFINED_BEFORE = (
    '{"class": "mcsim.Schema 1", "columns": [{"class": "mcsim.Column 1", "name": "wage", "kind": '
    '"continuous", "lower": "0x0.0p+0", "upper": "inf", "atoms": ["0x0.0p+0"], "levels": []}], '
    '"unit": "unit", "time": "time", "period_labels": [0]}'
)


def test_a_schema_of_before_is_read():
    assert decode_tree(json.loads(WRITTEN_BEFORE), STORED, {}, "schema") == SCHEMA


def test_a_schema_is_written_and_described_as_before():
    assert json.dumps(describe_schema(SCHEMA)) == WRITTEN_BEFORE
    assert json.dumps(describe(SCHEMA)) == DEFINED_BEFORE


def test_a_stored_name_is_the_only_one_that_files_hold():
    written = WRITTEN_BEFORE.replace("atoms", "another_name")
    with pytest.raises(TypeError, match="another_name"):
        decode_tree(json.loads(written), STORED, {}, "schema")


@pytest.fixture(scope="module", params=["network", "copula"])
def fitted(request):
    rng = np.random.default_rng(0)
    wage = np.where(rng.uniform(size=60) < 0.3, 0.0, np.exp(rng.normal(9, 1, 60)))
    panel = Panel({"treat": np.arange(60) % 2.0, "wage": wage})
    tiny = WGAN(hidden=(8,), critic_hidden=(8,), steps=5, batch_size=32, critic_steps=1)
    trainer = tiny if request.param == "network" else GaussianCopula()
    return trainer.fit(jax.random.key(0), panel, given=["treat"], progress=False)


def test_files_and_definitions_of_fits_hold_stored_names(fitted, tmp_path):
    path = save(fitted, tmp_path / "model")
    with safe_open(path, framework="numpy") as file:
        header = file.metadata()["mcsim"]
    for text in (header, json.dumps(describe(fitted))):
        assert '"atoms"' in text
        assert "mass_points" not in text
        assert ("smallest_arm" in text) == ("smallest_stratum" in str(fitted.config))
        assert "smallest_stratum" not in text
        assert "strata" not in text
    assert load(path).schema == fitted.schema
