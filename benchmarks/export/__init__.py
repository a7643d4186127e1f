"""The command that turns a run into data to fine-tune with."""
