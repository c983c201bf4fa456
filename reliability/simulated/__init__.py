"""The replicas' protocol in simulated time, schedule by schedule."""
