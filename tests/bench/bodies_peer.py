"""The upstream of tests/bench/bodies: takes what is posted, sends one file for each GET."""

import os
import socket
import sys
import threading

body = open(sys.argv[1], "rb")
size = os.fstat(body.fileno()).st_size
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)


def serve(peer):
    sink = bytearray(1 << 20)
    pending = b""
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        while b"\r\n\r\n" not in pending:
            more = peer.recv(65536)
            if not more:
                return
            pending += more
        head, pending = pending.split(b"\r\n\r\n", 1)
        fields = dict(
            line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
        )
        left = int(fields.get(b"content-length", 0))
        left -= len(pending)
        pending = b""
        while left > 0:
            count = peer.recv_into(sink, min(left, len(sink)))
            if count == 0:
                return
            left -= count
        if head.startswith(b"GET") and b"/content" in head:
            peer.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                b"Content-Length: %d\r\n\r\n" % size
            )
            sent = 0
            while sent < size:
                sent += os.sendfile(peer.fileno(), body.fileno(), sent, size - sent)
        else:
            peer.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
            )


while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
