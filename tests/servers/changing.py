#!/usr/bin/env python3
"""An MCP tool server over stdio whose tools stand in the file $TOOLS, read anew at every listing.

The file holds a list of tool definitions. `"@start"` in one becomes a text that differs with every start of the server.
A call of `renew` puts $NEXT in the place of $TOOLS and says that the list changed; `paper` gives a PDF and a picture. Every
other call is a line in $LOG.
$FAILS: a file with the number of starts that are still to fail.
"""

import json
import os
import sys

LOG = os.open(os.environ["LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
TOOLS, NEXT, FAILS = os.environ["TOOLS"], os.environ["NEXT"], os.environ["FAILS"]


def send(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def call(params):
    name, arguments = params["name"], params.get("arguments", {})
    if name == "renew":
        os.rename(NEXT, TOOLS)
        send({"method": "notifications/tools/list_changed"})
    elif name == "paper":
        paper = {"uri": "file:///a.pdf", "mimeType": "application/pdf", "blob": "JVBERi0xLjcKJcOkw7wK"}
        shot = {"type": "image", "mimeType": "image/png", "data": "iVBORw0KGgo="}
        return {"content": [{"type": "resource", "resource": paper}, shot]}
    else:
        os.write(LOG, f"{name} {json.dumps(arguments, sort_keys=True)}\n".encode())
    return {"content": [{"type": "text", "text": f"{name}: done"}]}


def answer(method, params):
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "changing", "version": "1"},
        }
    if method == "tools/list":
        with open(TOOLS) as tools:
            return {"tools": json.loads(tools.read().replace("@start", f"started as {os.getpid()}"))}
    if method == "tools/call":
        return call(params)
    if method == "ping":
        return {}
    return None


def main():
    if os.path.exists(FAILS):
        with open(FAILS) as file:
            left = int(file.read())
        if left > 0:
            with open(FAILS, "w") as file:
                file.write(str(left - 1))
            sys.exit("not today")
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        result = answer(message["method"], message.get("params", {}))
        if result is None:
            send({"id": message["id"], "error": {"code": -32601, "message": "Method not found"}})
        else:
            send({"id": message["id"], "result": result})


main()
