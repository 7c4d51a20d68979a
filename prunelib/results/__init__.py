"""Records of Runs, and the store that keeps them."""
