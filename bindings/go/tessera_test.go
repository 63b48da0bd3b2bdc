package tessera

import (
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tessera/internal/capi"
)

func TestAFailureHasCodeRankAndLine(t *testing.T) {
	config := newConfig(t)
	err := config.Set("parallel.tpp", "4")
	var failure *Error
	if !errors.As(err, &failure) || failure.Code != ErrNotFound || failure.Rank != -1 || !strings.Contains(failure.Message, "parallel.tpp") {
		t.Fatalf("%#v", err)
	}
	if !errors.Is(err, ErrNotFound) || errors.Is(err, ErrArgument) || errors.Is(err, ErrClosed) {
		t.Fatal("errors.Is does not go by the code")
	}
	if ErrNotFound.String() != "E_NOT_FOUND" || ErrNotFound.Error() == "" {
		t.Fatal(ErrNotFound.String())
	}
	if err := config.Set("a\x00b", "1"); codeOf(err) != ErrArgument {
		t.Fatal("a text with a NUL was cut")
	}
	check(CheckABI())
	if err := checkABI(ABIVersion + 1); !errors.Is(err, ErrUnsupported) {
		t.Fatal("a library of another interface was accepted: ", err)
	}
	if !strings.Contains(must(BuildInfo()), Version()) {
		t.Fatal("no version in the build info")
	}
}

func TestEverythingExportedIsDocumented(t *testing.T) {
	files, err := filepath.Glob("*.go")
	check(err)
	set := token.NewFileSet()
	var parsed []*ast.File
	for _, name := range files {
		parsed = append(parsed, must(parser.ParseFile(set, name, nil, parser.ParseComments)))
	}
	reference := must(doc.NewFromFiles(set, parsed, "tessera"))
	functions := reference.Funcs
	for _, kind := range reference.Types {
		if kind.Doc == "" {
			t.Error(kind.Name)
		}
		functions = append(append(functions, kind.Funcs...), kind.Methods...)
	}
	for _, function := range functions {
		// The methods that errors have everywhere need no words.
		if function.Doc == "" && function.Name != "Error" {
			t.Error(function.Recv, function.Name)
		}
	}
	if len(functions) < 100 {
		t.Error("only ", len(functions), " functions were seen")
	}
}

func TestUseAfterCloseIsAnErrorOfGo(t *testing.T) {
	config := must(NewConfig())
	check(config.Close())
	check(config.Close())
	if _, err := config.Get("train.seed"); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if err := config.Set("train.seed", "1"); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	var none *Config
	if err := none.Set("train.seed", "1"); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	worlds := must(NewWorldThreads(1, oneThread))
	mesh := must(NewMesh(worlds[0], MeshOptions{}))
	tensor := must(NewTensor(DTypeF32, 2))
	tensor.Close()
	if err := mesh.AllReduce("dp", tensor, ReduceSum); !errors.Is(err, ErrClosed) {
		t.Fatal("a closed argument: ", err)
	}
	worlds[0].Close()
	mesh.Close()
	if _, err := NewMesh(worlds[0], MeshOptions{}); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

func TestGoroutinesGetTheirOwnErrors(t *testing.T) {
	config := newConfig(t)
	var wrong atomic.Int64
	var group sync.WaitGroup
	for g := range 64 {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range 300 {
				key := fmt.Sprintf("no.such.key.%d.%d.", g, i)
				err := config.Set(key, "1")
				if i%7 == 0 {
					runtime.Gosched()
				}
				if err == nil || !strings.Contains(err.Error(), key) {
					wrong.Add(1)
				}
			}
		}()
	}
	group.Wait()
	if wrong.Load() != 0 {
		t.Fatal(wrong.Load(), " errors of other goroutines")
	}
}

func TestForgottenOwnersAreCollected(t *testing.T) {
	before := collect(0)
	var group sync.WaitGroup
	churn := func(rounds int) {
		for g := range 8 {
			group.Add(1)
			go func() {
				defer group.Done()
				for i := range rounds {
					config := must(NewConfig())
					batch := newBatchOf(i)
					view := must(NewTensorView(DTypeF32, []int64{256}, make([]float32, 256)))
					if i%2 == 0 {
						config.Close()
					}
					runtime.KeepAlive(batch)
					runtime.KeepAlive(view)
					if i%500 == g {
						runtime.GC()
					}
				}
			}()
		}
		group.Wait()
	}
	churn(1000)
	if live := collect(before); live > before {
		t.Fatal(live, " live objects, before ", before)
	}
	warm := residentKB()
	for range 4 {
		churn(1000)
		collect(before)
	}
	if grown := residentKB() - warm; grown > 64*1024 {
		t.Fatal(grown, " KB more")
	}
	pinsMutex.Lock()
	defer pinsMutex.Unlock()
	if len(allPins) != 0 {
		t.Fatal(len(allPins), " views are still pinned")
	}
}

// BenchmarkCall is the overhead of one call: an empty native one, and a method that checks a handle.
func BenchmarkCall(b *testing.B) {
	worlds := must(NewWorldThreads(1, oneThread))
	defer worlds[0].Close()
	b.Run("abi_version", func(b *testing.B) {
		for range b.N {
			capi.Tessera_abi_version()
		}
	})
	b.Run("world_rank", func(b *testing.B) {
		for range b.N {
			must(worlds[0].Rank())
		}
	})
}
