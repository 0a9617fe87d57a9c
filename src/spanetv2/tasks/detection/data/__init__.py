"""Detection data: COCO annotations, augmentation, batches of like shapes, and a check of it all."""
