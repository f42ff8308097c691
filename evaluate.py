"`python evaluate.py` is `convvae_evaluate`"
from convvae.cli import evaluate_command

if __name__ == '__main__': evaluate_command()
