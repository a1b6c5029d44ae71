"""Answers on loopback like OpenAI and Anthropic, with known texts and counts.

    python -m tests.tools.model_server PORT

It knows the questions in `conversations.py`. Like the real ones, it sends the token counts of a
stream of chat completions only when asked for them.
"""

import itertools
import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.tools import conversations as c

CREATED = 1790000000
numbers = itertools.count(1)


def text_of(content: Any) -> str:
    """The text of a message, which is text or a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or [] if isinstance(part, dict))


def question_of(messages: list[dict[str, Any]]) -> str:
    asked = [text_of(one.get("content")) for one in messages if one.get("role") == "user"]
    return next(text for text in reversed(asked) if text)


class Chat:
    """Chat completions."""

    path = "/v1/chat/completions"

    def __init__(self, asked: dict[str, Any]) -> None:
        self.asked = asked
        self.conversation = c.find(question_of(asked["messages"]))
        self.id = f"chatcmpl-{next(numbers)}"
        self.model = c.ANSWERED_BY if asked["model"] == c.MODEL else asked["model"]
        has_result = asked["messages"][-1]["role"] == "tool"
        self.calls_tool = self.conversation.calls_tool and not has_result

    def usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": c.INPUT_TOKENS,
            "completion_tokens": c.OUTPUT_TOKENS,
            "total_tokens": c.INPUT_TOKENS + c.OUTPUT_TOKENS,
            "prompt_tokens_details": {"cached_tokens": c.CACHED_TOKENS},
            "completion_tokens_details": {"reasoning_tokens": c.REASONING_TOKENS},
        }

    def tool_call(self) -> dict[str, Any]:
        function = {"name": c.TOOL, "arguments": '{"city": "Paris"}'}
        return {"id": f"call_{self.id}", "type": "function", "function": function}

    def message(self, answer: str) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": answer or None, "refusal": None}
        if self.calls_tool:
            return message | {"content": None, "tool_calls": [self.tool_call()]}
        if self.conversation.reasoning:
            message["reasoning_content"] = self.conversation.reasoning
        return message | {"refusal": self.conversation.refusal or None}

    @property
    def finish_reason(self) -> str:
        return "tool_calls" if self.calls_tool else "stop"

    def head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": CREATED, "model": self.model}

    def whole(self) -> dict[str, Any]:
        answers = [self.conversation.answer]
        if self.asked.get("n", 1) > 1:
            answers.append(self.conversation.second_answer)
        choices = [
            {"index": index, "message": self.message(answer), "finish_reason": self.finish_reason}
            for index, answer in enumerate(answers)
        ]
        usage = {"usage": self.usage()} if self.conversation.usage else {}
        return self.head("chat.completion") | {"choices": choices} | usage

    def deltas(self) -> Iterator[dict[str, Any]]:
        yield {"role": "assistant", "content": None if self.calls_tool else ""}
        if self.calls_tool:
            yield {"tool_calls": [{"index": 0} | self.tool_call()]}
            return
        for name, text in (
            ("reasoning_content", self.conversation.reasoning),
            ("refusal", self.conversation.refusal),
            ("content", self.conversation.answer),
        ):
            for piece in c.pieces(text) if text else ():
                yield {name: piece}

    def events(self) -> Iterator[str]:
        head = self.head("chat.completion.chunk")
        for delta in self.deltas():
            yield data(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        end = {"index": 0, "delta": {}, "finish_reason": self.finish_reason}
        yield data(head | {"choices": [end]})
        if (self.asked.get("stream_options") or {}).get("include_usage"):
            yield data(head | {"choices": [], "usage": self.usage()})
        yield "data: [DONE]\n\n"


class Responses:
    """The Responses API."""

    path = "/v1/responses"

    def __init__(self, asked: dict[str, Any]) -> None:
        self.asked = asked
        given = asked["input"]
        messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
        self.conversation = c.find(question_of(messages))
        self.id = f"resp_{next(numbers)}"
        self.model = c.ANSWERED_BY if asked["model"] == c.MODEL else asked["model"]
        has_result = any(one.get("type") == "function_call_output" for one in messages)
        self.calls_tool = self.conversation.calls_tool and not has_result

    def usage(self) -> dict[str, Any]:
        return {
            "input_tokens": c.INPUT_TOKENS,
            "input_tokens_details": {"cached_tokens": c.CACHED_TOKENS, "cache_write_tokens": 0},
            "output_tokens": c.OUTPUT_TOKENS,
            "output_tokens_details": {"reasoning_tokens": c.REASONING_TOKENS},
            "total_tokens": c.INPUT_TOKENS + c.OUTPUT_TOKENS,
        }

    def items(self) -> list[dict[str, Any]]:
        if self.calls_tool:
            call = {"id": f"fc_{self.id}", "type": "function_call", "status": "completed"}
            call |= {"call_id": f"call_{self.id}", "name": c.TOOL}
            return [call | {"arguments": '{"city": "Paris"}'}]
        items: list[dict[str, Any]] = []
        if self.conversation.reasoning:
            summary = [{"type": "summary_text", "text": self.conversation.reasoning}]
            items.append({"id": f"rs_{self.id}", "type": "reasoning", "summary": summary})
        message = {"id": f"msg_{self.id}", "type": "message", "role": "assistant"}
        return [*items, message | {"status": "completed", "content": [self.part()]}]

    def part(self, text: str | None = None) -> dict[str, Any]:
        if self.conversation.refusal:
            return {"type": "refusal", "refusal": self.conversation.refusal}
        whole = self.conversation.answer if text is None else text
        return {"type": "output_text", "text": whole, "annotations": [], "logprobs": []}

    def state(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        state = {"id": self.id, "object": "response", "created_at": CREATED, "status": status}
        state |= {"model": self.model, "output": output, "error": None, "incomplete_details": None}
        state |= {"instructions": self.asked.get("instructions"), "metadata": {}, "tools": []}
        state |= {"tool_choice": "auto", "parallel_tool_calls": True, "temperature": 1.0}
        state |= {"top_p": 1.0, "text": {"format": {"type": "text"}}, "user": None}
        return state | {"usage": self.usage() if status == "completed" else None}

    def whole(self) -> dict[str, Any]:
        return self.state("completed", self.items())

    def stream(self) -> Iterator[dict[str, Any]]:
        yield {"type": "response.created", "response": self.state("in_progress", [])}
        for index, item in enumerate(self.items()):
            place = {"output_index": index}
            start = item | {"status": "in_progress"}
            start |= {"content": []} if item["type"] == "message" else {}
            yield {"type": "response.output_item.added", "item": start} | place
            if item["type"] == "message":
                yield from self.stream_text({"item_id": item["id"], "content_index": 0} | place)
            yield {"type": "response.output_item.done", "item": item} | place
        yield {"type": "response.completed", "response": self.whole()}

    def stream_text(self, place: dict[str, Any]) -> Iterator[dict[str, Any]]:
        refusal = bool(self.conversation.refusal)
        kind = "refusal" if refusal else "output_text"
        text = self.conversation.refusal or self.conversation.answer
        yield {"type": "response.content_part.added", "part": self.part("")} | place
        for piece in c.pieces(text):
            yield {"type": f"response.{kind}.delta", "delta": piece, "logprobs": []} | place
        whole = {"refusal" if refusal else "text": text}
        yield {"type": f"response.{kind}.done", "logprobs": []} | whole | place
        yield {"type": "response.content_part.done", "part": self.part()} | place

    def events(self) -> Iterator[str]:
        for number, event in enumerate(self.stream()):
            yield f"event: {event['type']}\n" + data(event | {"sequence_number": number})


class Messages:
    """Anthropic's messages."""

    path = "/v1/messages"

    def __init__(self, asked: dict[str, Any]) -> None:
        self.conversation = c.find(question_of(asked["messages"]))
        self.id = f"msg_{next(numbers)}"
        self.model = c.ANSWERED_BY if asked["model"] == c.MODEL else asked["model"]
        last = asked["messages"][-1]["content"]
        has_result = isinstance(last, list) and last[0].get("type") == "tool_result"
        self.calls_tool = self.conversation.calls_tool and not has_result

    def usage(self) -> dict[str, Any]:
        """Anthropic counts cached tokens beside the others, not among them."""
        fresh = c.INPUT_TOKENS - c.CACHED_TOKENS
        usage = {"input_tokens": fresh, "cache_read_input_tokens": c.CACHED_TOKENS}
        return usage | {"cache_creation_input_tokens": 0, "output_tokens": c.OUTPUT_TOKENS}

    def blocks(self) -> list[dict[str, Any]]:
        if self.calls_tool:
            call = {"type": "tool_use", "id": f"toolu_{self.id}", "name": c.TOOL}
            return [call | {"input": {"city": "Paris"}}]
        text = self.conversation.answer or self.conversation.refusal
        blocks: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if self.conversation.reasoning:
            thinking = {"type": "thinking", "thinking": self.conversation.reasoning}
            blocks.insert(0, thinking | {"signature": "c2lnbmF0dXJl"})
        return blocks

    def whole(self) -> dict[str, Any]:
        head = self.head()
        return head | {"content": self.blocks(), "stop_reason": self.stop_reason}

    def head(self) -> dict[str, Any]:
        head = {"id": self.id, "type": "message", "role": "assistant", "model": self.model}
        head |= {"content": [], "stop_reason": None, "stop_sequence": None}
        return head | {"usage": self.usage()}

    @property
    def stop_reason(self) -> str:
        if self.conversation.refusal:
            return "refusal"
        return "tool_use" if self.calls_tool else "end_turn"

    def stream(self) -> Iterator[dict[str, Any]]:
        yield {"type": "message_start", "message": self.head()}
        for index, block in enumerate(self.blocks()):
            place = {"index": index}
            kind = block["type"]
            empty: dict[str, dict[str, Any]] = {
                "text": {"text": ""},
                "tool_use": {"input": {}},
                "thinking": {"thinking": ""},
            }
            yield {"type": "content_block_start", "content_block": block | empty[kind]} | place
            for delta in self.deltas(block):
                yield {"type": "content_block_delta", "delta": delta} | place
            yield {"type": "content_block_stop"} | place
        end = {"stop_reason": self.stop_reason, "stop_sequence": None}
        yield {"type": "message_delta", "delta": end, "usage": self.usage()}
        yield {"type": "message_stop"}

    def deltas(self, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if block["type"] == "tool_use":
            yield {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        elif block["type"] == "thinking":
            yield {"type": "thinking_delta", "thinking": block["thinking"]}
        else:
            for piece in c.pieces(block["text"]):
                yield {"type": "text_delta", "text": piece}

    def events(self) -> Iterator[str]:
        for event in self.stream():
            yield f"event: {event['type']}\n" + data(event)


def data(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"


class Handler(BaseHTTPRequestHandler):
    """Answers each of the three ways of asking."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        models = [{"id": c.MODEL, "object": "model", "created": CREATED, "owned_by": "tests"}]
        self.send_json(200, {"object": "list", "data": models})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        way: Any = next(way for way in (Chat, Responses, Messages) if way.path == self.path)
        answer = way(asked)
        if answer.conversation.fails:
            error = {"type": "invalid_request_error", "message": "This question always fails."}
            self.send_json(400, {"type": "error", "error": error})
        elif asked.get("stream"):
            self.send_events(answer.events())
        else:
            self.send_json(200, answer.whole())

    def send_json(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_events(self, events: Iterator[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for event in events:
                self.wfile.write(event.encode())
        except OSError:  # the client has left the stream
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Nothing: the output is for those who run it."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
