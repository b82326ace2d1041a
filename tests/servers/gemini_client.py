"""Holds a conversation with a tool through the official SDK and tells what it read, as JSON.

    gemini_client.py BASE_URL MODEL
"""

import json
import sys

from google import genai
from google.genai import types

base_url, model = sys.argv[1:]
client = genai.Client(api_key="test", http_options=types.HttpOptions(base_url=base_url))
weather = types.FunctionDeclaration(
    name="weather",
    description="The weather in a city",
    parameters_json_schema={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
config = types.GenerateContentConfig(
    system_instruction="Be brief.",
    tools=[types.Tool(function_declarations=[weather])],
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    thinking_config=types.ThinkingConfig(include_thoughts=True),
)
chat = client.chats.create(model=model, config=config)


def told(stream):
    chunks = list(stream)
    parts = [part for chunk in chunks for part in (chunk.candidates[0].content.parts or [])]
    last = chunks[-1]
    return {
        "thoughts": "".join(part.text for part in parts if part.thought and part.text),
        "text": "".join(part.text for part in parts if not part.thought and part.text),
        "calls": [[part.function_call.name, part.function_call.args] for part in parts if part.function_call],
        "finish": last.candidates[0].finish_reason.value,
        "prompt": last.usage_metadata.prompt_token_count,
        "model": last.model_version,
    }, [part.function_call for part in parts if part.function_call]


first, calls = told(chat.send_message_stream("The weather in Paris and London?"))
results = [
    types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "sunny"}))
    for call in calls
]
second, _ = told(chat.send_message_stream(results))
json.dump([first, second], sys.stdout)
