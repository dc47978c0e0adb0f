"""Token ids as the packages `tokenizers` and `sentencepiece` give them: on small tokenizers trained here, of every kind."""

import json
import os
import random
import subprocess
import tempfile
import unittest

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

POMONA = os.environ["POMONA_BINARY"]
SPECIAL = ["<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>"]
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# First and last character of scripts, symbols and controls. U+061D is left out: `tokenizers` takes its categories from a
# Unicode that did not have it.
RANGES = [
    (0x20, 0x7E), (0xA0, 0x17E), (0x370, 0x3FF), (0x400, 0x4FF), (0x590, 0x5FF), (0x600, 0x61C), (0x61E, 0x6FF), (0x900, 0x97F),
    (0xE00, 0xE7F), (0x3040, 0x30FF), (0x4E00, 0x9FFE), (0xAC00, 0xD7A3), (0x1F300, 0x1F6FF), (0x1F900, 0x1F9FF),
    (0, 0x1F), (0x7F, 0x9F), (0x2000, 0x206F), (0x1E00, 0x1EFF), (0xFF00, 0xFFEF), (0x300, 0x36F), (0x180E, 0x180E),
    (0xFE00, 0xFE0F), (0x1D400, 0x1D7FF), (0x10400, 0x1044F), (0x2160, 0x2188), (0x24B6, 0x24E9),
]  # fmt: skip
BETWEEN = [" ", "  ", "\n", "", "\t", "\r\n", "   ", " 123456 ", "'s ", "'RE ", " don't ", "\n\n  ", "🇩🇪👨‍👩‍👧", "3.14"]


def mixed_text():
    draw = random.Random(1)
    parts = [open(__file__, encoding="utf8").read()]
    while sum(map(len, parts)) < 30_000:
        first, last = draw.choice(RANGES)
        parts.append("".join(chr(draw.randint(first, last)) for _ in range(draw.randint(1, 12))))
        parts.append(draw.choice(BETWEEN))
    return "".join(parts) + " " * 300 + "\n" * 50 + "<|im_start|>user\nhello<|im_end|> <s> <unk> [MASK] x[SEP]y  [CLS]  b"


TEXT = mixed_text()
LINES = [TEXT[i : i + 300] for i in range(0, len(TEXT), 300)]


def byte_level(expression, **model):
    t = Tokenizer(models.BPE(**model))
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(expression), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    t.decoder = decoders.ByteLevel()
    return t, trainers.BpeTrainer(vocab_size=1500, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())


def gpt2():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    return t, trainers.BpeTrainer(vocab_size=1500, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())


def llama3():
    t, trainer = byte_level(LLAMA3, ignore_merges=True)
    t.normalizer = normalizers.NFC()
    t.add_tokens([AddedToken("hello", lstrip=True, rstrip=True, single_word=True), AddedToken("user", single_word=True)])
    return t, trainer


def llama2():
    t = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return t, trainers.BpeTrainer(
        vocab_size=1200, special_tokens=SPECIAL + [f"<0x{b:02X}>" for b in range(256)], limit_alphabet=300
    )


def bert():
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return t, trainers.WordPieceTrainer(vocab_size=1500, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])


def unigram():
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.decoder = decoders.Metaspace()
    return t, trainers.UnigramTrainer(vocab_size=9000, special_tokens=SPECIAL, unk_token="<unk>")


def rare_parts():
    t = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="@@", end_of_word_suffix="</w>"))
    t.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip()]
    )
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(True), pre_tokenizers.Punctuation("merged_with_previous")]
    )
    t.decoder = decoders.BPEDecoder("</w>")
    return t, trainers.BpeTrainer(
        vocab_size=1500, special_tokens=SPECIAL, limit_alphabet=400, continuing_subword_prefix="@@", end_of_word_suffix="</w>"
    )


def words():
    t = Tokenizer(models.WordLevel(unk_token="<unk>"))
    t.normalizer = normalizers.NFD()
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Punctuation("contiguous"),
            pre_tokenizers.Digits(),
            pre_tokenizers.Split("a", "merged_with_next"),
        ]
    )
    return t, trainers.WordLevelTrainer(vocab_size=1500, special_tokens=SPECIAL)


KINDS = {
    "gpt2": gpt2,
    "llama3": llama3,
    "llama2": llama2,
    "bert": bert,
    "unigram": unigram,
    "rare_parts": rare_parts,
    "words": words,
    "o200k": lambda: byte_level(O200K),
    "classes": lambda: byte_level(r"\w+|\W+|\d"),
    "scripts": lambda: byte_level(r"[\p{Han}]+|\p{Hiragana}+|[^\S\n]+|\s+$|^x|."),
}
SENTENCE_PIECES = {
    "unigram": {"model_type": "unigram"},
    "unigram_bytes": {"model_type": "unigram", "byte_fallback": True, "normalization_rule_name": "nmt_nfkc_cf"},
    "bpe": {"model_type": "bpe"},
    "bpe_bytes": {
        "model_type": "bpe",
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "user_defined_symbols": ["<|im_start|>", "<|im_end|>"],
    },
}


class Tokenizers(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.text = self.path("text.txt")
        with open(self.text, "w", encoding="utf8", newline="") as f:
            f.write(TEXT)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def ours(self, tokenizer, *more):
        done = subprocess.run([POMONA, "tokenize", tokenizer, "--file", self.text, "--json", *more], capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return json.loads(done.stdout)

    def test_tokenizer_json(self):
        for name, make in KINDS.items():
            with self.subTest(name):
                theirs, trainer = make()
                theirs.train_from_iterator(LINES, trainer)
                theirs.save(self.path(name + ".json"))
                ids = theirs.encode(TEXT).ids
                ours = self.ours(self.path(name + ".json"))
                self.assertEqual(ours["ids"], ids)
                self.assertEqual(ours["text"], theirs.decode(ids, skip_special_tokens=False))

    def test_sentencepiece(self):
        lines = self.path("lines.txt")
        with open(lines, "w", encoding="utf8") as f:
            f.write("\n".join(line.replace("\n", " ") for line in LINES))
        for name, options in SENTENCE_PIECES.items():
            with self.subTest(name):
                sentencepiece.SentencePieceTrainer.train(
                    input=lines, model_prefix=self.path(name), vocab_size=6000, character_coverage=0.99,
                    hard_vocab_limit=False, max_sentence_length=20000, minloglevel=3, **options,
                )  # fmt: skip
                theirs = sentencepiece.SentencePieceProcessor(model_file=self.path(name + ".model"))
                ids = theirs.encode(TEXT)
                ours = self.ours(self.path(name + ".model"), "--plain")
                self.assertEqual(ours["ids"], ids)
                self.assertEqual(ours["text"].replace(" ⁇ ", "<unk>"), theirs.decode(ids).replace(" ⁇ ", "<unk>"))


if __name__ == "__main__":
    unittest.main()
