"""Python's own pickle and json on one side, forkmark's codec on the other."""

import base64
import datetime as dt
import decimal
import json
import os
import pickle
import random
import struct
import subprocess
import uuid
import zlib

import pytest

from services import wait_until
from stack import BINARY

rq = pytest.importorskip("rq")
from rq import Queue, SimpleWorker, Worker  # noqa: E402
from rq.job import Job  # noqa: E402
from rq.serializers import JSONSerializer  # noqa: E402

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures")
JOBS = "test_functions = true; heartbeat = 2; outbox_age = 1;"
ECHO = "forkmark.test.echo"


def fixture(name):
    with open(os.path.join(FIXTURES, name), encoding="utf-8") as file:
        return json.load(file)


def canonical(value):
    """A text that two values share only if they are alike: types, order, bits of floats."""
    kind = type(value).__name__
    if isinstance(value, float):
        return f"{kind}:{struct.pack('>d', value).hex()}"
    if isinstance(value, complex):
        return f"{kind}:{canonical(value.real)},{canonical(value.imag)}"
    if isinstance(value, (list, tuple)):
        return f"{kind}[{','.join(map(canonical, value))}]"
    if isinstance(value, dict):
        return f"{kind}{{{canonical(list(value.items()))}}}"
    if isinstance(value, (set, frozenset)):
        return f"{kind}{{{','.join(sorted(map(canonical, value)))}}}"
    return f"{kind}:{value!r}"


def same(a, b):
    return canonical(a) == canonical(b)


class Values:
    """Random values, always the same ones of a seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.made = []

    def integer(self):
        bits = self.random.choice([1, 7, 8, 15, 16, 31, 32, 33, 62, 63, 64, 65, 127, 600, 2100])
        number = self.random.choice([2 ** bits, 2 ** bits - 1, self.random.getrandbits(bits)])
        return self.random.choice([number, -number, -number - 1])

    def real(self):
        return self.random.choice([
            0.0, -0.0, 1e308, 5e-324, float("inf"), float("-inf"), float("nan"),
            self.random.random(), self.random.uniform(-1e9, 1e9),
            float(self.random.randrange(-10 ** 18, 10 ** 18))])

    def text(self):
        alphabet = self.random.choice([
            "ab", "a\\u\\U0\n\r\0\x1a'\"", "caf\u00e9\xff\x80", "\u6f22\u5b57\U0001f389\ufffd"])
        length = self.random.choice([0, 1, 2, 5, 20, 255, 256, 400])
        return "".join(self.random.choices(alphabet, k=length))

    def binary(self):
        return self.random.randbytes(self.random.choice([0, 1, 3, 40, 255, 256, 600]))

    def delta(self):
        return dt.timedelta(self.random.randrange(-10 ** 6, 10 ** 6),
                            self.random.randrange(86400), self.random.randrange(10 ** 6))

    def zone(self):
        offset = dt.timedelta(seconds=self.random.choice(
            [0, 3600, 19800, -1, -86399, 86399, -12345.678901]))
        return self.random.choice([None, dt.timezone.utc, dt.timezone(offset),
                                   dt.timezone(offset, "a name")])

    def date(self):
        return dt.date(self.random.randrange(1, 10000), 1, 1).replace(
            month=self.random.randrange(1, 13), day=self.random.randrange(1, 29))

    def time(self):
        pick = self.random.randrange
        return dt.time(pick(24), pick(60), self.random.choice([0, pick(60)]),
                       self.random.choice([0, pick(10 ** 6)]), self.zone(), fold=pick(2))

    def moment(self):
        return dt.datetime.combine(self.date(), self.time())

    def decimal(self):
        return decimal.Decimal(self.random.choice([
            "0", "-0", "12.340", "NaN", "sNaN17", "-Infinity", "1E+500", "1E-7",
            str(self.random.getrandbits(200)) + ".5"]))

    def scalar(self):
        return self.random.choice([
            lambda: None, lambda: True, lambda: False, self.integer, self.integer, self.real,
            self.text, self.text, self.binary, self.delta, self.zone, self.date, self.time,
            self.moment, self.decimal, lambda: uuid.UUID(int=self.random.getrandbits(128)),
            lambda: complex(self.real(), self.real())])()

    def key(self, depth):
        if depth > 0 and self.random.random() < 0.2:
            return self.random.choice([tuple, frozenset])(
                self.key(depth - 1) for _ in range(self.random.randrange(4)))
        # What is not equal to itself, or cannot be hashed, makes no key to compare.
        while True:
            value = self.scalar()
            if not isinstance(value, (decimal.Decimal, complex)) and value == value:
                return value

    def value(self, depth=4):
        """Some are the same object as an earlier one: picklers write those only once."""
        if self.made and self.random.random() < 0.1:
            return self.random.choice(self.made)
        if depth == 0 or self.random.random() < 0.4:
            value = bytearray(self.binary()) if self.random.random() < 0.05 else self.scalar()
        else:
            count = self.random.choice([0, 1, 1, 2, 3, 4, 7])
            kind = self.random.choice([list, tuple, dict, set, frozenset])
            if kind in (list, tuple):
                value = kind(self.value(depth - 1) for _ in range(count))
            elif kind is dict:
                value = {self.key(2): self.value(depth - 1) for _ in range(count)}
            else:
                value = kind(self.key(2) for _ in range(count))
        self.made.append(value)
        del self.made[:-50]
        return value


def serializer_of(protocol):
    class Serializer:
        @staticmethod
        def dumps(value):
            return pickle.dumps(value, protocol)

        loads = staticmethod(pickle.loads)

    return Serializer


def status(job):
    """None before the claim of a job that was only saved, where RQ 2 raises an error."""
    found = job.connection.hget(job.key, "status")
    return found and found.decode()


def finished(job, serializer=None, seconds=30):
    wait_until(lambda: status(job) in ("finished", "failed", "stopped"), seconds,
               f"{job.id} ends")
    fetched = Job.fetch(job.id, connection=job.connection, serializer=serializer)
    assert fetched.get_status() == "finished", fetched.exc_info
    return fetched


def returned(job):
    return job.return_value() if hasattr(job, "return_value") else job.result


@pytest.fixture
def stack(make_stack):
    stack = make_stack(jobs=JOBS, consumers=1)
    wait_until(lambda: Worker.all(connection=stack.redis), 20, "the consumer registers")
    return stack


def test_random_values_come_back_whatever_the_protocol(stack):
    for protocol in range(6):
        queue = Queue("default", connection=stack.redis, serializer=serializer_of(protocol))
        for seed in range(15):
            values = Values(seed * 10 + protocol)
            sent = [values.value() for _ in range(30)]
            # Picklers write lists and dicts in batches of a thousand.
            sent.append(list(range(seed * 150)))
            sent.append({number: str(number) for number in range(seed * 150)})
            job = finished(queue.enqueue(ECHO, sent))
            got = returned(job)
            # As Python itself reads it: protocols below 4 do not carry a time's fold.
            read = pickle.loads(pickle.dumps(sent, protocol))
            for number, (a, b) in enumerate(zip(read, got, strict=True)):
                assert same(a, b), \
                    f"protocol {protocol}, seed {seed}, value {number}: {a!r} became {b!r}"


def test_values_are_shown_as_python_shows_them(stack):
    queue = Queue("default", connection=stack.redis)
    values = Values(7)
    samples = [method() for method in (
        values.integer, values.real, values.text, values.binary, values.delta, values.zone,
        values.date, values.time, values.moment, values.decimal) for _ in range(12)]
    samples += [uuid.UUID(int=5), bytearray(b"a\0b"), 2j, -1.5 + 2j, complex(-0.0, -1e20),
                complex("nan"), {1: (), (2,): []}, set(), frozenset({3}), dt.timedelta(0),
                dt.timedelta(days=2), dt.time(1, 2), dt.datetime(1, 2, 3)]
    # A few to a job, for what is long is cut.
    samples.sort(key=lambda each: len(repr(each)))
    batches = [samples[at:at + 12] for at in range(0, len(samples), 12)]
    jobs = [queue.enqueue(ECHO, batch) for batch in batches]
    for job, batch in zip(jobs, batches):
        done = subprocess.run([BINARY, "jobs", "--config", stack.config, "show", job.id],
                              capture_output=True, text=True, timeout=60, check=True)
        [line] = [line for line in done.stdout.splitlines() if line.startswith("args ")]
        wanted = repr((batch,))
        if len(wanted) > 4000:
            wanted = wanted[:4000] + "..."
        assert line.split(None, 1)[1] == wanted


def untagged(value):
    """The fixtures' notation back to Python's values."""
    if isinstance(value, list):
        return [untagged(each) for each in value]
    if not isinstance(value, dict):
        return value
    builders = {
        "$int": int, "$float": float, "$bytes": bytes.fromhex,
        "$tuple": lambda items: tuple(map(untagged, items)),
        "$set": lambda items: set(map(untagged, items)),
        "$frozenset": lambda items: frozenset(map(untagged, items)),
        "$dict": lambda pairs: {untagged(key): untagged(item) for key, item in pairs},
    }
    for tag, build in builders.items():
        if tag in value:
            return build(value[tag])
    return {key: untagged(item) for key, item in value.items()}


def test_python_reads_what_the_encoder_writes(stack):
    """Each vector goes through a consumer: the very bytes of its result, and their value."""
    queue = Queue("default", connection=stack.redis)
    vectors = fixture("encoder-vectors.json")["vectors"]
    assert len(vectors) == 52
    jobs = [queue.enqueue(ECHO, pickle.loads(bytes.fromhex(row["pickle_hex"])))
            for row in vectors]
    for row, job in zip(vectors, jobs):
        value = untagged(row["value"])
        assert same(pickle.loads(bytes.fromhex(row["pickle_hex"])), value)
        assert same(returned(finished(job)), value)
        [(_, entry)] = stack.redis.xrange("rq:results:" + job.id)
        if value is None:
            assert b"return_value" not in entry
        else:
            assert entry[b"return_value"].decode() == row["return_value_field"]
            assert same(pickle.loads(base64.b64decode(entry[b"return_value"])), value)


def test_captured_jobs_run(stack):
    """Every captured payload as a job of its own: its argument is the result."""
    for name in ("payloads-1.13.json", "payloads-2.3.3.json"):
        rows = [row for row in fixture(name)["payloads"] if row["kind"] == "data"
                and row["func_name"] == ECHO and len(row["expect"]["args"]) == 1
                and not row["expect"]["kwargs"] and "$large" not in str(row["expect"])]
        assert len(rows) > 50
        for row in rows:
            job = Job.create(ECHO, connection=stack.redis, origin="default")
            job.save()
            stack.redis.hset(job.key, "data", base64.b64decode(row["data_b64"]))
            Queue("default", connection=stack.redis).push_job_id(job.id)
            done = finished(job, JSONSerializer if row["serializer"] == "json" else None)
            assert same(returned(done), untagged(row["expect"]["args"][0])), row["name"]


def test_hostile_jobs_fail_and_the_consumer_lives(stack):
    queue = Queue("default", connection=stack.redis)
    consumers = set(stack.children("consumer"))
    rows = fixture("hostile.json")["hostile"]
    jobs = []
    for row in rows:
        job = Job.create(ECHO, connection=stack.redis, origin="default")
        job.save()
        stack.redis.hset(job.key, "data", base64.b64decode(row["data_b64"]))
        queue.push_job_id(job.id)
        jobs.append(job)
    wait_until(lambda: all(status(job) in ("failed", "finished") for job in jobs), 120,
               "each has ended")
    for row, job in zip(rows, jobs):
        if row["expect"] in ("refuse", "unknown_function"):
            assert job.get_status() == "failed", row["name"]
            [(_, entry)] = stack.redis.xrange("rq:results:" + job.id)
            reason = zlib.decompress(base64.b64decode(entry[b"exc_string"])).decode()
            wanted = "DeserializationError" if row["expect"] == "refuse" else "ValueError"
            assert reason.splitlines()[-1].startswith(wanted), (row["name"], reason)
            assert len(reason) < 2000 and all(
                character.isprintable() or character == "\n" for character in reason)
    assert set(stack.children("consumer")) == consumers
    assert returned(finished(queue.enqueue(ECHO, "still here"))) == "still here"


# ---- the JSON serializer ----

@pytest.fixture
def json_stack(make_stack):
    stack = make_stack(jobs=JOBS + ' serializer = "json";', consumers=1)
    wait_until(lambda: Worker.all(connection=stack.redis), 20, "the consumer registers")
    return stack


def json_value(values, depth=4):
    if depth == 0 or values.random.random() < 0.4:
        return values.random.choice([
            lambda: None, lambda: True, lambda: False, values.integer, values.real,
            values.text])()
    count = values.random.choice([0, 1, 2, 5])
    if values.random.random() < 0.5:
        return [json_value(values, depth - 1) for _ in range(count)]
    return {values.text(): json_value(values, depth - 1) for _ in range(count)}


def test_a_json_queue_is_answered_in_json(json_stack):
    queue = Queue("default", connection=json_stack.redis, serializer=JSONSerializer)
    for seed in range(20):
        values = Values(seed)
        sent = [json_value(values) for _ in range(20)]
        job = finished(queue.enqueue(ECHO, sent, meta={"note": "caf\u00e9"}), JSONSerializer)
        assert same(returned(job), sent), seed
        assert job.meta == {"note": "caf\u00e9"} and same(job.args, [sent])
    by_name = finished(queue.enqueue(ECHO, kwargs={"x": [1]}), JSONSerializer)
    assert returned(by_name) == [1]
    # A producer of RQ's default on the same queue is answered in its own form.
    other = Queue("default", connection=json_stack.redis)
    assert returned(finished(other.enqueue(ECHO, (1, b"2")))) == (1, b"2")


def test_a_pickle_server_answers_a_json_queue_too(stack):
    queue = Queue("default", connection=stack.redis, serializer=JSONSerializer)
    job = finished(queue.enqueue(ECHO, {"a": [1, None]}), JSONSerializer)
    assert returned(job) == {"a": [1, None]}


def test_our_jobs_are_json_where_that_is_asked_for(json_stack):
    """The bookmark's job, with its meta; and one of the command line, run by RQ's worker."""
    redis = json_stack.redis
    redis.set("rq:suspended", 1)
    wait_until(lambda: all(worker.get_state() == "suspended"
                           for worker in Worker.all(connection=redis)), 10, "suspended")
    queue = Queue("default", connection=redis, serializer=JSONSerializer)
    client = json_stack.client().sign_up()
    number = client.save("http://127.0.0.1:9/page")
    wait_until(lambda: queue.job_ids, 5, "the job waits")
    job = Job.fetch(queue.job_ids[0], connection=redis, serializer=JSONSerializer)
    assert job.args == [number, "http://127.0.0.1:9/page", client.user["id"]]
    assert job.kwargs == {} and set(job.meta) == {"request_id"}
    redis.delete("rq:suspended")
    wait_until(lambda: json_stack.sql("SELECT count(*) FROM outbox") == [(0,)], 20,
               "our consumer takes it")

    done = subprocess.run([BINARY, "jobs", "--config", json_stack.config, "enqueue", "--queue",
                           "python", "operator.concat", '["a\u00e9"]', "[2.5, null]"],
                          capture_output=True, text=True, timeout=60, check=True)
    waiting = Queue("python", connection=redis, serializer=JSONSerializer)
    worker = SimpleWorker([waiting], connection=redis, serializer=JSONSerializer)
    worker.work(burst=True)
    job = Job.fetch(done.stdout.split(":")[0], connection=redis, serializer=JSONSerializer)
    assert job.get_status() == "finished", job.exc_info
    assert returned(job) == ["a\u00e9", 2.5, None]
    shown = subprocess.run([BINARY, "jobs", "--config", json_stack.config, "show", job.id],
                           capture_output=True, text=True, timeout=60, check=True).stdout
    assert "(JSON)" in shown and "['a\u00e9', 2.5, None]" in shown


def test_a_payload_past_the_limit_fails(make_stack):
    stack = make_stack(jobs=JOBS + ' payload_limit = "64K";', consumers=1)
    queue = Queue("default", connection=stack.redis)
    job = queue.enqueue(ECHO, "x" * 100_000)
    wait_until(lambda: job.get_status() == "failed", 20, "it fails")
    assert "inflated data too large" in Job.fetch(job.id, connection=stack.redis).exc_info
    assert returned(finished(queue.enqueue(ECHO, "x" * 60_000))) == "x" * 60_000
