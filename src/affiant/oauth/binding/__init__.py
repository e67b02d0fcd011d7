"""What binds a token to who may use it: a DPoP proof, a client certificate."""
