"""All checks of reliability, in the order of the table."""

from __future__ import annotations

from tests.reliability.check import Check

CHECKS: tuple[Check, ...] = ()
