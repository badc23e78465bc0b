"""The labelled set of real documents; see SOURCES.md."""
