package tessera

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

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

func TestSettingsAndKeys(t *testing.T) {
	config := newConfig(t)
	long := strings.Repeat("x", 100000)
	check(config.Set("data.path", long))
	if must(config.Get("data.path")) != long {
		t.Fatal("a long text was cut")
	}
	other := newConfig(t)
	check(other.LoadText(must(config.Text())))
	if must(other.Get("data.path")) != long {
		t.Fatal("settings do not survive YAML")
	}
	file := t.TempDir() + "/a.yaml"
	check(os.WriteFile(file, []byte("optimizer: {lr: 0.5}\n"), 0o600))
	check(other.Load(file))
	if must(other.Get("optimizer.lr")) != "0.5" {
		t.Fatal("a file was not read")
	}
	if keys := must(Keys()); len(keys) < 20 || keys[0].Doc == "" {
		t.Fatal(keys)
	}
	info := must(DescribeKey("ranks"))
	if info.Type != KeyInteger || info.Min == nil || *info.Min != 1 {
		t.Fatal(info)
	}
}

func TestTensorsKeepTheirBits(t *testing.T) {
	values := []float32{0.1, -2.5, 3e30, 0, 5, 6}
	tensor := must(NewTensorOf(DTypeF32, []int64{2, 3}, values))
	defer tensor.Close()
	if !slices.Equal(must(Data[float32](tensor)), values) || !slices.Equal(must(tensor.Dims()), []int64{2, 3}) {
		t.Fatal("other elements")
	}
	if _, err := Data[float64](tensor); codeOf(err) != ErrArgument {
		t.Fatal(err)
	}
	if err := SetData(tensor, []float32{1}); codeOf(err) != ErrArgument {
		t.Fatal(err)
	}
	again := must(NewTensorFromDLPack(must(tensor.DLPack())))
	defer again.Close()
	check(SetData(tensor, []float32{6, 5, 4, 3, 2, 1}))
	if must(Data[float32](again))[0] != 6 || must(again.DType()) != DTypeF32 {
		t.Fatal("DLPack made a copy")
	}
	if _, err := NewTensorOf(DTypeF32, []int64{3}, []float32{1}); codeOf(err) != ErrArgument {
		t.Fatal(err)
	}
}

func TestCollectives(t *testing.T) {
	check(Run(2, oneThread, func(world *World) error {
		rank := must(world.Rank())
		mesh := must(must(NewMeshAsync(world, MeshOptions{})).Wait(background()))
		if must(mesh.Size("dp")) != 2 || must(mesh.Index("dp")) != int64(rank) || must(world.Size()) != 2 {
			t.Error("the mesh has another shape")
		}
		if !slices.Equal(must(mesh.Ranks("dp")), []int32{0, 1}) || !strings.Contains(must(mesh.Text()), "dp_shard=2") {
			t.Error(must(mesh.Text()))
		}
		memory := []float32{float32(rank), 1}
		view := must(NewTensorView(DTypeF32, []int64{2}, memory))
		both, other := must(NewTensor(DTypeF32, 4)), must(NewTensor(DTypeF32, 4))
		wait := func(future *Future[struct{}], err error) { must(must(future, err).Wait(background())) }
		check(mesh.Barrier("dp"))
		wait(mesh.BarrierAsync("dp"))
		check(mesh.AllGather("dp", view, both))
		wait(mesh.AllGatherAsync("dp", view, both))
		if !slices.Equal(must(Data[float32](both)), []float32{0, 1, 1, 1}) {
			t.Error(must(Data[float32](both)))
		}
		check(mesh.AllToAll("dp", both, other))
		wait(mesh.AllToAllAsync("dp", both, other))
		check(mesh.AllReduce("dp", view, ReduceSum))
		if !slices.Equal(memory, []float32{1, 2}) {
			t.Error("a view is not the memory itself: ", memory)
		}
		wait(mesh.AllReduceAsync("dp", view, ReduceMax))
		check(mesh.ReduceScatter("dp", both, view, ReduceAvg))
		wait(mesh.ReduceScatterAsync("dp", both, view, ReduceSum))
		memory[0] = float32(rank)
		check(mesh.Broadcast("dp", view, 1))
		wait(mesh.BroadcastAsync("dp", view, 1))
		if memory[0] != 1 {
			t.Error(memory)
		}
		check(view.Close())
		return nil
	}))
	pinsMutex.Lock()
	defer pinsMutex.Unlock()
	if len(allPins) != 0 {
		t.Fatal(len(allPins), " views are still pinned")
	}
}

func TestFuturesThatNobodyWaitsForGiveTheirMemoryUp(t *testing.T) {
	worlds := must(NewWorldThreads(2, oneThread))
	first, second := must(NewMeshAsync(worlds[0], MeshOptions{})), must(NewMeshAsync(worlds[1], MeshOptions{}))
	meshes := []*Mesh{must(first.Wait(background())), must(second.Wait(background()))}
	begin := func(rank int) *Future[struct{}] {
		view := must(NewTensorView(DTypeF32, []int64{2}, []float32{1, 2}))
		defer view.Close()
		return must(meshes[rank].AllReduceAsync("dp", view, ReduceSum))
	}
	pinned := func() int {
		pinsMutex.Lock()
		defer pinsMutex.Unlock()
		return len(allPins)
	}
	check(begin(0).Close()) // cannot end before rank 1 comes
	runtime.GC()
	time.Sleep(20 * time.Millisecond)
	if pinned() != 1 {
		t.Fatal("memory of work under way was given up")
	}
	begin(1) // forgotten
	for i := 0; pinned() != 0; i++ {
		if i == 500 {
			t.Fatal(pinned(), " views are still pinned")
		}
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
	}
	for _, world := range worlds {
		world.Close()
	}
}

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

func TestAStepIsItsParts(t *testing.T) {
	folder := t.TempDir()
	config := newConfig(t)
	check(Run(2, oneThread, func(world *World) error {
		ctx := background()
		mesh := must(NewMesh(world, must(MeshOptionsFrom(config))))
		model := must(NewModel(modelJSON))
		trainer := must(NewTrainer(mesh, model, config))
		twin := must(must(NewTrainerAsync(mesh, model, config)).Wait(ctx))
		batch := newBatchOf(must(world.Rank()))
		if tokens, labels, err := batch.CountTokens(); tokens != 12 || labels != 10 || err != nil || must(batch.Count()) != 1 {
			t.Error(tokens, labels, err)
		}
		if !slices.Equal(must(batch.Array(0, BatchCuSeqlens)), []int64{0, 7, 12}) {
			t.Error("other borders of documents")
		}
		whole := must(trainer.Step(batch))
		if parts := must(must(twin.ForwardBackwardAsync(batch, 0)).Wait(ctx)); parts.Loss != whole.Loss {
			t.Error(whole, parts)
		}
		name := must(trainer.ParameterNames())[1]
		if !slices.Equal(must(must(twin.Gradient(name)).Dims()), must(must(must(twin.GradientAsync(name)).Wait(ctx)).Dims())) {
			t.Error("other gradients")
		}
		must(twin.OptimizerStep())
		weights := func(tensor *Tensor, err error) []float32 { return must(Data[float32](must(tensor, err))) }
		if !slices.Equal(weights(trainer.Parameter(name)), weights(must(twin.ParameterAsync(name)).Wait(ctx))) {
			t.Error("other weights")
		}
		if must(trainer.Evaluate(batch)).Loss != must(must(twin.EvaluateAsync(batch)).Wait(ctx)).Loss {
			t.Error("other losses")
		}
		must(twin.ForwardBackward(batch, 0))
		check(twin.ZeroGrad())
		must(twin.ForwardBackward(batch, 0))
		second := must(must(twin.OptimizerStepAsync()).Wait(ctx))
		if step := must(must(trainer.StepAsync(batch)).Wait(ctx)); step.GradNorm != second.GradNorm || step.Step != 2 {
			t.Error(step, second)
		}
		if must(trainer.StepCount()) != 2 {
			t.Error("other steps")
		}
		if !slices.Equal(must(must(trainer.Logits(batch)).Dims()), []int64{12, 64}) ||
			!slices.Equal(must(must(must(trainer.LogitsAsync(batch)).Wait(ctx)).Dims()), []int64{12, 64}) {
			t.Error("other logits")
		}
		more := GenerateOptions{MaxNewTokens: 100}
		if !slices.Equal(must(trainer.Generate([]int64{1, 2, 3}, more)), must(must(trainer.GenerateAsync([]int64{1, 2, 3}, more)).Wait(ctx))) {
			t.Error("other tokens")
		}
		zeros := must(NewTensor(DTypeF32, must(must(trainer.Parameter(name)).Dims())...))
		check(trainer.SetParameter(name, zeros))
		must(must(trainer.SetParameterAsync(name, zeros)).Wait(ctx))
		if weights(trainer.Parameter(name))[0] != 0 || must(trainer.Program(1)) == "" {
			t.Error("a weight was not set")
		}

		queue := must(NewEvents(0))
		check(trainer.SetEvents(queue))
		check(trainer.Save(folder+"/a", nil))
		must(must(trainer.SaveAsync(folder+"/b", nil)).Wait(ctx))
		check(twin.Load(folder+"/a", nil))
		must(must(twin.LoadAsync(folder+"/b", nil)).Wait(ctx))
		if must(twin.Evaluate(batch)).Loss != must(trainer.Evaluate(batch)).Loss {
			t.Error("a checkpoint holds another model")
		}
		if event := must(queue.Next(ctx)); event.Type != EventCheckpoint || event.Message != folder+"/a" {
			t.Error(event)
		}
		check(trainer.SetEvents(nil))
		check(trainer.Export(folder+"/out", ""))
		must(must(trainer.ExportAsync(folder+"/out16", "bf16")).Wait(ctx))
		if must(must(OpenModel(folder+"/out")).ParameterCount()) < 1000 || !strings.Contains(must(model.Text()), "llama") {
			t.Error("the export is no model")
		}
		return nil
	}))
	check(config.Set("train.global_batch", "2"))
	check(must(NewModel(modelJSON)).SetTPPlan("whole", `{"*": "replicate"}`))
	for format, part := range map[TimelineFormat]string{TimelineText: "rank 0", TimelineColour: "\x1b[", TimelineSvg: "<svg", TimelineTrace: "traceEvents"} {
		options := TimelineOptions{Format: format, Columns: 60, Backward: 3}
		if text := must(Timeline(must(NewModel(modelJSON)), config, 2, options)); !strings.Contains(text, part) {
			t.Error(text)
		}
	}
	if _, err := Timeline(must(NewModel(modelJSON)), config, 2, TimelineOptions{Transfer: -1}); err == nil {
		t.Error("a negative cost was accepted")
	}
	if text := must(Plan(must(NewModel(modelJSON)), config, 2, PlanSummary)); !strings.Contains(text, "dp_shard") {
		t.Fatal(text)
	}
}

func TestCloseWhileStepsRunIsSafe(t *testing.T) {
	check(Run(1, oneThread, func(world *World) error {
		mesh, model, config := must(NewMesh(world, MeshOptions{})), must(NewModel(modelJSON)), newConfig(t)
		for round := range 8 {
			trainer := must(NewTrainer(mesh, model, config))
			batch := newBatchOf(0)
			time.AfterFunc(time.Duration(round)*500*time.Microsecond, func() {
				batch.Close()
				trainer.Close()
			})
			for {
				if _, err := trainer.Step(batch); errors.Is(err, ErrClosed) {
					break
				} else if err != nil {
					t.Error(err)
					break
				}
			}
		}
		return nil
	}))
}

func TestMetricsComeThroughAChannel(t *testing.T) {
	check(Run(1, oneThread, func(world *World) error {
		trainer := must(NewTrainer(must(NewMesh(world, MeshOptions{})), must(NewModel(modelJSON)), newConfig(t)))
		ctx, cancel := context.WithCancel(background())
		metrics := must(trainer.Metrics(ctx))
		for step := int64(1); step <= 3; step++ {
			want := must(trainer.Step(newBatchOf(0)))
			if got := <-metrics; got.Step != step || got.Loss != want.Loss {
				t.Error(got, want)
			}
		}
		cancel()
		for range metrics {
			t.Error("metrics after the end")
		}
		return nil
	}))
}

func TestPushedDocuments(t *testing.T) {
	config := newConfig(t, "data.seq_len", "16", "train.global_batch", "2", "data.epochs", "1")
	data := must(NewDataset(config, nil, nil))
	defer data.Close()
	for i := int64(0); i < 4; i++ {
		check(data.Push([]int64{1, 2, 3, 4 + i}, nil))
	}
	check(data.Push([]int64{5, 6, 7}, []int64{-100, 6, 7}))
	if err := data.Push([]int64{5, 6, 7}, []int64{1}); codeOf(err) != ErrArgument {
		t.Fatal(err)
	}
	if _, err := data.Next(); !errors.Is(err, ErrState) {
		t.Fatal(err)
	}
	check(data.PushEnd())
	start := must(data.State())
	seen := int64(0)
	for batch, err := range data.Batches() {
		check(err)
		if must(batch.Count()) > 0 {
			seen++
		}
	}
	if seen != must(data.CountSteps()) {
		t.Fatal(seen)
	}
	check(data.SetState(start))
	must(data.Next()).Close()
	if _, err := OpenDataset(config, nil, nil); codeOf(err) != ErrArgument {
		t.Fatal(err)
	}
	if packs, count, err := Pack("ffd", []int64{6, 5, 4, 3}, 10, 0); len(packs) != 4 || count != 2 || err != nil {
		t.Fatal(packs, count, err)
	}
	settings := must(NewConfig())
	for key, value := range map[string]string{"data.seq_len": "10", "data.packing": "next_fit_split"} {
		check(settings.Set(key, value))
	}
	if pieces := must(PackPieces(settings, []int64{6, 5})); len(pieces) != 3 || pieces[2] != (Piece{1, 1, 4, 1}) {
		t.Fatal(pieces)
	}
	if pieces := must(PackPieces(settings, nil)); len(pieces) != 0 {
		t.Fatal(pieces)
	}
	forms := must(NewBatch())
	check(forms.PushForm(BatchFormRows, []int64{5, 6, 7, 0, 8, 9, 0, 0}, []int64{3, 2}, FormOptions{}))
	if rows := must(forms.Rows(0, 4, 1)); rows.RowLength != 4 || rows.Tokens[3] != 1 || rows.Labels[1] != 6 || rows.AttentionMask[6] != 0 {
		t.Fatal(rows)
	}
	if err := forms.PushForm(BatchFormPositions, []int64{5, 6}, []int64{0, 2}, FormOptions{}); codeOf(err) != ErrArgument {
		t.Fatal(err)
	}
}

func TestTokenizer(t *testing.T) {
	folder := t.TempDir()
	check(os.WriteFile(folder+"/tokenizer.json", []byte(`{"version": "1.0", "truncation": null, "padding": null,
  "added_tokens": [{"id": 3, "content": "<|end|>", "special": true, "single_word": false, "lstrip": false, "rstrip": false,
  "normalized": false}], "normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false,
  "trim_offsets": true, "use_regex": true}, "post_processor": null, "decoder": {"type": "ByteLevel", "add_prefix_space": true,
  "trim_offsets": true, "use_regex": true}, "model": {"type": "BPE", "dropout": null, "unk_token": null,
  "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
  "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}`), 0o600))
	check(os.WriteFile(folder+"/tokenizer_config.json", []byte(`{"eos_token": "<|end|>", "chat_template":
  "{% for m in messages %}{{ m['content'] }}<|end|>{% endfor %}"}`), 0o600))
	tokenizer := must(OpenTokenizer(folder))
	defer tokenizer.Close()
	text := strings.Repeat("ab", 600)
	if ids := must(tokenizer.Encode(text, true)); must(tokenizer.Decode(ids, true)) != text || must(tokenizer.Count()) != 4 {
		t.Fatal(ids)
	}
	texts := []string{"ab", "", text, "b"}
	for i, ids := range must(tokenizer.EncodeBatch(texts, true)) {
		if !slices.Equal(ids, must(tokenizer.Encode(texts[i], true))) {
			t.Fatal(i, ids)
		}
	}
	if len(must(tokenizer.EncodeBatch(nil, true))) != 0 {
		t.Fatal("no texts are some")
	}
	if must(tokenizer.Decode(nil, false)) != "" || len(must(tokenizer.Encode("", false))) != 0 {
		t.Fatal("nothing is something")
	}
	conversation := `[{"role": "user", "content": "a"}, {"role": "assistant", "content": "ab"}]`
	if got := must(tokenizer.ChatText(conversation, false)); got != "a<|end|>ab<|end|>" {
		t.Fatal(got)
	}
	tokens, labels, err := tokenizer.EncodeChat(conversation)
	if err != nil || len(tokens) != len(labels) || labels[0] != -100 {
		t.Fatal(tokens, labels, err)
	}
}

func TestWaitsEndWithTheirContext(t *testing.T) {
	worlds := must(NewWorldThreads(2, oneThread))
	first, second := must(NewMeshAsync(worlds[0], MeshOptions{})), must(NewMeshAsync(worlds[1], MeshOptions{}))
	must(WaitAny(background(), first, second))
	mesh := must(first.Wait(background()))
	must(second.Wait(background()))
	if _, err := first.Wait(background()); !errors.Is(err, ErrState) {
		t.Fatal("handed over twice: ", err)
	}
	alone := must(mesh.BarrierAsync("dp"))
	ctx, cancel := context.WithTimeout(background(), 30*time.Millisecond)
	defer cancel()
	if _, err := alone.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if done := must(alone.Done()); done {
		t.Fatal("a barrier of one rank of two ended")
	}
	if err := mesh.Barrier("dp"); !errors.Is(err, ErrBusy) {
		t.Fatal(err)
	}
	behind := must(NewMeshAsync(worlds[0], MeshOptions{}))
	check(behind.Cancel())
	if _, err := behind.Wait(background()); !errors.Is(err, ErrCancelled) {
		t.Fatal(err)
	}
	check(worlds[1].Abort("said the host"))
	var failure *Error
	if _, err := alone.Wait(background()); !errors.As(err, &failure) || failure.Code != ErrPeerFailed || failure.Rank != 1 {
		t.Fatal(err)
	}
	if _, err := worlds[0].LeaveAsync(); err != nil {
		t.Fatal(err)
	}
	for _, world := range worlds {
		world.Close()
	}
	queue := must(NewEvents(4))
	if _, ok, err := queue.TryNext(time.Millisecond); ok || err != nil {
		t.Fatal(ok, err)
	}
	time.AfterFunc(20*time.Millisecond, func() { queue.Close() })
	if _, err := queue.Next(background()); !errors.Is(err, ErrCancelled) {
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

func TestLogLinesGoToAQueue(t *testing.T) {
	before := must(GetLogLevel())
	queue := must(NewEvents(16))
	check(SetLogEvents(queue))
	check(SetLogLevel(LogDebug))
	must(NewWorld(WorldOptions{Job: "a job", IntraOpThreads: 1})).Close()
	check(SetLogLevel(before))
	check(SetLogEvents(nil))
	queue.Close()
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
