"""Inside a child process: an embedded model (llama.cpp by xllamacpp) that serves chat completions on a loopback port with a key.

    python local_model_proc.py < order.json        {"model": PATH, "key": ..., "context": ..., "parallel": ..., "threads": ...}

When the model is loaded, one line of JSON on standard output says where: {"url": ...} or {"error": ...}. It ends when its standard input does. The key comes by
standard input and not by an argument, since others can read those. Counterpart: `adapters/local`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

__all__ = ["serve"]


def serve(order: dict[str, Any]) -> str:
    """Load the model and serve it; returns its address. The server lives as long as this process."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = order["model"]
    params.n_ctx = order["context"] * order["parallel"]
    params.n_parallel = order["parallel"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [order["key"]]
    params.verbosity = -1
    params.cpuparams.n_threads = order["threads"]
    params.cpuparams_batch.n_threads = order["threads"]
    server = xllamacpp.Server(params)
    globals()["_server"] = server  # or it would end with this function
    return str(server.listening_address)


def _main() -> None:
    order = json.loads(sys.stdin.buffer.readline())
    try:
        said = {"url": serve(order)}
    except Exception as error:  # noqa: BLE001 - whatever it is, the node has to hear of it
        said = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
    if "url" in said:
        sys.stdin.buffer.read()


if __name__ == "__main__":
    _main()
