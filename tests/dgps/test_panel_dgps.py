"""DGPs of panels: the protocol, batches, factors of a design, and bad input."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drawn_panels import EMPTY, LAWS, STATES, Uniform, draw, known_panel
from mcsim import Design, Estimate, Panel, Study, grid
from mcsim.dgps import (
    Bootstrap,
    DynamicPanel,
    ErrorComponents,
    FactorModel,
    InteractiveEffects,
    LinearIV,
    at_random,
    by_cohort,
    by_exposure,
    by_probability,
    heterogeneous,
    in_random_periods,
    unit_factor_probabilities,
    with_effect,
)
from mcsim.errors import InputError
from mcsim.testing import check_dgp

ALL = {
    "error components": ErrorComponents(n_groups=5, group_share=0.2, time_share=0.1, rho=0.5),
    "dynamic": DynamicPanel(),
    "burned in": DynamicPanel(burn_in=10),
    "interactive": InteractiveEffects(),
    "random z": LinearIV(n_instruments=3),
    "fixed z": LinearIV(instruments="fixed"),
    "limit": LinearIV(instruments="limit"),
    "laws": LAWS,
}


@pytest.mark.parametrize("name", ALL)
def test_contracts(name):
    check_dgp(ALL[name])


@pytest.mark.parametrize("name", ALL)
def test_a_batch_gives_what_one_at_a_time_gives(name):
    keys = jax.random.split(jax.random.key(4), 3)
    batch, _ = draw(ALL[name], 3, seed=4)
    for i, key in enumerate(keys):
        alone = ALL[name](key, Design()).panel
        for column in alone:
            np.testing.assert_allclose(batch[column][i], alone[column], rtol=1e-12, atol=1e-13)
            assert alone[column].dtype == jnp.float64


def test_floats_of_a_grid_share_one_program():
    traces = []

    def counted(key, panel):
        traces.append(1)
        return at_random(n_treated=25, start=10)(key, panel)

    dgp = with_effect(STATES, outcome="y", assignment=counted)
    drawn = [
        draw(dgp, 4, design)[0]["y"]
        for design in grid(rho=[-0.4, 0, 0.8], unit_share=[0, 0.3], effect=[0, 0.02])
    ]
    assert len(traces) == 1
    assert len({values.tobytes() for values in drawn}) == 12


def test_a_factor_does_what_the_field_does():
    design = Design({"rho": 0.3, "n_units": 20, "unit_share": 0.4, "sd": 2.0})
    by_factor = ErrorComponents()(jax.random.key(1), design).panel
    by_field = ErrorComponents(rho=0.3, n_units=20, unit_share=0.4, sd=2.0)
    np.testing.assert_allclose(
        by_factor["y"], by_field(jax.random.key(1), Design()).panel["y"], rtol=1e-12
    )


@pytest.mark.parametrize(
    ("dgp", "factor"),
    [
        (LAWS, "efect"),
        (STATES, "rhoo"),
        (with_effect(EMPTY, outcome="y", assignment=at_random(share=0.5, start=2)), "rho"),
        (Bootstrap(EMPTY), "n"),
    ],
)
def test_a_factor_that_nothing_reads_is_refused(dgp, factor):
    with pytest.raises(InputError, match=f"no DGP of the study reads the factor '{factor}'"):
        Study(dgp=dgp, estimators=lambda key, panel: Estimate(0.0), designs=grid(**{factor: [0.1]}))


# Bad input

PANEL = Panel({"y": np.zeros((6, 4)), "state": np.repeat(np.arange(3.0), 2)[:, None] * np.ones(4)})

on = partial(with_effect, PANEL, outcome="y")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ErrorComponents(rho=1.0), "rho: got 1.0, expected a number between -1 and 1"),
        (lambda: ErrorComponents(unit_share=0.7, time_share=0.7), "add up to 1.4"),
        (lambda: ErrorComponents(group_share=0.1), "without groups; set n_groups"),
        (lambda: ErrorComponents(sd=-1.0, n_units=0), "2 faults(.|\n)*n_units(.|\n)*sd: got -1.0"),
        (lambda: ErrorComponents(n_groups=60), "at most the 50 units"),
        (lambda: DynamicPanel(alpha=1.0), "alpha: got 1.0(.|\n)*or set burn_in"),
        (lambda: DynamicPanel(burn_in=0), "burn_in: got 0, expected at least 1"),
        (lambda: InteractiveEffects(rank=0), "rank: got 0"),
        (lambda: LinearIV(rho=1.5), "rho: got 1.5, expected a correlation"),
        (lambda: LinearIV(n_units=3), "n_instruments \\+ 3 = 4"),
        (lambda: LinearIV(concentration=-1.0), "concentration: got -1.0"),
        (lambda: on(assignment=at_random(n_treated=0, start=1)), "n_treated: got 0"),
        (lambda: on(assignment=at_random(n_treated=6, start=1)), "fewer than the 6 units"),
        (lambda: on(assignment=at_random(n_treated=2, share=0.5, start=1)), "got both"),
        (lambda: on(assignment=at_random(start=1)), "got neither"),
        (lambda: on(assignment=at_random(share=0.01, start=1)), "makes 0 treated"),
        (lambda: on(assignment=at_random(n_treated=2, start=4)), "within the 4 periods"),
        (lambda: on(assignment=at_random(n_treated=2, start=(3, 1))), "first comes after"),
        (
            lambda: on(assignment=at_random(n_treated=3, start=1, cluster="state")),
            "fewer than the 3 clusters of 'state'",
        ),
        (
            lambda: on(assignment=at_random(n_treated=1, start=1, cluster="stat")),
            "did you mean 'state'",
        ),
        (
            lambda: on(assignment=in_random_periods(n_treated=2, n_treated_periods=5)),
            "expected 1 to 4",
        ),
        (lambda: on(assignment=by_cohort({1: 4, 2: 3})), "exceed the 6 there are"),
        (lambda: on(assignment=by_cohort({})), "cohorts: got none"),
        (
            lambda: on(assignment=by_cohort({(1, 3): 2})),
            "start: got \\(1, 3\\), expected one period",
        ),
        (lambda: on(assignment=by_cohort([([1, 3], 2)])), "expected one period"),
        (lambda: on(assignment=by_cohort({1.5: 2})), "start: got 1.5"),
        (lambda: on(assignment=by_cohort({9: 2, 1: -1})), "2 faults"),
        (lambda: on(assignment=by_probability(1.5, max_treated=2, start=1)), "outside 0 to 1"),
        (lambda: on(assignment=by_probability(0.5, max_treated=6, start=1)), "expected 1 to 5"),
        (lambda: on(assignment=by_probability([0.5], max_treated=2, start=1)), "one per unit"),
        (lambda: on(assignment=None), "assignment: got NoneType"),
        (lambda: on(assignment=at_random(n_treated=2, start=1), effect="big"), "effect: got 'big'"),
        (
            lambda: on(assignment=at_random(n_treated=2, start=1), treatment="y"),
            "not the outcome's",
        ),
        (
            lambda: with_effect(
                PANEL, outcome="yy", assignment=at_random(n_treated=9, start=9), effect=np.nan
            ),
            "4 faults",
        ),
        (
            lambda: with_effect(3, outcome="y", assignment=at_random(n_treated=1, start=1)),
            "source: got int",
        ),
        (lambda: by_exposure([]), "path: got"),
        (lambda: by_exposure({(1, 3): [1.0]}), "path: got start \\(1, 3\\)"),
        (lambda: heterogeneous(0.0, -1.0), "sd: got -1.0, expected at least 0"),
        (lambda: FactorModel.fit(PANEL, "y"), "2 faults"),
        (lambda: FactorModel.fit(known_panel(), "z", carry=["y"]), "2 faults"),
        (lambda: FactorModel.fit(known_panel(), "y").without("nois"), "did you mean 'noise'"),
        (lambda: unit_factor_probabilities(known_panel(), "y", "y"), "expected zeros and ones"),
        (lambda: Bootstrap(PANEL, cluster="stat", strata="y"), "2 faults"),
        (lambda: Bootstrap(PANEL.take(jnp.arange(5)), cluster="state"), "1 to 2 units"),
        (lambda: Bootstrap(PANEL, n_units=7, replacement=False), "at most 6"),
        (lambda: Bootstrap(PANEL, n_units=8, cluster="state", replacement=False), "at most 6"),
        (lambda: Bootstrap(PANEL, n_units=5, cluster="state"), "a multiple of 2, the size of"),
        (lambda: FactorModel.fit(known_panel(), "y", rank=True), "rank: got True"),
    ],
)
def test_bad_input_is_a_sentence(make, match):
    with pytest.raises(InputError, match=match):
        make()


@pytest.mark.parametrize(
    ("dgp", "design", "match"),
    [
        (ErrorComponents(), {"n_units": 20.0}, "n_units: got a traced number"),
        (ErrorComponents(), {"n_periods": 0}, "n_periods: got 0"),
        (LAWS, {"n_treated": 50}, "fewer than the 50 units"),
        (
            with_effect(Uniform(), outcome="y", assignment=at_random(n_treated=1, start=1)),
            {},
            "n_units: got none for a generator",
        ),
        (LAWS, {"n_periods": 5}, "within the 5 periods"),
        (with_effect(STATES, outcome="z", assignment=at_random(n_treated=2, start=1)), {}, "'z'"),
        (
            with_effect(STATES, outcome="y", assignment=lambda key, panel: jnp.zeros(3)),
            {},
            "assignment: it returned shape \\(3,\\)",
        ),
        (
            with_effect(
                STATES,
                outcome="y",
                assignment=at_random(n_treated=2, start=1),
                effect=lambda key, exposure, panel: 0.5,
            ),
            {},
            "effect: it returned shape \\(\\)",
        ),
    ],
)
def test_what_is_known_when_the_program_is_traced(dgp, design, match):
    with pytest.raises(InputError, match=match):
        draw(dgp, 2, Design(design))
