"""The studio in the browser: the only part that imports gradio."""
