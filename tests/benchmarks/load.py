"""Load on loopback: kept-alive connections that send as fast as they are answered. wrk where it is installed."""

import http.client
import json
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_LUA = """
local number, threads = 0, {}
function setup(thread) thread:set("id", #threads); table.insert(threads, thread) end
function init(args) prefix = "RUN-" .. id .. "-" end
function request()
  number = number + 1
  local name = prefix .. number
  return wrk.format("PUT", "PATH" .. name, HEADERS, (string.gsub(BODY, "@ID@", name)))
end
function done(summary, latency, requests)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format('RESULT {"sent": %d, "failed": %d, "seconds": %f, "p50": %f, "p99": %f, "max": %f}\\n',
    summary.requests, failed, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
"""


@dataclass(frozen=True)
class Measured:
    """One run. Times in milliseconds."""

    per_second: float
    p50: float
    p99: float
    slowest: float
    failed: int


def measure(
    port: int, path: str, headers: Mapping[str, str], body: str, *, seconds: float, connections: int, run: str
) -> Measured:
    """Send PUTs of `body` (with a new id in place of each @ID@) to `path` + id for some seconds."""
    if shutil.which("wrk"):
        return _with_wrk(port, path, headers, body, seconds, connections, run)
    return _with_threads(port, path, headers, body, seconds, connections, run)


def _with_wrk(
    port: int, path: str, headers: Mapping[str, str], body: str, seconds: float, connections: int, run: str
) -> Measured:
    lua_headers = "{" + ", ".join(f"[{json.dumps(k)}] = {json.dumps(v)}" for k, v in headers.items()) + "}"
    script = _LUA.replace("RUN", run).replace("PATH", path).replace("HEADERS", lua_headers)
    script = script.replace("BODY", f"[==[{body}]==]")
    with tempfile.TemporaryDirectory() as folder:
        lua = Path(folder) / "load.lua"
        lua.write_text(script)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "30s", "-s", str(lua)]
        done = subprocess.run([*command, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    result = json.loads(line.removeprefix("RESULT "))
    return Measured(
        per_second=result["sent"] / result["seconds"],
        p50=result["p50"],
        p99=result["p99"],
        slowest=result["max"],
        failed=int(result["failed"]),
    )


def _with_threads(
    port: int, path: str, headers: Mapping[str, str], body: str, seconds: float, connections: int, run: str
) -> Measured:
    latencies: list[float] = []
    failed: list[int] = []
    end = time.monotonic() + seconds

    def send(thread: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        mine: list[float] = []
        number = 0
        while time.monotonic() < end:
            number += 1
            name = f"{run}-{thread}-{number}"
            begun = time.monotonic()
            connection.request("PUT", path + name, body.replace("@ID@", name), dict(headers))
            response = connection.getresponse()
            response.read()
            mine.append((time.monotonic() - begun) * 1000)
            if not 200 <= response.status < 300:
                failed.append(response.status)
        latencies.extend(mine)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    percentiles = statistics.quantiles(latencies, n=100)
    return Measured(len(latencies) / seconds, percentiles[49], percentiles[98], max(latencies), len(failed))
