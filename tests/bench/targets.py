"""What is measured: Weir, nginx, and the mock behind both; each a process on a core of its own."""

import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import time
import urllib.request

TARGET_CORE, LOAD_CORE = 0, 1
KEY = "bench-secret-0123456789"
# One of so many keys with caps is `many-KEY-N`.
MANY = 1000


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def place(core):
    """Runs in the child: its cores, the best priority, and all the descriptors there are."""

    def begin():
        os.sched_setaffinity(0, core if isinstance(core, set) else {core})
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    return begin


def descendants(pid):
    found = [pid]
    for parent in found:
        for task in pathlib.Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


class Process:
    def __init__(self, command, core, log):
        self.log = open(log, "ab")
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            command, preexec_fn=place(core), stdout=self.log, stderr=self.log
        )
        self.pid = self.process.pid

    def cpu_ns(self):
        """User and system time of all its threads, by the scheduler's own counter."""
        total = 0
        for pid in descendants(self.pid):
            for stat in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
                try:
                    total += int(stat.read_text().split()[0])
                except OSError:
                    pass  # a thread that ended
        return total

    def rss_kb(self):
        total = 0
        for pid in descendants(self.pid):
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
        return total

    def wait_for(self, port, path="/healthz", patience=60):
        """Seconds from its start to its first answer."""
        while time.monotonic() - self.begun < patience:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                    return time.monotonic() - self.begun
            except urllib.error.HTTPError:
                return time.monotonic() - self.begun
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit(f"{self.log.name} ended at once:\n" + tail(self.log.name))
                time.sleep(0.001)
        raise SystemExit(f"{self.log.name} does not answer:\n" + tail(self.log.name))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


def tail(path):
    return "\n".join(pathlib.Path(path).read_text(errors="replace").splitlines()[-15:])


def many_keys():
    return "".join(
        f"  - {{name: many-{i}, plan: capped, secret: many-{KEY}-{i}}}\n"
        for i in range(1, MANY + 1)
    )


class Weir(Process):
    """`more`: lines of the config beside those that every row has. `ca`: the upstream speaks TLS."""

    def __init__(self, binary, work, name, upstream, more="", cache="{}", plans="", keys="",
                 workers=1, core=TARGET_CORE, ca=None):
        (self.port,) = free_ports(1)
        folder = pathlib.Path(work) / name
        folder.mkdir(exist_ok=True)
        config = folder / "weir.yaml"
        scheme, trust = ("https", f", ca: {ca}") if ca else ("http", "")
        config.write_text(f"""listen: "127.0.0.1:{self.port}"
data: {folder}/data
workers: {workers}
limits: {{connections: 12000, body: 64MiB, bodies: 1GiB}}
upstreams:
  - {{name: mock, url: "{scheme}://127.0.0.1:{upstream}/v1", key: an-upstream-key{trust}}}
plans:
  capped: {{caps: [{{allow: 1000000000/4h}}, {{models: "now*", allow: 1000000000/day}}, {{allow: 100000 at once}}]}}
  free: {{caps: []}}
  spent: {{caps: [{{allow: 0/4h}}]}}
{plans}keys:
  - {{name: capped, plan: capped, secret: {KEY}}}
  - {{name: free, plan: free, secret: free-{KEY}}}
  - {{name: spent, plan: spent, secret: spent-{KEY}}}
{keys}cache: {cache}
{more}""")
        super().__init__([binary, "serve", "--config", str(config)], core, folder / "log")
        self.start_s = self.wait_for(self.port)


class Nginx(Process):
    """Ports: a plain proxy (`port`), one that speaks TLS to its upstream (`tls`), one with a cache,
    and one that refuses by itself."""

    def __init__(self, work, upstream, workers=1, core=TARGET_CORE, tls=None):
        folder = pathlib.Path(work) / "nginx"
        folder.mkdir(exist_ok=True)
        self.port, self.cached_port, self.refusing_port, self.tls_port = free_ports(4)
        over_tls = f"""
    upstream over_tls {{ server 127.0.0.1:{tls.port}; keepalive 512; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{self.tls_port};
        location / {{
            proxy_pass https://over_tls;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_ssl_verify on;
            proxy_ssl_name 127.0.0.1;
            proxy_ssl_trusted_certificate {tls.certificate};
            proxy_request_buffering off;
            proxy_buffering off;
        }}
    }}""" if tls else ""
        temp = "\n".join(
            f"    {kind}_temp_path {folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        proxy = f"""proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";"""
        config = folder / "nginx.conf"
        config.write_text(f"""user root;
worker_processes {workers};
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    client_max_body_size 0;
    keepalive_requests 100000000;
{temp}
    proxy_cache_path {folder}/cache keys_zone=answers:64m max_size=1g;
    upstream mock {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{self.port} backlog=4096;
        location / {{
            {proxy}
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_read_timeout 600s;
        }}
    }}
    server {{
        listen 127.0.0.1:{self.cached_port};
        location / {{
            {proxy}
            client_body_buffer_size 1m;
            proxy_cache answers;
            proxy_cache_methods POST;
            proxy_cache_key "$http_authorization$request_uri$request_body";
            proxy_cache_valid 200 24h;
        }}
    }}
{over_tls}
    server {{
        listen 127.0.0.1:{self.refusing_port};
        default_type application/json;
        location / {{
            return 401 '{json.dumps(REFUSAL)}';
        }}
    }}
}}
""")
        super().__init__(
            ["nginx", "-e", f"{folder}/error.log", "-c", str(config)], core, folder / "log"
        )
        self.wait_for(self.refusing_port, "/")


REFUSAL = {
    "error": {
        "message": "This key is not known here. Ask whoever runs the gateway for one.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
}


class TlsFront(Process):
    """nginx again, on the other side: gives the mock a TLS port, with the load's core."""

    def __init__(self, work, upstream, core=LOAD_CORE):
        folder = pathlib.Path(work) / "tls"
        folder.mkdir(exist_ok=True)
        (self.port,) = free_ports(1)
        self.certificate, key = folder / "certificate.pem", folder / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
             "subjectAltName=IP:127.0.0.1", "-out", str(self.certificate), "-keyout", str(key)],
            check=True, capture_output=True)
        config = folder / "nginx.conf"
        config.write_text(f"""user root;
worker_processes 1;
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    upstream mock {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{self.port} ssl;
        ssl_certificate {self.certificate};
        ssl_certificate_key {key};
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
""")
        super().__init__(
            ["nginx", "-e", f"{folder}/error.log", "-c", str(config)], core, folder / "log"
        )
        time.sleep(0.3)


class Mock(Process):
    def __init__(self, binary, work, core=LOAD_CORE):
        (self.port,) = free_ports(1)
        super().__init__([binary, str(self.port)], core, pathlib.Path(work) / "mock.log")
        self.wait_for(self.port, "/v1/models")
