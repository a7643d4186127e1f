"""Episodes as OpenTelemetry spans, by the semantic conventions for generative AI (status: Development)."""
