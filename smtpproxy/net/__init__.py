"""The only byte pump: listeners, dialling, transports, and the driver that runs sessions on trio."""
