"""Holds a conversation with a server of OpenAI's Responses, with OpenAI's own client: streams a tool call, hands its
result in together with what the model thought, and prints the call and the last answer."""

import sys

from openai import OpenAI

client = OpenAI(base_url=sys.argv[1], api_key="openai", max_retries=0)
tool = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
history = [{"role": "user", "content": "How warm is it in Paris?"}]
options = {"model": "gpt", "tools": [tool], "store": False, "include": ["reasoning.encrypted_content"]}

pieces, thoughts, response = "", "", None
for event in client.responses.create(input=history, stream=True, **options):
    if event.type == "response.function_call_arguments.delta":
        pieces += event.delta
    elif event.type == "response.reasoning_summary_text.delta":
        thoughts += event.delta
    elif event.type == "response.completed":
        response = event.response
call = next(item for item in response.output if item.type == "function_call")
assert pieces == call.arguments, (pieces, call.arguments)
assert thoughts == response.output[0].summary[0].text, thoughts
print(call.name, call.arguments)

history += [item.to_dict() for item in response.output]
history.append({"type": "function_call_output", "call_id": call.call_id, "output": "14"})
print(client.responses.create(input=history, **options).output_text)
