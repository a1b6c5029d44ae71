"""The Langfuse SDK: its wrapper of the openai client."""

import contextlib
from collections.abc import Iterator

import asking
from langfuse import get_client, propagate_attributes
from langfuse.openai import OpenAI

langfuse = get_client()
client = OpenAI(base_url=f"{asking.MODEL_SERVER}/v1", api_key="none", max_retries=0)


@contextlib.contextmanager
def around(case: str) -> Iterator[None]:
    """Name the user, which no argument of the client does."""
    together = asking.CASES[case].in_one_trace
    turn = langfuse.start_as_current_observation(name="turn") if together else None
    with turn or contextlib.nullcontext(), propagate_attributes(user_id=asking.USER):
        yield


asking.every_case(
    lambda case, conversation: asking.ask_openai(client, conversation), langfuse.flush, around
)
