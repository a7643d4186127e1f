"""How other systems write recorded episodes down: encodings, fields and forms of messages."""
