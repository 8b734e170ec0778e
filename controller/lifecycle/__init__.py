"""What to do about an Extension, and when: decisions only, no I/O."""
