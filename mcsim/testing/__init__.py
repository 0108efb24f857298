"""Test DGPs and estimators, one's own or a library's: fakes, checks of the contract, gates."""

from mcsim.testing._contracts import check_dgp as check_dgp
from mcsim.testing._contracts import check_estimator as check_estimator
from mcsim.testing._contracts import constant_dgp as constant_dgp
from mcsim.testing._contracts import exact_estimator as exact_estimator
from mcsim.testing._gates import assert_coverage as assert_coverage
from mcsim.testing._gates import assert_se_calibrated as assert_se_calibrated
from mcsim.testing._gates import assert_size as assert_size
from mcsim.testing._gates import assert_unbiased as assert_unbiased
