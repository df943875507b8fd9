"""The composition root: builds what follows from one configuration and wires it together."""
