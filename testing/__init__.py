"""What tests, benchmarks and the fault laboratory share: real servers and stores, small models, reply checks."""
