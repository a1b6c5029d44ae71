"""Where calls of models come from, as counts, log and admin call it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A way in."""

    name: str
    """As `counts.record` is told it, and as metrics have it."""
    title: str
    is_file: bool = False
    """An import, whose command says itself what it left out."""


SOURCES = {
    source.name: source
    for source in (
        Source("otlp", "OpenTelemetry"),
        Source("langfuse", "Langfuse SDK"),
        Source("litellm", "LiteLLM proxy"),
        Source("file:llm", "Imported from llm", is_file=True),
        Source("file:litellm", "Imported from LiteLLM", is_file=True),
        Source("file:openai", "Imported from OpenAI", is_file=True),
        Source("file:langfuse", "Imported from Langfuse", is_file=True),
    )
}


def source_named(name: str) -> Source:
    """The source, also of a name that a later version has counted under."""
    return SOURCES.get(name) or Source(name, name)
