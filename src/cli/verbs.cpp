#include "cli/verbs.h"

namespace pomona::cli {

const std::vector<Command>& commands() {
  static const std::vector<Command> all{
      {"inspect", "what a model is, and what would stop a conversion",
       "  pomona inspect model.onnx\n"
       "  pomona inspect encoder.mlpackage --weights\n"
       "  pomona inspect encoder.mlpackage --ops --json\n",
       declare_inspect},
      {"show", "a model as MIL text, which parses back",
       "  pomona show model.mlpackage\n"
       "  pomona show model.onnx --full > model.mil\n"
       "  pomona show model.mlpackage --function main --json\n",
       declare_show},
      {"convert", "a model to a Core ML package: smaller, faster, verified",
       "  pomona convert model.onnx -o model.mlpackage\n"
       "  pomona convert encoder.onnx -o encoder.mlpackage --precision fp32 --dynamic input_ids=1..8x1..128\n"
       "  pomona convert detector.onnx -o detector.mlpackage --image x=rgb:scale=0.0039 --target iOS17 --force\n",
       declare_convert},
      {"compress", "make a package's weights smaller",
       "  pomona compress model.mlpackage -o small.mlpackage --scheme int8\n"
       "  pomona compress model.mlpackage -o small.mlpackage --scheme palettize --nbits 4 --granularity per_grouped_channel "
       "--group-size 16\n"
       "  pomona compress model.mlpackage -o small.mlpackage --scheme linear --dtype int4 --granularity per_block "
       "--block-size 32 --json\n",
       declare_compress},
      {"decompress", "make compressed weights plain again",
       "  pomona decompress small.mlpackage -o plain.mlpackage\n"
       "  pomona decompress small.mlpackage -o plain.mlpackage --force\n"
       "  pomona decompress small.mlpackage -o plain.mlpackage --json\n",
       declare_decompress},
      {"run", "run a model here",
       "  pomona run model.mlpackage --random\n"
       "  pomona run model.mlpackage --inputs in.npz --outputs out.npz\n"
       "  pomona run upscaler.mlpackage --inputs input=photo.png --outputs output=bigger.png\n",
       declare_run},
      {"verify", "hold a model's answers against another's, or against stored ones",
       "  pomona verify model.mlpackage --against onnxruntime\n"
       "  pomona verify small.mlpackage --against model.mlpackage --random 5 --min-cosine 0.99\n"
       "  pomona verify model.mlpackage --against model.onnx --bisect\n",
       declare_verify},
      {"conformance", "ONNX's own test cases: converted, written, read back, run, compared",
       "  pomona conformance onnx-cases\n"
       "  pomona conformance onnx-cases --list names.txt --outputs answers --json\n"
       "  pomona conformance onnx-cases/test_softmax_axis_0 --precision fp32 --verbose\n",
       declare_conformance},
      {"bench", "how long a model takes here, and how much memory",
       "  pomona bench model.mlpackage\n"
       "  pomona bench model.mlpackage --iterations 100 --threads 1 --profile\n"
       "  pomona bench encoder.mlpackage --size input_ids_1=128 --json\n",
       declare_bench},
      {"search", "choose scheme and bits per weight by measured sensitivity", "", nullptr},
      {"plan", "where each operation would run on an M chip, how fast, in how much memory", "", nullptr},
      {"tokenize", "text to a language model's token ids, and back",
       "  pomona tokenize tokenizer.json --text 'Hello, world!'\n"
       "  pomona tokenize model.gguf --file text.txt --json\n"
       "  pomona tokenize model.gguf --decode 504,3575,282\n",
       declare_tokenize},
      {"generate", "text from a language model", "", nullptr},
      {"chat", "a conversation with a language model", "", nullptr},
      {"serve", "an HTTP server for a language model", "", nullptr},
      {"logits", "logits of every position of a token sequence", "", nullptr},
      {"perplexity", "perplexity of a text", "", nullptr},
      {"edit", "rename, combine and extract parts of a package", "", nullptr},
      {"split", "a chain of smaller packages", "", nullptr},
      {"doctor", "what this machine can do", "", nullptr},
  };
  return all;
}

}  // namespace pomona::cli
