#include "cli/verbs.h"

namespace pomona::cli {

const std::vector<Command>& commands() {
  static const std::vector<Command> all{
      {"inspect", "what a model is, and what would stop a conversion",
       "  pomona inspect model.onnx\n"
       "  pomona inspect encoder.mlpackage --weights\n"
       "  pomona inspect encoder.mlpackage --ops --json\n",
       declare_inspect},
      {"convert", "a model to a Core ML package: smaller, faster, verified",
       "  pomona convert model.onnx -o model.mlpackage\n"
       "  pomona convert encoder.onnx -o encoder.mlpackage --precision fp32 --dynamic input_ids=1..8x1..128\n"
       "  pomona convert detector.onnx -o detector.mlpackage --image x=rgb:scale=0.0039 --target iOS17 --force\n",
       declare_convert},
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
      {"compress", "the weights of a package in fewer bits, with a line for each",
       "  pomona compress model.mlpackage -o smaller.mlpackage --scheme int8\n"
       "  pomona compress model.mlpackage -o smaller.mlpackage --scheme lut4 --group-size 8\n"
       "  pomona compress model.mlpackage -o smaller.mlpackage --scheme linear --dtype int4 --granularity per_block\n",
       declare_compress},
      {"decompress", "every compressed weight back to a plain one",
       "  pomona decompress smaller.mlpackage -o plain.mlpackage\n"
       "  pomona decompress smaller.mlpackage -o plain.mlpackage --force\n"
       "  pomona decompress smaller.mlpackage -o plain.mlpackage --json\n",
       declare_decompress},
      {"search", "choose scheme and bits per weight by measured sensitivity", "", nullptr},
      {"plan", "where each operation would run on an M chip, how fast, in how much memory", "", nullptr},
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
