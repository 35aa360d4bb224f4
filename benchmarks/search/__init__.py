"""Right advice: what the funnel picks, held against the best cell of a full grid."""
