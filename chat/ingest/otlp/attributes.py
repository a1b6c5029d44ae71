"""The names of attributes that are read, and the releases in which each was seen.

They differ between tools and releases, and no package has them all. The first of a table that a
span has counts. `genai` stands for `opentelemetry-instrumentation-genai-*`, which follow the
semantic conventions for generative AI; Traceloop for `opentelemetry-instrumentation-openai`.
"""

from collections.abc import Mapping
from typing import Any

Names = Mapping[str, str]
"""Names of an attribute, and where each was seen."""

# What is a call of a model.

OPERATION = "gen_ai.operation.name"  # genai 1.3b0, openai-v2 2.4b0, Traceloop 0.62.4
OPERATIONS = frozenset({"chat", "text_completion", "generate_content"})
REQUEST_TYPE = "llm.request.type"  # Traceloop 0.48.1
REQUEST_TYPES = frozenset({"chat", "completion"})
FIRST_ROLE = "gen_ai.prompt.0.role"  # Traceloop 0.48.1, which has no type for the Responses API
OPENINFERENCE_KIND = "openinference.span.kind"  # OpenInference 0.1.66
LANGFUSE_TYPE = "langfuse.observation.type"  # Langfuse 5.0.4
MLFLOW_TYPE = "mlflow.spanType"  # MLflow 3.17.2
MLFLOW_TYPES = frozenset({"CHAT_MODEL", "LLM"})

# Who, which model, how many tokens.

RESPONSE_ID = "gen_ai.response.id"  # genai 1.3b0, openai-v2 2.2b0, Traceloop 0.62.4
ERROR = "error.type"  # genai 1.3b0, openai-v2 2.4b0, in log records, Traceloop 0.62.4

USER: Names = {
    "user.id": "OpenInference 0.1.66, Langfuse 5.0.4, opentelemetry-processor-baggage 0.66b1",
    "enduser.id": "semantic conventions 1.27",
    "gen_ai.user": "Traceloop 0.62.4",
    "llm.user": "Traceloop 0.48.1",
    "langfuse.user.id": "Langfuse 3.0",
    "mlflow.trace.user": "MLflow 3.17.2, if the application says so",
}
MODEL: Names = {
    "gen_ai.response.model": "genai 1.3b0, openai-v2 2.4b0, Traceloop 0.62.4",
    "llm.model_name": "OpenInference 0.1.66",
    "langfuse.observation.model.name": "Langfuse 5.0.4",
    "gen_ai.request.model": "genai 1.3b0, openai-v2 2.4b0, Traceloop 0.62.4",
    "mlflow.llm.model": "MLflow 3.17.2",
}
INPUT_TOKENS: Names = {
    "gen_ai.usage.input_tokens": "genai 1.3b0, openai-v2 2.4b0, Traceloop 0.62.4",
    "gen_ai.usage.prompt_tokens": "Traceloop up to 0.49",
    "llm.token_count.prompt": "OpenInference 0.1.66",
}
OUTPUT_TOKENS: Names = {
    "gen_ai.usage.output_tokens": "genai 1.3b0, openai-v2 2.4b0, Traceloop 0.62.4",
    "gen_ai.usage.completion_tokens": "Traceloop up to 0.49",
    "llm.token_count.completion": "OpenInference 0.1.66",
}
USAGE: Names = {
    "langfuse.observation.usage_details": "Langfuse 5.0.4, a JSON object",
    "mlflow.chat.tokenUsage": "MLflow 3.17.2, a JSON object",
}
USAGE_INPUT = ("input_tokens", "prompt_tokens", "input")
USAGE_OUTPUT = ("output_tokens", "completion_tokens", "output")

# What was said.

INPUT: Names = {
    "gen_ai.input.messages": "genai 1.3b0, openai-v2 2.4b0, Traceloop 0.62.4",
    "langfuse.observation.input": "Langfuse 5.0.4",
    "mlflow.spanInputs": "MLflow 3.17.2",
    "gen_ai.prompt": "semantic conventions 1.27, in the event gen_ai.content.prompt",
}
OUTPUT: Names = {
    "gen_ai.output.messages": "genai 1.3b0, openai-v2 2.4b0, Traceloop 0.62.4",
    "langfuse.observation.output": "Langfuse 5.0.4",
    "mlflow.spanOutputs": "MLflow 3.17.2",
    "gen_ai.completion": "semantic conventions 1.27, in the event gen_ai.content.completion",
}
INPUT_LISTS: Names = {
    "llm.input_messages.": "OpenInference 0.1.66",
    "gen_ai.prompt.": "Traceloop 0.48.1",
}
OUTPUT_LISTS: Names = {
    "llm.output_messages.": "OpenInference 0.1.66",
    "gen_ai.completion.": "Traceloop 0.48.1",
}
"""How the names of attributes begin that have one field of one message each."""

REQUEST = "input.value"  # OpenInference 0.1.66: the whole request, as JSON
ANSWER = "output.value"  # OpenInference 0.1.66: the whole answer, as JSON

TEXT_EVENT = "gen_ai.choice"  # openai-v2 2.2b0: a log record with one text, and no model

EVENTS = frozenset(
    {
        "gen_ai.client.inference.operation.details",  # genai 1.3b0 with EVENT_ONLY
        "gen_ai.content.prompt",  # semantic conventions 1.27
        "gen_ai.content.completion",  # semantic conventions 1.27
    }
)
"""Events, of a span or as log records, that have attributes of a call."""

_READ = frozenset(
    {
        *(
            OPERATION,
            REQUEST_TYPE,
            OPENINFERENCE_KIND,
            LANGFUSE_TYPE,
            MLFLOW_TYPE,
            RESPONSE_ID,
            ERROR,
        ),
        *(*USER, *MODEL, *INPUT_TOKENS, *OUTPUT_TOKENS, *USAGE),
        *(*INPUT, *OUTPUT, REQUEST, ANSWER),
    }
)
_LISTS = (*INPUT_LISTS, *OUTPUT_LISTS)


def is_read(name: str) -> bool:
    """Whether an attribute of this name is of any use here."""
    return name in _READ or name.startswith(_LISTS)


def first(attributes: Mapping[str, Any], names: Names) -> Any:
    """The first attribute of a table that is there and not empty, or None."""
    for name in names:
        if value := attributes.get(name):
            return value
    return None
