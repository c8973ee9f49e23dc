"""Twenty seconds of seeded faults; tests/long/test_faults_full.py has five minutes."""

from ordeal import ordeal


def test_faults_under_load(make_stack, pages):
    stack = make_stack(workers=3, consumers=2, database_more="pool_size = 3;",
                       log='level = "info"; access = false;',
                       jobs='test_functions = true; max_deliveries = 100; outbox_age = "1s";')
    ordeal(stack, pages, seed=4, faults=50, seconds=18, restored_within=30)
