"""All checks of reliability, in the order of the table."""

from __future__ import annotations

from tests.reliability import (
    damage,
    failover,
    faults_sqlite,
    power_redis,
    power_sqlite,
    replicas,
    simulated,
    store_killed,
    tenants,
)
from tests.reliability.check import Check

CHECKS: tuple[Check, ...] = (
    store_killed.CHECK,
    replicas.KILLED,
    replicas.STOPPED,
    power_sqlite.CHECK,
    power_redis.CHECK,
    failover.CHECK,
    faults_sqlite.CHECK,
    damage.CHECK,
    tenants.CHECK,
    simulated.CHECK,
)
