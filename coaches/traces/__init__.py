"""Traces of other systems, read as episodes of ours: one module for each format, behind ``formats``."""
