"""Networks in torch; nothing here knows pictures, labels or files of training data."""
