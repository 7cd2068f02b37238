"""One answer, in both of Python's protocols: which worker gave it."""

import asyncio
import os
import time

WORKER = os.environ["ALLCORES_WORKER"].encode()


def wsgi(environ, start_response):
    time.sleep(0.005)
    start_response("200 OK", [("Content-Length", str(len(WORKER)))])
    return [WORKER]


async def asgi(scope, receive, send):
    await asyncio.sleep(0.005)
    headers = [(b"content-length", str(len(WORKER)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": WORKER})
