import os
import time


def app(environ, start_response):
    time.sleep(0.005)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"worker {os.environ['ALLCORES_WORKER']}\n".encode()]
