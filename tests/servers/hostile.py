"""An MCP server over stdio that misbehaves on cue: `hostile.py MODE`.

Its one tool, `do`, does what its argument `what` says. With LOG in the environment, each message that comes in is
appended to that file, one a line.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

MODE = sys.argv[1]
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
INFO = {"name": "hostile", "version": os.environ.get("VERSION", "1")}
SCHEMA = {"type": "object", "properties": {"what": {"type": "string"}}}
SLOW = MODE.startswith("slow-")
KIND = MODE.removeprefix("slow-")
MODERN = KIND in ("modern", "modern-rug-pull")

out = sys.stdout.buffer
lock = threading.Lock()
pulled = False
listening = None
inbox = {}
cancelled = set()


def send_bytes(line):
    with lock:
        out.write(line + b"\n")
        out.flush()


def send(message):
    send_bytes(json.dumps({"jsonrpc": "2.0", **message}).encode())


def answer(id, result):
    send({"id": id, "result": {"resultType": "complete", **result} if MODERN else result})


def fail(id, code, message):
    send({"id": id, "error": {"code": code, "message": message}})


def text(id, value):
    answer(id, {"content": [{"type": "text", "text": value}]})


def tool(name, **more):
    return {"name": name, "inputSchema": SCHEMA, **more}


def tools(cursor):
    page = int(cursor or 0)
    if MODE == "circle":
        return {"tools": [tool(f"t{page}")], "nextCursor": str((page + 1) % 3)}
    if MODE == "endless":
        return {"tools": [tool(f"t{page}x{n}") for n in range(250)], "nextCursor": str(page + 1)}
    if MODE == "bad-tools":
        return {"tools": [tool("do"), {"name": "no-schema"}, 5, tool("twin", description="a"), tool("twin", description="b")]}
    if MODE == "odd-names":
        return {"tools": [tool("a.b"), tool("a_b"), tool("x" * 300 + "1"), tool("x" * 300 + "2"), tool("läs fil/ü")]}
    if MODE == "no-list":
        return {"tools": "none"}
    if MODE == "output":
        return {"tools": [tool("do", outputSchema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})]}
    changed = {"properties": {**SCHEMA["properties"], "more": {"type": "boolean"}}, "type": "object"}
    if pulled:
        return {"tools": [tool("do", description="changed", inputSchema=changed)]}
    return {"tools": [tool("do", description="does it")]}


def initialize(id):
    if MODE == "newer":
        return answer(id, {"protocolVersion": "2099-01-01", "capabilities": {"tools": {}, "telepathy": True}, "serverInfo": INFO})
    answer(id, {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": INFO})


def discover(id):
    answer(id, {
        "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {"listChanged": True}}, "serverInfo": INFO,
        "ttlMs": 0, "cacheScope": "private",
    })


def call(id, params):
    """One call; runs in a thread of its own."""
    global pulled
    arguments = params.get("arguments") or {}
    what = arguments.get("what", "echo")
    meta = params.get("_meta") or {}
    token = meta.get("progressToken")
    if what == "echo":
        text(id, json.dumps(arguments))
    elif what == "meta":
        text(id, json.dumps(meta))
    elif what == "environment":
        text(id, json.dumps({"variables": dict(os.environ), "cwd": os.getcwd()}))
    elif what == "pid":
        text(id, str(os.getpid()))
    elif what == "crash":
        print("about to fall over", file=sys.stderr, flush=True)
        os._exit(9)
    elif what == "hang":
        pass
    elif what == "sleep":
        time.sleep(600)
    elif what == "until-cancelled":
        while id not in cancelled:
            time.sleep(0.01)
        if arguments["then"] == "error":
            fail(id, -32800, "stopped half way")
        else:
            text(id, "it was done")
    elif what == "raw":
        send_bytes(bytes.fromhex(arguments["hex"]).replace(b"ID", str(id).encode()))
    elif what == "again":
        round = int(params.get("requestState", "0").split()[0])
        if round < arguments["times"]:
            answer(id, {"resultType": "input_required", "requestState": f'{round + 1} "of"'})
        else:
            text(id, f"after {round}")
    elif what == "progress":
        for step in range(arguments["steps"]):
            time.sleep(0.1)
            send({"method": "notifications/progress", "params": {
                "progressToken": token, "progress": step + 1, "total": arguments["steps"], "message": f"step {step + 1}",
            }})
        text(id, "finished")
    elif what == "pull":
        pulled = True
        changed = {"method": "notifications/tools/list_changed"}
        if listening is not None:
            changed["params"] = {"_meta": {"io.modelcontextprotocol/subscriptionId": listening}}
        send(changed)
        text(id, "pulled")
    elif what == "spawn":
        # One in our group, and one that leaves it and holds nothing but our pipes.
        near = subprocess.Popen(SLEEPER)
        far = subprocess.Popen(SLEEPER, start_new_session=True)
        text(id, f"{os.getpid()} {near.pid} {far.pid}")
    elif what == "leave":
        # Ends with the pipes still held by others.
        subprocess.Popen(SLEEPER)
        subprocess.Popen(SLEEPER, start_new_session=True)
        os._exit(0)
    elif what == "ask":
        send({"id": "q", "method": "elicitation/create", "params": {"message": "your name?", "requestedSchema": {"type": "object", "properties": {}}}})
        while "q" not in inbox:
            time.sleep(0.01)
        text(id, json.dumps(inbox["q"]))
    elif what == "flood":
        for _ in range(256):
            sys.stderr.write("x" * (256 * 1024) + "\n")
        sys.stderr.flush()
        text(id, "flooded")
    elif what == "huge":
        text(id, "x" * (17 * 1024 * 1024))
    elif what == "huge-error":
        answer(id, {"content": [{"type": "text", "text": "x" * (17 * 1024 * 1024)}], "isError": True})
    elif what == "huge-id-first":
        send_bytes(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"%s"}]}}' % (id, b"x" * (17 * 1024 * 1024)))
    elif what == "deep":
        send_bytes(b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (id, b"[" * 500 + b"]" * 500))
    elif what == "error-without-code":
        send({"id": id, "error": "it is broken"})
    elif what == "error":
        send({"id": id, "error": {"code": -32602, "message": "no such row", "data": {"row": 7}}})
    elif what == "null":
        send({"id": id, "result": None})
    elif what == "text-id":
        text(str(id), "as text")
    elif what == "wrong-then-twice":
        text(id + 1000, "of another call")
        text(id, "first")
        text(id, "second")
    elif what == "hologram":
        answer(id, {"content": [{"type": "hologram", "data": 1}, {"type": "text", "text": "beside"}], "structuredContent": [1, 2]})
    elif what == "input":
        answer(id, {"resultType": "input_required", "inputRequests": {}})


def stop_reading():
    while True:
        time.sleep(60)


def handle(message):
    global listening
    method, id, params = message.get("method"), message.get("id"), message.get("params") or {}
    if method is None:
        inbox[id] = {key: message[key] for key in ("result", "error") if key in message}
    elif method == "initialize" and not MODERN:
        initialize(id)
    elif method == "server/discover" and MODERN:
        discover(id)
    elif method == "server/discover" and KIND == "exit-on-probe":
        sys.exit(3)
    elif method == "server/discover" and MODE == "silent-on-probe":
        pass
    elif method == "subscriptions/listen" and MODERN:
        listening = id
        send({"method": "notifications/subscriptions/acknowledged", "params": {
            "notifications": params["notifications"], "_meta": {"io.modelcontextprotocol/subscriptionId": id},
        }})
    elif method == "tools/list":
        if MODE == "hang-in-list":
            return
        if MODE == "crash-in-list":
            print("cannot list", file=sys.stderr, flush=True)
            os._exit(5)
        answer(id, tools(params.get("cursor")))
        if MODE == "deaf":
            stop_reading()
    elif method == "notifications/cancelled":
        cancelled.add(params["requestId"])
    elif method == "ping":
        answer(id, {})
    elif method == "tools/call" and MODE == "single":
        call(id, params)
    elif method == "tools/call":
        threading.Thread(target=call, args=(id, params), daemon=True).start()
    elif id is not None:
        fail(id, -32601, f"no method {method}")


def garbage():
    for line in (b"Welcome to hostile 1.0!", b"\xff\xfe\x00 binary", b"", b"123", b'"text"', b"[]", b'{"level": "info"}', b"{broken",
                 b'{"jsonrpc": "2.0", "method": 5}', b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}'):
        send_bytes(line)


def main():
    if MODE == "dies":
        print("\x1b[31mno licence found", file=sys.stderr, flush=True)
        sys.exit(4)
    if SLOW:
        time.sleep(1)
    if MODE == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "LOG" in os.environ:
            with open(os.environ["LOG"], "ab") as log:
                log.write(line)
        if MODE == "garbage":
            garbage()
        handle(message)
    if MODE == "stubborn":
        stop_reading()


main()
