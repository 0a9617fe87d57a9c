"""A fuzzer of the commands, with an oracle for what they do in silence."""
