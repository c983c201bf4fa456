"""All checks of reliability, in the order of the table."""

from __future__ import annotations

from tests.reliability.check import Check
from tests.reliability.damage.check import CHECK as DAMAGE
from tests.reliability.replicas.lives import KILLED, STOPPED
from tests.reliability.simulated.check import CHECK as SIMULATED
from tests.reliability.soak.check import CHECK as SOAK
from tests.reliability.sqlite.faults import CHECK as FAULTS_SQLITE
from tests.reliability.sqlite.power import CHECK as POWER_SQLITE
from tests.reliability.stores.failover import CHECK as FAILOVER
from tests.reliability.stores.faults import CHECK as FAULTS_REDIS
from tests.reliability.stores.killed import CHECK as STORE_KILLED
from tests.reliability.stores.partition import CHECK as PARTITION
from tests.reliability.stores.power import CHECK as POWER_REDIS
from tests.reliability.tenants.check import CHECK as TENANTS

CHECKS: tuple[Check, ...] = (
    STORE_KILLED,
    KILLED,
    STOPPED,
    POWER_SQLITE,
    POWER_REDIS,
    FAILOVER,
    PARTITION,
    FAULTS_SQLITE,
    FAULTS_REDIS,
    DAMAGE,
    TENANTS,
    SIMULATED,
    SOAK,
)
