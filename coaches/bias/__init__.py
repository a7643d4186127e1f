"""Statistics of what drives a coach's scores: effects of kind, role and length, drift, alarms."""
