"""MLflow's autologging of the openai client, exported with OTLP instead of to its own server."""

import contextlib
from collections.abc import Iterator

import asking
import mlflow
import openai

mlflow.openai.autolog()
client = openai.OpenAI(base_url=f"{asking.MODEL_SERVER}/v1", api_key="none", max_retries=0)


@contextlib.contextmanager
def around(case: str) -> Iterator[None]:
    """Trace a turn as one, if the case says so."""
    together = asking.CASES[case].in_one_trace
    with mlflow.start_span("turn") if together else contextlib.nullcontext():
        yield


def flush() -> None:
    mlflow.flush_trace_async_logging()
    provider = mlflow.tracing.provider.provider.get()
    provider.force_flush()


asking.every_case(
    lambda case, conversation: asking.ask_openai(client, conversation, user=asking.USER),
    flush,
    around,
)
