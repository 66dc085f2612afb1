#!/usr/bin/env python3
"""Writes the decode-step fixtures under test/fixtures/step/ with Hugging Face transformers.

    python3 scripts/make-step-fixtures.py OUTPUT_FOLDER

Tiny random models of an implementation that shares no code with this project: one decode step with the KV cache of a
prefill, in float32. A file holds the weights in our names and layouts (src/native/abi.h), the step's inputs, the output
of every layer and the logits. Weights, inputs and caches are rounded to values that bf16 and fp16 both represent, so
that one file serves both storage types. Needs torch, transformers and safetensors; the fixtures are committed, so only
whoever changes them needs these.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM

BATCH = 3
HEAD_DIM = 64  # the smallest that every backend has a kernel for
PREFILL = 21  # positions in the cache; the new token is one more

# Below this a bf16 value would need more bits than a subnormal fp16 has.
SMALLEST_NORMAL_FP16 = 2.0**-14


def representable(x):
    """The nearest value that bf16 and fp16 hold exactly."""
    rounded = x.to(torch.bfloat16).to(torch.float32)
    return torch.where(rounded.abs() < SMALLEST_NORMAL_FP16, torch.zeros_like(rounded), rounded)


def randomise(model, generator):
    """Weights 1/sqrt(fan-in), norms around 1, biases that matter; embeddings of order 1."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("bias"):
                noise *= 0.25
            elif parameter.dim() == 1:
                noise = 1 + 0.25 * noise
            elif "embed" not in name:
                noise /= parameter.shape[1] ** 0.5
            parameter.copy_(representable(noise))


def opt_model():
    config = OPTConfig(
        vocab_size=101, hidden_size=2 * HEAD_DIM, num_hidden_layers=2, ffn_dim=160, num_attention_heads=2,
        max_position_embeddings=64, do_layer_norm_before=True, dropout=0.0, activation_function="relu",
        tie_word_embeddings=False, attn_implementation="eager")
    return OPTForCausalLM(config)


def llama_model(kv_heads):
    config = LlamaConfig(
        vocab_size=101, hidden_size=64, num_hidden_layers=2, intermediate_size=104, num_attention_heads=4,
        num_key_value_heads=kv_heads, head_dim=HEAD_DIM, max_position_embeddings=64, rms_norm_eps=1e-5,
        tie_word_embeddings=False, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        attn_implementation="eager")
    return LlamaForCausalLM(config)


def opt_layer(layer):
    attention = layer.self_attn
    return {
        "norm1_scale": layer.self_attn_layer_norm.weight, "norm1_bias": layer.self_attn_layer_norm.bias,
        "wqkv": torch.cat([p.weight for p in (attention.q_proj, attention.k_proj, attention.v_proj)]),
        "bqkv": torch.cat([p.bias for p in (attention.q_proj, attention.k_proj, attention.v_proj)]),
        "wo": attention.out_proj.weight, "bo": attention.out_proj.bias,
        "norm2_scale": layer.final_layer_norm.weight, "norm2_bias": layer.final_layer_norm.bias,
        "w1": layer.fc1.weight, "b1": layer.fc1.bias, "w2": layer.fc2.weight.T, "b2": layer.fc2.bias,
    }


def llama_layer(layer):
    attention, mlp = layer.self_attn, layer.mlp
    return {
        "norm1_scale": layer.input_layernorm.weight,
        "wqkv": torch.cat([p.weight for p in (attention.q_proj, attention.k_proj, attention.v_proj)]),
        "wo": attention.o_proj.weight,
        "norm2_scale": layer.post_attention_layernorm.weight,
        # gate row then up row of each neuron
        "w1": torch.stack([mlp.gate_proj.weight, mlp.up_proj.weight], dim=1), "w2": mlp.down_proj.weight.T,
    }


def run_step(model, layers, generator):
    """A prefill, its cache rounded, then the step whose inputs and outputs are returned."""
    ids = torch.randint(3, model.config.vocab_size, (BATCH, PREFILL + 1), generator=generator)
    cache = DynamicCache(config=model.config)
    seen = {}

    def round_input(_, args, kwargs):
        hidden = representable(args[0])
        seen["x"] = hidden[:, 0].clone()
        return (hidden, *args[1:]), kwargs

    def keep_output(index):
        def hook(_, __, output):
            hidden = output[0] if isinstance(output, tuple) else output
            seen[index] = hidden[:, 0].clone()
        return hook

    with torch.no_grad():
        model(input_ids=ids[:, :PREFILL], attention_mask=torch.ones(BATCH, PREFILL, dtype=torch.long),
              past_key_values=cache, use_cache=True)
        for entry in cache.layers:
            entry.keys = representable(entry.keys)
            entry.values = representable(entry.values)
        before = {"k_cache": torch.stack([entry.keys for entry in cache.layers]),
                  "v_cache": torch.stack([entry.values for entry in cache.layers])}
        handles = [layers[0].register_forward_pre_hook(round_input, with_kwargs=True)]
        handles += [layer.register_forward_hook(keep_output(i)) for i, layer in enumerate(layers)]
        logits = model(input_ids=ids[:, PREFILL:], attention_mask=torch.ones(BATCH, PREFILL + 1, dtype=torch.long),
                       past_key_values=cache, use_cache=True).logits[:, 0]
        for handle in handles:
            handle.remove()
    assert before["k_cache"].shape[3] == PREFILL and cache.layers[0].keys.shape[2] == PREFILL + 1
    return {"x": seen["x"], **before}, {
        "layer_output": torch.stack([seen[i] for i in range(len(layers))]), "logits": logits}


def write(path, family, model, layers, layer_tensors, final_norm, problem):
    inputs, outputs = run_step(model, layers, torch.Generator().manual_seed(7))
    tensors = dict(inputs)
    per_layer = [layer_tensors(layer) for layer in layers]
    for name in per_layer[0]:
        tensors[name] = torch.stack([weights[name].detach() for weights in per_layer])
    tensors["lm_head"] = model.lm_head.weight.detach()
    tensors["final_norm_scale"] = final_norm.weight.detach()
    if family == "opt":
        tensors["final_norm_bias"] = final_norm.bias.detach()
    stored = {}
    for name, tensor in tensors.items():
        assert torch.equal(representable(tensor), tensor), name
        stored[name] = tensor.to(torch.bfloat16).contiguous()
    for name, tensor in outputs.items():
        assert torch.isfinite(tensor).all(), name
        stored[name] = tensor.to(torch.float32).contiguous()
    metadata = {key: str(value) for key, value in problem.items()}
    metadata["family"] = family
    metadata["made_with"] = f"transformers {transformers.__version__}, torch {torch.__version__}"
    save_file(stored, path, metadata=metadata)
    print(path.name, path.stat().st_size, "bytes", json.dumps(metadata))


def problem_of(config, kv_heads, ffn, head_dim, epsilon, theta):
    return {
        "batch_size": BATCH, "kv_len": PREFILL + 1, "num_qo_heads": config.num_attention_heads,
        "num_kv_heads": kv_heads, "head_dim": head_dim, "hidden_size": config.hidden_size,
        "intermediate_size": ffn, "num_layers": config.num_hidden_layers, "vocab_size": config.vocab_size,
        "norm_epsilon": epsilon, "rope_theta": theta,
    }


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    model = opt_model().eval()
    randomise(model, torch.Generator().manual_seed(1))
    decoder = model.model.decoder
    config = model.config
    epsilon = decoder.layers[0].self_attn_layer_norm.eps
    write(folder / "opt.safetensors", "opt", model, decoder.layers, opt_layer, decoder.final_layer_norm,
          problem_of(config, config.num_attention_heads, config.ffn_dim,
                     config.hidden_size // config.num_attention_heads, epsilon, 0))

    for name, kv_heads in (("llama", 4), ("llama-gqa", 2)):
        model = llama_model(kv_heads).eval()
        randomise(model, torch.Generator().manual_seed(kv_heads))
        config = model.config
        # theta as the model applies it: frequencies theta^(-2i/d_h)
        theta = float(model.model.rotary_emb.inv_freq[1].double() ** (-config.head_dim / 2))
        assert abs(theta / 10000 - 1) < 1e-5, theta
        write(folder / f"{name}.safetensors", "llama", model, model.model.layers, llama_layer, model.model.norm,
              problem_of(config, kv_heads, config.intermediate_size, config.head_dim, config.rms_norm_eps, 10000))


main()
