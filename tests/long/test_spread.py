"""Four workers: 40 keep-alive connections lie 9 to 11 on each, churn within 20 %."""

import asyncio
import http.client

from services import wait_until


def per_worker(stack, metric):
    text = stack.client().get("/metrics").text
    return [float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
            if line.startswith(f"forkmark_{metric}{{")]


def test_kept_connections_are_spread(make_stack):
    stack = make_stack(workers=4, consumers=0)
    connections = []
    for _ in range(40):
        connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=5)
        connection.request("GET", "/health/liveness")
        connection.getresponse().read()
        connections.append(connection)
    # The one that asks for the metrics may count as well.
    spread = wait_until(lambda: per_worker(stack, "worker_connections"), 5, "metrics")
    print("kept:", spread)
    for connection in connections:
        connection.close()
    assert len(spread) == 4 and min(spread) >= 9 and max(spread) <= 12 and sum(spread) <= 41


def test_churn_is_spread(make_stack):
    stack = make_stack(workers=4, consumers=0)

    async def client(rounds):
        for _ in range(rounds):
            reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
            writer.write(b"GET /health/liveness HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()

    async def all_of_them():
        await asyncio.gather(*(client(500) for _ in range(32)))

    asyncio.run(all_of_them())
    status = stack.ctl("status", "--json").stdout
    import json
    web = next(pool for pool in json.loads(status)["pools"] if pool["name"] == "web")
    served = [child["requests"] for child in web["children"]]
    mean = sum(served) / len(served)
    print("churn:", served)
    assert len(served) == 4 and all(abs(number - mean) <= 0.2 * mean for number in served)
