"""Real daemons, a real nats-server, and somebody who kills them: what is promised holds all the same."""
