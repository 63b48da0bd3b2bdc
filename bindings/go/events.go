package tessera

import (
	"context"
	"errors"
	"time"
	"unsafe"

	"tessera/internal/capi"
)

// Event is something that a trainer or the library reports. The fields that do not belong to its type are zero.
type Event struct {
	Type    EventType
	Rank    int // whose it is; -1: of no rank
	Level   LogLevel
	Status  Code // of a failure
	Time    time.Time
	Dropped int64 // events lost before this one since the last one was taken
	Metrics Metrics
	Message string // log line, failure or directory
}

// Events is a queue to pull from.
type Events struct{ *handle }

func (q *Events) owner() *handle {
	if q == nil {
		return nil
	}
	return q.handle
}

// NewEvents is an empty queue that keeps at most capacity metrics and log lines; 0: 1024. Failures are never dropped.
func NewEvents(capacity int64) (*Events, error) {
	id := new(uint64)
	if err := call(func(e *capi.Error) int32 { return capi.Tessera_events_create(capacity, id, e) }); err != nil {
		return nil, err
	}
	return &Events{newHandle("events", *id, capi.Tessera_events_destroy)}, nil
}

func (q *Events) next(timeout int64) (Event, error) {
	raw := new(capi.Event)
	capi.Tessera_event_init(raw, uint64(unsafe.Sizeof(*raw)))
	err := q.owner().with(func(id uint64, e *capi.Error) int32 { return capi.Tessera_events_next(id, timeout, raw, e) })
	if err != nil {
		return Event{}, err
	}
	return Event{Type: EventType(raw.Type), Rank: int(raw.Rank), Level: LogLevel(raw.Level), Status: Code(raw.Status),
		Time: time.Unix(0, raw.TimeNs), Dropped: raw.Dropped, Message: text(raw.Message[:]),
		Metrics: Metrics{Step: raw.Step, Loss: raw.Loss, GradNorm: raw.GradNorm, LR: raw.Lr, Tokens: raw.Tokens,
			LabelTokens: raw.LabelTokens, Seconds: raw.Seconds, TokensPerSecond: raw.TokensPerS, Memory: raw.Memory,
			ExpertLoadRatio: raw.ExpertLoadRatio, ExpertIdle: raw.ExpertIdle, ExpertBalanceLoss: raw.ExpertBalanceLoss,
			ExpertZLoss: raw.ExpertZLoss}}, nil
}

// Next takes the oldest event and waits for one until the context ends. ErrCancelled: the queue was closed meanwhile.
func (q *Events) Next(ctx context.Context) (event Event, err error) {
	err = patiently(ctx, func(timeout int64) error {
		event, err = q.next(timeout)
		return err
	})
	return event, err
}

// TryNext takes the oldest event if it comes within the timeout; 0 does not wait.
func (q *Events) TryNext(timeout time.Duration) (event Event, ok bool, err error) {
	event, err = q.next(timeoutOf(timeout))
	if errors.Is(err, ErrTimeout) {
		return event, false, nil
	}
	return event, err == nil, err
}

// Channel sends the events of the queue. It is closed when the context ends or the queue is closed.
func (q *Events) Channel(ctx context.Context) <-chan Event {
	out := make(chan Event)
	go func() {
		defer close(out)
		for {
			event, err := q.Next(ctx)
			if err != nil {
				return
			}
			select {
			case out <- event:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// SetLogEvents sends the library's log lines to a queue; nil: to stderr again.
func SetLogEvents(q *Events) error {
	return call(func(e *capi.Error) int32 { return capi.Tessera_log_set_events(q.owner().raw(), e) })
}
