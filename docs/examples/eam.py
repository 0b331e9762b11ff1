#!/usr/bin/env python3
"""Talk with xlat's daemon over its control socket, with nothing but Python's standard library.

    eam.py SOCKET list
    eam.py SOCKET add 198.51.100.11 2001:db8:5e1:1::11 mail
    eam.py SOCKET del 198.51.100.11
    eam.py SOCKET lookup 203.0.113.7

The calls are those of docs/openapi.json.
"""

import http.client
import json
import socket
import sys
from urllib.parse import urlencode


class Refused(Exception):
    """The daemon's own sentence, and its code for programs."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Relay(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path, timeout=30):
        super().__init__("xlat", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def call(self, method, path, body=None, **query):
        """One call; gives the answer, or raises Refused."""
        if query:
            path += "?" + urlencode(query)
        data = None if body is None else json.dumps(body)
        self.request(method, path, data, {"Content-Type": "application/json"})
        response = self.getresponse()
        answer = json.loads(response.read())
        if response.status >= 400:
            raise Refused(answer["error"]["code"], answer["error"]["message"])
        return answer


# How many words each verb takes.
WORDS = {"list": range(0, 1), "add": range(2, 1000), "del": range(1, 2), "lookup": range(1, 2)}


def main(path, verb, *words):
    relay = Relay(path)
    if verb == "list":
        table = relay.call("GET", "/v1/eam")
        for entry in table["entries"]:
            print(entry["ipv4"], entry["ipv6"], entry["comment"])
    elif verb == "add":
        ipv4, ipv6, *comment = words
        # Only if nobody has changed the table since it was looked at.
        revision = relay.call("GET", "/v1/status")["table"]["revision"]
        entry = {"ipv4": ipv4, "ipv6": ipv6, "comment": " ".join(comment), "if_revision": revision}
        print("revision", relay.call("POST", "/v1/eam", entry)["revision"])
    elif verb == "del":
        print("revision", relay.call("DELETE", "/v1/eam", prefix=words[0])["revision"])
    elif verb == "lookup":
        answer = relay.call("GET", "/v1/lookup", address=words[0])
        print(answer["result"], answer["detail"])


if __name__ == "__main__":
    if len(sys.argv) < 3 or len(sys.argv) - 3 not in WORDS.get(sys.argv[2], ()):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        main(*sys.argv[1:])
    except Refused as refused:
        sys.exit(f"refused ({refused.code}): {refused}")
    except OSError as error:
        sys.exit(f"{sys.argv[1]}: {error.strerror or error}")
