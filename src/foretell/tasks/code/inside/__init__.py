"""What runs inside the sandbox: the standard library only, so that nothing else need be visible there."""
