"""Operations of many tenants at once, cancelled at random."""
