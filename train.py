"`python train.py` is `convvae_train`, as a file for `accelerate launch` and `torchrun`"
from convvae.cli import train_command

if __name__ == '__main__': train_command()
