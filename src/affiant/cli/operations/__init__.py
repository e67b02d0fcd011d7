"""The group Operate: the audit log, issued tokens, revocations and administrators."""
