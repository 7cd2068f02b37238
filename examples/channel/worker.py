#!/usr/bin/env python3
"""A worker of a cluster that is not Node: asks allcores for a listener, and serves the connections that it is handed.

    allcores --mode cluster --workers 2 python3 examples/channel/worker.py
"""
import array
import json
import os
import socket

channel = socket.socket(fileno=int(os.environ["NODE_CHANNEL_FD"]))
numbers = iter(range(1 << 62))


def send(**message):
    channel.sendall(json.dumps(message).encode() + b"\n")


def cluster(**fields):
    send(cmd="NODE_CLUSTER", seq=next(numbers), **fields)


def lines():
    """Each line with the descriptor that came with it, or None."""
    rest, descriptors = b"", []
    while True:
        data, control, _, _ = channel.recvmsg(65536, socket.CMSG_SPACE(4 * 4))
        for level, kind, raw in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors += array.array("i", raw[: len(raw) // 4 * 4])
        if not data: return
        *whole, rest = (rest + data).split(b"\n")
        for line in map(json.loads, whole):
            wants = line.get("cmd") == "NODE_HANDLE"
            yield (line["msg"], descriptors.pop(0)) if wants and descriptors else (line, None)


def serve(connection):
    connection.setblocking(True)
    with connection:
        connection.recv(65536)
        body = f"worker {os.environ['ALLCORES_WORKER']}, in Python\n"
        connection.sendall(f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


cluster(act="online")
query = {"address": os.environ.get("APP_HOST"), "port": int(os.environ.get("APP_PORT", "8000")), "addressType": 4, "index": 0, "data": None}
cluster(act="queryServer", **query)
for message, descriptor in lines():
    if descriptor is not None:
        send(cmd="NODE_HANDLE_ACK")
    if message.get("act") == "newconn":
        cluster(ack=message["seq"], accepted=True)
        serve(socket.socket(fileno=descriptor))
    elif message.get("cmd") == "NODE_HANDLE":
        send(cmd="NODE_HANDLE_NACK")  # nothing came with it: a question whether we are alive
    elif message.get("act") == "disconnect":
        break
    elif "key" in message and not message.get("errno"):
        cluster(act="listening", **query)
