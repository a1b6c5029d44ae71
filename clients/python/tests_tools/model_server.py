"""A small server that speaks OpenAI's chat completions and responses, on loopback.

The last user message says what it does: `refuse`, `tool`, `think`, `json`, `nothing`, `break` (a
stream that breaks off), `bad`, `old` and `strict` (servers that do not know `stream_options`, and
answer 400 or 422); else it says "Hello Ada.". It counts 111 tokens in and 22 out, and answers as
`m-2026` to whoever asks for `m`.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "m-2026"
TOOL = {"name": "weather", "arguments": '{"city": "Paris"}'}


def last_user(body):
    """The text of the last user message, and whether the result of a tool came after it."""
    items = body.get("messages", body.get("input"))
    if isinstance(items, str):
        return items, False
    results = False
    for item in reversed(items):
        if item.get("role") == "user":
            content = item["content"]
            texts = content if isinstance(content, str) else [part.get("text") for part in content]
            return "".join(text for text in texts if text), results
        results |= item.get("role") == "tool" or item.get("type") == "function_call_output"
    return "", results


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        asked, has_results = last_user(body)
        refusing = {"bad": 400} | ({"old": 400, "strict": 422} if "stream_options" in body else {})
        if asked in refusing:
            error = {"message": "Unknown field.", "type": "invalid"}
            self.answer(refusing[asked], {"error": error})
        elif self.path.partition("?")[0].endswith("/chat/completions"):
            self.chat(body, asked, has_results)
        else:
            self.response(body, asked, has_results)

    def answer(self, status, value):
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def stream(self, events, named=False):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for event in events:
                name = f"event: {event['type']}\n" if named else ""
                data = event if isinstance(event, str) else json.dumps(event)
                self.wfile.write(f"{name}data: {data}\n\n".encode())
                self.wfile.flush()
        except OSError:
            pass  # the client has left
        self.close_connection = True

    # Chat completions

    def chat(self, body, asked, has_results):
        usage = {"prompt_tokens": 111, "completion_tokens": 22, "total_tokens": 133}
        message = {"role": "assistant", "content": None, "refusal": None}
        if asked == "refuse":
            message["refusal"] = "I will not."
        elif asked == "tool" and not has_results:
            call = {"id": "call_1", "type": "function", "function": TOOL}
            message["tool_calls"] = [call, call | {"id": "call_2"}]
        elif asked == "think":
            message |= {"reasoning_content": "Hmm.", "content": "Hello Ada."}
        elif asked != "nothing":
            message["content"] = '{"city": "Paris"}' if asked == "json" else "Hello Ada."
        base = {"id": "chatcmpl-1", "created": 1, "model": MODEL}
        if not body.get("stream"):
            second = {"role": "assistant", "content": "{}"}
            choices = [
                {"index": index, "message": said, "finish_reason": "stop"}
                for index, said in enumerate([message, second][: body.get("n", 1)])
            ]
            rest = {"object": "chat.completion", "choices": choices, "usage": usage}
            self.answer(200, base | rest)
            return
        wants = (body.get("stream_options") or {}).get("include_usage")
        self.stream(self.chunks(base, message, body, asked, usage if wants else None))

    def chunks(self, base, message, body, asked, usage):
        base = base | {"object": "chat.completion.chunk"}

        def chunk(delta, index=0, finish=None):
            return base | {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}

        yield chunk({"role": "assistant", "content": ""})
        for number, call in enumerate(message.get("tool_calls", ())):
            yield chunk({"tool_calls": [call | {"index": number}]})
        if "reasoning_content" in message:
            yield chunk({"reasoning_content": "Hmm."})
        for name in ("content", "refusal"):
            for word in (message[name] or "").partition(" "):
                yield chunk({name: word})
                if body.get("n") == 2:
                    yield chunk({"content": "{}"}, index=1)
        if asked == "break":
            return
        yield chunk({}, finish="tool_calls" if message.get("tool_calls") else "stop")
        if usage:
            yield base | {"choices": [], "usage": usage}
        yield "[DONE]"

    # Responses

    def response(self, body, asked, has_results):
        output = []
        if asked == "think":
            summary = [{"type": "summary_text", "text": "Hmm."}]
            output.append({"id": "rs_1", "type": "reasoning", "summary": summary})
        if asked == "tool" and not has_results:
            call = {"type": "function_call", "call_id": "call_1", "id": "fc_1"} | TOOL
            output.append(call | {"status": "completed"})
        elif asked != "nothing":
            part = {"type": "output_text", "text": "Hello Ada.", "annotations": []}
            if asked == "refuse":
                part = {"type": "refusal", "refusal": "I will not."}
            output.append(
                {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
                | {"content": [part]}
            )
        usage = {
            "input_tokens": 111,
            "output_tokens": 22,
            "total_tokens": 133,
            "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 5},
        }
        whole = {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "status": "completed",
            "model": MODEL,
            "output": output,
            "usage": usage,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }
        if not body.get("stream"):
            self.answer(200, whole)
            return
        self.stream(self.events(whole, output, asked), named=True)

    def events(self, whole, output, asked):
        begun = whole | {"status": "in_progress", "output": [], "usage": None}
        yield {"type": "response.created", "response": begun, "sequence_number": 0}
        for index, item in enumerate(output):
            place = {"output_index": index, "sequence_number": 1}
            yield {"type": "response.output_item.added", "item": item | {"content": []}} | place
            for part in item.get("content", ()):
                kind = part["type"]
                place |= {"item_id": item["id"], "content_index": 0, "logprobs": []}
                empty = part | {"text" if kind == "output_text" else "refusal": ""}
                yield {"type": "response.content_part.added", "part": empty} | place
                text = part.get("text") or part.get("refusal")
                for word in text.partition(" "):
                    yield {"type": f"response.{kind}.delta", "delta": word} | place
                if asked == "break":
                    return
                said = part | {"type": f"response.{kind}.done"}
                yield {name: said[name] for name in said if name != "annotations"} | place
            yield {"type": "response.output_item.done", "item": item} | place
        yield {"type": "response.completed", "response": whole, "sequence_number": 9}


class ModelServer(ThreadingHTTPServer):
    """The server, in a thread. `bodies` has what it was sent."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A client has left."""
