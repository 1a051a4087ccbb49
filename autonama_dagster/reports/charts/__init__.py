"""Charts: pure functions from numbers to PNG bytes.

Each is imported where it is drawn: matplotlib takes half a second to load, and most of what runs
draws nothing.
"""
