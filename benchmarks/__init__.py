"""Measures Onceread: how fast it reads, answers, acknowledges and restores, and how large its memory is.

It knows nothing of how well the model answers: that is the evaluation's business.
"""
