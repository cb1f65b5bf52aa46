"""The simulator of served models, against the formulas of queueing theory where there are any."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workshop.errors import SettingsError
from workshop.scale.simulator import Deployment, ServiceTimes, replicas_needed, simulate

MEAN = 0.01
QUANTILES = (np.arange(20_000) + 0.5) / 20_000
EXPONENTIAL = ServiceTimes({1: -MEAN * np.log(1 - QUANTILES)})
FIXED = ServiceTimes.fixed({1: MEAN})
BATCHING = ServiceTimes.fixed({1: 0.010, 4: 0.016, 8: 0.020})
MANY = 60_000


def erlang_c(servers: int, load: float) -> float:
    """Probability that a request waits in M/M/c, ``load`` in Erlang."""
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(load**n / math.factorial(n) for n in range(servers)) + last)


def mean_wait(outcome, times=MEAN) -> float:
    return float(outcome.latencies.mean()) - times


# each formula is taken at the utilisation that came about, which is the asked one but for chance


@pytest.mark.parametrize("use", [0.3, 0.6, 0.8])
def test_random_service_on_one_server_is_mm1(use):
    found = simulate(EXPONENTIAL, Deployment(), use / MEAN, requests=MANY)
    assert found.utilisation == pytest.approx(use, rel=0.02)
    rest = (1 - found.utilisation) / MEAN  # the sojourn time is exponential with this rate
    assert found.latencies.mean() == pytest.approx(1 / rest, rel=0.06)
    assert found.percentile(95) == pytest.approx(1000 * -math.log(0.05) / rest, rel=0.08)


@pytest.mark.parametrize("use", [0.3, 0.6, 0.8])
def test_fixed_service_on_one_server_is_md1(use):
    found = simulate(FIXED, Deployment(), use / MEAN, requests=MANY)
    came = found.utilisation
    assert mean_wait(found) == pytest.approx(came * MEAN / (2 * (1 - came)), rel=0.06)


@pytest.mark.parametrize("servers", [2, 3, 8])
def test_several_instances_behind_one_queue_are_erlang_c(servers):
    found = simulate(EXPONENTIAL, Deployment(instances=servers), 0.75 * servers / MEAN, requests=MANY)
    load = found.utilisation * servers
    assert mean_wait(found) == pytest.approx(erlang_c(servers, load) * MEAN / (servers - load), rel=0.08)


def test_replicas_chosen_at_random_are_queues_of_their_own_and_other_rules_are_better():
    rate = 3 * 0.7 / MEAN
    found = {
        rule: simulate(EXPONENTIAL, Deployment(3, rule=rule), rate, requests=MANY)
        for rule in ("random", "in_turn", "least_outstanding")
    }
    came = found["random"].utilisation
    assert mean_wait(found["random"]) == pytest.approx(came * MEAN / (1 - came), rel=0.08)
    one_queue = erlang_c(3, 3 * came) * MEAN / (3 - 3 * came)
    waits = [mean_wait(found[rule]) for rule in ("least_outstanding", "in_turn", "random")]
    assert one_queue < waits[0] < waits[1] < waits[2]


def test_batches_carry_more_than_single_requests_could():
    capacity = Deployment(rows=8).capacity(BATCHING)
    assert Deployment(3, 2, rows=8).capacity(BATCHING) == 6 * capacity
    assert capacity == pytest.approx(8 / 0.020)
    found = simulate(BATCHING, Deployment(rows=8), 0.8 * capacity)
    assert 3 < found.batch < 8
    assert found.percentile(95) < 60
    with pytest.raises(
        SettingsError, match=r"320 requests/s cannot be simulated: .* answers at most 100\.0 requests/s"
    ):
        simulate(BATCHING, Deployment(rows=1), 0.8 * capacity)


def test_a_delay_fills_batches_and_costs_lone_requests_its_time():
    prompt = simulate(BATCHING, Deployment(rows=8), 50)
    waiting = simulate(BATCHING, Deployment(rows=8, delay=0.03), 50)
    assert waiting.batch > 1.5 * prompt.batch
    assert prompt.percentile(0) == pytest.approx(10)
    assert waiting.percentile(50) > 30


def test_time_outside_the_instance_is_added_and_keeps_it_not_busy():
    slow = ServiceTimes.fixed({1: MEAN}, overhead=0.005)
    near, far = (simulate(times, Deployment(), 50, seed=3) for times in (FIXED, slow))
    np.testing.assert_allclose(far.latencies, near.latencies + 0.005)
    assert far.utilisation == near.utilisation


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 8),
    quantile=st.floats(0, 1),
    samples=st.dictionaries(
        st.sampled_from([2, 3, 5, 8]), st.lists(st.floats(0.001, 1.0), min_size=1, max_size=5), max_size=4
    ),
)
def test_interpolated_times_lie_between_those_of_the_measured_sizes(rows, quantile, samples):
    times = ServiceTimes({1: np.array([0.01]), **{size: np.array(values) for size, values in samples.items()}})
    measured = [size for size in times.sizes if size <= rows][-1:] + [size for size in times.sizes if size >= rows][:1]
    ends = [times.at(int(size), quantile) for size in measured]
    more = max(1, rows / int(times.sizes[-1]))  # beyond the largest as many times as long as there are rows
    assert min(ends) * more - 1e-9 <= times.at(rows, quantile) <= max(ends) * more + 1e-9


def test_the_replicas_for_a_goal_are_enough_and_one_less_is_not():
    deployment = Deployment(rows=8)
    needed = replicas_needed(BATCHING, deployment, 1500, 30)
    p95 = [
        simulate(BATCHING, Deployment(n, rows=8), 1500, requests=20_000).percentile(95) for n in (needed - 1, needed)
    ]
    assert p95[0] > 30 >= p95[1]
    assert replicas_needed(BATCHING, deployment, 1, 30) == 1


def test_a_goal_that_no_number_of_replicas_keeps_is_said():
    with pytest.raises(SettingsError, match=r"a goal of 5 ms cannot be kept: 5 % of lone requests take longer than 10"):
        replicas_needed(FIXED, Deployment(), 10, 5)
    with pytest.raises(SettingsError, match="more than 1000 replicas"):
        replicas_needed(FIXED, Deployment(), 1e6, 50)


@pytest.mark.parametrize("samples", [{}, {2: np.array([0.1])}, {1: np.array([])}, {1: np.array([0.0])}])
def test_service_times_need_samples(samples):
    with pytest.raises(SettingsError, match="need positive samples, of one row at least"):
        ServiceTimes(samples)
