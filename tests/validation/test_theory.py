"""The closed forms against the figures of the specification, and against a simulation of their own."""

from __future__ import annotations

import numpy as np
import pytest

from tests.validation import theory
from tests.validation.servers import lindley

MD1 = {
    0.3: (0.2143, 0.4345, 0, 0.8377, 1.0708, 1.8909),
    0.5: (0.5000, 0.7638, 0, 1.5157, 2.0506, 3.3363),
    0.7: (1.1667, 1.4625, 0.7298, 3.0771, 4.1029, 6.4855),
    0.8: (2.0000, 2.3094, 1.2759, 5.0115, 6.6203, 10.3559),
    0.9: (4.5000, 4.8218, 3.0130, 10.7825, 14.1287, 21.8982),
}
MMC = {
    (0.5, 1): (0.5, 1.0, 3.219, 7.824),
    (0.8, 1): (0.8, 4.0, 10.397, 21.910),
    (0.5, 2): (0.3333, 0.3333, 1.204, 3.507),
    (0.7, 2): (0.5765, 0.9608, 2.920, 6.757),
    (0.8, 2): (0.7111, 1.7778, 4.904, 10.661),
    (0.5, 4): (0.1739, 0.0870, 0.277, 1.428),
    (0.8, 4): (0.5964, 0.7455, 2.232, 5.111),
}


@pytest.mark.parametrize("rho", MD1)
def test_a_deterministic_server(rho: float) -> None:
    quantiles = [theory.md1_quantile(p, rho) for p in (0.5, 0.9, 0.95, 0.99)]
    assert [theory.md1_mean(rho), theory.md1_sd(rho), *quantiles] == pytest.approx(MD1[rho], abs=6e-5)


@pytest.mark.parametrize(("rho", "c"), MMC)
def test_exponential_servers(rho: float, c: int) -> None:
    # The table of the specification is q_p(Wq); its last two columns are p90 and p99.
    found = theory.mmc_delayed(rho, c), theory.mmc_mean(rho, c), *(theory.mmc_quantile(p, rho, c) for p in (0.9, 0.99))
    assert found == pytest.approx(MMC[rho, c], abs=6e-4)


def test_the_distribution_is_one() -> None:
    at = [theory.md1_cdf(t, 0.8) for t in np.linspace(0, 40, 81)]
    assert at[0] == pytest.approx(0.2)
    assert (np.diff(at) > 0).all()
    assert at[-1] == pytest.approx(1, abs=1e-6)


def test_they_agree_with_a_simulation() -> None:
    rng = np.random.default_rng(1)
    n, d = 200_000, 1_000_000
    due = np.cumsum(rng.exponential(d / 0.7, n)).astype(np.int64)
    wait = (lindley(due, np.full(n, d), 1) - due - d) / d
    assert wait.mean() == pytest.approx(theory.md1_mean(0.7), rel=0.03)
    assert np.quantile(wait, 0.99) == pytest.approx(theory.md1_quantile(0.99, 0.7), rel=0.06)
    service = rng.exponential(2 * d * 0.7, n).astype(np.int64)
    due = np.cumsum(rng.exponential(d, n)).astype(np.int64)
    wait = (lindley(due, service, 2) - due - service) / service.mean()
    assert wait.mean() == pytest.approx(theory.mmc_mean(0.7, 2), rel=0.05)
