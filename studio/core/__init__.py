"""Requests, presets, plans and events: plain data, without torch and without gradio."""
