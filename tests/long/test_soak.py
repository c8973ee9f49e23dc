"""Tens of thousands of jobs through everything that goes wrong, and exact books at the end."""

import pytest

pytest.importorskip("rq")
import soak  # noqa: E402


@pytest.fixture
def stack(make_stack):
    return make_stack(jobs=soak.JOBS, consumers=4, workers=1, log='level = "info"; access = false;')


def test_a_queue_shared_with_python(stack):
    good, by_python = soak.shared_with_python(stack, 20000, 600)
    print(f"\n{good} jobs finished, {by_python} of them by Python")
    assert 0 < by_python < good


def test_200_killed_consumers(stack):
    recoveries = soak.killed_consumers(stack, 20000, 200, 600)
    print("\n" + soak.report(recoveries))
    assert len(recoveries) > 100 and max(recoveries) < 5


def test_redis_restarts(stack):
    soak.restarted_redis(stack, 10000, 5, 300)


def test_connections_are_cut(stack):
    print(f"\n{soak.cut_connections(stack, 10000, 10, 300)} connections cut")
