"""OpenTelemetry: spans for enqueueing and for attempts, joined by the headers of a task."""
