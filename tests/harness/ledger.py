"""The ledger: every request is numbered, and each is answered exactly once, or is a loss.

`connections` clients at a time; some keep their connection, some open one for each
request; fast requests, ones of 500 ms, and event streams. A connection is reused only
within the advertised keep-alive time less a second. A stream that ended by its final
chunk is no loss. Needs jobs.test_functions for the slow requests.
"""

import asyncio
import itertools
import random
import threading
import time

SLOW = "/test/wait?how=sleep&ms=500"


class Loss(Exception):
    pass


def port_of(writer):
    name = writer.get_extra_info("sockname")
    return name[1] if name else None


class Ledger:
    def __init__(self, port, token, connections=64, streams=4, seed=1):
        self.port, self.token = port, token
        self.connections, self.streams = connections, streams
        self.numbers = itertools.count(1)
        self.sent, self.answered, self.lost, self.statuses = 0, 0, [], {}
        self.lost_ports = []  # our end of the connection of each loss
        self.streams_ended, self.refused = 0, 0
        self.in_flight = {}  # number -> (moment, path)
        self.is_ending = False  # a refused connect is no loss any more
        self.random = random.Random(seed)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()), daemon=True)
        self.thread.start()

    async def run(self):
        clients = [self.client(n) for n in range(self.connections)]
        clients += [self.stream() for _ in range(self.streams)]
        await asyncio.gather(*clients)

    def lose(self, what, port=None):
        self.lost.append((round(time.monotonic(), 3), what))
        self.lost_ports.append(port)

    async def connect(self):
        """A connection, or None when nobody listens any more and that is all right."""
        try:
            return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port), 10)
        except (OSError, asyncio.TimeoutError) as error:
            self.refused += 1
            if not self.is_ending:
                self.lose(f"no connection: {error!r}")
            await asyncio.sleep(0.05)
            return None

    def head(self, path, number):
        return (f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Request-ID: ledger-{number}\r\n"
                f"Authorization: Bearer {self.token}\r\n\r\n").encode()

    async def read_head(self, reader, number):
        raw = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 40)
        lines = raw.decode().lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        if headers.get("x-request-id", f"ledger-{number}") != f"ledger-{number}":
            raise Loss(f"the answer of another: {headers['x-request-id']}")
        return int(lines[0].split()[1]), headers

    async def ask(self, pair, path):
        """One request on that connection. Until when it may be used again; 0: it may not."""
        reader, writer = pair
        number = next(self.numbers)
        self.sent += 1
        self.in_flight[number] = (time.monotonic(), path)
        try:
            writer.write(self.head(path, number))
            await writer.drain()
            status, headers = await self.read_head(reader, number)
            await asyncio.wait_for(reader.readexactly(int(headers["content-length"])), 40)
            self.answered += 1
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if headers.get("connection") == "close":
                # Once answered, and then the end: anything more was an answer too many.
                if await asyncio.wait_for(reader.read(1), 40):
                    raise Loss("more than one answer")
                return 0
            keep = headers.get("keep-alive", "timeout=5")
            return time.monotonic() + int(keep.split("timeout=")[1].split(",")[0]) - 1
        except (OSError, EOFError, Loss, asyncio.TimeoutError, asyncio.LimitOverrunError) as error:
            self.lose(f"request {number} {path}: {error!r}", port_of(writer))
            return 0
        finally:
            del self.in_flight[number]

    async def client(self, place):
        pair, until, keeps = None, 0, place % 4 != 0
        chance = random.Random(self.random.random())
        while not self.stopping.is_set():
            if pair and time.monotonic() > until:
                pair[1].close()
                pair = None
            pair = pair or await self.connect()
            if not pair:
                if self.is_ending:
                    return
                continue
            path = SLOW if chance.random() < 0.05 else "/api/bookmarks?per_page=20"
            until = await self.ask(pair, path)
            if not until or not keeps:
                pair[1].close()
                pair = None
            await asyncio.sleep(chance.choice((0, 0, 0.01, 0.1)))
        if pair:
            pair[1].close()

    async def stream(self):
        while not self.stopping.is_set():
            pair = await self.connect()
            if not pair:
                if self.is_ending:
                    return
                continue
            reader, writer = pair
            number = next(self.numbers)
            try:
                writer.write(self.head("/api/realtime/stream", number))
                status, headers = await self.read_head(reader, number)
                if status != 200:
                    body = await reader.read(int(headers.get("content-length", 0)))
                    raise Loss(f"status {status}: {body.decode()}")
                while not self.stopping.is_set():
                    try:
                        size = int(await asyncio.wait_for(reader.readline(), 1), 16)
                    except asyncio.TimeoutError:
                        continue
                    await reader.readexactly(size + 2)
                    if size == 0:
                        self.streams_ended += 1
                        break
            except (OSError, EOFError, Loss, ValueError, asyncio.TimeoutError) as error:
                self.lose(f"stream {number}: {error!r}", port_of(writer))
            writer.close()

    def stop(self):
        self.stopping.set()
        self.thread.join(60)
        return self

    def check(self):
        assert not self.thread.is_alive(), self.in_flight
        assert not self.lost, f"{len(self.lost)} lost of {self.sent}: {self.lost[:5]}"
        assert self.sent == self.answered and set(self.statuses) == {200}, self.statuses

    def __str__(self):
        return (f"{self.sent} requests, {self.answered} answered ({self.statuses}), "
                f"{len(self.lost)} lost, {self.streams_ended} streams ended by their last chunk, "
                f"{self.refused} refused")
