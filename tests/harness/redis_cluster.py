"""A real Redis Cluster on loopback: six servers, three of them replicas, gone afterwards."""

import os
import random
import socket
import subprocess
import threading
from signal import SIGKILL

import redis
from redis.crc import key_slot

from services import Process, wait_until

SLOTS = 16384
# A node is found dead after this; small, since a test waits for it.
NODE_TIMEOUT_MS = 1500


def free_cluster_port():
    """Its neighbour 10,000 above is the cluster's own; both below those the kernel gives out."""
    while True:
        port = random.randrange(11000, 21000)
        try:
            for each in (port, port + 10000):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", each))
            return port
        except OSError:
            continue


class Node:
    """One server. With `tls` (a folder with ca.crt, redis.crt and redis.key) it speaks nothing
    else; `auth` is (user, password) of a user who may do everything."""

    def __init__(self, folder, tls=None, auth=None):
        self.folder, self.tls, self.auth = folder, tls, auth
        self.port = free_cluster_port()
        self.server = None
        os.makedirs(folder, exist_ok=True)
        self.start()

    @property
    def place(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        options = ["--port", str(self.port)]
        if self.tls:
            options = ["--port", "0", "--tls-port", str(self.port), "--tls-cluster", "yes",
                       "--tls-replication", "yes", "--tls-auth-clients", "no",
                       "--tls-ca-cert-file", f"{self.tls}/ca.crt",
                       "--tls-cert-file", f"{self.tls}/redis.crt",
                       "--tls-key-file", f"{self.tls}/redis.key"]
        if self.auth:
            options += ["--user", self.auth[0], "on", f">{self.auth[1]}", "~*", "&*", "+@all",
                        "--user", "default", "off",
                        "--masteruser", self.auth[0], "--masterauth", self.auth[1]]
        self.server = Process(
            ["redis-server", *options, "--bind", "127.0.0.1", "--dir", self.folder,
             "--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS),
             "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0",
             "--cluster-replica-validity-factor", "0"],
            os.path.join(self.folder, "redis.log"))
        wait_until(self.answers, 20, f"{self.place} answers")
        return self

    def client_options(self):
        options = {"host": "127.0.0.1", "port": self.port, "socket_timeout": 5,
                   "decode_responses": True}
        if self.tls:
            options.update(ssl=True, ssl_ca_certs=f"{self.tls}/ca.crt")
        if self.auth:
            options.update(username=self.auth[0], password=self.auth[1])
        return options

    def connect(self):
        return redis.Redis(**self.client_options())

    def answers(self):
        try:
            return self.connect().ping()
        except redis.exceptions.RedisError:
            assert self.server.is_running(), self.server.log_text()
            return False

    def call(self, *words):
        with self.connect() as client:
            return client.execute_command(*words)

    def id(self):
        return self.call("CLUSTER MYID")

    def info(self, name):
        return self.call("INFO").get(name)

    def is_running(self):
        return self.server.is_running()

    def kill(self):
        self.server.end(SIGKILL)

    def stop(self):
        self.server.end()


class RedisCluster:
    def __init__(self, folder, primaries=3, replicas=1, tls=None, auth=None):
        self.folder, self.tls, self.auth = folder, tls, auth
        self.nodes = []
        threads = [threading.Thread(target=self.add_server) for _ in range(primaries * (1 + replicas))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if primaries > 1:
            self.cli("--cluster", "create", *(node.place for node in self.nodes),
                     "--cluster-replicas", str(replicas), "--cluster-yes")
        else:  # redis-cli makes none of fewer than three
            self.nodes[0].call("CLUSTER ADDSLOTSRANGE", 0, SLOTS - 1)
        self.wait_settled(primaries * replicas)

    def add_server(self):
        """A server that belongs to nobody yet."""
        node = Node(os.path.join(self.folder, f"node{len(self.nodes)}-{os.urandom(3).hex()}"),
                    self.tls, self.auth)
        self.nodes.append(node)
        return node

    def cli(self, *words, seconds=120):
        options = []
        if self.tls:
            options += ["--tls", "--cacert", f"{self.tls}/ca.crt"]
        if self.auth:
            options += ["--user", self.auth[0], "--pass", self.auth[1], "--no-auth-warning"]
        done = subprocess.run(["redis-cli", *options, *words], capture_output=True, text=True,
                              timeout=seconds, check=False)
        assert done.returncode == 0 and "[ERR]" not in done.stdout, done.stdout + done.stderr
        return done.stdout

    # ---- what it says of itself ----

    def running(self):
        return [node for node in self.nodes if node.is_running()]

    def state(self, node=None):
        """The lines of CLUSTER NODES: {port: (id, flags, master's id, slots)}."""
        found = {}
        for line in (node or self.running()[0]).call("CLUSTER NODES").items():
            place, fields = line
            flags = fields["flags"].split(",")
            if "noaddr" in flags or ":" not in place:
                continue
            slots = sum(int(part[-1]) - int(part[0]) + 1 for part in fields["slots"])
            found[int(place.rsplit(":", 1)[1])] = (fields["node_id"], flags, fields["master_id"], slots)
        return found

    def node_at(self, port):
        return next(node for node in self.nodes if node.port == port)

    def primaries(self):
        """Those that serve slots, as the first running node sees it."""
        return [self.node_at(port) for port, (_, flags, _, slots) in self.state().items()
                if "master" in flags and "fail" not in flags and slots > 0]

    def replicas_of(self, primary):
        number = primary.id()
        return [self.node_at(port) for port, (_, flags, master, _) in self.state().items()
                if master == number and "slave" in flags and "fail" not in flags]

    def owner(self, key):
        """The primary that has the key's slot."""
        return self.owner_of_slot(self.slot(key))

    def owner_of_slot(self, slot):
        for first, last, (_, port, *_), *_ in self.raw_slots():
            if first <= slot <= last:
                return self.node_at(port)
        raise AssertionError(f"slot {slot} is nobody's")

    @staticmethod
    def key_in(slot):
        number = 0
        while key_slot(str(number).encode()) != slot:
            number += 1
        return str(number)

    def raw_slots(self):
        with self.running()[0].connect() as client:
            client.set_response_callback("CLUSTER SLOTS", lambda reply, **_: reply)
            return client.execute_command("CLUSTER SLOTS")

    def slot(self, key):
        return int(self.running()[0].call("CLUSTER KEYSLOT", key))

    def slots(self, keys):
        """{key: its slot, as the server says}"""
        with self.running()[0].connect() as client:
            pipe = client.pipeline(transaction=False)
            for key in keys:
                pipe.execute_command("CLUSTER KEYSLOT", key)
            return dict(zip(keys, map(int, pipe.execute())))

    def keys(self):
        """{primary: its keys}"""
        return {node: node.call("KEYS", "*") for node in self.primaries()}

    def is_ok(self):
        """All that run agree that all slots are served, and by whom."""
        views = {tuple(sorted((number, slots, master) for number, _, master, slots in
                              self.state(node).values())) for node in self.running()}
        return len(views) == 1 and all(
            "cluster_state:ok" in text and f"cluster_slots_ok:{SLOTS}" in text
            for text in (self.raw_info(node) for node in self.running()))

    @staticmethod
    def raw_info(node):
        with node.connect() as client:
            client.set_response_callback("CLUSTER INFO", lambda reply, **_: reply)
            return client.execute_command("CLUSTER INFO")

    def wait_settled(self, replicas=0, seconds=40):
        """All slots served, and so many replicas in touch with their primaries."""
        wait_until(self.is_ok, seconds, "the cluster is whole")
        wait_until(lambda: sum(node.info("master_link_status") == "up" for node in self.running())
                   >= replicas, seconds, f"{replicas} replicas are linked")
        # CLUSTER SLOTS lists a replica once it is known to have got something.
        ranges = {port: first for first, _, (_, port, *_), *_ in self.raw_slots()}
        for port, slot in ranges.items() if replicas else ():
            self.node_at(port).call("SET", self.key_in(slot), "x", "PX", "1")
        wait_until(lambda: all(self.listed_replicas(node) >= replicas for node in self.running()),
                   seconds, f"{replicas} replicas are listed")

    @staticmethod
    def listed_replicas(node):
        with node.connect() as client:
            client.set_response_callback("CLUSTER SLOTS", lambda reply, **_: reply)
            return len({place[1] for row in client.execute_command("CLUSTER SLOTS") for place in row[3:]})

    # ---- what is done to it ----

    def move_slots(self, source, target, count):
        wait_until(self.is_ok, 40, "the cluster is whole")
        self.cli("--cluster", "reshard", self.running()[0].place, "--cluster-from", source.id(),
                 "--cluster-to", target.id(), "--cluster-slots", str(count), "--cluster-yes")

    def move_slot(self, slot, source, target):
        """One slot with its keys, step by step, as redis-cli does it."""
        target.call("CLUSTER SETSLOT", slot, "IMPORTING", source.id())
        source.call("CLUSTER SETSLOT", slot, "MIGRATING", target.id())
        user = ["AUTH2", *self.auth] if self.auth else []
        while keys := source.call("CLUSTER GETKEYSINSLOT", slot, 10):
            source.call("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, *user, "KEYS", *keys)
        for node in (target, source, *(each for each in self.primaries() if each not in (source, target))):
            try:
                node.call("CLUSTER SETSLOT", slot, "NODE", target.id())
            except redis.exceptions.ResponseError as error:
                # Whoever has given his last slot away is a replica before he is told.
                assert "only with masters" in str(error), error

    def add_primary(self):
        """A seventh server joins, with no slots yet."""
        wait_until(self.is_ok, 40, "the cluster is whole")
        node = self.add_server()
        self.cli("--cluster", "add-node", node.place, self.nodes[0].place)
        # It serves only after a while in which it has heard the others.
        wait_until(lambda: self.is_ok() and node.port in self.state(), 40, "everyone knows the new node")
        return node

    def remove(self, node):
        """A node without slots leaves, and ends."""
        wait_until(self.is_ok, 40, "the cluster is whole")
        self.cli("--cluster", "del-node", self.nodes[0].place, node.id())
        node.stop()

    def settings(self, more=""):
        """What forkmark is told of it, in the group `redis`."""
        places = ", ".join(f'"{node.place}"' for node in self.running()[:2])
        return f"cache: {{ cluster = [ {places} ]; {more} }};"

    def flush(self):
        for node in self.primaries():
            node.call("FLUSHALL")

    def stop(self):
        for node in self.nodes:
            if node.is_running():
                node.kill()
