"""One answer, in both of Python's protocols: which worker gave it.

How it begins stands in the file VERSION: `good`, `crash`, `slow` or `never`. The asynchronous one says that it is ready and alive.
"""

import asyncio
import os
import socket
import sys
import time

WORKER = os.environ["ALLCORES_WORKER"].encode()
VERSION = "good"
if "VERSION" in os.environ:
    with open(os.environ["VERSION"], encoding="ascii") as file:
        VERSION = file.read().strip()
if VERSION == "crash":
    sys.exit("this version does not work")


def wsgi(environ, start_response):
    time.sleep(0.005)
    start_response("200 OK", [("Content-Length", str(len(WORKER)))])
    return [WORKER]


def notify(text):
    name = os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.sendto(text.encode(), name)


async def begin():
    await asyncio.sleep({"good": 0, "slow": 3, "never": 1000}[VERSION])
    notify("READY=1")
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(0.5)


async def lifespan(receive, send):
    await receive()
    task = asyncio.create_task(begin())
    await send({"type": "lifespan.startup.complete"})
    await receive()
    task.cancel()
    await send({"type": "lifespan.shutdown.complete"})


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    while scope["path"] == "/loop":
        pass
    await asyncio.sleep(0.005)
    headers = [(b"content-length", str(len(WORKER)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": WORKER})
