"""How clients and APIs are used, from the counts of the store; and what needs the attention of an operator."""
