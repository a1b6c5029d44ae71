"""What the tools ask the model server, and what it answers: one conversation for each case.

The scripts of the tools import this in their own virtual environments, so it needs Python alone.
"""

from dataclasses import dataclass

MODEL = "m"
"""What is asked for."""
ANSWERED_BY = "m-2026-01-01"
"""What the model server says has answered."""
INPUT_TOKENS, CACHED_TOKENS = 111, 11
OUTPUT_TOKENS, REASONING_TOKENS = 22, 7
SYSTEM = "You answer in one sentence."
TOOL = "temperature"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "YPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
"""A PNG of one pixel, in base64."""


@dataclass(frozen=True)
class Conversation:
    """A question, and how the model server answers it."""

    question: str
    answer: str = ""
    reasoning: str = ""
    refusal: str = ""
    second_answer: str = ""
    """Of the second choice."""
    usage: bool = True
    """Whether an answer that is not streamed has token counts."""
    streamed: bool = False
    asks_usage: bool = False
    """Whether a stream is asked for its token counts."""
    calls_tool: bool = False
    in_one_trace: bool = False
    """Whether the application traces the whole turn, as an agent's framework does."""
    fails: bool = False
    has_image: bool = False
    history: tuple[tuple[str, str], ...] = ()
    read: int = 0
    """Pieces of a stream that are read until it is left; 0: all."""
    responses: bool = False
    """Whether it is asked with the Responses API, not with chat completions."""


COUNT = "One, two, three, four, five, six, seven, eight, nine, ten."
CASES = {
    "answer": Conversation("What is a heap?", "A tree whose parents come before their children."),
    "no_usage": Conversation("What is a queue?", "First in, first out.", usage=False),
    "stream": Conversation("What is a stack?", "Last in, first out.", streamed=True),
    "stream_usage": Conversation(
        "What is a hash table?", "Keys find their bucket by a hash.", streamed=True, asks_usage=True
    ),
    "tool": Conversation("How warm is it in Paris?", "It is 21 degrees.", calls_tool=True),
    "agent": Conversation(
        "How warm is it in Oslo?", "It is 21 degrees there.", calls_tool=True, in_one_trace=True
    ),
    "refusal": Conversation(
        "How do I open my neighbour's lock?", refusal="I can't help with that."
    ),
    "refusal_stream": Conversation(
        "How do I read my neighbour's letters?", refusal="I can't help with this.", streamed=True
    ),
    "reasoning": Conversation("Is 91 prime?", "No, it is 7 times 13.", reasoning="7 * 13 = 91."),
    "image": Conversation("What is in this picture?", "One red pixel.", has_image=True),
    "follow_up": Conversation(
        "Und auf Japanisch? 🗾",
        "「ヒープ」と言います。",
        history=(("user", "Wie heißt „heap“ auf Deutsch?"), ("assistant", "Man sagt „Halde“.")),
    ),
    "left": Conversation("Count to ten.", COUNT, streamed=True, read=3),
    "choices": Conversation("Name a colour.", "Blue.", second_answer="Green."),
    "failure": Conversation("Does this fail?", fails=True),
    "responses": Conversation("What is a trie?", "A tree of prefixes.", responses=True),
    "responses_stream": Conversation(
        "What is a rope?", "A tree of strings.", responses=True, streamed=True
    ),
}


def pieces(text: str) -> list[str]:
    """Returns the pieces in which a text is streamed."""
    words = text.split(" ")
    return [words[0], *(f" {word}" for word in words[1:])]


def left_text(case: str) -> str:
    """Returns what had arrived when the stream of this case was left."""
    return "".join(pieces(CASES[case].answer)[: CASES[case].read])


def find(question: str) -> Conversation:
    """Returns the conversation with this question; KeyError if there is none."""
    return next(one for one in CASES.values() if one.question == question.strip())
