"""Audits: what files, programs and texts of an episode prove, one idea a file."""
