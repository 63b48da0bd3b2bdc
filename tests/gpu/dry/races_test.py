"""What dry_races says of small traces: races_test.py PROGRAM."""
import subprocess
import sys
import tempfile
import unittest

PROGRAM = None
HEAD = ["0 window 1000 9000", "0 stream 0.0 own", "0 stream 0.1 free", "0 stream 0.2 free", "0 stream 0.3 blocking"]
WRITE = "0 work 0.1 fill w 1000 100"
READ = "0 work 0.2 sum r 1080 10"


def races(*lines, options=()):
    """Whether races were found, and what was printed."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("\n".join([*HEAD, *lines]) + "\n")
        file.flush()
        done = subprocess.run([PROGRAM, file.name, *options], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 1, done.stdout


class Races(unittest.TestCase):
    def orders(self, *between, first=WRITE, second=READ):
        found, text = races(first, *between, second)
        self.assertFalse(found, text)

    def races(self, *between, first=WRITE, second=READ):
        found, text = races(first, *between, second)
        self.assertTrue(found, text)
        return text

    def test_a_write_and_a_read_of_two_streams(self):
        text = self.races()
        self.assertIn("sum on stream 0.2 reads what fill on stream 0.1 writes", text)

    def test_a_read_and_a_write(self):
        self.races(first=READ, second=WRITE)

    def test_two_reads_do_not_race(self):
        self.orders(first="0 work 0.1 max r 1000 100")

    def test_neighbours_do_not_race(self):
        self.orders(second="0 work 0.2 sum r 1100 10")

    def test_one_stream_is_in_order(self):
        self.orders(second="0 work 0.1 sum r 1080 10")

    def test_events_order(self):
        self.orders("0 record 0.1 7", "0 follow 0.2 7")

    def test_an_event_recorded_too_early(self):
        text = races("0 record 0.1 7", WRITE, "0 follow 0.2 7", READ)
        self.assertTrue(text[0], text[1])

    def test_an_event_recorded_again_counts_anew(self):
        self.orders("0 record 0.0 7", "0 record 0.1 7", "0 follow 0.2 7")
        self.races("0 record 0.1 7", "0 record 0.0 7", "0 follow 0.2 7")

    def test_order_goes_on_through_a_third_stream(self):
        self.orders("0 record 0.1 7", "0 follow 0.0 7", "0 record 0.0 8", "0 follow 0.2 8")

    def test_the_host_orders_what_it_gives_later(self):
        for wait in "0 await 0.1", "0 await_device 0":
            self.orders(wait)
        self.orders("0 record 0.1 7", "0 reached 7")

    def test_an_event_that_was_found_done_by_chance(self):
        self.races("0 record 0.1 7", "0 queried 7")  # a device might be slower
        # Who frees memory then knows that nobody uses it.
        self.orders("0 record 0.1 7", "0 queried 7", second="0 taken 0.0 1000 200")

    def test_another_thread_does_not_know(self):
        known = ["1 await 0.0"]  # both threads are there before
        found, text = races(*known, WRITE, "0 await 0.1", READ.replace("0 work", "1 work"))
        self.assertTrue(found, text)

    def test_an_abort_ends_what_is_on_a_stream_for_all_threads(self):
        found, text = races("1 await 0.0", WRITE, "0 ended 0.1", READ.replace("0 work", "1 work"))
        self.assertFalse(found, text)

    def test_a_blocking_stream_and_the_device_s_own(self):
        self.orders(first="0 work 0.3 fill w 1000 100", second="0 work 0.0 sum r 1000 8")
        self.orders(first="0 work 0.0 fill w 1000 100", second="0 work 0.3 sum r 1000 8")
        self.races(first="0 work 0.0 fill w 1000 100")

    def test_memory_freed_while_another_stream_uses_it(self):
        taken = "0 taken 0.0 1000 200"
        self.assertIn("frees what fill on stream 0.1 writes", self.races(second=taken))
        self.orders("0 record 0.1 7", "0 follow 0.0 7", second=taken)
        # The thread that frees it knows that it is not used any more; who gets it may be another.
        self.orders("0 await 0.1", taken, second="1 given 0.0 1000 200")

    def test_memory_used_on_a_stream_that_is_not_behind_its_own(self):
        given = "0 given 0.0 1000 200"
        self.assertIn("what the allocator on stream 0.0 gave", self.races(first=given))
        self.orders(first=given, second="0 work 0.0 sum r 1000 8")
        self.orders("0 record 0.0 7", "0 follow 0.2 7", first=given)
        # Even the host cannot know what the stream still does for whom it belonged to.
        self.races("0 await 0.1", first=given)

    def test_memory_that_another_thread_has_found_unused(self):
        self.orders("0 record 0.1 7", "0 queried 7", first="1 await 0.0\n" + WRITE, second="1 taken 0.0 1000 200")

    def test_memory_unmapped_while_it_is_used(self):
        self.assertIn("the host unmaps what fill", self.races(second="0 unmapped 1000 200"))
        self.orders("0 await 0.1", second="0 unmapped 1000 200")

    def test_memory_that_is_gone_is_forgotten(self):
        self.orders("0 gone 1000 1000")

    def test_pinned_memory_passes_through_the_host(self):
        write, read = "0 work 0.1 copy w 9500 100", "1 work 0.2 copy r 9500 100"
        self.races(first=write, second=read)
        self.orders("0 await 0.1", first=write, second=read)

    def test_a_graph_does_again_what_was_captured(self):
        graph = ["0 capture 0.1 5", "0 work 0.1 sum r 1000 10", "0 captured 5"]
        found, text = races(*graph, "0 work 0.0 fill w 1000 10", "0 replay 0.1 5")
        self.assertTrue(found, text)
        found, text = races(*graph, "0 work 0.0 fill w 1000 10", "0 record 0.0 7", "0 follow 0.1 7", "0 replay 0.1 5")
        self.assertFalse(found, text)

    def test_a_race_inside_a_graph(self):
        fork = ["0 capture 0.1 5", "0 record 0.1 7", "0 follow 0.2 7"]
        self.assertTrue(races(*fork, WRITE, READ, "0 captured 5")[0])
        self.assertFalse(races(*fork, WRITE, "0 record 0.1 8", "0 follow 0.2 8", READ, "0 captured 5")[0])

    def test_a_wait_left_out(self):
        lines = [WRITE, "0 record 0.1 7", "0 follow 0.0 7", "0 follow 0.2 7", READ]
        self.assertFalse(races(*lines, options=["--without", "0"])[0])
        self.assertTrue(races(*lines, options=["--without", "1"])[0])
        self.assertIn("of 2 others 1 are missed", races(*lines, options=["--sweep", "0", "100"])[1])


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
