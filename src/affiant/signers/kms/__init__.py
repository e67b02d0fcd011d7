"""Keys in the KMS of AWS, Google and Azure, and in the transit engine of Vault and OpenBao; one module each."""
