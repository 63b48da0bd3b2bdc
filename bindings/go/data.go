package tessera

import (
	"errors"
	"fmt"
	"iter"
	"unsafe"

	"tessera/internal/capi"
)

// Model is an architecture and where its weights come from.
type Model struct{ *handle }

func (m *Model) owner() *handle {
	if m == nil {
		return nil
	}
	return m.handle
}

func makeModel(argument string, f func(argument string, out *uint64, e *capi.Error) int32) (*Model, error) {
	if err := noNUL(argument); err != nil {
		return nil, err
	}
	id := new(uint64)
	if err := call(func(e *capi.Error) int32 { return f(argument, id, e) }); err != nil {
		return nil, err
	}
	return &Model{newHandle("model", *id, capi.Tessera_model_destroy)}, nil
}

// OpenModel reads a Hugging Face directory.
func OpenModel(directory string) (*Model, error) {
	return makeModel(directory, capi.Tessera_model_open)
}

// NewModel takes the text of a config.json; trainers start from seeded random weights.
func NewModel(configJSON string) (*Model, error) {
	return makeModel(configJSON, capi.Tessera_model_create)
}

// OpenModelPlugin is OpenModel with the architectures of a plugin, a shared library, before the built-in ones.
func OpenModelPlugin(directory, plugin string) (*Model, error) {
	if err := noNUL(plugin); err != nil {
		return nil, err
	}
	return makeModel(directory, func(argument string, out *uint64, e *capi.Error) int32 {
		return capi.Tessera_model_open_plugin(argument, plugin, out, e)
	})
}

// NewModelPlugin is NewModel with the architectures of a plugin.
func NewModelPlugin(configJSON, plugin string) (*Model, error) {
	if err := noNUL(plugin); err != nil {
		return nil, err
	}
	return makeModel(configJSON, func(argument string, out *uint64, e *capi.Error) int32 {
		return capi.Tessera_model_create_plugin(argument, plugin, out, e)
	})
}

// Text is the config.json as read.
func (m *Model) Text() (string, error) { return textOf(m.owner(), capi.Tessera_model_get_text) }

// ParameterCount is the number of trained values.
func (m *Model) ParameterCount() (int64, error) {
	return number(m.owner(), capi.Tessera_model_get_parameter_count)
}

// SetTPPlan registers a tensor-parallel plan, a JSON or YAML map of name patterns and styles, for jobs with
// parallel.tp_plan=name.
func (m *Model) SetTPPlan(name, plan string) error {
	if err := noNUL(name, plan); err != nil {
		return err
	}
	return m.owner().with(func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_model_set_tp_plan(id, name, plan, e)
	})
}

// Plan is what a job will do, as text; PlanSearch and PlanSearchJson are the fastest meshes of the key cluster.
func Plan(model *Model, config *Config, worldSize int64, part PlanPart) (string, error) {
	return textOf(model.owner(), func(id uint64, buf *byte, size uint64, n *uint64, e *capi.Error) int32 {
		return capi.Tessera_plan_get_text(id, config.owner().raw(), worldSize, int32(part), buf, size, n, e)
	})
}

// TimelineOptions says how a timeline is drawn and what things cost: 1 is the forward of a mean stage on one micro-batch. 0
// means the default in every field.
type TimelineOptions struct {
	Format     TimelineFormat
	Columns    int32   // of text: 40 to 1000; 100
	Backward   float64 // a backward, in forwards of the same unit: 2
	Collective float64 // to gather or reduce the weights of a mean stage, beside computing
	Transfer   float64 // of activations or gradients from stage to stage
}

func (o TimelineOptions) raw() *capi.TimelineOptions {
	raw := new(capi.TimelineOptions)
	capi.Tessera_timeline_options_init(raw, uint64(unsafe.Sizeof(*raw)))
	raw.Format, raw.Columns, raw.Backward, raw.Collective, raw.Transfer = int32(o.Format), o.Columns, o.Backward, o.Collective, o.Transfer
	return raw
}

// Timeline is a picture of the step: which pipeline rank computes which micro-batch when.
func Timeline(model *Model, config *Config, worldSize int64, options TimelineOptions) (string, error) {
	return textOf(model.owner(), func(id uint64, buf *byte, size uint64, n *uint64, e *capi.Error) int32 {
		return capi.Tessera_plan_get_timeline(id, config.owner().raw(), worldSize, options.raw(), buf, size, n, e)
	})
}

// Pack puts documents of the given lengths into packs of capacity tokens; it returns the pack of each, and how many there are.
func Pack(packer string, lengths []int64, capacity, seed int64) (packs []int64, count int64, err error) {
	if err := noNUL(packer); err != nil {
		return nil, 0, err
	}
	packs = make([]int64, len(lengths)+1)
	out := new(int64)
	err = call(func(e *capi.Error) int32 {
		return capi.Tessera_pack_create(packer, in(lengths), int64(len(lengths)), capacity, seed, &packs[0], out, e)
	})
	return packs[:len(lengths)], *out, err
}

// Piece is a document, or a part of it, in a row of PackPieces; all count from 0.
type Piece struct {
	Row, Document int64
	Begin         int64 // its first token in the document
	Length        int64
}

// PackPieces is the rows that a dataset with these keys makes of documents of the given lengths.
func PackPieces(config *Config, lengths []int64) ([]Piece, error) {
	given := lengths
	if len(given) == 0 {
		given = []int64{0} // the interface wants memory, also of no lengths
	}
	numbers, err := arrayOf(config.owner(), uint64(6*len(lengths)+64), 0, func(id uint64, buf *int64, size uint64, n *uint64, e *capi.Error) int32 {
		return capi.Tessera_pack_get_pieces(id, in(given), int64(len(lengths)), buf, size, n, e)
	})
	pieces := make([]Piece, len(numbers)/4)
	for i := range pieces {
		pieces[i] = Piece{numbers[4*i], numbers[4*i+1], numbers[4*i+2], numbers[4*i+3]}
	}
	return pieces, err
}

// Batch is one rank's share of a step.
type Batch struct{ *handle }

func newBatch(id uint64) *Batch { return &Batch{newHandle("batch", id, capi.Tessera_batch_destroy)} }

func (b *Batch) owner() *handle {
	if b == nil {
		return nil
	}
	return b.handle
}

// NewBatch has no micro-batches.
func NewBatch() (*Batch, error) {
	id := new(uint64)
	if err := call(func(e *capi.Error) int32 { return capi.Tessera_batch_create(id, e) }); err != nil {
		return nil, err
	}
	return newBatch(*id), nil
}

func sameLength(tokens, labels []int64) error {
	if labels != nil && len(labels) != len(tokens) {
		return &Error{Code: ErrArgument, Rank: -1, Message: fmt.Sprintf("%d labels for %d tokens", len(labels), len(tokens))}
	}
	return nil
}

// Push appends one micro-batch: documents of the given lengths, end to end. Without labels the tokens are their own.
func (b *Batch) Push(tokens, labels, lengths []int64) error {
	if err := sameLength(tokens, labels); err != nil {
		return err
	}
	return b.owner().with(func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_batch_push(id, in(tokens), in(labels), int64(len(tokens)), in(lengths), int64(len(lengths)), e)
	})
}

// Count is the number of micro-batches.
func (b *Batch) Count() (int64, error) { return number(b.owner(), capi.Tessera_batch_count) }

// CountTokens is the number of tokens and of labels that are trained on.
func (b *Batch) CountTokens() (tokens, labels int64, err error) {
	counts := new([2]int64)
	err = b.owner().with(func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_batch_count_tokens(id, &counts[0], &counts[1], e)
	})
	return counts[0], counts[1], err
}

// Array copies one array of micro-batch index out.
func (b *Batch) Array(index int64, array BatchArray) ([]int64, error) {
	return arrayOf(b.owner(), 256, 0, func(id uint64, buf *int64, size uint64, n *uint64, e *capi.Error) int32 {
		return capi.Tessera_batch_get_array(id, index, int32(array), buf, size, n, e)
	})
}

// FormOptions are what PushForm may be told beside the documents.
type FormOptions struct {
	Labels        []int64 // nil: the tokens are their own
	LabelsShifted bool    // Labels[t] is the token that should follow token t
	Extent        int64   // of segments: tokens of a row; of positions: tokens before the padding; 0: all
	Layout        *Config // how documents are aligned; nil: not at all
}

// PushForm appends one micro-batch from another form of packed documents, which index tells.
func (b *Batch) PushForm(form BatchForm, tokens, index []int64, options FormOptions) error {
	if err := sameLength(tokens, options.Labels); err != nil {
		return err
	}
	shifted := int32(0)
	if options.LabelsShifted {
		shifted = 1
	}
	return b.owner().with(func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_batch_push_form(id, options.Layout.owner().raw(), int32(form), in(tokens), in(options.Labels),
			int64(len(tokens)), shifted, in(index), int64(len(index)), options.Extent, e)
	}, options.Layout)
}

// PaddedRows is documents as rows of equal length (BSHD), each array row after row.
type PaddedRows struct {
	Rows, RowLength                          int64
	Tokens, Labels, Positions, AttentionMask []int64 // labels in the positions of the tokens
}

// Rows is micro-batch index as one padded row for each document; rowLength 0: as long as the longest.
func (b *Batch) Rows(index, rowLength, padToken int64) (*PaddedRows, error) {
	bounds, err := b.Array(index, BatchCuSeqlens)
	if err != nil {
		return nil, err
	}
	all, err := arrayOf(b.owner(), 1024, 0, func(id uint64, buf *int64, size uint64, n *uint64, e *capi.Error) int32 {
		return capi.Tessera_batch_get_rows(id, index, rowLength, padToken, buf, size, n, e)
	})
	if err != nil {
		return nil, err
	}
	part, rows := len(all)/4, int64(len(bounds)-1)
	return &PaddedRows{rows, int64(part) / rows, all[:part], all[part : 2*part], all[2*part : 3*part], all[3*part:]}, nil
}

// Dataset is where batches come from.
type Dataset struct{ *handle }

func (d *Dataset) owner() *handle {
	if d == nil {
		return nil
	}
	return d.handle
}

func makeDataset(config *Config, mesh *Mesh, model *Model,
	f func(config, mesh, model uint64, out *uint64, e *capi.Error) int32) (*Dataset, error) {
	id := new(uint64)
	err := config.owner().with(func(c uint64, e *capi.Error) int32 {
		return f(c, mesh.owner().raw(), model.owner().raw(), id, e)
	}, mesh, model)
	if err != nil {
		return nil, err
	}
	return &Dataset{newHandle("dataset", *id, capi.Tessera_dataset_destroy)}, nil
}

// OpenDataset opens the files of data.*. mesh and model may be nil.
func OpenDataset(config *Config, mesh *Mesh, model *Model) (*Dataset, error) {
	return makeDataset(config, mesh, model, capi.Tessera_dataset_open)
}

// NewDataset has no files: documents are pushed. mesh and model may be nil.
func NewDataset(config *Config, mesh *Mesh, model *Model) (*Dataset, error) {
	return makeDataset(config, mesh, model, capi.Tessera_dataset_create)
}

// Push appends one document. Without labels the tokens are their own.
func (d *Dataset) Push(tokens, labels []int64) error {
	if err := sameLength(tokens, labels); err != nil {
		return err
	}
	return d.owner().with(func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_dataset_push(id, in(tokens), in(labels), int64(len(tokens)), e)
	})
}

// PushArrow appends the rows of an Arrow record batch, given by the addresses of its ArrowSchema and ArrowArray, which are
// released (the C data interface; cdata.ExportArrowRecordBatch of the Arrow module makes them).
func (d *Dataset) PushArrow(schema, array unsafe.Pointer) error {
	return d.owner().with(func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_dataset_push_arrow(id, schema, array, e)
	})
}

// PushEnd says that no more documents will be pushed.
func (d *Dataset) PushEnd() error { return d.owner().with(capi.Tessera_dataset_push_end) }

// Next is this rank's share of the next step; errors.Is(err, ErrEnd) when the data is used up.
func (d *Dataset) Next() (*Batch, error) {
	id, err := number(d.owner(), capi.Tessera_dataset_next)
	if err != nil {
		return nil, err
	}
	return newBatch(id), nil
}

// Batches yields the shares of the steps to come and closes each after the loop's body. An error ends the loop as its last
// element; the end of the data is none.
func (d *Dataset) Batches() iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		for {
			batch, err := d.Next()
			if errors.Is(err, ErrEnd) {
				return
			}
			more := yield(batch, err)
			if err != nil {
				return
			}
			batch.Close()
			if !more {
				return
			}
		}
	}
}

// State is the position in the data, for SetState.
func (d *Dataset) State() (string, error) { return textOf(d.owner(), capi.Tessera_dataset_get_state) }

// SetState goes to a position that State returned, on this or another mesh.
func (d *Dataset) SetState(state string) error {
	if err := noNUL(state); err != nil {
		return err
	}
	return d.owner().with(func(id uint64, e *capi.Error) int32 { return capi.Tessera_dataset_set_state(id, state, e) })
}

// CountSteps is the number of steps in one pass; -1 when that is not known.
func (d *Dataset) CountSteps() (int64, error) {
	return number(d.owner(), capi.Tessera_dataset_count_steps)
}

// Report is what the dataset holds over all ranks, as JSON.
func (d *Dataset) Report() (string, error) { return textOf(d.owner(), capi.Tessera_dataset_get_report) }

// Lengths are the tokens of each document, in the order of the data.
func (d *Dataset) Lengths() ([]int64, error) {
	return arrayOf(d.owner(), 256, 0, capi.Tessera_dataset_get_lengths)
}

// Tokenizer turns text to token ids and back.
type Tokenizer struct{ *handle }

func (t *Tokenizer) owner() *handle {
	if t == nil {
		return nil
	}
	return t.handle
}

// OpenTokenizer reads a Hugging Face directory.
func OpenTokenizer(directory string) (*Tokenizer, error) {
	if err := noNUL(directory); err != nil {
		return nil, err
	}
	id := new(uint64)
	if err := call(func(e *capi.Error) int32 { return capi.Tessera_tokenizer_open(directory, id, e) }); err != nil {
		return nil, err
	}
	return &Tokenizer{newHandle("tokenizer", *id, capi.Tessera_tokenizer_destroy)}, nil
}

// Count is the number of tokens.
func (t *Tokenizer) Count() (int64, error) { return number(t.owner(), capi.Tessera_tokenizer_count) }

func flag(yes bool) int32 {
	if yes {
		return 1
	}
	return 0
}

// Encode turns text to ids, with the begin and end tokens that the checkpoint asks for when addSpecial is true.
func (t *Tokenizer) Encode(text string, addSpecial bool) ([]int64, error) {
	bytes := append([]byte(text), 0)
	return arrayOf(t.owner(), 256, 0, func(id uint64, buf *int64, size uint64, n *uint64, e *capi.Error) int32 {
		return capi.Tessera_tokenizer_encode(id, &bytes[0], uint64(len(text)), flag(addSpecial), buf, size, n, e)
	})
}

// EncodeBatch turns many texts to ids, on many threads.
func (t *Tokenizer) EncodeBatch(texts []string, addSpecial bool) ([][]int64, error) {
	var all []byte
	textEnds, idEnds := make([]int64, len(texts)+1), make([]int64, len(texts)+1)
	for i, text := range texts {
		all = append(all, text...)
		textEnds[i] = int64(len(all))
	}
	size := uint64(len(all))
	all = append(all, 0)
	ids, err := arrayOf(t.owner(), size/2+256, 0, func(id uint64, buf *int64, cap uint64, n *uint64, e *capi.Error) int32 {
		return capi.Tessera_tokenizer_encode_batch(id, &all[0], size, &textEnds[0], int64(len(texts)), flag(addSpecial),
			&idEnds[0], buf, cap, n, e)
	})
	if err != nil {
		return nil, err
	}
	out := make([][]int64, len(texts))
	begin := int64(0)
	for i := range texts {
		out[i] = ids[begin:idEnds[i]]
		begin = idEnds[i]
	}
	return out, nil
}

// Decode turns ids to text.
func (t *Tokenizer) Decode(ids []int64, skipSpecial bool) (string, error) {
	if ids == nil {
		ids = []int64{}
	}
	return textOf(t.owner(), func(id uint64, buf *byte, size uint64, n *uint64, e *capi.Error) int32 {
		return capi.Tessera_tokenizer_decode(id, in(ids), int64(len(ids)), flag(skipSpecial), buf, size, n, e)
	})
}

// ChatText is a conversation (JSON) as the chat template prints it.
func (t *Tokenizer) ChatText(conversation string, addGenerationPrompt bool) (string, error) {
	if err := noNUL(conversation); err != nil {
		return "", err
	}
	return textOf(t.owner(), func(id uint64, buf *byte, size uint64, n *uint64, e *capi.Error) int32 {
		return capi.Tessera_tokenizer_get_chat_text(id, conversation, flag(addGenerationPrompt), buf, size, n, e)
	})
}

// EncodeChat is a conversation (JSON) as tokens and labels.
func (t *Tokenizer) EncodeChat(conversation string) (tokens, labels []int64, err error) {
	if err := noNUL(conversation); err != nil {
		return nil, nil, err
	}
	tokens, err = arrayOf(t.owner(), 256, 0, func(id uint64, buf *int64, size uint64, n *uint64, e *capi.Error) int32 {
		labels = make([]int64, size)
		return capi.Tessera_tokenizer_encode_chat(id, conversation, buf, &labels[0], size, n, e)
	})
	if err != nil {
		return nil, nil, err
	}
	return tokens, labels[:len(tokens)], nil
}
