"""Sends one message to a webhook, in bounded time, and takes secrets out of what people will read.

Knows HTTP and which values are secret; nothing of runs. The address is a secret itself: who has it can write there.
"""

import json
import os
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import quote, urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from book_search.settings import load_settings

SECONDS = 10.0
HIDDEN = "***"
LEAST_LENGTH = 6  # of a value that is hidden wherever it occurs: `x` would leave nothing readable
SECRET_NAMES = re.compile(r"SECRET|TOKEN|PASSW|(^|_)PWD$|PRIVATE|CREDENTIAL|ACCESS_KEY|API_?KEY", re.IGNORECASE)
IN_ADDRESSES = re.compile(r"(\w+://[^\s:/@]*:)[^\s/]+@")
AFTER_WORDS = re.compile(r"((?:password|passwd|secret|token)\s*[=:]\s*)('[^']*'|\"[^\"]*\"|\S+)", re.IGNORECASE)


class WebhookError(RuntimeError):
    """The message was not taken. The reason names no address."""


def post(address: str, message: Mapping[str, object]) -> None:
    """POST a message as JSON.

    Raises:
        WebhookError: it was not taken within `SECONDS`, however slowly the receiver answers.
    """
    failed = ["no answer in time"]

    def send() -> None:
        try:
            status = _status(address, json.dumps(message).encode())
            failed[:] = [] if 200 <= status < 300 else [f"it answered HTTP {status}"]
        except (OSError, HTTPException, ValueError) as error:
            failed[:] = [type(error).__name__]  # its text may hold the address, and with it the secret

    # A daemon: a receiver that sends a byte now and then would else keep this process from its end.
    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    sender.join(SECONDS)
    if failed:
        raise WebhookError(failed[0])


def _status(address: str, body: bytes) -> int:
    """What the receiver answers. By the standard library, which writes no address to a log, as urllib3 does."""
    parts = urlsplit(address)
    kinds: dict[str, type[HTTPConnection]] = {"https": HTTPSConnection, "http": HTTPConnection}
    if parts.scheme not in kinds or not parts.hostname:
        raise ValueError("BOOK_SEARCH_WEBHOOK is no http address")
    connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=SECONDS)
    try:
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request("POST", target, body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def without_secrets(text: str) -> str:
    """The text with passwords, tokens and the like taken out: the values that are set, and what looks like one."""
    for value in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return AFTER_WORDS.sub(rf"\1{HIDDEN}", IN_ADDRESSES.sub(rf"\1{HIDDEN}@", text))


def _secrets() -> set[str]:
    """Every value that is secret by the settings or by its variable's name, also as an address would hold it."""
    settings = load_settings()
    values = {value for name, value in os.environ.items() if SECRET_NAMES.search(name)}
    if settings.webhook is not None:
        values.add(settings.webhook.get_secret_value())
    if settings.dsn is not None:
        values.add(settings.dsn)
        with suppress(ProgrammingError):  # nothing connects by it then, and it is hidden as a whole
            values.add(str(conninfo_to_dict(settings.dsn).get("password") or ""))
    return {form for value in values if len(value) >= LEAST_LENGTH for form in (value, quote(value, safe=""))}
