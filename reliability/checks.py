"""All checks, in the order of the table."""

from __future__ import annotations

from reliability.check import Check
from reliability.damage.check import CHECK as DAMAGE
from reliability.parts.check import CHECK as PARTS
from reliability.parts.damaged import CHECK as DAMAGE_PARTS
from reliability.replicas.lives import KILLED, STOPPED
from reliability.simulated.check import CHECK as SIMULATED
from reliability.soak.check import CHECK as SOAK
from reliability.sqlite.faults import CHECK as FAULTS_SQLITE
from reliability.sqlite.power import CHECK as POWER_SQLITE
from reliability.stores.failover import CHECK as FAILOVER
from reliability.stores.faults import CHECK as FAULTS_REDIS
from reliability.stores.killed import CHECK as STORE_KILLED
from reliability.stores.partition import CHECK as PARTITION
from reliability.stores.power import CHECK as POWER_REDIS
from reliability.tenants.check import CHECK as TENANTS

CHECKS: tuple[Check, ...] = (
    STORE_KILLED,
    PARTS,
    KILLED,
    STOPPED,
    POWER_SQLITE,
    POWER_REDIS,
    FAILOVER,
    PARTITION,
    FAULTS_SQLITE,
    FAULTS_REDIS,
    DAMAGE,
    DAMAGE_PARTS,
    TENANTS,
    SIMULATED,
    SOAK,
)
