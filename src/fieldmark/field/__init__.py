"""What a recogniser does in the field: evaluate, predict, explain, report. Never imports torch."""
