"""What PyTorch writes into one file: `torch.save` of all ages, TorchScript, programs, plain pickles."""
