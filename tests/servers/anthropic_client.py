"""A turn with a tool through the official SDK: streams a thought and a call, sends the result back, prints what came.

Arguments: the server's address. The last line is JSON: the kinds of the events, both messages.
"""

import json
import sys

import anthropic

client = anthropic.Anthropic(base_url=sys.argv[1], api_key="test", max_retries=0)
tools = [{
    "name": "weather",
    "description": "Tells the weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}]
messages = [{"role": "user", "content": "What is the weather in Graz?"}]


def ask():
    kinds = []
    with client.messages.stream(
        model="claude-haiku-4-5",
        max_tokens=4000,
        thinking={"type": "enabled", "budget_tokens": 2000},
        tools=tools,
        messages=messages,
    ) as stream:
        for event in stream:
            kinds.append(event.type)
        return kinds, stream.get_final_message()


kinds, first = ask()
call = next(block for block in first.content if block.type == "tool_use")
messages.append({"role": "assistant", "content": first.content})
messages.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]})
_, second = ask()
whole = client.messages.create(
    model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": "Hi"}]
)
try:
    client.messages.create(model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "assistant", "content": "Hi"}])
    refused = None
except anthropic.BadRequestError as error:
    refused = error.type
print(json.dumps({
    "kinds": kinds,
    "blocks": [block.type for block in first.content],
    "input": call.input,
    "stop": first.stop_reason,
    "usage": [first.usage.input_tokens, first.usage.cache_read_input_tokens, first.usage.output_tokens],
    "second": second.content[-1].text,
    "whole": whole.content[-1].text,
    "refused": refused,
}))
