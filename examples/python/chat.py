"""A conversation with a language model on this machine: a GGUF file, a checkpoint's folder or a converted package.

    python chat.py MODEL.gguf                          asks for what to say
    python chat.py MODEL.gguf "A question" "Another"   says these
"""
import sys

import pomona

model, questions = sys.argv[1], sys.argv[2:]
chat = pomona.chat(model, "You answer in one sentence.", context=1024, max_tokens=80)


def asked():
    try:
        while said := input("> "):
            yield said
    except EOFError:
        return


for question in questions or asked():
    answer = chat.say(question)
    for piece in answer:
        print(piece, end="", flush=True)
    print()
    seconds = answer.timings["decode_seconds"]
    print(f"[{len(answer.tokens)} tokens, {len(answer.tokens) / max(seconds, 1e-9):.0f} a second]", file=sys.stderr)
