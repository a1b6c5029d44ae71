"""The addresses of OTLP over HTTP, and the one to which Langfuse's SDK sends."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema, extend_schema_view

from chat.api.authentication import StaffSessionAuthentication
from chat.api.problems import UnsupportedMediaType
from chat.ingest.authentication import PasswordAuthentication
from chat.ingest.calls import LeftOut, Translated
from chat.ingest.keeping import Taken
from chat.ingest.otlp import answers, json, protobuf
from chat.ingest.otlp.answers import JSON, PROTOBUF
from chat.ingest.otlp.conventions import calls
from chat.ingest.otlp.operations import exporting
from chat.ingest.otlp.spans import Span
from chat.ingest.views import IngestView, detail_of

Reader = Callable[[bytes], Iterator[Span | LeftOut]]


class OtlpView(IngestView):
    """A signal of OTLP."""

    source = "otlp"
    readers: ClassVar[Mapping[str, Reader]]
    """What reads a body, by its media type."""
    rejected: ClassVar[str]
    """The field of the answer with the number of those that are not stored."""

    def translated(self, body: bytes, environ: Mapping[str, Any]) -> Iterable[Translated]:
        read = self.readers.get(_media_type(environ))
        if read is None:
            raise UnsupportedMediaType(
                f"Send OTLP with the header 'Content-Type: {PROTOBUF}' or '{JSON}'."
            )
        return calls(read(body))

    def answer(self, taken: Taken) -> HttpResponse:
        return answers.success(self._media_type, taken, self.rejected)

    def problem(self, response: HttpResponse) -> HttpResponse:
        found = answers.error(self._media_type, response.status_code, detail_of(response))
        for name in ("Retry-After", "WWW-Authenticate"):
            if name in response:
                found[name] = response[name]
        return found

    @property
    def _media_type(self) -> str:
        """That of an answer: the same as that of the request, if it is one of OTLP's."""
        return PROTOBUF if _media_type(self.request.META) == PROTOBUF else JSON


@exporting("export_traces", "spans", "ExportTraceServiceRequest")
class TracesView(OtlpView):
    """Spans."""

    readers = {PROTOBUF: protobuf.spans, JSON: json.spans}
    rejected = "rejectedSpans"


@exporting("export_logs", "log records", "ExportLogsServiceRequest")
class LogsView(OtlpView):
    """Log records."""

    readers = {PROTOBUF: protobuf.log_records, JSON: json.log_records}
    rejected = "rejectedLogRecords"


@extend_schema_view(post=extend_schema(exclude=True))
class LangfuseView(TracesView):
    """Spans of Langfuse's SDK, which shows its keys as HTTP Basic. Nobody else sends there."""

    source = "langfuse"
    authentication_classes = [PasswordAuthentication, StaffSessionAuthentication]


def _media_type(environ: Mapping[str, Any]) -> str:
    return str(environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()
