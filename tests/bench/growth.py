"""tests/bench/run --growth calls this: what a request costs as keys, caps, entries, streams and the
ledger's rows grow. Prints a table, writes the figures as JSON and draws them as an SVG.

    growth.py WEIR MOCK STREAMS [--seconds S] [--only TEXT] [--out FILE] [--svg FILE]

A request is a forwarded one that the mock answers after 20 ms, of a key with caps; its CPU is that of
all threads of Weir. Rows of the two files are put there by SQL, while nobody has them open."""

import argparse
import hmac
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile
import time
from xml.sax.saxutils import escape

import load
from measure import machine
from rows import cpu_of
from targets import KEY, LOAD_CORE, Mock, Weir, place

DAY_US = 24 * 3600 * 1_000_000


class Growth:
    def __init__(self, arguments, work):
        self.arguments, self.work = arguments, work
        self.mock = Mock(arguments.mock, work)
        self.count = 0

    def weir(self, name=None, **more):
        self.count += 1
        return Weir(self.arguments.weir, self.work, name or f"weir{self.count}", self.mock.port,
                    **more)

    def cost(self, process, key=KEY, keys=0):
        options = {"model": "wait-20-500", "connections": 64, "key": key, "keys": keys}
        load.wrk(process.port, seconds=1, **options)
        result, cpu = cpu_of(
            process, lambda: load.wrk(process.port, seconds=self.arguments.seconds, **options))
        return {"cpu": cpu / result["requests"], "start_ms": process.start_s * 1000,
                "mb": process.rss_kb() / 1024}

    def of(self, process, **options):
        try:
            return self.cost(process, **options)
        finally:
            process.stop()


def keys(growth, count):
    """Of up to 1,000 of them, in turn. Stored ones: a config has no room for so many."""

    def fill(data):
        pepper, now = (data / "secret").read_bytes(), time.time_ns() // 1000
        with sqlite3.connect(data / "ledger.db") as file:
            file.executemany(
                "INSERT INTO keys (id, name, plan, team, mac, created_us) "
                "VALUES (?, ?, 'capped', '', ?, ?)",
                ((f"many{i:06}", f"many-{i}",
                  hmac.digest(pepper, f"many-{KEY}-{i}".encode(), "sha256"), now)
                 for i in range(1, count + 1)))
        file.close()

    return growth.of(prepared(growth, f"keys{count}", fill), key="many-" + KEY,
                     keys=min(count, 1000))


def caps(growth, count):
    plan = ", ".join(f"{{allow: {10**9 - i}/{i + 1}h}}" for i in range(count))
    return growth.of(
        growth.weir(plans=f"  many: {{caps: [{plan}]}}\n",
                    keys=f"  - {{name: many, plan: many, secret: many-{KEY}}}\n"),
        key="many-" + KEY)


def prepared(growth, name, fill, **more):
    """A process over files that `fill` has put rows into."""
    first = growth.weir(name, **more)
    load.wrk(first.port, "now-500", seconds=1, connections=1)
    first.stop()
    fill(pathlib.Path(growth.work, name, "data"))
    return growth.weir(name, **more)


def entries(growth, count):
    def fill(data):
        now = int(time.time())
        with sqlite3.connect(data / "cache.db") as file:
            file.executemany(
                "INSERT INTO entries (hash, model, stored_at, expires_at, used_at, size, owner) "
                "VALUES (?, 'gpt-4', ?, ?, ?, 400, 'x')",
                ((os.urandom(32), now, now + 10**7, now) for _ in range(count)))
            file.execute("INSERT INTO bodies (id, packed, checksum) "
                         "SELECT id, randomblob(400), 0 FROM entries WHERE owner = 'x'")
            file.execute("UPDATE totals SET entries = (SELECT count(*) FROM entries), "
                         "bytes = (SELECT sum(size) FROM entries)")
        file.close()

    process = prepared(growth, f"entries{count}", fill, cache="{max_size: 8GiB}")
    try:
        time.sleep(1 + count / 400_000)  # its hashes are read meanwhile
        return growth.cost(process)
    finally:
        process.stop()
        shutil.rmtree(pathlib.Path(growth.work, f"entries{count}"), ignore_errors=True)


def rows(growth, count):
    def fill(data):
        now = time.time_ns() // 1000
        with sqlite3.connect(data / "ledger.db") as file:
            (last,) = file.execute("SELECT seq FROM ledger_end").fetchone()
            account, subject = file.execute(
                "SELECT account, subject FROM messages LIMIT 1").fetchone()
            file.execute("DELETE FROM messages")
            begun, step = now - 20 * DAY_US, 20 * DAY_US // max(count, 1)
            file.executemany(
                "INSERT INTO messages (seq, account, subject, at_us) VALUES (?, ?, ?, ?)",
                ((last + 1 + i, account, subject, begun + i * step) for i in range(count)))
            file.execute("UPDATE ledger_end SET seq = ?, at_us = ?", (last + 1 + count, now))
        file.close()

    return growth.of(prepared(growth, f"rows{count}", fill))


def streams(growth, count):
    process = growth.weir()
    try:
        if count == 0:
            return growth.cost(process)
        seconds = growth.arguments.seconds + 4
        command = [growth.arguments.streams, "--port", str(process.port), "--streams", str(count),
                   "--key", KEY, "--path", "/v1/chat/completions", "--model", "hold-60000",
                   "--unique", "--open-only", str(seconds)]
        before = process.rss_kb()
        held = subprocess.Popen(command, preexec_fn=place(LOAD_CORE), stdout=subprocess.DEVNULL)
        while (pathlib.Path(f"/proc/{process.pid}/fd").exists() and held.poll() is None
               and len(os.listdir(f"/proc/{process.pid}/fd")) < 2 * count):
            time.sleep(0.05)
        time.sleep(0.5)
        figures = growth.cost(process)
        figures["kb_each"] = (process.rss_kb() - before) / count
        if held.poll() is not None:
            raise SystemExit(f"{count} streams did not stay open")
        held.kill()
        held.wait()
        return figures
    finally:
        process.stop()


SERIES = [
    ("keys with caps", keys, [1, 100, 10_000, 100_000]),
    ("caps of the key", caps, [1, 5, 10, 20]),
    ("entries in cache.db", entries, [0, 10_000, 100_000, 1_000_000]),
    ("open streams", streams, [0, 1000, 3000, 9000]),
    ("rows in the ledger", rows, [0, 10_000, 100_000, 1_000_000]),
]


def draw(result):
    """A small plot for each series: the points at equal distances, from 0 up."""
    width, height, gap = 250, 170, 20
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{3 * (width + gap) + gap}" '
           f'height="{2 * (height + gap) + gap + 24}" font-family="sans-serif" font-size="11">',
           '<rect width="100%" height="100%" fill="#ffffff"/>',
           f'<text x="{gap}" y="24" font-size="15" font-weight="bold" fill="#1b1b1b">'
           'CPU of a forwarded request, in us, as things grow</text>']
    most = max(point["cpu"] for series in result["series"] for point in series["points"]) * 1.1
    for index, series in enumerate(result["series"]):
        left = gap + index % 3 * (width + gap)
        top = 34 + gap + index // 3 * (height + gap)
        points = series["points"]
        step = width / max(len(points), 1)
        place_of = [(left + step * (i + 0.5), top + 120 * (1 - point["cpu"] / most))
                    for i, point in enumerate(points)]
        out.append(f'<text x="{left}" y="{top - 6}" font-weight="bold" fill="#1b1b1b">'
                   f'{escape(series["name"])}</text>')
        out.append(f'<line x1="{left}" y1="{top + 120}" x2="{left + width}" y2="{top + 120}" '
                   'stroke="#999999"/>')
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in place_of)
        out.append(f'<polyline points="{line}" fill="none" stroke="#2a5f9e" stroke-width="2"/>')
        for (x, y), point in zip(place_of, points):
            out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#2a5f9e"/>')
            out.append(f'<text x="{x:.1f}" y="{y - 7:.1f}" text-anchor="middle" fill="#1b1b1b">'
                       f'{point["cpu"]:.0f}</text>')
            out.append(f'<text x="{x:.1f}" y="{top + 134}" text-anchor="middle" fill="#555555">'
                       f'{point["at"]:,}</text>')
    return "\n".join(out + ["</svg>", ""])


def main():
    parser = argparse.ArgumentParser()
    for name in ("weir", "mock", "streams"):
        parser.add_argument(name)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", default="", help="series with this in their name")
    parser.add_argument("--out")
    parser.add_argument("--svg")
    arguments = parser.parse_args()
    work = tempfile.mkdtemp(prefix="weir-growth-")
    growth = Growth(arguments, work)
    result = {"measured": time.strftime("%Y-%m-%d"), "machine": machine(), "series": []}
    print(f"{'what grows':22} {'to':>10} {'CPU us/request':>15} {'start ms':>10} {'MB':>7}")
    try:
        for name, measure, counts in SERIES:
            if arguments.only not in name:
                continue
            points = []
            for count in counts:
                point = {"at": count, **measure(growth, count)}
                points.append(point)
                each = f"{point['kb_each']:8.1f} KB each" if "kb_each" in point else ""
                print(f"{name:22} {count:10,} {point['cpu']:15.1f} {point['start_ms']:10.1f} "
                      f"{point['mb']:7.1f}{each}", flush=True)
            result["series"].append({"name": name, "points": points})
    finally:
        growth.mock.stop()
        shutil.rmtree(work, ignore_errors=True)
    if arguments.out:
        pathlib.Path(arguments.out).write_text(json.dumps(result, indent=1) + "\n")
    if arguments.svg:
        pathlib.Path(arguments.svg).write_text(draw(result))


if __name__ == "__main__":
    main()
