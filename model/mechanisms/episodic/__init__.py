"""The general memory: text is kept as tokens with terms; the model reads again what a question finds by them."""
