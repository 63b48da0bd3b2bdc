"""The scripts that measure on a GPU, on made-up records: traces, ratios, goals, cut-off files and rows."""
import json
import os
import tempfile
import unittest

import cases
import kernel_table
import report

GEMM = "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_bf16_128x256_64x3_nn_align8>(cutlass::Params)"
FUNCTOR = ("void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, std::array<char*, 3ul> >"
           "(int, at::native::CUDAFunctor_add<float>, std::array<char*, 3ul>)")
MS = 1_000_000


def trace(*records):
    """Kernels by (name, start ms, end ms) as lines of a trace."""
    names = {name: i for i, name in enumerate(dict.fromkeys(name for name, _, _ in records))}
    return [f"N {i} {name}\n" for name, i in names.items()] + [
        f"K {int(start * MS)} {int(end * MS)} 7 {names[name]}\n" for name, start, end in records]


class KernelNames(unittest.TestCase):
    def test_short_names_tell_template_instances_apart(self):
        self.assertEqual(kernel_table.shorten(FUNCTOR), "vectorized_elementwise_kernel<CUDAFunctor_add>")
        self.assertEqual(kernel_table.shorten("void tessera::(anonymous namespace)::rms_norm_kernel<c10::BFloat16, 4>(float*)"),
                         "rms_norm_kernel")
        self.assertEqual(kernel_table.shorten("triton_poi_fused_mul_silu_3"), "triton_poi_fused_mul_silu_3")
        self.assertLessEqual(len(kernel_table.shorten("x" * 400)), 72)

    def test_groups(self):
        for name, group in [
                (GEMM, "GEMM"), ("nvjet_hsh_128x256_64x4_2x1_v_bz_coopA_NNN", "GEMM"),
                ("sm90_xmma_gemm_bf16bf16_bf16f32", "GEMM"),
                ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1", "attention"),
                ("void pytorch_flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<...>(Params)", "attention"),
                ("void tessera::(anonymous namespace)::adamw_many_kernel<float>(Args)", "optimizer"),
                ("void at::native::(anonymous namespace)::multi_tensor_apply_kernel<FusedAdamMathFunctor<float> >()",
                 "optimizer"),
                ("void tessera::(anonymous namespace)::cross_entropy_grad_kernel<float>(Args)", "loss"),
                ("triton_red_fused__log_softmax_nll_loss_forward_2", "loss"),
                ("void at::native::(anonymous namespace)::CatArrayBatchedCopy<float>(float*)", "copies"),
                ("ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "collectives"),
                ("triton_poi_fused_mul_silu_3", "elementwise"), (FUNCTOR, "elementwise"),
                ("void tessera::(anonymous namespace)::rms_norm_backward_kernel<float>(Args)", "elementwise")]:
            self.assertEqual(kernel_table.group_of(name), group, name)


class KernelTables(unittest.TestCase):
    def test_sums_by_kernel_between_the_ends_of_steps(self):
        # Steps end at 10, 20, 30 ms: the window is 10 to 30. The first kernel lies before it, idle are 16 to 20 and 29 to 30.
        records = kernel_table.read_trace(trace((GEMM, 1, 9), (GEMM, 10, 16), (GEMM, 20, 25), (FUNCTOR, 24, 29)) +
                                          ["C 26000000 27000000 9 4096 1\n"])
        out = kernel_table.summarize(records, [0.010, 0.020, 0.030])
        self.assertEqual(out["steps"], 2)
        self.assertAlmostEqual(out["step_ms"], 10)
        self.assertEqual(dict(out["groups"]), {"GEMM": 5.5, "elementwise": 2.5, "idle": 2.5, "copies": 0.5})
        self.assertEqual(out["top"][0], {"group": "GEMM", "name": "Kernel2", "count": 1.0, "ms": 5.5})

    def test_counts_time_of_streams_that_overlap_once(self):
        self.assertEqual(kernel_table.busy_nanoseconds([(0, 10), (2, 5), (8, 14), (20, 21)]), 15)

    def test_reads_what_a_killed_process_left(self):
        lines = trace((GEMM, 1, 2)) + ["K 3000000 40000", "K 5 6 7 99\n", "N\n", "\n", "nonsense here now\n"]
        self.assertEqual(len(kernel_table.read_trace(lines)), 1)

    def test_a_trace_without_kernels_in_the_steps_is_an_error(self):
        with self.assertRaises(ValueError):
            kernel_table.summarize(kernel_table.read_trace(trace((GEMM, 1, 2))), [0.1, 0.2, 0.3])

    def test_keeps_the_kernels_that_take_longest(self):
        out = kernel_table.summarize(kernel_table.read_trace(trace(*[(f"k{i}", i, i + i / 100) for i in range(1, 41)])))
        self.assertEqual([k["name"] for k in out["top"][:2]], ["k40", "k39"])
        self.assertEqual(len(out["top"]), kernel_table.TOP)


def row(program, rate, allocated, first=2.0, **more):
    return {"case": "1b-4096", "program": program, "tokens_per_s": rate, "mfu": 50.0, "allocated_bytes": allocated,
            "reserved_bytes": allocated, "smi_mib": 1024, "step_seconds": [first, 0.3], "last_loss": 11.0,
            "first_step_seconds_from_start": 5.0, "goal": 54000, **more}


class Reports(unittest.TestCase):
    def folder(self, rows, cut=""):
        folder = tempfile.mkdtemp()
        self.addCleanup(lambda: (os.remove(os.path.join(folder, "training.jsonl")), os.rmdir(folder)))
        with open(os.path.join(folder, "training.jsonl"), "w") as file:
            file.write("".join(json.dumps(r) + "\n" for r in rows) + cut)
        return folder

    def test_goals_are_met_or_missed_by_the_best_compiled_peer(self):
        folder = self.folder([row("tessera", 55000, 30 << 30, first=4.0), row("torchtitan", 45000, 50 << 30, tied=False),
                              row("torchtitan-full", 40000, 31 << 30), row("transformers-fsdp2", 60000, 20 << 30)])
        text = report.goals([folder])
        self.assertIn("* met: 1b-4096: 55,000 tokens/s (tessera), goal 54,000", text)
        self.assertIn("* MISSED: 1b-4096: first step 4.00 s", text)
        self.assertIn("* met: 1b-4096: 1.22 x the best compiled peer (torchtitan)", text)
        self.assertIn("* met: 1b-4096: 0.60 of that peer's peak memory (tessera, 1.22 x its speed)", text)

    def test_the_memory_goal_takes_a_run_that_is_fast_enough(self):
        rows = [row("tessera", 55000, 45 << 30), row("tessera recompute=selective", 54000, 38 << 30),
                row("tessera recompute=full", 46000, 20 << 30), row("torchtitan", 45000, 50 << 30)]
        text = report.goals([self.folder(rows)])
        self.assertIn("* met: 1b-4096: 55,000 tokens/s (tessera)", text)
        self.assertIn("* met: 1b-4096: 0.76 of that peer's peak memory (tessera recompute=selective, 1.20 x", text)
        rows[1]["tokens_per_s"] = 50000
        self.assertIn("* MISSED: 1b-4096: 0.90 of that", report.goals([self.folder(rows)]))

    def test_ratios_are_to_the_fastest_peer(self):
        text = report.training([self.folder([row("tessera", 50000, 30 << 30), row("transformers-fsdp2", 40000, 60 << 30),
                                             {"case": "1b-4096", "program": "torchtitan", "out_of_memory": True},
                                             {"case": "1b-4096", "program": "transformers-compiled", "failed": "x"}])])
        self.assertIn("| 1.25 | 0.50 |", text)
        self.assertIn("| torchtitan | out of memory |", text)
        self.assertIn("| transformers-compiled | failed |", text)

    def test_a_line_that_was_cut_off_is_left_out_and_later_folders_count(self):
        first = self.folder([row("tessera", 1, 1)], cut='{"case": "1b-40')
        second = self.folder([row("tessera", 52000, 1)])
        self.assertIn("52,000", report.training([first, second]))
        self.assertNotIn("failed", report.training([first]))

    def test_without_files_it_says_so(self):
        for part in (report.tests, report.training, report.goals, report.profile, report.kernels):
            self.assertRegex(part(["no such folder"]), "^(No|Nothing) ")

    def test_without_a_compiled_peer_the_ratio_is_not_known(self):
        self.assertIn("no compiled peer", report.goals([self.folder([row("tessera", 1, 1)])]))


class Cases(unittest.TestCase):
    def test_parameters_that_multiply_are_those_of_the_models(self):
        # Llama-3.2-1B and 3B: 1,235.8 M and 3,212.7 M parameters, norms among them.
        for case, parameters in ((cases.CASES["1b-4096"], 1.2357e9), (cases.CASES["3b-4096"], 3.2126e9)):
            shape = case.shape
            attention = 12 * shape["num_hidden_layers"] * shape["num_attention_heads"] * shape["head_dim"] * case.length
            self.assertAlmostEqual((cases.flops_per_token(case) - attention) / 6 / parameters, 1, places=3)

    def test_rows_are_the_same_at_every_call_and_documents_end(self):
        for case in (cases.TINY_CASES["tiny-64"], cases.TINY_CASES["tiny-packed"]):
            rows = cases.make_rows(case, 2)
            self.assertEqual(rows, cases.make_rows(case, 2))
            self.assertEqual(len(rows), 2 * case.rows)
            for row_ in rows:
                self.assertIn(sum(map(len, row_)), (case.length - 1, case.length))
                for document in row_:
                    self.assertEqual([i for i, token in enumerate(document) if token == cases.END], [len(document) - 1])
        self.assertGreater(len(cases.make_rows(cases.TINY_CASES["tiny-packed"], 1)[0]), 1)


if __name__ == "__main__":
    unittest.main()
