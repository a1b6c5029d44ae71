"""OpenTelemetry's protocol over HTTP (OTLP): spans and log records that tell of calls of models.

`protobuf` and `json` read the two encodings into `spans.Span`; `conventions` finds the call in it,
by the names in `attributes`; `messages` finds what was said; `views` answers.
"""
