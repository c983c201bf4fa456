"""Training the bAbI weights, from books and made-up stories to a folder of weights."""
