"""How tensors are computed; knows no model."""
