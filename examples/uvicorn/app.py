import asyncio
import os


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await asyncio.sleep(0.005)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": f"worker {os.environ['ALLCORES_WORKER']}\n".encode()})
