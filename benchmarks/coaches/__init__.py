"""How coaches compare on recorded episodes whose faults are known: measures, runs and pages."""
