"""What a memory has forgotten at its bound."""
