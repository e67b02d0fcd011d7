"""Parameters of requests: forms, scope, resource indicators, authorization details."""
