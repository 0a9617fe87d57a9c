"""Images with label maps: ADE20K, folders of pairs, augmentation, checks."""
