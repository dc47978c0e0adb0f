"""Tokenizers put together by chance from the parts that the tokenizers library has, trained by it, on texts drawn by chance: ids, as it gives
them, of every text.

    random_tokenizers_test.py               some
    random_tokenizers_test.py 100 400       those of seeds 100 to 399

Wants tokenizers; without it it is skipped. Decoding is compared in tokenizers_test.py: since 0.22 the library decodes added tokens as its
normalizer leaves them, which is not what the file says.
"""
import importlib.util
import json
import os
import pathlib
import random
import subprocess
import sys

if importlib.util.find_spec("tokenizers") is None:
    print("skipped: there is no tokenizers")
    sys.exit(0)

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

import seeds

BINARY = os.environ.get("POMONA_BINARY", "build/release/pomona")
SPECIAL = ["<unk>", "<s>", "</s>", "[MASK]", "[SEP]", "[CLS]", "<|im_start|>"]
ADDED = ["<extra>", "EXTRA", "foo"]
WORDS = (pathlib.Path(__file__).resolve().parents[2] / "LICENSE").read_text().split()  # a text that stays as it is
RANGES = [(0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF), (0x590, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F),
          (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x3040, 0x30FF), (0x4E00, 0x9FFE), (0xAC00, 0xD7A3), (0xFE00, 0xFE0F), (0xFF00, 0xFFEF),
          (0x1F300, 0x1F6FF), (0x1D400, 0x1D7FF), (0, 0x1F)]
BETWEEN = [" ", "  ", "\n", "", "\t", "\r\n", "   ", " 123456 ", "'s ", " don't ", "\n\n  ", "3.14", "naïve Ünïcode ", "ß", "İstanbul ", "ﬁne ",
           *SPECIAL, *ADDED, "extrafoo"]
BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
EXPRESSIONS = ["a", Regex(r"\s+"), Regex(r"\p{L}+"), Regex(r"\d{1,3}(?=(?:\d{3})*\b)"),
               Regex(r"(?i:'s|'t|'re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")]


class Draw:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def one(self, *choices):
        return self.rng.choice(choices)

    def chance(self, share=0.5):
        return self.rng.random() < share

    def text(self, length):
        parts = []
        while sum(map(len, parts)) < length:
            kind = self.rng.random()
            if kind < 0.4:
                parts.append(" ".join(self.one(*WORDS) for _ in range(self.rng.randint(1, 6))))
            elif kind < 0.75:
                parts.append(self.one(*BETWEEN))
            else:
                first, last = self.one(*RANGES)
                parts.append("".join(chr(self.rng.randint(first, last)) for _ in range(self.rng.randint(1, 10))))
        return "".join(parts)

    def normalizer(self):
        return self.one(
            normalizers.NFC, normalizers.NFD, normalizers.NFKC, normalizers.NFKD, normalizers.Lowercase, normalizers.StripAccents,
            normalizers.Nmt, normalizers.ByteLevel, lambda: normalizers.Prepend("▁"),
            lambda: normalizers.Strip(left=self.chance(), right=self.chance()),
            lambda: normalizers.Replace(self.one("a", " ", "``", Regex(r"\s+"), Regex("[0-9]")), self.one("b", "▁", "", '"')),
            lambda: normalizers.BertNormalizer(clean_text=self.chance(), handle_chinese_chars=self.chance(),
                                               strip_accents=self.one(None, True, False), lowercase=self.chance()))()

    def pre_tokenizer(self):
        return self.one(
            pre_tokenizers.Whitespace, pre_tokenizers.WhitespaceSplit, pre_tokenizers.BertPreTokenizer,
            lambda: pre_tokenizers.ByteLevel(add_prefix_space=self.chance(), use_regex=self.chance()),
            lambda: pre_tokenizers.Punctuation(self.one(*BEHAVIORS)), lambda: pre_tokenizers.Digits(self.chance()),
            lambda: pre_tokenizers.Metaspace(prepend_scheme=self.one("always", "first", "never"), split=self.chance()),
            lambda: pre_tokenizers.CharDelimiterSplit(self.one(" ", "e")),
            lambda: pre_tokenizers.Split(self.one(*EXPRESSIONS), self.one(*BEHAVIORS), invert=self.chance(0.3)))()

    def post_processor(self, tokenizer):
        ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
        if any(number is None for _, number in ends):
            return None
        template = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="$A $B", special_tokens=ends)
        return self.one(None, processors.ByteLevel(), processors.BertProcessing(ends[1], ends[0]), template,
                        processors.RobertaProcessing(ends[1], ends[0], add_prefix_space=self.chance()),
                        processors.Sequence([processors.ByteLevel(), template]))

    def model(self):
        common = dict(special_tokens=SPECIAL, show_progress=False)
        kind = self.one("bpe", "bpe", "unigram", "wordpiece", "wordlevel")
        if kind == "unigram":
            return models.Unigram(), trainers.UnigramTrainer(vocab_size=700, unk_token="<unk>", **common)
        if kind == "wordpiece":
            return models.WordPiece(unk_token="<unk>", max_input_chars_per_word=self.one(10, 100)), trainers.WordPieceTrainer(vocab_size=900, **common)
        if kind == "wordlevel":
            return models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer(vocab_size=900, **common)
        options = {name: True for name in ("byte_fallback", "fuse_unk", "ignore_merges") if self.chance(0.3)}
        affixes = {name: value for name, value in (("continuing_subword_prefix", "##"), ("end_of_word_suffix", "</w>")) if self.chance(0.2)}
        if self.chance(0.6):
            options["unk_token"] = "<unk>"
        if "byte_fallback" in options:
            common["special_tokens"] = SPECIAL + [f"<0x{byte:02X}>" for byte in range(256)]
        alphabet = pre_tokenizers.ByteLevel.alphabet() if self.chance(0.6) else []
        return models.BPE(**options, **affixes), trainers.BpeTrainer(vocab_size=1200, initial_alphabet=alphabet, **affixes, **common)

    def tokenizer(self):
        model, trainer = self.model()
        tokenizer = Tokenizer(model)
        if self.chance(0.7):
            tokenizer.normalizer = normalizers.Sequence([self.normalizer() for _ in range(self.rng.randint(1, 4))])
        if self.chance(0.9):
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([self.pre_tokenizer() for _ in range(self.rng.randint(1, 3))])
        tokenizer.train_from_iterator([self.text(300) for _ in range(40)], trainer)
        tokenizer.add_tokens([AddedToken(token, lstrip=self.chance(0.4), rstrip=self.chance(0.4), single_word=self.chance(0.4),
                                         normalized=self.chance(), special=self.chance(0.4)) for token in ADDED if self.chance()])
        if processor := self.post_processor(tokenizer):
            tokenizer.post_processor = processor
        return tokenizer


def problem_of(seed, folder):
    draw = Draw(seed)
    try:
        tokenizer = draw.tokenizer()
        text = draw.text(1500)
        want = tokenizer.encode(text).ids
    except BaseException as error:  # panics of the library are no Exception
        print(f"seed {seed}: not drawn: {str(error)[:100]}")
        return None
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "text.txt").write_text(text, encoding="utf8", newline="")
    words = [BINARY, "tokenize", folder / "tokenizer.json", "--file", folder / "text.txt", "--json"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    if done.returncode:
        return done.stderr
    got = json.loads(done.stdout)["ids"]
    if got == want:
        return None
    at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
    near = [[tokenizer.id_to_token(number) for number in ids[max(0, at - 3):at + 4]] for ids in (got, want)]
    parts = {name: json.loads((folder / "tokenizer.json").read_text())[name] for name in ("normalizer", "pre_tokenizer", "added_tokens")}
    return f"at {at}: {near[0]}, not {near[1]}: {json.dumps(parts)[:1500]}"


if __name__ == "__main__":
    sys.exit(seeds.exit_code("tokenizers", problem_of))
