"""What asks the targets: wrk for whole answers, our own client for streams."""

import json
import os
import pathlib
import subprocess

from targets import KEY, LOAD_CORE, place

HERE = pathlib.Path(__file__).parent
salt = 0


def next_salt():
    """Questions of one measurement are no other one's."""
    global salt
    salt += 1
    return f"{os.getpid()}-{salt}"


def wrk(port, model, key=KEY, connections=32, seconds=3, each=True, among=0, pad=200, salt=None,
        core=LOAD_CORE, refused=False, keys=0):
    environment = dict(
        os.environ,
        BENCH_MODEL=model,
        BENCH_KEY=key,
        BENCH_EACH="1" if each else "0",
        BENCH_AMONG=str(among),
        BENCH_PAD=str(pad),
        BENCH_SALT=salt or next_salt(),
        BENCH_KEYS=str(keys),
    )
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s",
               "-s", str(HERE / "lua" / "ask.lua"), f"http://127.0.0.1:{port}"]
    out = subprocess.run(command, env=environment, preexec_fn=place(core), check=True,
                         capture_output=True, text=True).stdout
    line = next(line for line in out.splitlines() if line.startswith("JSON "))
    result = json.loads(line[5:])
    wrong = result["broken"] + (0 if refused else result["bad"])
    if refused and result["bad"] != result["requests"]:
        raise SystemExit(f"some of the refused requests were not: {result}")
    if wrong or result["requests"] == 0:
        raise SystemExit(f"wrk on {port}, {model}: {result}\n{out}")
    result["per_s"] = result["requests"] / result["seconds"]
    return result


def streams(binary, port, model, count, key=KEY, each=True, seconds=3, hold=None, core=LOAD_CORE):
    command = [binary, "--port", str(port), "--streams", str(count), "--key", key,
               "--path", "/v1/chat/completions", "--model", model]
    if each:
        command.append("--unique")
    command += ["--open-only", str(hold)] if hold else ["--seconds", str(seconds)]
    done = subprocess.run(command, preexec_fn=place(core), capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"streams on {port}, {model}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])
