package tessera

import (
	"unsafe"

	"tessera/internal/capi"
)

// Config holds all settings by key and text value.
type Config struct{ *handle }

// NewConfig has the default of every key.
func NewConfig() (*Config, error) {
	id := new(uint64)
	if err := call(func(e *capi.Error) int32 { return capi.Tessera_config_create(id, e) }); err != nil {
		return nil, err
	}
	return &Config{newHandle("config", *id, capi.Tessera_config_destroy)}, nil
}

// config gives methods of a nil *Config a nil handle.
func (c *Config) owner() *handle {
	if c == nil {
		return nil
	}
	return c.handle
}

// Set sets one key; an empty value goes back to the default. An unknown key gives ErrNotFound, a bad value ErrArgument.
func (c *Config) Set(key, value string) error {
	if err := noNUL(key, value); err != nil {
		return err
	}
	return c.owner().with(func(id uint64, e *capi.Error) int32 { return capi.Tessera_config_set(id, key, value, e) })
}

// Get is the value of a key, its default, or "".
func (c *Config) Get(key string) (string, error) {
	if err := noNUL(key); err != nil {
		return "", err
	}
	return textOf(c.owner(), func(id uint64, buf *byte, size uint64, n *uint64, e *capi.Error) int32 {
		return capi.Tessera_config_get(id, key, buf, size, n, e)
	})
}

// Load sets keys from a YAML or JSON file, all or none.
func (c *Config) Load(path string) error {
	if err := noNUL(path); err != nil {
		return err
	}
	return c.owner().with(func(id uint64, e *capi.Error) int32 { return capi.Tessera_config_load(id, path, e) })
}

// LoadText sets keys from YAML or JSON, all or none.
func (c *Config) LoadText(yaml string) error {
	if err := noNUL(yaml); err != nil {
		return err
	}
	return c.owner().with(func(id uint64, e *capi.Error) int32 { return capi.Tessera_config_load_text(id, yaml, e) })
}

// Text is the keys that were set, as YAML.
func (c *Config) Text() (string, error) { return textOf(c.owner(), capi.Tessera_config_get_text) }

// KeyInfo is what is known of one key.
type KeyInfo struct {
	Name, Default, Doc string
	Choices            string // separated by commas
	Type               KeyType
	Min, Max           *float64 // inclusive bounds; nil: none
}

func newKeyInfo(raw *capi.KeyInfo) KeyInfo {
	info := KeyInfo{Name: text(raw.Name[:]), Default: text(raw.DefaultValue[:]), Doc: text(raw.Doc[:]),
		Choices: text(raw.Choices[:]), Type: KeyType(raw.Type)}
	if raw.HasMin != 0 {
		info.Min = &raw.Min
	}
	if raw.HasMax != 0 {
		info.Max = &raw.Max
	}
	return info
}

func rawKeyInfo() *capi.KeyInfo {
	raw := new(capi.KeyInfo)
	capi.Tessera_key_info_init(raw, uint64(unsafe.Sizeof(*raw)))
	return raw
}

// DescribeKey describes a key by name.
func DescribeKey(name string) (KeyInfo, error) {
	raw := rawKeyInfo()
	if err := noNUL(name); err != nil {
		return KeyInfo{}, err
	}
	err := call(func(e *capi.Error) int32 { return capi.Tessera_key_describe(name, raw, e) })
	return newKeyInfo(raw), err
}

// Keys describes all keys in the order of the documentation.
func Keys() ([]KeyInfo, error) {
	count := new(int64)
	if err := call(func(e *capi.Error) int32 { return capi.Tessera_key_count(count, e) }); err != nil {
		return nil, err
	}
	out := make([]KeyInfo, *count)
	for i := range out {
		raw := rawKeyInfo()
		if err := call(func(e *capi.Error) int32 { return capi.Tessera_key_get(int64(i), raw, e) }); err != nil {
			return nil, err
		}
		out[i] = newKeyInfo(raw)
	}
	return out, nil
}
