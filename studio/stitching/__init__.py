"""Long video: pure functions of integers and tensors; knows no model."""
