"""Running workers as a service: signals, several processes, health over HTTP."""
