"""Damaged stored values: no damage may lead to a wrong answer."""
