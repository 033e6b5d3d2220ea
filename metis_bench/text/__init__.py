"""Text normalisation profiles, each named and versioned."""
