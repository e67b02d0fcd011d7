"""What the pages know of records: their members, their changes, lists as files, and the tokens of the last hour."""
