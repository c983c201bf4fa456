"""What the model is trained and examined on: made-up stories, hidden in books."""
