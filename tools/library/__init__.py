"""What replay/ is made of: conversations of real programs, each with the server that it needs.

`tools/record_library.py` records them; tests rerun them.
"""
