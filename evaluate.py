"`python evaluate.py` is `convvae_evaluate`"
from convvae.cli import evaluate

if __name__ == '__main__': evaluate()
