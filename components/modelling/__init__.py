"""What the steps that load models share: models, chat templates, rows as tokens, stored teacher distributions."""
