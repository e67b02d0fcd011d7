"""What a request may ask for, and how it is written: forms, scope, resource indicators, authorization details."""
