"""X-ray powder patterns of one structure on a 2θ grid."""
