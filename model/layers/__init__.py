"""Decoder blocks and the backbone made of them, with fused and stacked weights."""
