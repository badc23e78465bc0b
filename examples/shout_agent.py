"""An agent of your own in ten lines: offer a Python function to the swarm that this device is in.

Join first (`zwerm join TOKEN --no-service`), then `python examples/shout_agent.py`: it is this device's daemon, in place of `zwerm up`. Any device
of the swarm may now use the capability `text.shout` in a plan.
"""

from agent_node import Job, Output, capability, serve


@capability("text.shout", description="Capitals")
def shout(job: Job) -> Output:
    """Capitals of the first input."""
    return Output("shout.txt", job.inputs[0].text().upper(), "text/plain")


if __name__ == "__main__":
    serve(shout)
