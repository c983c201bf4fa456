"""All checks of reliability, in the order of the table."""

from __future__ import annotations

from tests.reliability import faults_sqlite, power_sqlite
from tests.reliability.check import Check

CHECKS: tuple[Check, ...] = (power_sqlite.CHECK, faults_sqlite.CHECK)
