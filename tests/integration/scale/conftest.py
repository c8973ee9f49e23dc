"""Several servers of a kind behind one forkmark."""

import os
import tempfile

import pytest
from replication import Cluster


@pytest.fixture(scope="session")
def cluster(session_folder, postgres, template):
    """A primary and two replicas for tests that leave them as they were."""
    made = Cluster(session_folder + "/replicas", 2, source=(postgres, template))
    yield made
    made.stop()


@pytest.fixture
def make_cluster(session_folder, postgres, template):
    """make_cluster(2): a primary and two replicas with the migrated database."""
    made = []

    def make(count=2, **options):
        folder = tempfile.mkdtemp(dir=session_folder)
        os.chmod(folder, 0o755)
        made.append(Cluster(folder, count, source=(postgres, template), **options))
        return made[-1]

    yield make
    for cluster in made:
        cluster.stop()


@pytest.fixture
def make_replicated(make_stack):
    """make_replicated(cluster): a stack that reads from the cluster's replicas."""
    made = []

    def make(cluster, start=True, database_more="", **options):
        stack = make_stack(start=False, **options)
        made.append((cluster, stack))
        cluster.create(stack.database, "migrated")
        cluster.caught_up()
        stack.postgres = cluster
        stack.write_config(database_more=cluster.option(stack.database) + database_more)
        return stack.start() if start else stack
    yield make
    for cluster, stack in made:
        stack.stop()
        if cluster.primary.server.is_running():
            cluster.drop(stack.database)
