# A function written to Awa's HTTP worker contract in another language, with its standard library only.
import json
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def call_back(job, signature, action, body):
    url = job["callback_url"]
    if action != "complete":
        url = url[: -len("complete")] + action
    headers = {"content-type": "application/json", "x-awa-signature": signature}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def work(job, signature):
    try:
        if job["args"].get("fail"):
            call_back(job, signature, "fail", {"error": "no paper"})
        else:
            call_back(job, signature, "heartbeat", {"timeout_seconds": 60})
            call_back(job, signature, "complete", {"payload": {"double": 2 * job["args"]["n"]}})
    except Exception as error:
        print("error", error, flush=True)


class Function(BaseHTTPRequestHandler):
    def do_POST(self):
        job = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "callback_url" in job:
            self.send_response(202)
            threading.Thread(target=work, args=(job, self.headers["x-awa-signature"])).start()
        else:
            self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Function)
print(server.server_port, flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown())).start()
server.serve_forever()
