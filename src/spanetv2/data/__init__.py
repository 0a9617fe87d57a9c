"""What every data set is read with: images, seeded augmentation, order, loaders."""
