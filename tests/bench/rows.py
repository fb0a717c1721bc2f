"""The rows of the table: what is done to each target, and what is told of it.

A row is a function of the bench and of one target. It gives its figures by name; `measure` asks
for it round by round, the targets in turn, and compares only what came from the same round."""

import threading
import time

import load
from targets import KEY, MANY

FREE, SPENT = "free-" + KEY, "spent-" + KEY


class Figure:
    """`target` and `limit`: of the ratio to nginx, or of the figure itself where there is none."""

    def __init__(self, name, unit, target, limit, better="less", alone=False):
        self.name, self.unit, self.target, self.limit = name, unit, target, limit
        self.better, self.alone = better, alone


class Row:
    def __init__(self, name, figures, measure, targets=("nginx", "weir")):
        self.name, self.figures, self.measure, self.targets = name, figures, measure, targets


def cpu_of(process, work):
    """What `work` gives, and the microseconds that the process took meanwhile."""
    before = process.cpu_ns()
    result = work()
    return result, (process.cpu_ns() - before) / 1000


def asked(bench, process, port, **options):
    """One measurement by wrk, after a short one that nobody counts: with time to make large bodies."""
    load.wrk(port, seconds=3 if options.get("pad", 0) >= 10 << 20 else 1, **options)
    result, cpu = cpu_of(process, lambda: load.wrk(port, seconds=bench.seconds, **options))
    return {
        "cpu": cpu / result["requests"],
        "per_s": result["per_s"],
        "p50": result["p50_us"],
        "p99": result["p99_us"],
    }


def forward(model, key=KEY, connections=32, keys=0):
    def measure(bench, target):
        return asked(bench, bench.process(target), bench.port(target), model=model, key=key,
                     connections=connections, keys=keys)

    return measure


def over_tls(bench, target):
    process = bench.nginx if target == "nginx" else bench.over_tls
    port = bench.nginx.tls_port if target == "nginx" else process.port
    return asked(bench, process, port, model="wait-20-500")


def added(model, connections):
    """The median latency beyond that of the mock itself, measured just before."""

    def measure(bench, target):
        options = {"model": model, "connections": connections, "seconds": bench.seconds}
        direct = load.wrk(bench.mock.port, **options)
        through = load.wrk(bench.port(target), **options)
        return {"added": max(through["p50_us"] - direct["p50_us"], 1)}

    return measure


def hit(bench, target):
    port = bench.nginx.cached_port if target == "nginx" else bench.weir.port
    return asked(bench, bench.process(target), port, model="now-500", each=False,
                 salt="the same question")


def hit_on_disk(bench, target):
    """Of 20,000 answers, of which memory holds a few hundred."""
    port = bench.nginx.cached_port if target == "nginx" else bench.small.port
    options = {"model": "now-500", "each": False, "among": 20_000, "salt": "one of many"}
    if (target, port) not in bench.filled:
        load.wrk(port, seconds=10, **options)
        time.sleep(2)  # until all are written
        bench.filled.add((target, port))
    process = bench.nginx if target == "nginx" else bench.small
    calls = bench.mock.cpu_ns()
    result, cpu = cpu_of(process, lambda: load.wrk(port, seconds=bench.seconds, **options))
    if bench.mock.cpu_ns() - calls > 0.05e9 and target == "weir":
        raise SystemExit("the upstream was asked for what should be in the file")
    return {"cpu": cpu / result["requests"], "per_s": result["per_s"]}


def refusal(key):
    def measure(bench, target):
        port = bench.nginx.refusing_port if target == "nginx" else bench.weir.port
        return asked(bench, bench.process(target), port, model="now-500", key=key, refused=True)

    return measure


def events(model, count):
    def measure(bench, target):
        process = bench.process(target)
        load.streams(bench.streams, bench.port(target), model, count, seconds=1)
        result, cpu = cpu_of(process, lambda: load.streams(
            bench.streams, bench.port(target), model, count, seconds=bench.seconds))
        return {
            "cpu": cpu / result["events"],
            "per_s": result["events_per_s"],
            "p50": result["p50_us"],
            "p99": result["p99_us"],
        }

    return measure


def added_event(model, count):
    def measure(bench, target):
        direct = load.streams(bench.streams, bench.mock.port, model, count, seconds=bench.seconds)
        through = load.streams(bench.streams, bench.port(target), model, count,
                               seconds=bench.seconds)
        return {
            "added": max(through["p50_us"] - direct["p50_us"], 1),
            "p99": through["p99_us"],
        }

    return measure


def fan_out(bench, target):
    """A hundred who ask the same at the same time: Weir calls once, nginx a hundred times."""
    process = bench.process(target)
    model = "sse-400-5000"
    key = KEY if target == "weir" else FREE
    result, cpu = cpu_of(process, lambda: load.streams(
        bench.streams, bench.port(target), f"{model}-{bench.round}", 100, key=key, each=False,
        seconds=0))
    return {"cpu": cpu / result["events"]}


def open_streams(count):
    def measure(bench, target):
        """Of a fresh process each, since what was once taken is kept."""
        process, port = bench.fresh(target)
        try:
            before = process.rss_kb()
            seen = {}

            def look():
                time.sleep(bench.hold - 1.5)
                seen["rss"] = process.rss_kb()

            watcher = threading.Thread(target=look)
            watcher.start()
            result = load.streams(bench.streams, port, "hold-1000", count, hold=bench.hold)
            watcher.join()
            if result["open"] != count:
                raise SystemExit(f"{target}: only {result['open']} of {count} are open")
            return {"kb": (seen["rss"] - before) / count, "mb": seen["rss"] / 1024}
        finally:
            process.stop()

    return measure


def big_body(megabytes, cached=False):
    def measure(bench, target):
        process = bench.process(target)
        port = bench.port(target)
        if cached and target == "weir":
            process, port = bench.large, bench.large.port
        key = KEY if cached else FREE
        return asked(bench, process, port, model="now-500", key=key, connections=4,
                     pad=megabytes << 20)

    return measure


def beside_a_big_body(bench, target):
    """The events of 20 quiet streams while one client sends 50 MB again and again."""
    port = bench.port(target)
    stop = threading.Event()

    def send():
        while not stop.is_set():
            load.wrk(port, "now-500", connections=1, seconds=1, pad=50 << 20)

    sender = threading.Thread(target=send)
    sender.start()
    time.sleep(0.5)
    try:
        result = load.streams(bench.streams, port, "sse-200-10000", 20, seconds=bench.seconds)
    finally:
        stop.set()
        sender.join()
    direct = load.streams(bench.streams, bench.mock.port, "sse-200-10000", 20,
                          seconds=bench.seconds)
    return {"p99_ms": result["p99_us"] / 1000, "direct_p99_ms": direct["p99_us"] / 1000}


def start_up(bench, target):
    process, _ = bench.fresh(target)
    ready, rss = process.start_s, process.rss_kb()
    process.stop()
    return {"ms": ready * 1000, "mb": rss / 1024}


def after_many(bench, target):
    process, port = bench.fresh(target)
    try:
        asked_for = 0
        while asked_for < bench.many:
            asked_for += load.wrk(port, "now-500", connections=64, seconds=10)["requests"]
        time.sleep(2)
        return {"mb": process.rss_kb() / 1024}
    finally:
        process.stop()


def two_workers(bench, target):
    """Both cores for all: what a second worker brings where load and mock take their share."""
    process = bench.both[target]
    return asked(bench, process, process.port, model="now-500", connections=64, core={0, 1})


CPU = "CPU us/request"
ROWS = [
    Row("forward, answered after 20 ms", [Figure("cpu", CPU, 1.15, 1.35)],
        forward("wait-20-500")),
    Row("forward, answered after 20 ms, 1 connection: p50 added",
        [Figure("added", "us", 1.0, 1.2)], added("wait-20-500", 1)),
    Row("forward, answered after 20 ms, 32 connections: p50 added",
        [Figure("added", "us", 1.0, 1.2)], added("wait-20-500", 32)),
    Row("forward, answered at once",
        [Figure("cpu", CPU, 1.5, 1.9), Figure("per_s", "requests/s", 0.6, 0.45, "more")],
        forward("now-500")),
    Row("forward, 1,000 keys with caps in turn, answered after 20 ms",
        [Figure("cpu", CPU, 1.15, 1.35)], forward("wait-20-500", key="many-" + KEY, keys=MANY)),
    Row("forward over TLS to the upstream, answered after 20 ms",
        [Figure("cpu", CPU, 1.15, 1.35)], over_tls),
    Row("forward, caps off",
        [Figure("cpu", CPU, 1.15, 1.35), Figure("per_s", "requests/s", 0.9, 0.75, "more")],
        forward("now-500", key=FREE)),
    Row("cache hit (nginx: proxy_cache)",
        [Figure("cpu", CPU, 0.55, 0.70), Figure("per_s", "requests/s", 1.9, 1.5, "more")], hit),
    Row("cache hit from SQLite (nginx: proxy_cache)", [Figure("cpu", CPU, 0.75, 0.9)],
        hit_on_disk),
    Row("refused, 429 (nginx: 401 by itself)",
        [Figure("per_s", "requests/s", 1.0, 0.8, "more"), Figure("cpu", CPU, 1.0, 1.25)],
        refusal(SPENT)),
    Row("refused, 401 (nginx: 401 by itself)",
        [Figure("per_s", "requests/s", 1.0, 0.8, "more"), Figure("cpu", CPU, 1.0, 1.25)],
        refusal("wrong-" + KEY)),
    Row("events, 40,000/s on 200 streams",
        [Figure("cpu", "CPU us/event", 1.05, 1.2), Figure("p99", "us", 1.2, 1.6)],
        events("sse-200-5000", 200)),
    Row("events, 5,000/s on 50 streams: p50 added",
        [Figure("added", "us", 1.0, 1.3), Figure("p99", "us", 1.2, 1.6)],
        added_event("sse-200-10000", 50)),
    Row("events as fast as they can, 16 streams",
        [Figure("per_s", "events/s", 0.85, 0.65, "more"), Figure("cpu", "CPU us/event", 1.2, 1.55)],
        events("sse-2000-0", 16)),
    Row("a flight of 100 listeners (nginx: 100 streams)",
        [Figure("cpu", "CPU us/event", 0.7, 1.0)], fan_out),
    Row("2,000 open streams", [Figure("kb", "KB/stream", 12, 18, alone=True)],
        open_streams(2000)),
    Row("9,000 open streams", [Figure("mb", "MB", 130, 200, alone=True)], open_streams(9000),
        ("weir",)),
    Row("1 MB body, not cached", [Figure("cpu", CPU, 1.1, 1.4)], big_body(1)),
    Row("10 MB body, not cached", [Figure("cpu", CPU, 1.1, 1.4)], big_body(10)),
    Row("50 MB body, not cached", [Figure("cpu", CPU, 1.1, 1.4)], big_body(50)),
    Row("10 MB body, looked up in the cache", [Figure("cpu", CPU, 2.0, 2.7)],
        big_body(10, cached=True)),
    Row("events beside 50 MB bodies", [Figure("p99_ms", "ms", 5, 20, alone=True)],
        beside_a_big_body),
    Row("start", [Figure("ms", "ms", 50, 100, alone=True), Figure("mb", "MB", 15, 20, alone=True)],
        start_up, ("weir",)),
    Row("memory after 1,000,000 requests", [Figure("mb", "MB", 104, 124, alone=True)],
        after_many, ("weir",)),
    Row("two workers, all on two cores", [Figure("cpu", CPU, 1.5, 1.9)], two_workers),
]
