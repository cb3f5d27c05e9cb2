"""The registry of trained models, their files and cards."""
