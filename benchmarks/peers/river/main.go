// River, with the commands of ../benchlib.py. Variant: max_workers[:fetch_cooldown_ms] (default 500:1).
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

type Input struct {
	I int      `json:"i"`
	T *float64 `json:"t,omitempty"` // the time of the enqueue, in seconds
}

func (Input) Kind() string { return "noop" }

// What the handlers did: how many, when the first started, and the latencies of those with a time.
var (
	count, first atomic.Int64
	mutex        sync.Mutex
	latencies    = []float64{}
)

type Handler struct{ river.WorkerDefaults[Input] }

func (*Handler) Work(_ context.Context, job *river.Job[Input]) error {
	now := time.Now().UnixNano()
	if count.Add(1) == 1 {
		first.Store(now)
	}
	if job.Args.T != nil {
		mutex.Lock()
		latencies = append(latencies, float64(now)/1e6-*job.Args.T*1e3)
		mutex.Unlock()
	}
	return nil
}

type Answer map[string]any

func (answer Answer) print() {
	text, _ := json.Marshal(answer)
	fmt.Println(string(text))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

type Client = river.Client[pgx.Tx]

func main() {
	workers, cooldown := 500, 1
	_, _ = fmt.Sscanf(os.Getenv("BENCH_VARIANT"), "%d:%d", &workers, &cooldown)
	flags := flag.NewFlagSet("river", flag.ExitOnError)
	tasks := flags.Int("n", 1000, "")
	connections := flags.Int("conns", 1, "")
	seconds := flags.Float64("seconds", 3, "")
	rate := flags.Float64("rate", 20, "")
	check(flags.Parse(os.Args[2:]))

	ctx := context.Background()
	given, err := pgxpool.ParseConfig(os.Getenv("BENCH_DSN"))
	check(err)
	given.MaxConns = int32(max(*connections, 10))
	pool, err := pgxpool.NewWithConfig(ctx, given)
	check(err)
	defer pool.Close()
	config := &river.Config{
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		// The inserting client limits its notifications by it, too.
		FetchCooldown: time.Duration(cooldown) * time.Millisecond,
	}
	connect := func() *Client {
		client, err := river.NewClient(riverpgxv5.New(pool), config)
		check(err)
		return client
	}

	switch os.Args[1] {
	case "meta":
		Answer{
			"name": "river", "version": version(), "kind": "pg",
			"settings":    Answer{"max_workers": workers, "fetch_cooldown_ms": cooldown, "bulk": "InsertManyFast x1000"},
			"pending_sql": "select count(*) from river_job where finalized_at is null",
		}.print()
	case "setup":
		migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: config.Logger})
		check(err)
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
		check(err)
		Answer{"ok": true}.print()
	case "one":
		one(ctx, connect(), *connections, *seconds).print()
	case "bulk":
		bulk(ctx, connect(), *tasks).print()
	case "paced":
		paced(ctx, connect(), *connections, *rate, int(*rate**seconds)).print()
	case "work":
		config.Workers = river.NewWorkers()
		river.AddWorker(config.Workers, &Handler{})
		config.FetchPollInterval = time.Second
		config.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workers}}
		work(ctx, connect())
	}
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "github.com/riverqueue/river" {
			return module.Version[1:]
		}
	}
	return "?"
}

// together runs a function in several goroutines and waits for them.
func together(goroutines int, run func()) {
	var group sync.WaitGroup
	for range goroutines {
		group.Go(run)
	}
	group.Wait()
}

func insert(ctx context.Context, client *Client, input Input) {
	_, err := client.Insert(ctx, input, nil)
	check(err)
}

func one(ctx context.Context, client *Client, connections int, seconds float64) Answer {
	together(connections, func() {
		for i := range 5 {
			insert(ctx, client, Input{I: i})
		}
	})
	var jobs atomic.Int64
	begun := time.Now()
	end := begun.Add(time.Duration(seconds * 1e9))
	together(connections, func() {
		for i := 0; time.Now().Before(end); i++ {
			insert(ctx, client, Input{I: i})
			jobs.Add(1)
		}
	})
	return Answer{"jobs": jobs.Load(), "seconds": time.Since(begun).Seconds()}
}

func bulk(ctx context.Context, client *Client, tasks int) Answer {
	begun := time.Now()
	for low := 0; low < tasks; low += 1000 {
		batch := []river.InsertManyParams{}
		for i := low; i < min(tasks, low+1000); i++ {
			batch = append(batch, river.InsertManyParams{Args: Input{I: i}})
		}
		_, err := client.InsertManyFast(ctx, batch)
		check(err)
	}
	return Answer{"jobs": tasks, "seconds": time.Since(begun).Seconds()}
}

func paced(ctx context.Context, client *Client, connections int, rate float64, tasks int) Answer {
	begun := time.Now().Add(50 * time.Millisecond)
	var next atomic.Int64
	together(connections, func() {
		for i := int(next.Add(1)) - 1; i < tasks; i = int(next.Add(1)) - 1 {
			time.Sleep(time.Until(begun.Add(time.Duration(float64(i) / rate * 1e9))))
			now := float64(time.Now().UnixNano()) / 1e9
			insert(ctx, client, Input{I: i, T: &now})
		}
	})
	return Answer{"jobs": tasks, "seconds": time.Since(begun).Seconds()}
}

func work(ctx context.Context, client *Client) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	Answer{"ready": true}.print()
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	check(client.Start(ctx))
	ticks := time.NewTicker(20 * time.Millisecond)
	for seen := int64(-1); ; {
		select {
		case <-ticks.C:
			if now := count.Load(); now != seen {
				seen = now
				Answer{"n": now, "first": first.Load(), "now": time.Now().UnixNano()}.print()
			}
		case <-stop:
			limited, cancel := context.WithTimeout(ctx, 4*time.Second)
			defer cancel()
			_ = client.Stop(limited)
			Answer{"n": count.Load(), "first": first.Load(), "lat": latencies}.print()
			return
		}
	}
}
