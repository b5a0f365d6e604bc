"""What the official OpenAI client for Python can do with a node: chat, streams, tools, schemas, embeddings, errors.

    suite.py BASE_URL API_KEY VIEWER_KEY

The node has a small text model ("local") and an embedding model ("vectors"). What a model says is its own affair: the
checks are about the form, about what must hold whatever it says, and about what has to be the same twice. Prints a line a
check; ends with 1 if one failed.
"""

import asyncio
import json
import sys
import time
import traceback
import urllib.request

import openai

BASE, KEY, VIEWER = sys.argv[1:4]
client = openai.OpenAI(base_url=BASE, api_key=KEY, max_retries=0, timeout=120)
STATUS = BASE.removesuffix("/v1") + "/api/v1/engines"
HELLO = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Say hello to the world."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}}
POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 99}, "y": {"enum": ["left", "right"]}, "z": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3}},
    "required": ["x", "y", "z"],
    "additionalProperties": False,
}


def chat(messages=HELLO, **more):
    more = {"model": "local", "max_tokens": 24, "temperature": 0, "seed": 1} | more
    return client.chat.completions.create(messages=messages, **more)


def check_models():
    models = {model.id: model for model in client.models.list()}
    assert {"local", "vectors"} <= set(models), models
    assert client.models.retrieve("local").owned_by == "fleet"


def check_chat():
    done = chat()
    choice = done.choices[0]
    assert choice.message.role == "assistant" and choice.message.content.strip(), done
    assert choice.finish_reason in ("stop", "length") and done.object == "chat.completion"
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens <= 24 + done.usage.prompt_tokens


def check_max_tokens():
    done = chat(max_tokens=1)
    assert done.usage.completion_tokens == 1 and done.choices[0].finish_reason == "length", done
    assert chat(max_tokens=None, max_completion_tokens=2).usage.completion_tokens <= 2


def check_stream_is_the_same_text():
    whole = chat()
    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content, (text, whole)
    assert chunks[0].choices[0].delta.role == "assistant" and len(chunks) > 4
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert reasons[-1] == whole.choices[0].finish_reason and not any(reasons[:-1])
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens and not chunks[-1].choices
    assert len({chunk.id for chunk in chunks}) == 1


def check_stream_helper():
    with client.chat.completions.stream(model="local", messages=HELLO, max_tokens=60, temperature=0, extra_body={"structured_outputs": {"regex": "[a-z ]{20,30}"}}) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        assert "".join(deltas) == stream.get_final_completion().choices[0].message.content


def check_seed():
    say = [{"role": "user", "content": "Tell me a story."}]
    texts = [chat(say, temperature=1.2, seed=seed).choices[0].message.content for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2], texts


def check_several_choices():
    done = chat([{"role": "user", "content": "Tell me a story."}], n=3, temperature=1.2, seed=5)
    assert [choice.index for choice in done.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in done.choices}) > 1
    indices = {chunk.choices[0].index for chunk in chat(n=2, stream=True)}
    assert indices == {0, 1}


def check_stop():
    whole = chat(max_tokens=40).choices[0].message.content
    mark = whole.split()[1]
    cut = chat(max_tokens=40, stop=[mark])
    assert cut.choices[0].message.content == whole.split(mark)[0] and cut.choices[0].finish_reason == "stop", (whole, cut)


def check_logprobs():
    done = chat(logprobs=True, top_logprobs=3, max_tokens=6)
    tokens = done.choices[0].logprobs.content
    assert len(tokens) == done.usage.completion_tokens
    assert b"".join(bytes(token.bytes) for token in tokens).decode().startswith(done.choices[0].message.content)
    for token in tokens:
        top = [other.logprob for other in token.top_logprobs]
        assert len(top) == 3 and top == sorted(top, reverse=True) and token.logprob <= 0
        # Greedy: what was taken is the likeliest.
        assert abs(token.logprob - top[0]) < 1e-4, token
    assert sum(len(chunk.choices[0].logprobs.content) for chunk in chat(logprobs=True, max_tokens=6, stream=True) if chunk.choices and chunk.choices[0].logprobs) == 6


def check_logit_bias():
    # The ids of letters and digits are below 300 in these vocabularies: one of them is made the only choice.
    done = chat(max_tokens=3, logit_bias={"37": 100}, logprobs=True)
    tokens = {token.token for token in done.choices[0].logprobs.content}
    assert len(tokens) == 1, tokens
    taken = chat(max_tokens=3, logprobs=True).choices[0].logprobs.content[0].token
    assert taken not in tokens


def check_required_tool():
    done = chat([{"role": "user", "content": "How is the weather in Rome?"}], tools=[WEATHER, CLOCK], tool_choice="required", parallel_tool_calls=False, max_tokens=120)
    calls = done.choices[0].message.tool_calls
    assert done.choices[0].finish_reason == "tool_calls" and calls, done
    for call in calls:
        arguments = json.loads(call.function.arguments)
        assert call.id and call.type == "function"
        if call.function.name == "weather":
            assert set(arguments) == {"city", "days"} and 1 <= arguments["days"] <= 7
        else:
            assert call.function.name == "clock" and arguments == {}


def check_named_tool_in_a_stream():
    choice = {"type": "function", "function": {"name": "weather"}}
    chunks = list(chat([{"role": "user", "content": "Paris, 3 days."}], tools=[WEATHER, CLOCK], tool_choice=choice, max_tokens=80, stream=True))
    deltas = [call for chunk in chunks if chunk.choices for call in chunk.choices[0].delta.tool_calls or []]
    assert [delta.index for delta in deltas] == [0] and deltas[0].function.name == "weather", chunks
    assert set(json.loads(deltas[0].function.arguments)) == {"city", "days"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def check_answer_of_a_tool():
    call = {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    messages = [{"role": "user", "content": "What time is it?"}, {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "call_1", "content": "noon"}]
    assert chat(messages, tools=[CLOCK]).choices[0].message.content is not None


def check_json_schema():
    form = {"type": "json_schema", "json_schema": {"name": "point", "schema": POINT, "strict": True}}
    for seed in range(3):
        done = chat([{"role": "user", "content": "Give me a point."}], response_format=form, max_tokens=120, temperature=0.9, seed=seed)
        assert done.choices[0].finish_reason == "stop", done
        point = json.loads(done.choices[0].message.content)
        assert set(point) == {"x", "y", "z"} and 0 <= point["x"] <= 99 and point["y"] in ("left", "right"), point
        assert 1 <= len(point["z"]) <= 3 and all(isinstance(item, bool) for item in point["z"])


def check_json_object():
    done = chat([{"role": "user", "content": "A JSON object, please: a name and an age."}], response_format={"type": "json_object"}, max_tokens=200)
    if done.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(done.choices[0].message.content), dict)


def check_vllm_extensions():
    yes_or_no = chat(extra_body={"structured_outputs": {"choice": ["yes", "no"]}})
    assert yes_or_no.choices[0].message.content in ("yes", "no")
    digits = chat(extra_body={"structured_outputs": {"regex": "[0-9]{3}-[0-9]{2}"}})
    assert len(digits.choices[0].message.content) == 6
    begun = chat([{"role": "user", "content": "Count."}, {"role": "assistant", "content": "1, 2, 3,"}], extra_body={"continue_final_message": True, "add_generation_prompt": False})
    assert not begun.choices[0].message.content.startswith("1, 2, 3")


def check_embeddings():
    texts = ["A man is eating food.", "A man is eating a piece of bread.", "The kernel frees its pages."]
    made = client.embeddings.create(model="vectors", input=texts)
    vectors = [item.embedding for item in made.data]
    dot = lambda a, b: sum(x * y for x, y in zip(a, b))
    assert [len(vector) for vector in vectors] == [384] * 3 and made.usage.prompt_tokens > 10
    assert dot(vectors[0], vectors[1]) > 0.7 > 0.3 > dot(vectors[0], vectors[2])
    plain = client.embeddings.create(model="vectors", input=texts[0], encoding_format="float")
    assert max(abs(a - b) for a, b in zip(plain.data[0].embedding, vectors[0])) < 1e-4


def refused(kind, **more):
    try:
        chat(**more)
    except kind as error:
        return error
    raise AssertionError(f"{more} was taken")


def check_errors():
    assert refused(openai.NotFoundError, model="gpt-17").code == "model_not_found"
    assert refused(openai.BadRequestError, temperature=9).param == "temperature"
    assert refused(openai.BadRequestError, messages=[]).param == "messages"
    assert refused(openai.BadRequestError, messages=[{"role": "user", "content": "word " * 9000}]).code == "context_length_exceeded"
    assert refused(openai.BadRequestError, extra_body={"colour": "red"}).code == "unknown_parameter"
    bad = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
    assert refused(openai.BadRequestError, response_format=bad).param == "response_format"
    refused(openai.BadRequestError, model="vectors")
    try:
        client.embeddings.create(model="local", input="x")
        raise AssertionError("a text model made embeddings")
    except openai.BadRequestError as error:
        assert error.code == "unsupported_value", error


def check_keys():
    for key, kind in (("sk-wrong", openai.AuthenticationError), (VIEWER, openai.PermissionDeniedError)):
        other = openai.OpenAI(base_url=BASE, api_key=key, max_retries=0)
        try:
            other.chat.completions.create(model="local", messages=HELLO, max_tokens=1)
        except kind:
            continue
        raise AssertionError(f"{key} was let in")
    assert [model.id for model in openai.OpenAI(base_url=BASE, api_key=VIEWER).models.list()]


def check_many_at_once():
    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=BASE, api_key=KEY, max_retries=2) as many:
            ask = lambda n: many.chat.completions.create(model="local", messages=HELLO, max_tokens=8, temperature=0, seed=n)
            return await asyncio.gather(*(ask(n) for n in range(24)))

    assert {done.choices[0].message.content for done in asyncio.run(all_of_them())} == {chat(max_tokens=8).choices[0].message.content}


def check_hanging_up():
    stream = chat([{"role": "user", "content": "Tell me a very long story."}], max_tokens=1500, stream=True, extra_body={"logit_bias": {"2": -100, "0": -100}})
    next(iter(stream))
    stream.close()
    for _ in range(200):
        with urllib.request.urlopen(urllib.request.Request(STATUS, headers={"Authorization": f"Bearer {KEY}"})) as answer:
            engine = next(engine for engine in json.load(answer) if engine["name"] == "local")
        if engine["stats"]["active"] == 0:
            assert engine["stats"]["cancelled"] == 1, engine
            return
        time.sleep(0.02)
    raise AssertionError(f"it still decodes: {engine}")


failed = 0
for name, check in list(globals().items()):
    if name.startswith("check_"):
        try:
            check()
            print(f"ok      {name[6:].replace('_', ' ')}")
        except Exception:
            failed += 1
            print(f"FAILED  {name[6:].replace('_', ' ')}\n{traceback.format_exc()}")
print(f"{failed} failed")
sys.exit(1 if failed else 0)
