"""What events mean to people: summaries, transcripts, messages; no I/O."""
