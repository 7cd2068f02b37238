#!/usr/bin/env python3
"""A server as simple as can be, on the socket that it is handed: the first one is descriptor 3 (sd_listen_fds(3))."""
import os
import signal
import socket
import sys

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
listener = socket.socket(fileno=3)
while True:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        body = f"worker {os.environ['ALLCORES_WORKER']} in slot {os.environ['ALLCORES_SLOT']} answers\n"
        connection.sendall(f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
