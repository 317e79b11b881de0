"""The sandbox from the outside: its settings, which `run` exports, and its own endpoints."""

import json
import os
import random
import urllib.request

URL = os.environ["YOUTUBE_API_URL"]


def call(path, body=None):
    """Asks one of the sandbox's own endpoints; with a body, by POST."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"{URL}/sandbox/{path}", data=data) as answer:
        return json.load(answer)


def published(media_id):
    """What the sandbox has published under this id, once."""
    [post] = [post for post in call("published") if post["id"] == media_id]
    return post


def media(size):
    """The same bytes each time. They end like a line, which an upload in parts must not mistake for its own."""
    return random.Random(size).randbytes(size - 3) + b"\r\n\r"


def check(actual, expected, what):
    """Fails unless both are the same."""
    if actual != expected:
        raise SystemExit(f"{what}: expected {expected!r}, got {actual!r}")
