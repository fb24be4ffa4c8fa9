"""The command line: verbs that wire the layers together and hold no logic of their own."""
