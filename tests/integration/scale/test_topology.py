"""Everything at once: the topology of docker/compose.scale.yaml, from its own files."""

import os

import pytest
import yaml

from load import Load
from services import wait_until
from stack import ROOT, Stream
from topology import Topology


@pytest.fixture
def topology(folder):
    made = Topology(folder, sets=["limits.standard=1000000/1m", "auth.bcrypt_rounds=4",
                                  "fetch.allow_private=true", "fetch.per_host=1000/10"])
    try:
        yield made.start()
    finally:
        made.stop()
    for n in (1, 2):
        text = made[f"forkmark{n}"].log_text()
        assert "AddressSanitizer" not in text and "runtime error:" not in text, text[-5000:]


def scans(topology, server):
    """How often that server has looked for bookmarks."""
    return topology.sql("SELECT idx_scan + seq_scan FROM pg_stat_user_tables WHERE relname = 'saved_content'",
                        server=server)[0][0]


def test_every_part_does_its_work(topology, pages):
    client = topology.nginx.client().sign_up()
    watcher = topology.nginx.client().log_in(client.user["username"])
    stream = Stream(watcher)
    assert stream.next()[0] == "system.connected"
    number = client.save(pages.put("/page", "<title>A page</title><p>" + "some words " * 200))
    frames = stream.until("bookmark.pipeline.analysis.completed", 60)
    assert {frame[2]["bookmark_id"] for frame in frames} == {number}
    stream.close()
    # As many at once as keep both replicas busy.
    load = Load(client, connections=8, save_every=20)
    for n in (1, 2):
        wait_until(lambda n=n: scans(topology, f"replica{n}") > 0, 60, f"replica{n} is read")
    load.stop()
    assert not load.unanswered and not load.refused, (load.unanswered[:3], load.refused[:3])
    wait_until(lambda: client.get("/api/bookmarks").json()["total"] == 1 + len(load.saved), 10, "all are listed")
    # Both servers, the primary by the pooler, both replicas, the cluster, the queue.
    served = {server for line in topology.nginx.access_log().splitlines()
              for server in [line.split("upstream=")[1].split()[0]]}
    assert served == {f"{topology.at(10 + n)}:7860" for n in (1, 2)}
    assert topology.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == [(2,)]
    keys = sum(topology.redis(f"cache{n}").dbsize() for n in range(1, 7))
    assert keys > 0 and topology.cache_is_whole()
    status = topology.ctl(1, "status").stdout
    assert status.count("forkmark_replica") == 2 and "cluster of 3 primaries" in status, status
    queue = topology.queue_master()
    assert queue.name == "queue1"
    assert topology.redis("queue1").scard("rq:workers") == 4
    assert not [key for key in topology.redis("queue1").scan_iter("fm:bookmarks*")]


def test_a_fail_over_of_the_queue_outlives_every_restart(folder):
    """Who was promoted, and which sentinels there are, is in their files."""
    topology = Topology(folder)

    def role(name):
        return topology.redis(name).info("replication")["role"]

    def promoted():
        master = topology.queue_master()
        return master and master.name == "queue2" and role("queue2") == "master"
    try:
        topology.start_queue()
        topology.redis("queue1").set("kept", "yes")
        wait_until(lambda: topology.redis("queue2").get("kept") == "yes", 30, "the replica has it")
        topology["queue1"].kill()
        wait_until(promoted, 60, "the replica is promoted")
        for n in range(1, 4):  # one after the other, and the old master is away all the while
            topology[f"sentinel{n}"].kill()
            topology.again(f"sentinel{n}")
            assert topology.knows_the_others(n)
            assert topology.queue_master().name == "queue2"
        topology["queue2"].kill()
        topology.again("queue2")
        wait_until(lambda: not topology.redis("queue2").info("persistence")["loading"], 30, "its data is read")
        assert role("queue2") == "master" and topology.redis("queue2").get("kept") == "yes"
        assert promoted()
    finally:
        topology.stop()


def services():
    with open(os.path.join(ROOT, "docker/compose.scale.yaml"), encoding="utf-8") as file:
        return yaml.safe_load(file)["services"]


def test_the_compose_file_and_the_topology_are_of_the_same_parts():
    names = set(services())
    built = {"nginx", "cluster", "primary", "pgbouncer", *(f"forkmark{n}" for n in (1, 2)),
             *(f"replica{n}" for n in (1, 2)), *(f"cache{n}" for n in range(1, 7)),
             *(f"queue{n}" for n in (1, 2)), *(f"sentinel{n}" for n in (1, 2, 3))}
    assert names == built
    addresses, used = {}, set()
    for name, service in services().items():
        [address] = [network["ipv4_address"] for network in service["networks"].values()]
        assert address not in addresses.values(), name
        addresses[name] = address
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith(".") and source != "./scale/tls":
                path = os.path.normpath(os.path.join(ROOT, "docker", source))
                assert os.path.exists(path), f"{name} mounts {source}"
                used.add(os.path.relpath(path, ROOT))
    # Every file there is for somebody, and every address it names is somebody's.
    assert {f"docker/scale/{name}" for name in os.listdir(f"{ROOT}/docker/scale") if name != "tls"} <= used
    named = set()
    for path in used:
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            text = file.read()
        named |= {f"192.0.2.{part.split('.')[0]}" for part in
                  ("".join(c if c.isdigit() else "." for c in piece[:3]) for piece in text.split("192.0.2.")[1:])}
    assert named - {"192.0.2.", "192.0.2.0"} <= set(addresses.values()), named
