"""Millrace's wire protocol for functions in Python (docs/protocol.md): checks dispatches and signs callbacks.

Needs BLAKE3 from pip (`blake3`) and nothing else. Knows no web framework: give `receive` the parts of the request.
"""

import hmac
import json
import random
import re
import time
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any, Mapping, Optional

from blake3 import blake3

TOLERANCE_SECONDS = 300
GRACE_SECONDS = 30
HEX32 = re.compile(r"[0-9a-fA-F]{64}")
KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
UNIX_TIME = re.compile(r"[1-9][0-9]{0,11}")


class Refused(Exception):
    """A dispatch that is not taken: answer `status` with `body()` and `headers`."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code = status, code
        # A job must not be lost to a key that was mixed up or a clock that is wrong.
        self.headers = {"Millrace-No-Retry": "false"} if status == 401 else {}

    def body(self) -> dict:
        return {"error": str(self), "code": self.code}


def parse_keyring(text: str) -> dict:
    """`kid:hex[,kid:hex…]`, or 64 hex digits alone: the secrets by their key ids. Raises ValueError, without the text."""
    if HEX32.fullmatch(text.strip()):
        return {"k0": bytes.fromhex(text.strip())}
    keys = {}
    for entry in text.split(","):
        kid, _, secret = entry.strip().partition(":")
        if not KEY_ID.fullmatch(kid) or not HEX32.fullmatch(secret) or kid in keys:
            raise ValueError("not a keyring: kid:hex64[,kid:hex64...]")
        keys[kid] = bytes.fromhex(secret)
    return keys


def verify_dispatch(keys: Mapping, method: str, path: str, body: bytes, header: str, now: Optional[float] = None) -> str:
    """`valid`, `invalid_signature` or `stale_timestamp`. `path` with its query, as in the request line; `now` in seconds."""
    items = _items(header)
    key = keys.get(items.get("kid", ""))
    if key is None or not UNIX_TIME.fullmatch(items.get("t", "")) or not HEX32.fullmatch(items.get("v1", "")):
        return "invalid_signature"
    signed = f"{items['t']}\n{method}\n{path}\n".encode() + body
    expected = blake3(signed, key=key).digest()
    if not hmac.compare_digest(expected, bytes.fromhex(items["v1"])):
        return "invalid_signature"
    age = int(time.time() if now is None else now) - int(items["t"])
    return "valid" if abs(age) <= TOLERANCE_SECONDS else "stale_timestamp"


def _items(header: str) -> dict:
    """`t=…,kid=…,v1=…`. Unknown items are for later versions; one that is there twice makes all of it worthless."""
    items = {}
    for item in header.split(",") if len(header) <= 512 else []:
        name, equals, value = item.partition("=")
        if not equals or name.strip() in items:
            return {}
        items[name.strip()] = value.strip()
    return items


def sign_callback(attempt_key: str, action: str, callback_id: str, body: bytes, now: Optional[float] = None) -> str:
    """The `Millrace-Signature` of one callback: for this action with this body, for five minutes."""
    t = int(time.time() if now is None else now)
    signed = f"{t}\n{action}\n{callback_id}\n".encode() + body
    return f"t={t},v1={blake3(signed, key=bytes.fromhex(attempt_key)).hexdigest()}"


class Callback:
    """What a function says of its attempt. Each answers what the ingress said, or None if it said nothing in time."""

    def __init__(self, callback_id: str, url: str, attempt_key: str, give_up_at: float):
        self.id, self.url, self._key, self._give_up_at = callback_id, url, attempt_key, give_up_at

    def complete(self, payload: Any = None):
        return self._send("complete", {"payload": payload})

    def fail(self, error: str, retryable: bool = True):
        return self._send("fail", {"error": error, "retryable": retryable})

    def snooze(self, seconds: float):
        return self._send("fail", {"snooze_seconds": seconds})

    def heartbeat(self, timeout_seconds: float = 3600, progress: Optional[dict] = None):
        """An answer with `cancel` means: stop working."""
        answer = self._send("heartbeat", {"timeout_seconds": timeout_seconds, **({"progress": progress} if progress else {})})
        if answer and answer[0] == 200:
            self._give_up_at = time.time() + answer[1].get("timeout_seconds", timeout_seconds) + GRACE_SECONDS
        return answer

    def _send(self, action: str, fields: dict):
        """(status, body). Sent again after what may pass: network errors, 408, 429 and 5xx; signed anew each time."""
        body, delay = json.dumps(fields).encode(), 0.25
        while True:
            status, answer, wait = _post(f"{self.url}/{action}", body, sign_callback(self._key, action, self.id, body))
            if status and status < 500 and status not in (408, 429):
                return status, answer
            wait = max(wait, delay * random.uniform(0.5, 1))
            if time.time() + wait >= self._give_up_at:
                return None
            time.sleep(wait)
            delay = min(30, delay * 2)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    # The signature is for the host that the dispatch named.
    def redirect_request(self, *_):
        return None


_opener = urllib.request.build_opener(_NoRedirects)


def _post(url: str, body: bytes, signature: str):
    """(status or None, body, seconds to wait)."""
    headers = {"Content-Type": "application/json", "Millrace-Signature": signature}
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        with _opener.open(request, timeout=20) as response:
            return response.status, json.load(response), 0
    except urllib.error.HTTPError as error:
        with error:
            after = error.headers.get("Retry-After", "")
            return error.code, _json_or_empty(error.read()), int(after) if after.isdecimal() else 0
    except (OSError, ValueError):
        return None, {}, 0


def _json_or_empty(text: bytes) -> dict:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}


class Dispatch:
    """A dispatch that can be trusted. `callback` is None in sync mode: then the answer is the end of the attempt."""

    def __init__(self, job: dict, callback: Optional[Callback]):
        self.job, self.callback = job, callback


def receive(keys: Mapping, method: str, path: str, headers: Mapping, body: bytes) -> Dispatch:
    """Checks a request. `headers` by any spelling of their names; `body` are the raw bytes. Raises Refused."""
    named = {name.lower(): value for name, value in headers.items()}
    if method != "POST":
        raise Refused(405, "method_not_allowed", "Dispatches come as POST")
    verdict = verify_dispatch(keys, method, path, body, named.get("millrace-signature", ""))
    if verdict != "valid":
        raise Refused(401, verdict, "Not signed by a known key, or too long ago")
    try:
        job = json.loads(body.decode("utf-8-sig"))
        callback_id = job.get("callback_id")
        callback = None if callback_id is None else _callback(job, callback_id, named.get("millrace-attempt-key", ""))
        if not isinstance(job["kind"], str) or not isinstance(job["job_id"], int):
            raise ValueError("not a dispatch")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise Refused(400, "invalid_request", "The body is not a dispatch") from error
    return Dispatch(job, callback)


def _callback(job: dict, callback_id: str, attempt_key: str) -> Callback:
    url = job["callback_url"]
    if not url.endswith(f"/{callback_id}/complete") or not HEX32.fullmatch(attempt_key):
        raise ValueError("no way to call back")
    deadline = datetime.fromisoformat(job["deadline"].replace("Z", "+00:00")).timestamp()
    return Callback(callback_id, url[: -len("/complete")], attempt_key, deadline + GRACE_SECONDS)
