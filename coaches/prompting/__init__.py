"""Questions to a language model and the parsing of its replies."""
