"""Ray, measured as Fleet is: this process calls one actor, which Ray gives a process of its own.

The argument is a folder for Ray's own files. Asked line by line on standard input: `tell BYTES COUNT` (messages a second), `ask COUNT` (median microseconds, one in
flight), `asks FLYING COUNT` (answers a second). The first line of the output is `ready WHAT`, then each question gets one
line, `error: WHY` if it failed.
"""

import os
import statistics
import sys
import time

# Ray's own workers write to standard output: the answers keep it for themselves.
ANSWERS = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import numpy as np  # noqa: E402
import ray  # noqa: E402

SMALL = 64
# Above this an argument is put into the shared memory once and read there without a copy: Ray's best way.
BY_REFERENCE = 100 << 10
# Objects of 16 MiB that may be on their way: they have to fit into the store.
IN_STORE = 16


@ray.remote(num_cpus=0)
class Sink:
    def __init__(self):
        self.taken = 0

    # Without a result: Ray's cheapest call.
    @ray.method(num_returns=0)
    def take(self, payload):
        self.taken += 1

    def echo(self, payload):
        return payload

    def count(self):
        return self.taken


def rate(count, began):
    return count / (time.perf_counter() - began)


def tell(sink, size, count):
    before = ray.get(sink.count.remote())
    began = time.perf_counter()
    if size > BY_REFERENCE:
        payload = np.full(size, 7, dtype=np.uint8)
        for n in range(1, count + 1):
            sink.take.remote(ray.put(payload))
            if n % IN_STORE == 0:
                ray.get(sink.count.remote())
    else:
        payload = b"\x07" * size
        for _ in range(count):
            sink.take.remote(payload)
    taken = ray.get(sink.count.remote()) - before
    if taken != count:
        raise RuntimeError(f"{count} sent, {taken} taken")
    return rate(count, began)


def ask(sink, count):
    payload = b"\x07" * SMALL
    times = []
    for _ in range(count):
        began = time.perf_counter()
        ray.get(sink.echo.remote(payload))
        times.append((time.perf_counter() - began) * 1e6)
    return statistics.median(times)


def asks(sink, flying, count):
    payload = b"\x07" * SMALL
    times = max(1, count // flying)
    began = time.perf_counter()
    for _ in range(times):
        ray.get([sink.echo.remote(payload) for _ in range(flying)])
    return rate(times * flying, began)


MEASURES = {"tell": tell, "ask": ask, "asks": asks}


def main():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
             object_store_memory=1 << 30, _temp_dir=sys.argv[1])
    sink = Sink.remote()
    ray.get(sink.count.remote())
    print("ready Ray", ray.__version__, file=ANSWERS)
    for line in sys.stdin:
        what, *numbers = line.split()
        try:
            answer = MEASURES[what](sink, *map(int, numbers))
        except Exception as e:  # the next question may still be answered
            answer = "error: " + " ".join(str(e).split())
        print(answer, file=ANSWERS)
    ray.shutdown()


if __name__ == "__main__":
    main()
