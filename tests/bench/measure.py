"""tests/bench/run calls this: measures all rows, prints the table, writes the figures as JSON.

    measure.py WEIR MOCK STREAMS [--rounds N] [--seconds S] [--only TEXT] [--skip TEXT]
               [--out FILE]"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import tempfile
import time

from rows import ROWS
from targets import Mock, Nginx, TlsFront, Weir, many_keys


class Bench:
    hold = 8
    many = 1_000_000

    def __init__(self, arguments, work):
        self.arguments, self.work = arguments, work
        self.streams, self.seconds = arguments.streams, arguments.seconds
        self.round = 0
        self.filled = set()
        self.fresh_count = 0
        self.mock = Mock(arguments.mock, work)
        upstream = self.mock.port
        self.front = TlsFront(work, upstream)
        self.nginx = Nginx(work, upstream, tls=self.front)
        self.over_tls = Weir(arguments.weir, work, "tls", self.front.port,
                             ca=self.front.certificate)
        self.weir = self.make("weir", keys=many_keys())
        # Answers of the first are mostly in its file only; of the second, bodies of any size are
        # looked up.
        self.small = self.make("small", cache="{memory: 256KiB}")
        self.large = self.make("large", cache="{max_request: 64MiB}")
        self.both = {
            "weir": self.make("two", workers=2, core={0, 1}),
            "nginx": Nginx(pathlib.Path(work, "two"), upstream, workers=2, core={0, 1}),
        }
        self.running = [self.weir, self.small, self.large, self.over_tls, *self.both.values(),
                        self.nginx, self.front, self.mock]

    def make(self, name, **more):
        return Weir(self.arguments.weir, self.work, name, self.mock.port, **more)

    def process(self, target):
        return self.nginx if target == "nginx" else self.weir

    def port(self, target):
        return self.process(target).port

    def fresh(self, target):
        """A process that has done nothing yet, and its port."""
        self.fresh_count += 1
        if target == "nginx":
            folder = pathlib.Path(self.work, f"fresh{self.fresh_count}")
            folder.mkdir()
            process = Nginx(folder, self.mock.port)
        else:
            process = self.make(f"fresh{self.fresh_count}")
        return process, process.port

    def stop(self):
        for process in self.running:
            process.stop()


def measure_row(bench, row, rounds):
    """Each figure of each target, round by round; who is first changes."""
    seen = {target: [] for target in row.targets}
    for index in range(rounds):
        bench.round += 1
        order = list(row.targets) if index % 2 == 0 else list(reversed(row.targets))
        for target in order:
            seen[target].append(row.measure(bench, target))
    return seen


def judge(row, seen):
    """The row's lines of the table."""
    lines = []
    for figure in row.figures:
        values = {name: [one[figure.name] for one in all] for name, all in seen.items()}
        line = {
            "row": row.name,
            "figure": figure.name,
            "unit": figure.unit,
            "better": figure.better,
            "target": figure.target,
            "limit": figure.limit,
            "weir": statistics.median(values["weir"]),
        }
        if "nginx" in values:
            line["nginx"] = statistics.median(values["nginx"])
            pairs = zip(values["weir"], values["nginx"])
            ratios = [ours / theirs for ours, theirs in pairs if theirs > 0]
            line["ratio"] = statistics.median(ratios)
            line["ratios"] = [round(ratio, 3) for ratio in ratios]
        told = line["weir"] if figure.alone else line["ratio"]
        line["judged"] = "weir" if figure.alone else "ratio"
        least = figure.better == "more"
        reached = lambda bound: told >= bound if least else told <= bound
        line["verdict"] = (
            "reached" if reached(figure.target)
            else "not worse than allowed" if reached(figure.limit)
            else "MISSED"
        )
        lines.append(line)
    return lines


def show(line):
    ratio = f"{line['ratio']:7.2f}" if "ratio" in line else "      -"
    nginx = f"{line['nginx']:10.1f}" if "nginx" in line else "         -"
    print(f"{line['row'][:58]:58} {line['unit'][:14]:14} {line['weir']:10.1f} {nginx} {ratio}  "
          f"{line['target']:>6} {line['limit']:>6}  {line['verdict']}", flush=True)


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo")
                  if line.startswith("model name")), platform.machine())
    nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.strip()
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "nginx": nginx}


def main():
    parser = argparse.ArgumentParser()
    for name in ("weir", "mock", "streams"):
        parser.add_argument(name)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows with this in their name")
    parser.add_argument("--skip", help="no rows with this in their name")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    work = tempfile.mkdtemp(prefix="weir-bench-")
    pathlib.Path(work, "two").mkdir()
    bench = Bench(arguments, work)
    lines = []
    print(f"{'row':58} {'unit':14} {'weir':>10} {'nginx':>10} {'ratio':>7}  target  limit")
    try:
        for row in ROWS:
            if arguments.only not in row.name or (arguments.skip and arguments.skip in row.name):
                continue
            for line in judge(row, measure_row(bench, row, arguments.rounds)):
                lines.append(line)
                show(line)
    finally:
        bench.stop()
        shutil.rmtree(work, ignore_errors=True)
    result = {
        "measured": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "binary_bytes": os.path.getsize(arguments.weir),
        "lines": lines,
    }
    if arguments.out:
        pathlib.Path(arguments.out).write_text(json.dumps(result, indent=1) + "\n")
    if any(line["verdict"] == "MISSED" for line in lines):
        print("some figures are worse than allowed")


if __name__ == "__main__":
    main()
