#!/usr/bin/env python3
"""An MCP tool server over stdio whose every effect is a line in the file $LOG, written before it answers.

Plain JSON-RPC without a library, so that it starts fast. Lines of the log: `start PID`, `TOOL ARGUMENTS KEY`.
$SLOW_MS: how long each call takes, half of it before the effect and half after.
$GOT: a file that is made when a call has come.
$GATE: a file without which `look` does not answer.
$EXTRA: the name of one more tool, a write.
"""

import json
import os
import sys
import time

LOG = os.open(os.environ["LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
GOT = os.environ.get("GOT")
GATE = os.environ.get("GATE")
SLOW = int(os.environ.get("SLOW_MS", "0")) / 1000

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"], "additionalProperties": False}
TOOLS = {
    "look": {"readOnlyHint": True},
    "put": {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": False},
    "set": {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": True},
    "wipe": {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False},
}
if os.environ.get("EXTRA"):
    TOOLS[os.environ["EXTRA"]] = TOOLS["put"]


def log(line):
    os.write(LOG, (line + "\n").encode())


def call(params):
    name, arguments = params["name"], params.get("arguments", {})
    key = params.get("_meta", {}).get("agentd/idempotencyKey", "-")
    if GOT:
        open(GOT, "w").close()
    while GATE and name == "look" and not os.path.exists(GATE):
        time.sleep(0.01)
    time.sleep(SLOW / 2)
    log(f"{name} {json.dumps(arguments, sort_keys=True)} {key}")
    time.sleep(SLOW / 2)
    return {"content": [{"type": "text", "text": f"{name} {arguments.get('text')}: done"}], "isError": False}


def answer(method, params):
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "counter", "version": "1"},
        }
    if method == "tools/list":
        tools = [
            {"name": name, "description": name, "inputSchema": SCHEMA, "annotations": hints}
            for name, hints in TOOLS.items()
        ]
        return {"tools": tools}
    if method == "tools/call":
        return call(params)
    if method == "ping":
        return {}
    return None


log(f"start {os.getpid()}")
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue
    result = answer(message["method"], message.get("params") or {})
    reply = {"jsonrpc": "2.0", "id": message["id"]}
    if result is None:
        reply["error"] = {"code": -32601, "message": "no such method"}
    else:
        reply["result"] = result
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()
