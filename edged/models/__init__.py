"""What tensors mean; knows no backend."""
