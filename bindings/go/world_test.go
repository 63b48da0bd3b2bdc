package tessera

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

func TestAnErrorOrPanicOfARankEndsAllRanks(t *testing.T) {
	mine := errors.New("of the host")
	rankFails := func(fail func() error) error {
		return Run(4, oneThread, func(world *World) error {
			mesh := must(NewMesh(world, MeshOptions{}))
			if must(world.Rank()) == 2 {
				return fail()
			}
			return mesh.Barrier("dp")
		})
	}
	if err := rankFails(func() error { return mine }); err != mine {
		t.Fatal(err)
	}
	if err := rankFails(func() error { runtime.Goexit(); return nil }); err != errGoexit {
		t.Fatal(err)
	}
	if err := Run(1, oneThread, func(*World) error { runtime.Goexit(); return nil }); err != errGoexit {
		t.Fatal(err)
	}
	var failure *PanicError
	if err := rankFails(func() error { panic("of a callback") }); !errors.As(err, &failure) || failure.Value != "of a callback" {
		t.Fatal(err)
	}
}

// handlers are the addresses of the process's signal handlers.
func handlers() (out [65]uintptr) {
	type sigaction struct {
		handler, flags, restorer uintptr
		mask                     uint64
	}
	for number := uintptr(1); number < 65; number++ {
		var action sigaction
		syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, number, 0, uintptr(unsafe.Pointer(&action)), 8, 0, 0)
		out[number] = action.handler
	}
	return out
}

func TestSignalsStayThoseOfGo(t *testing.T) {
	before := handlers()
	received := make(chan os.Signal, 1)
	check(Run(2, oneThread, func(world *World) error {
		trainer := must(NewTrainer(must(NewMesh(world, MeshOptions{})), must(NewModel(modelJSON)), nil))
		must(trainer.Step(newBatchOf(must(world.Rank()))))
		return nil
	}))
	if handlers() != before {
		t.Fatal("a handler was changed")
	}
	signal.Notify(received, syscall.SIGUSR1)
	defer signal.Stop(received)
	check(syscall.Kill(os.Getpid(), syscall.SIGUSR1))
	select {
	case <-received:
	case <-time.After(5 * time.Second):
		t.Fatal("a signal got lost")
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		var nothing *int
		*nothing = 1 // SIGSEGV, which Go turns into a panic
	}()
}

// TestMain lets this program be a rank for TestAKilledPeerIsAnError.
func TestMain(m *testing.M) {
	if os.Getenv("TESSERA_TEST_RANK") == "" {
		os.Exit(m.Run())
	}
	world := must(NewWorldFromEnvironment(oneThread))
	mesh := must(NewMesh(world, MeshOptions{}))
	fmt.Println("ready")
	for {
		check(mesh.Barrier("dp"))
	}
}

func TestAKilledPeerIsAnError(t *testing.T) {
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	_, port, err := net.SplitHostPort(listener.Addr().String())
	check(err)
	check(listener.Close())
	environment := []string{"WORLD_SIZE=2", "LOCAL_WORLD_SIZE=2", "MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + port,
		fmt.Sprintf("TORCHELASTIC_RUN_ID=go.%d", os.Getpid())}
	peer := exec.Command(os.Args[0])
	peer.Env = append(append(os.Environ(), environment...), "RANK=1", "LOCAL_RANK=1", "TESSERA_TEST_RANK=1")
	check(peer.Start())
	for _, pair := range append(environment, "RANK=0", "LOCAL_RANK=0") {
		key, value, _ := strings.Cut(pair, "=")
		t.Setenv(key, value)
	}
	world := must(NewWorldFromEnvironment(oneThread))
	defer world.Close()
	mesh := must(NewMesh(world, MeshOptions{}))
	defer mesh.Close()
	check(mesh.Barrier("dp"))
	check(peer.Process.Kill())
	peer.Wait()
	for err == nil {
		err = mesh.Barrier("dp")
	}
	var failure *Error
	if !errors.As(err, &failure) || failure.Code != ErrPeerFailed || failure.Rank != 1 {
		t.Fatal(err)
	}
	newConfig(t).Close() // the host lives
}
