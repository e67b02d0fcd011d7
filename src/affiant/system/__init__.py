"""What the operating system refuses, in sentences that say what to do: files of other users, and the network.

Used by every role, and uses nothing but `errors`.
"""
