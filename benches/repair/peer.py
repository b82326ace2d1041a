"""Mends one JSON text a line, given as [text, schema]; answers [mended or null, nanoseconds]. With `schema`, guided by it."""

import json
import sys
import time

import json_repair

guided = sys.argv[1:] == ["schema"]
for line in sys.stdin:
    text, schema = json.loads(line)
    begun = time.perf_counter_ns()
    try:
        if guided:
            value = json_repair.loads(text, schema=schema, schema_repair_mode="salvage")
        else:
            value = json_repair.loads(text)
        mended = json.dumps(value) if value != "" else None
    except Exception:  # Whatever it says, nothing came of it.
        mended = None
    print(json.dumps([mended, time.perf_counter_ns() - begun]))
