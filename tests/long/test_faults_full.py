"""1,000 seeded faults in five minutes under load."""

import os

from ordeal import ordeal


def test_a_thousand_faults(make_stack, pages):
    stack = make_stack(workers=4, consumers=2, database_more="pool_size = 3;",
                       log='level = "info"; access = false;',
                       jobs='test_functions = true; max_deliveries = 100; outbox_age = "1s";')
    ordeal(stack, pages, seed=int(os.environ.get("SEED", "1")), faults=1000, seconds=300,
           restored_within=2)
