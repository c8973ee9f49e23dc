"""Counts change by HUP under wrk's load: nothing fails, connections stay spread."""

import re
import subprocess
import time

from services import wait_until

SCRIPT = """
local n = 0
request = function()
  n = n + 1
  if n % 10 == 0 then
    return wrk.format("POST", "/api/bookmarks", {["Content-Type"] = "application/json",
      ["Authorization"] = wrk.headers["Authorization"]},
      '{"url":"http://example.invalid/' .. math.random(1e9) .. '/' .. n .. '"}')
  end
  return wrk.format("GET", "/api/bookmarks?per_page=20")
end
"""


def test_two_six_one(make_stack, folder):
    stack = make_stack(workers=2, jobs='outbox_age = "60s";')
    client = stack.client().sign_up()
    script = f"{folder}/mix.lua"
    with open(script, "w", encoding="ascii") as file:
        file.write(SCRIPT)
    load = subprocess.Popen(["wrk", "-t2", "-c64", "-d20s", "-s", script, "-H",
                             f"Authorization: Bearer {client.token}", stack.url],
                            stdout=subprocess.PIPE, text=True)
    time.sleep(2)
    for number in (6, 1, 4):
        stack.reload(workers=number)
        wait_until(lambda n=number: len(stack.children("worker")) == n, 20, f"{number} workers")
        time.sleep(2)
    metrics = stack.client().get("/metrics").text
    spread = [int(float(line.rsplit(" ", 1)[1])) for line in metrics.splitlines()
              if line.startswith("forkmark_worker_connections{")]
    out = load.communicate()[0]
    print(out, spread)
    assert "Socket errors" not in out and "Non-2xx" not in out
    assert float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)) > 0
    mean = sum(spread) / len(spread)
    assert len(spread) == 4 and all(abs(number - mean) <= mean * 0.25 + 1 for number in spread)
