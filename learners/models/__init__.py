"""Where an agent's weights and tokenizer come from: each module has the class of one kind of model."""
