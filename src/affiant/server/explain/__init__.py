"""Explain why a request was refused: its steps are repeated, and nothing is claimed, stored or fetched.

`explainer.Explainer` explains for this server, `remote` for another one. `fixes` has what to change for each reason,
`hints` the search for the mistake behind a wrong signature.
"""
