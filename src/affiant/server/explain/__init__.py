"""Explain why a request was refused: its steps are repeated, and nothing is claimed or stored.

`explainer` explains for this server, and for one elsewhere by its metadata. `fixes` has what to change for each reason,
`hints` the search for the mistake behind a wrong signature.
"""
