// Removed with the first kernel.
