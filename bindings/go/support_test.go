package tessera

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"
)

const modelJSON = `{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64, "hidden_size": 32,
 "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
 "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "tie_word_embeddings": false, "torch_dtype": "float32",
 "bos_token_id": 1, "eos_token_id": 2}`

// must returns the value of a call that has to work.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func newConfig(t *testing.T, pairs ...string) *Config {
	config := must(NewConfig())
	t.Cleanup(func() { config.Close() })
	for i := 0; i+1 < len(pairs); i += 2 {
		check(config.Set(pairs[i], pairs[i+1]))
	}
	check(config.Set("precision.param", "fp32"))
	return config
}

var oneThread = WorldOptions{IntraOpThreads: 1, Timeout: 30 * time.Second}

// newBatchOf is two documents, different for each rank.
func newBatchOf(rank int) *Batch {
	batch := must(NewBatch())
	tokens := make([]int64, 12)
	for i := range tokens {
		tokens[i] = int64((i*7 + rank*5) % 64)
	}
	check(batch.Push(tokens, nil, []int64{7, 5}))
	return batch
}

// collect runs the collector until the number of live native objects is that before, or some time has passed.
func collect(before int64) int64 {
	live := int64(-1)
	for i := 0; i < 200; i++ {
		runtime.GC()
		if live = must(HandleCount(KindAny)); live <= before {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return live
}

func codeOf(err error) Code {
	var failure *Error
	if errors.As(err, &failure) {
		return failure.Code
	}
	return OK
}

func background() context.Context { return context.Background() }

// residentKB is the memory of this process.
func residentKB() int64 {
	statm, err := os.ReadFile("/proc/self/statm")
	check(err)
	var total, resident int64
	for i, field := 0, ""; i <= len(statm); i++ {
		if i < len(statm) && statm[i] != ' ' {
			field += string(statm[i])
			continue
		}
		value := int64(0)
		for _, digit := range field {
			value = value*10 + int64(digit-'0')
		}
		if total == 0 {
			total = value
		} else {
			resident = value
			break
		}
		field = ""
	}
	return resident * int64(os.Getpagesize()) / 1024
}
