"""Networks in the layout of the Hugging Face Hub: written, described by a card, pushed, loaded."""
