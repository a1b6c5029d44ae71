#!/usr/bin/env bash
# llama-index-storage-chat-store-sqlite 0.4.0 with llama-index-core 0.14.25, Python 3.11: `set_messages` of
# SQLiteChatStore appends to what is stored. SimpleChatStore, Redis's store and the core's own SQL store replace it.
# A chat engine sets the history that `chat(question, chat_history=...)` is given. So a program that hands over what
# it read before doubles the stored conversation with each question, and the model is sent all of it, up to the
# memory's limit of tokens. Who sets a conversation without a message that is to go has it still, and the others
# twice. Nothing is raised or logged. A good engineer would expect `set` to leave what was set.
#
# Output seen:
#   SimpleChatStore: messages sent to the model: 1, 3, 5, 7; stored after that: 8
#   SimpleChatStore: set without the address: hello, thanks
#   SQLiteChatStore: messages sent to the model: 1, 5, 13, 29; stored after that: 30
#   SQLiteChatStore: set without the address: hello, my address, thanks, hello, thanks
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check llama-index-storage-chat-store-sqlite==0.4.0 \
  llama-index-core==0.14.25

cd "$folder"
timeout 120 venv/bin/python - > output <<'PYTHON'
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage, ChatResponse, MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.storage.chat_store import SimpleChatStore
from llama_index.storage.chat_store.sqlite import SQLiteChatStore

sent = []


class Model(MockLLM):
    def chat(self, messages, **options):
        sent.append(str(len(messages)))
        return ChatResponse(message=ChatMessage(role="assistant", content="answer"))


for store in (SimpleChatStore(), SQLiteChatStore.from_params(database="chats.db")):
    name, model = type(store).__name__, Model()
    memory = ChatMemoryBuffer.from_defaults(chat_store=store, chat_store_key="chat", llm=model)
    engine = SimpleChatEngine.from_defaults(llm=model, memory=memory)
    sent.clear()
    history = None
    for number in range(1, 5):
        engine.chat(f"question {number}", chat_history=history)
        history = store.get_messages("chat")
    print(f"{name}: messages sent to the model: {', '.join(sent)}; stored after that: {len(history)}")

    store.set_messages("other", [ChatMessage(content=text) for text in ("hello", "my address", "thanks")])
    store.set_messages("other", [ChatMessage(content=text) for text in ("hello", "thanks")])
    texts = [message.content for message in store.get_messages("other")]
    print(f"{name}: set without the address: {', '.join(texts)}")
PYTHON

cat output
diff output - <<'EXPECTED'
SimpleChatStore: messages sent to the model: 1, 3, 5, 7; stored after that: 8
SimpleChatStore: set without the address: hello, thanks
SQLiteChatStore: messages sent to the model: 1, 5, 13, 29; stored after that: 30
SQLiteChatStore: set without the address: hello, my address, thanks, hello, thanks
EXPECTED
