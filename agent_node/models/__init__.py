"""Talking to language models: what is sent, what comes back, what went wrong, how fast one may ask. Cores, but for the files named `_http` and `_file`.

Nothing here knows an adapter; `adapters.chat` and `adapters.local` put the parts together.
"""
