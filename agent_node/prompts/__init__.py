"""Words to models, as files with versions: a prompt that has been used is not changed, the next version is a new file."""
