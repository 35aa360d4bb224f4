"""What a person sees: one HTML page, one text table; made from stored results alone."""
