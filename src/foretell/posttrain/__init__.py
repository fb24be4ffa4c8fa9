"""What is done to a pretrained model: supervised fine-tuning on conversations."""
