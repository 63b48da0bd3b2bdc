package tessera

import (
	"os"
	"strings"
	"testing"
)

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
