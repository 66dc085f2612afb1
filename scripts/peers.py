#!/usr/bin/env python3
"""Times what PyTorch offers beside polar-bench's own kernels, and writes rows.csv with the same columns.

  external/sdpa-cudnn, external/sdpa-flash   dense decode attention, scaled_dot_product_attention
  external/torch-matmul                      one MLP product (mlp-up or mlp-down), without bias and activation

Each sample is one launch of a CUDA graph that walks once through copies of the inputs beyond 5 times the L2 cache, as
polar-bench does; candidates of a cell take turns. Outputs are checked against float64 before timing. Ceilings, device
name and columns come from a result folder of polar-bench measured on the same machine (--like).

  python3 scripts/peers.py --like results/h200/opt-66b-paper --out peers --cell attention,opt-66b,64,1920

Read the result with `polar-bench compare OWN/rows.csv peers/rows.csv`. Needs PyTorch with CUDA; nothing else in the
project needs this file.
"""

import argparse
import csv
import datetime
import json
import math
import pathlib
import random
import statistics
import sys
import uuid

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHES_BEYOND = 5
EPSILON = {"bf16": 2.0**-8, "fp16": 2.0**-11}
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def fail(message, hint):
    print(f"peers: {message}\n  hint: {hint}", file=sys.stderr)
    raise SystemExit(2)


def parse_cell(text):
    """scope,model,batch[,kv_len]"""
    parts = text.split(",")
    scope = parts[0]
    if scope not in ("attention", "mlp-up", "mlp-down") or len(parts) != (4 if scope == "attention" else 3):
        fail(f"Expected SCOPE,MODEL,BATCH and for attention ,KV_LEN for --cell, got {text!r}",
             "for example attention,opt-66b,64,1920 or mlp-up,opt-66b,64")
    return {"scope": scope, "model": parts[1], "batch": int(parts[2]), "kv_len": int(parts[3]) if scope == "attention" else None}


def read_model(name):
    """Sizes of a model from configs/models."""
    path = ROOT / "configs" / "models" / f"{name}.json"
    if not path.exists():
        fail(f"Expected a model of configs/models for --cell, got {name!r}", "see `polar-bench models`")
    model = json.loads(path.read_text())
    return {
        "hidden": model["hidden_size"],
        "intermediate": model["intermediate_size"],
        "gated": model.get("gated", False),
        "heads": model["num_qo_heads"],
        "kv_heads": model["num_kv_heads"],
        "head_dim": model["head_dim"],
    }


def copies_for(bytes_of_copy):
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    return max(1, math.ceil(CACHES_BEYOND * cache / bytes_of_copy))


def tolerance_share(out, exact, naive, epsilon):
    """The largest share of its tolerance (docs/methodology.md) that a row uses, and the relative error."""
    out, naive = out.double(), naive.double()
    error = (out - exact).abs().nan_to_num(nan=math.inf).amax(-1)
    reference = exact.abs().amax(-1)
    allowed = 2 * (naive - exact).abs().amax(-1) + epsilon * reference
    return (error / allowed).max().item(), (error.max() / reference.max()).item()


class Attention:
    """Decode attention: q [B, H, 1, d_h], K and V [B, H_kv, N, d_h]."""

    def __init__(self, cell, model, dtype):
        b, n = cell["batch"], cell["kv_len"]
        h, g, d = model["heads"], model["kv_heads"], model["head_dim"]
        cache = (b, g, n, d)
        self.cell, self.model, self.gqa = cell, model, h != g
        self.moved = 2 * (2 * b * g * n * d + 2 * b * h * d)
        self.flops = 4 * b * h * n * d
        self.copies = copies_for(4 * b * g * n * d)
        self.q = torch.randn((b, h, 1, d), device="cuda").to(dtype)
        self.k = [torch.randn(cache, device="cuda", dtype=dtype) for _ in range(self.copies)]
        self.v = [torch.randn(cache, device="cuda", dtype=dtype) for _ in range(self.copies)]

    def candidates(self):
        return {"external/sdpa-cudnn": SDPBackend.CUDNN_ATTENTION, "external/sdpa-flash": SDPBackend.FLASH_ATTENTION}

    def run(self, backend, copy):
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(self.q, self.k[copy], self.v[copy], enable_gqa=self.gqa)

    def check(self, out, epsilon):
        """Over the first and the last sequence."""
        worst, relative = 0.0, 0.0
        for b in {0, self.cell["batch"] - 1}:
            repeat = self.model["heads"] // self.model["kv_heads"]
            k = self.k[0][b].repeat_interleave(repeat, 0)
            v = self.v[0][b].repeat_interleave(repeat, 0)
            q, scale = self.q[b], self.model["head_dim"] ** -0.5
            exact = torch.softmax(q.double() @ k.double().mT * scale, -1) @ v.double()
            scores = (q.float() @ k.float().mT * scale).to(q.dtype)
            weights = torch.softmax(scores.float(), -1).to(q.dtype)
            naive = (weights.float() @ v.float()).to(q.dtype)
            share, error = tolerance_share(out[b], exact, naive, epsilon)
            worst, relative = max(worst, share), max(relative, error)
        return worst, relative

    def row(self):
        h = self.model["heads"]
        return {"kv_len": self.cell["kv_len"], "head_density": 1, "active_heads": h}


class Product:
    """x [B, k] times the transposed weights [n, k] (up), or x [B, k] times the weights [k, n] (down)."""

    def __init__(self, cell, model, dtype):
        up = cell["scope"] == "mlp-up"
        wide = model["intermediate"] * (2 if up and model["gated"] else 1)  # gate and up rows
        k, n = (model["hidden"], wide) if up else (wide, model["hidden"])
        b = cell["batch"]
        self.model, self.up = model, up
        self.moved = 2 * (n * k + b * k + b * n)
        self.flops = 2 * b * n * k
        self.copies = copies_for(2 * n * k)
        self.x = torch.randn((b, k), device="cuda").to(dtype)
        shape = (wide, model["hidden"])
        self.w = [torch.randn(shape, device="cuda").mul_(k**-0.5).to(dtype) for _ in range(self.copies)]

    def candidates(self):
        return {"external/torch-matmul": None}

    def weights(self, copy):
        return self.w[copy].mT if self.up else self.w[copy]

    def run(self, _, copy):
        return self.x @ self.weights(copy)

    def check(self, out, epsilon):
        exact = self.x.double() @ self.weights(0).double()
        naive = (self.x.float() @ self.weights(0).float()).to(self.x.dtype)
        return tolerance_share(out, exact, naive, epsilon)

    def row(self):
        return {"mlp_density": 1, "active_neurons": self.model["intermediate"]}


def capture(workload, backend):
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            workload.run(backend, 0)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for copy in range(workload.copies):
            workload.run(backend, copy)
    return graph


def sample_us(graph, copies):
    start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda._sleep(200_000)  # the device is busy until the host has enqueued everything
    start.record()
    graph.replay()
    stop.record()
    stop.synchronize()
    return start.elapsed_time(stop) * 1e3 / copies


def interval(samples, generator, resamples=1000):
    """95 % percentile bootstrap of the median."""
    medians = sorted(statistics.median(generator.choices(samples, k=len(samples))) for _ in range(resamples))
    return medians[int(0.025 * resamples)], medians[int(0.975 * resamples) - 1]


def measure(workload, epsilon, rounds):
    """{kernel: ("ok", samples, relative error) or (status, reason, relative error)}"""
    results, graphs = {}, {}
    for kernel, backend in workload.candidates().items():
        try:
            share, relative = workload.check(workload.run(backend, 0), epsilon)
            if not share <= 1:
                results[kernel] = ("incorrect", f"an output row uses {share:.3g} times its tolerance", relative)
                continue
            graphs[kernel] = capture(workload, backend)
            results[kernel] = ("ok", [], relative)
        except RuntimeError as error:  # a backend that does not take the shape
            results[kernel] = ("failed", " ".join(str(error).split())[:200], None)
    for turn in range(rounds + 3):
        for kernel, graph in graphs.items():
            us = sample_us(graph, workload.copies)
            if turn >= 3:
                results[kernel][1].append(us)
    return results


def timing_columns(samples, workload, ceilings, generator):
    middle = statistics.median(samples)
    low, high = interval(samples, generator)
    quartiles = statistics.quantiles(samples, n=4, method="inclusive")
    bound = max(workload.moved / ceilings["read_gb_per_s"] * 1e-3, workload.flops / ceilings["matrix_tflop_per_s"] * 1e-6)
    return {
        "n_samples": len(samples),
        "latency_us_median": middle,
        "latency_us_ci_low": low,
        "latency_us_ci_high": high,
        "latency_us_q1": quartiles[0],
        "latency_us_q3": quartiles[2],
        "achieved_gb_per_s": workload.moved / middle * 1e-3,
        "achieved_tflop_per_s": workload.flops / middle * 1e-6,
        "bound_us": bound,
        "pct_of_bound": 100 * bound / middle,
    }


def cell_rows(cell, args, common, ceilings, generator):
    model = read_model(cell["model"])
    kind = Attention if cell["scope"] == "attention" else Product
    workload = kind(cell, model, DTYPES[args.dtype])
    for kernel, (status, detail, relative) in measure(workload, EPSILON[args.dtype], args.rounds).items():
        spec = ",".join(str(v) for v in (cell["scope"], cell["model"], cell["batch"], cell["kv_len"]) if v is not None)
        row = {
            **common,
            "timestamp": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")[:-6] + "Z",
            "model": cell["model"],
            "scope": cell["scope"],
            "variant": "dense",
            "kernel": kernel,
            "batch_size": cell["batch"],
            "density_source": "dense",
            "bytes_moved": workload.moved,
            "flops": workload.flops,
            "max_rel_err": relative,
            "status": status,
            "reason": None if status == "ok" else detail,
            "warnings": f"PyTorch {torch.__version__}; {workload.copies} copies",
            "repro_command": f"python3 scripts/peers.py --dtype {args.dtype} --cell {spec} --like FOLDER --out FOLDER",
            **workload.row(),
        }
        if status == "ok":
            row.update(timing_columns(detail, workload, ceilings, generator))
        yield row


def read_like(folder):
    folder = pathlib.Path(folder)
    try:
        environment = json.loads((folder / "env.json").read_text())
        with open(folder / "rows.csv", newline="") as file:
            columns = next(csv.reader(file))
    except (OSError, ValueError, StopIteration) as error:
        fail(f"Expected a result folder of polar-bench for --like, got {folder}: {error}", "measure any cell here first")
    name = torch.cuda.get_device_name(0)
    if environment["device"]["name"] != name:
        fail(f"Expected results of {name} for --like, got those of {environment['device']['name']}",
             "bounds need the ceilings of this device: measure any cell here first")
    return environment, columns


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--like", required=True, help="result folder of polar-bench from this machine")
    parser.add_argument("--out", required=True, help="folder for rows.csv")
    parser.add_argument("--cell", required=True, action="append", help="SCOPE,MODEL,BATCH[,KV_LEN]; may be repeated")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bf16")
    parser.add_argument("--rounds", type=int, default=60, help="samples of each kernel")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        fail("Expected a CUDA device, got none", "run this on the GPU machine")
    environment, columns = read_like(args.like)
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = False  # the naive reference is float32
    common = {
        "schema_version": 1,
        "run_id": uuid.uuid4().hex[:12],
        "backend": "cuda",
        "device": environment["device"]["name"],
        "driver_version": environment["device"]["driver_version"],
        "dtype": args.dtype,
        "cache_mode": "cold",
    }
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "rows.csv", "x", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\r\n")
        writer.writeheader()
        for cell in map(parse_cell, args.cell):
            for row in cell_rows(cell, args, common, environment["ceilings"], random.Random(1)):
                writer.writerow(row)
                file.flush()
                us = row.get("latency_us_median")
                print(f"{row['kernel']:24} {row['scope']:10} {row['model']} B={row['batch_size']} N={row.get('kv_len')} "
                      + (f"{us:9.2f} us  {row['achieved_gb_per_s']:6.0f} GB/s  {row['pct_of_bound']:5.1f} % of the bound"
                         if us is not None else f"{row['status']}: {row['reason']}"))
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
