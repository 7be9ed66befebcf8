"""A function in Python, on http.server: doubles numbers, in callback and sync mode.

MILLRACE_DISPATCH_KEYS=… PORT=3001 python3 main.py
"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from millrace_receiver import Dispatch, Refused, parse_keyring, receive

MAX_BODY_BYTES = 4 * 1024 * 1024
keys = parse_keyring(os.environ.get("MILLRACE_DISPATCH_KEYS", ""))


class NoRetry(Exception):
    """The job is hopeless, however many attempts are left."""


class Snooze(Exception):
    """Not now: again in so many seconds."""


def double(args: dict, progress: dict) -> dict:
    if "fail" in args:
        raise NoRetry(args["fail"])
    if "snooze" in args and "snoozed" not in progress.get("metadata", {}):
        raise Snooze(args["snooze"])
    return {"double": 2 * args["n"]}


KINDS = {"double_py": double, "double_py_sync": double}


def work(dispatch: Dispatch) -> None:
    """Callback mode: the request was answered long ago."""
    job, callback = dispatch.job, dispatch.callback
    progress = job.get("progress") or {}
    try:
        # Keeps the attempt alive, tells how far it is, and leaves a checkpoint to the next attempt.
        callback.heartbeat(60, {"percent": 50, "metadata": {"snoozed": True}})
        callback.complete(KINDS[job["kind"]](job["args"], progress))
    except Snooze as snooze:
        callback.snooze(snooze.args[0])
    except NoRetry as error:
        callback.fail(str(error), retryable=False)
    except Exception as error:  # whatever it was, the job may be luckier next time
        callback.fail(f"{type(error).__name__}: {error}")


class Function(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        try:
            # Several headers of a name are one list; `get` would take the first of them.
            headers = {name: ", ".join(self.headers.get_all(name)) for name in self.headers}
            # The path as it was sent: self.path has been tidied up.
            path = self.requestline.split(" ")[1]
            dispatch = receive(keys, self.command, path, headers, self.raw_body())
            if dispatch.job["kind"] not in KINDS:
                raise Refused(501, "unknown_kind", "No such kind here (yet)")
        except Refused as refused:
            return self.answer(refused.status, refused.body(), refused.headers)
        if dispatch.callback is None:
            return self.answer(*in_sync(dispatch.job))
        threading.Thread(target=work, args=(dispatch,)).start()
        self.answer(202, {"status": "accepted"})

    def raw_body(self) -> bytes:
        """The bytes, before anything decodes or parses them: they are what was signed."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            raise Refused(413, "body_too_large", "Bodies have a length, of at most 4 MiB")
        return self.rfile.read(int(length))

    def answer(self, status: int, body: dict, headers: dict = {}) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def in_sync(job: dict) -> tuple:
    """Sync mode: the answer ends the attempt. Any exception else is a 500 that is retried."""
    try:
        return 200, KINDS[job["kind"]](job["args"], {"metadata": {"snoozed": True}}), {}
    except Snooze as snooze:
        return 202, {"status": "snoozed"}, {"Millrace-Snooze": str(snooze.args[0])}
    except NoRetry as error:
        return 500, {"error": str(error)}, {"Millrace-No-Retry": "true"}
    except Exception as error:
        return 500, {"error": f"{type(error).__name__}: {error}"}, {}


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3001"))), Function)
    print(f"functions on http://127.0.0.1:{server.server_port}", flush=True)
    if not sys.stdin.isatty():  # ends with whoever started it
        threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
    server.serve_forever()
