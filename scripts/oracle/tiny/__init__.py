"""Tiny random models, a file for each family: what scripts/oracle/tiny_models.py makes.

A file has MODELS, from the model's name to configuration, element type, and (bits, group
size, mode) or None. The name begins with its model_type. It may have

    RUNS                             batch and lengths of the prompt's chunks, for each run;
                                     or a function of the model's name that returns them
    weight(path, shape, rng)         a numpy array for a parameter, or None for the usual
    quantize(name, path)             in place of the model's quant_predicate
    finish(name, folder)             what is still done to the folder
    COMPILE                          False: without mx.compile
"""

COMMON = dict(
    hidden_size=64,
    num_hidden_layers=2,
    intermediate_size=128,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    rms_norm_eps=1e-6,
    vocab_size=320,
    rope_theta=10000.0,
    max_position_embeddings=512,
    tie_word_embeddings=True,
    eos_token_id=0,
)

# With 4 experts a token, 16 tokens in one call are sorted by expert: the last two runs
# have sorted prefill, the last one sorted decode too. (With 2 experts a token, 32 are.)
RUNS = [(1, [5]), (2, [4, 3]), (4, [24]), (16, [3])]

# Prompts of one token, of a chunk and of more than a cache's step of 256 rows; the last
# run decodes past such a step.
LONG = [(1, [1]), (1, [5]), (2, [64]), (4, [4, 3]), (16, [3]), (1, [300]), (2, [252])]
