"""Three servers behind a balancer on one store, killed and stopped in turn."""
