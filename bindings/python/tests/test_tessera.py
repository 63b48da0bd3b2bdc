"""Tests of the Python layer. With TESSERA_TEST_RANK set this program is a rank to be killed."""
import array
import gc
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import tessera
from tessera import capi

MODEL = """{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64, "hidden_size": 32,
 "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
 "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "tie_word_embeddings": false, "torch_dtype": "float32",
 "bos_token_id": 1, "eos_token_id": 2}"""
TOKENIZER = """{"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"},
 "post_processor": null, "decoder": null, "truncation": null, "padding": null, "model": {"type": "WordLevel",
 "unk_token": "?", "vocab": {"?": 0, "hello": 1, "world": 2, "wörld😀": 3}}}"""
ONE_THREAD = {"intra_op_threads": 1, "timeout_ns": 30 * 10**9}


def make_batch(rank):
    batch = tessera.Batch()
    batch.push([(i * 7 + rank * 5) % 64 for i in range(12)], [7, 5])
    return batch


class Calls(unittest.TestCase):
    def test_errors_have_code_rank_and_line(self):
        config = tessera.Config()
        with self.assertRaises(tessera.Error) as caught:
            config["parallel.tpp"] = 4
        self.assertEqual((caught.exception.code, caught.exception.name, caught.exception.rank),
                         (capi.E_NOT_FOUND, "E_NOT_FOUND", -1))
        self.assertIn("parallel.tpp", str(caught.exception))
        with self.assertRaises(ValueError):
            config["a\0b"] = 1
        self.assertIn(tessera.version(), tessera.build_info())
        self.assertTrue(tessera.status_text(capi.E_END) and tessera.status_name(capi.E_END))

    def test_everything_public_is_documented(self):
        owners = [one for one in vars(tessera).values() if inspect.isclass(one) and one.__module__.startswith("tessera")]
        functions = [one for one in vars(tessera).values() if inspect.isfunction(one) and one.__module__ == "tessera"
                     and not one.__name__.startswith("_")]
        members = [one for owner in owners for name, one in vars(owner).items()
                   if not name.startswith("_") and (callable(one) or isinstance(one, property))]
        self.assertGreater(len(members), 80)
        self.assertEqual([one for one in owners + functions + members if not one.__doc__], [])

    def test_a_closed_owner_raises(self):
        with tessera.Config() as config:
            pass
        config.close()
        with self.assertRaises(ValueError):
            config["train.seed"]

    def test_a_tokenizer_goes_both_ways(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/tokenizer.json", "w") as file:
                file.write(TOKENIZER)
            tokenizer = tessera.Tokenizer(folder)
        texts = ["hello world", "", "hello " * 3000, "wörld😀 nobody"]
        self.assertEqual(tokenizer.encode_batch(texts), [tokenizer.encode(text) for text in texts])
        self.assertEqual(tokenizer.encode_batch(texts[3:]), [[3, 0]])
        self.assertEqual(tokenizer.encode_batch([]), [])
        self.assertEqual(tokenizer.decode([1, 2]), "hello world")

    def test_settings(self):
        config = tessera.Config({"train.seed": 5, "data.path": "x" * 100000})
        other = tessera.Config().load_text(config.yaml())
        self.assertEqual((other["data.path"], other["train.seed"]), ("x" * 100000, "5"))
        self.assertGreater(len(tessera.keys()), 20)
        self.assertEqual(tessera.describe_key("ranks")["min"], 1)
        with self.assertRaises(TypeError):
            tessera.World(no_such_option=1)
        level, events = tessera.log_level(), tessera.Events(16)
        tessera.set_log_events(events)
        tessera.set_log_level(capi.LOG_DEBUG)
        tessera.World(job="a job", **ONE_THREAD).close()
        tessera.set_log_level(level)
        tessera.set_log_events(None)

    def test_tensors_keep_their_bits(self):
        values = array.array("f", [0.1, -2.5, 3e30, 0, 5, 6])
        tensor = tessera.Tensor.of(capi.DTYPE_F32, [2, 3], values)
        self.assertEqual(tensor.data().tobytes(), values.tobytes())
        self.assertEqual((tensor.dims, tensor.data()[0, 1]), ([2, 3], -2.5))
        again = tessera.Tensor.from_dlpack(tensor.dlpack())
        tensor.set_data(array.array("f", range(6)))
        self.assertEqual(again.data().tolist(), [[0, 1, 2], [3, 4, 5]])
        self.assertEqual(tessera.Tensor.zeros(capi.DTYPE_I64, []).data().tolist(), [0])
        with self.assertRaises(tessera.Error):
            tensor.set_data(b"short")

    def test_pushed_documents(self):
        config = tessera.Config({"precision.param": "fp32", "data.seq_len": 16, "train.global_batch": 2, "data.epochs": 1})
        data = tessera.Dataset.create(config)
        for i in range(4):
            data.push([1, 2, 3, 4 + i])
        data.push([5, 6, 7], [-100, 6, 7])
        with self.assertRaises(tessera.Error):
            data.push([1, 2], [1])
        data.push_end()
        start = data.state
        self.assertEqual(len(list(data)), data.count_steps())
        data.state = start
        self.assertEqual(len(next(data)), 2)
        self.assertEqual(tessera.pack("ffd", [6, 5, 4, 3], 10)[1], 2)
        config = tessera.Config()
        config["data.seq_len"], config["data.packing"] = 10, "next_fit_split"
        self.assertEqual(tessera.pack_pieces(config, [6, 5]), [(0, 0, 0, 6), (0, 1, 0, 4), (1, 1, 4, 1)])
        self.assertEqual(tessera.pack_pieces(config, []), [])

    def test_packed_documents_have_other_forms(self):
        with tessera.Batch() as batch:
            for form, index in ((capi.BATCH_FORM_ROWS, [3, 2]), (capi.BATCH_FORM_SEGMENTS, [1, 1, 1, 0, 2, 2, 0, 0])):
                batch.push_form(form, [5, 6, 7, 0, 8, 9, 0, 0], index)
                self.assertEqual(batch.array(0, capi.BATCH_SEGMENTS), [1, 1, 1, 0, 2, 2, 0, 0])
            self.assertEqual(batch.rows(0, 4, 1), ([[5, 6, 7, 1], [8, 9, 1, 1]], [[-100, 6, 7, -100], [-100, 9, -100, -100]],
                                                   [[0, 1, 2, 0], [0, 1, 0, 0]], [[1, 1, 1, 0], [1, 1, 0, 0]]))
            with self.assertRaises(tessera.Error):
                batch.push_form(capi.BATCH_FORM_POSITIONS, [5, 6], [0, 2])

    def test_threads_get_their_own_errors(self):
        wrong = []

        def provoke(t):
            for i in range(100):
                try:
                    tessera.Config()[f"no.such.key.{t}.{i}."] = 1
                    wrong.append(t)
                except tessera.Error as failure:
                    if f"no.such.key.{t}.{i}." not in str(failure):
                        wrong.append(failure)

        threads = [threading.Thread(target=provoke, args=(t,)) for t in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_forgotten_owners_are_collected(self):
        gc.collect()
        before = tessera.handle_count()
        for i in range(2000):
            tessera.Config()
            make_batch(i)
        gc.collect()
        self.assertLessEqual(tessera.handle_count(), before)


class Jobs(unittest.TestCase):
    def test_collectives_and_futures(self):
        def work(world):
            mesh = tessera.Mesh.create_async(world, dp_shard=2).result()
            self.assertEqual((world.size, mesh.size("dp"), mesh.index("dp"), mesh.ranks("dp")), (2, 2, world.rank, [0, 1]))
            memory = array.array("f", [world.rank, 1])
            view = tessera.Tensor.view(capi.DTYPE_F32, [2], memory)
            both = tessera.Tensor.zeros(capi.DTYPE_F32, [4])
            other = tessera.Tensor.zeros(capi.DTYPE_F32, [4])
            mesh.barrier("dp")
            mesh.all_gather("dp", view, both)
            self.assertEqual(both.data().tolist(), [0, 1, 1, 1])
            mesh.all_to_all_async("dp", both, other).result()
            mesh.all_reduce("dp", view)
            self.assertEqual(list(memory), [1, 2])
            mesh.reduce_scatter_async("dp", both, view).result()
            memory[0] = world.rank
            mesh.broadcast("dp", view, 1)
            self.assertEqual(memory[0], 1)

        tessera.run_ranks(2, work, **ONE_THREAD)
        worlds = tessera.World.threads(2, **ONE_THREAD)
        futures = [tessera.Mesh.create_async(world) for world in worlds]
        self.assertIn(tessera.wait_any(futures), (0, 1))
        meshes = [future.result() for future in futures]
        alone = meshes[0].barrier_async("dp")
        self.assertFalse(alone.wait(0.01) or alone.done())
        worlds[1].abort("said the host")
        with self.assertRaises(tessera.Error) as caught:
            alone.result()
        self.assertEqual((caught.exception.code, caught.exception.rank), (capi.E_PEER_FAILED, 1))

    def test_the_first_exception_of_a_rank_ends_all_ranks(self):
        def work(world):
            mesh = tessera.Mesh(world)
            if world.rank == 2:
                raise ZeroDivisionError("of the host")
            mesh.barrier("dp")

        with self.assertRaises(ZeroDivisionError):
            tessera.run_ranks(4, work, **ONE_THREAD)

    def test_an_interruption_ends_all_ranks(self):
        running = threading.Barrier(3)

        def work(world):
            mesh = tessera.Mesh(world)
            running.wait()
            while True:
                mesh.barrier("dp")

        def interrupt():
            running.wait()
            os.kill(os.getpid(), signal.SIGINT)

        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        with self.assertRaises(KeyboardInterrupt):
            tessera.run_ranks(2, work, **ONE_THREAD)
        interrupting.join()
        deadline = time.monotonic() + 20
        while threading.active_count() > 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(threading.active_count(), 1)

    def test_a_step_is_its_parts(self):
        config = tessera.Config({"precision.param": "fp32"})
        with tempfile.TemporaryDirectory() as folder:
            def work(world):
                mesh, model = tessera.Mesh(world, config), tessera.Model(MODEL)
                trainer, twin = tessera.Trainer(mesh, model, config), tessera.Trainer.create_async(mesh, model, config).result()
                batch = make_batch(world.rank)
                self.assertEqual(batch.count_tokens(), (12, 10))
                whole = trainer.step(batch)
                self.assertEqual(twin.forward_backward_async(batch).result()["loss"], whole["loss"])
                name = trainer.parameter_names()[1]
                self.assertEqual(twin.gradient(name).dims, twin.parameter(name).dims)
                self.assertEqual(twin.optimizer_step()["grad_norm"], whole["grad_norm"])
                self.assertEqual(trainer.parameter(name).data().tolist(), twin.parameter_async(name).result().data().tolist())
                self.assertEqual(trainer.generate([1, 2], max_new_tokens=100), twin.generate_async([1, 2], max_new_tokens=100).result())
                self.assertEqual(trainer.logits(batch).dims, [12, 64])
                trainer.set_parameter(name, tessera.Tensor.zeros(capi.DTYPE_F32, trainer.parameter(name).dims))
                events = tessera.Events()
                trainer.set_events(events)
                trainer.save(folder + "/a")
                twin.load_async(folder + "/a").result()
                self.assertEqual(events.next()["message"], folder + "/a")
                self.assertIsNone(events.next(0))
                self.assertEqual(twin.evaluate(batch)["loss"], trainer.evaluate(batch)["loss"])
                self.assertEqual(twin.step_count, 1)
                trainer.export(folder + "/out", "bf16")
                self.assertTrue(trainer.program(1))
                self.assertGreater(tessera.Model.open(folder + "/out").parameter_count, 1000)

            tessera.run_ranks(2, work, **ONE_THREAD)
        config["train.global_batch"] = 2
        self.assertIn("dp_shard", tessera.plan(tessera.Model(MODEL), config, 2))
        tessera.Model(MODEL).set_tp_plan("whole", '{"*": "replicate"}')
        draw = lambda **options: tessera.timeline(tessera.Model(MODEL), config, 2, **options)
        self.assertIn("rank 0", draw(columns=60, backward=3))
        self.assertTrue(draw(format=tessera.capi.TIMELINE_SVG).startswith("<svg"))
        self.assertIn("traceEvents", json.loads(draw(format=tessera.capi.TIMELINE_TRACE)))
        with self.assertRaises(tessera.Error):
            draw(transfer=-1)

    def test_a_killed_peer_is_an_error(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        job = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
               "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": f"python.{os.getpid()}"}
        peer = subprocess.Popen([sys.executable, __file__],
                                env={**os.environ, **job, "RANK": "1", "LOCAL_RANK": "1", "TESSERA_TEST_RANK": "1"})
        os.environ.update({**job, "RANK": "0", "LOCAL_RANK": "0"})
        mesh = tessera.Mesh(tessera.World.from_environment(**ONE_THREAD))
        mesh.barrier("dp")
        peer.kill()
        peer.wait()
        with self.assertRaises(tessera.Error) as caught:
            while True:
                mesh.barrier("dp")
        self.assertEqual((caught.exception.code, caught.exception.rank), (capi.E_PEER_FAILED, 1))
        self.assertIs(signal.getsignal(signal.SIGINT), signal.default_int_handler)  # the host's, unchanged


if __name__ == "__main__":
    if "TESSERA_TEST_RANK" in os.environ:
        waiting = tessera.Mesh(tessera.World.from_environment(**ONE_THREAD))
        while True:
            waiting.barrier("dp")
    unittest.main()
