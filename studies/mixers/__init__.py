"""What each part of the mixer is worth: one skeleton, one recipe, many mixers, several seeds."""
