"""The admin API: operators read and change the server by programs (docs/reference/admin.md).

`app` takes a request from its caller (`roles`) to its route (`routes`); `documents` has what routes read and answer,
`changes` what they write to the audit log, `lists` and `reads` how many rows are sent.
"""
