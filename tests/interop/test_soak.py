"""Jobs while things go wrong, a few of each; tests/long/test_soak.py has the thousands."""

import pytest

pytest.importorskip("rq")
import soak  # noqa: E402


@pytest.fixture
def stack(make_stack):
    return make_stack(jobs=soak.JOBS, consumers=2, workers=1)


def test_a_queue_shared_with_python(stack):
    good, by_python = soak.shared_with_python(stack, 400, 120)
    assert 0 <= by_python < good


def test_killed_consumers(stack):
    assert soak.killed_consumers(stack, 400, 8, 120)


def test_redis_restarts(stack):
    soak.restarted_redis(stack, 400, 1, 120)


def test_connections_are_cut(stack):
    assert soak.cut_connections(stack, 400, 2, 120) > 10
