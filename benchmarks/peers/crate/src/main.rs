//! The Rust crate `underway`, with the commands of ../benchlib.py. Variant: the concurrency limit (default 100).
use std::io::BufRead;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{postgres::PgPoolOptions, PgPool, Postgres, Transaction};
use tokio::signal::unix::{signal, SignalKind};
use underway::{queue::Queue, task::Result as TaskResult, worker::Worker, Task};

#[derive(Debug, Clone, Deserialize, Serialize)]
struct Input {
    i: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    t: Option<f64>, // the time of the enqueue, in seconds
}

// What the handlers did: how many, when the first started, and the latencies of those with a time.
static COUNT: AtomicU64 = AtomicU64::new(0);
static FIRST: AtomicU64 = AtomicU64::new(0);
static LATENCIES: Mutex<Vec<f64>> = Mutex::new(Vec::new());

#[derive(Clone)]
struct Noop;

impl Task for Noop {
    type Input = Input;
    type Output = ();

    async fn execute(&self, _: Transaction<'_, Postgres>, input: Input) -> TaskResult<()> {
        let now = nanoseconds();
        if COUNT.fetch_add(1, SeqCst) == 0 {
            FIRST.store(now, SeqCst);
        }
        if let Some(t) = input.t {
            LATENCIES.lock().unwrap().push(now as f64 / 1e6 - t * 1e3);
        }
        Ok(())
    }
}

fn nanoseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

fn argument(name: &str, default: f64) -> f64 {
    let given: Vec<String> = std::env::args().collect();
    let place = given.iter().position(|word| word == name);
    place.map_or(default, |place| given[place + 1].parse().unwrap())
}

#[tokio::main]
async fn main() {
    let command = std::env::args().nth(1).expect("a command");
    let limit: usize = std::env::var("BENCH_VARIANT").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    if command == "meta" {
        let pending = "select count(*) from underway.task where state in ('pending', 'in_progress')";
        let settings = json!({"concurrency": limit, "bulk": "enqueue_multi x1000"});
        let meta = json!({"name": "underway-crate", "version": "0.2.0", "kind": "pg", "settings": settings,
            "pending_sql": pending});
        return println!("{meta}");
    }
    let tasks = argument("--n", 1000.0) as u64;
    let connections = argument("--conns", 1.0) as u32;
    let (seconds, rate) = (argument("--seconds", 3.0), argument("--rate", 20.0));
    let size = if command == "work" { limit as u32 + 5 } else { connections.max(5) };
    let dsn = std::env::var("BENCH_DSN").expect("BENCH_DSN");
    let pool = PgPoolOptions::new().max_connections(size.min(150)).connect_lazy(&dsn).unwrap();
    if command == "setup" {
        underway::run_migrations(&pool).await.unwrap();
    }
    let queue: Queue<Noop> = Queue::builder().name("bench").pool(pool.clone()).build().await.unwrap();
    match command.as_str() {
        "setup" => println!("{}", json!({"ok": true})),
        "bulk" => bulk(&pool, &queue, tasks).await,
        "one" => produce(pool, queue, connections, seconds, None).await,
        "paced" => produce(pool, queue, connections, seconds, Some(rate)).await,
        _ => work(queue, limit).await,
    }
}

async fn bulk(pool: &PgPool, queue: &Queue<Noop>, tasks: u64) {
    let begun = Instant::now();
    for low in (0..tasks).step_by(1000) {
        let inputs: Vec<Input> = (low..tasks.min(low + 1000)).map(|i| Input { i, t: None }).collect();
        queue.enqueue_multi(pool, &Noop, &inputs).await.unwrap();
    }
    println!("{}", json!({"jobs": tasks, "seconds": begun.elapsed().as_secs_f64()}));
}

/// Enqueue one by one for some seconds: at a rate, with the time in the input, or as fast as possible.
async fn produce(pool: PgPool, queue: Queue<Noop>, connections: u32, seconds: f64, rate: Option<f64>) {
    let queue = Arc::new(queue);
    let next = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut producers = vec![];
    for _ in 0..connections {
        let (queue, pool, next) = (queue.clone(), pool.clone(), next.clone());
        producers.push(tokio::spawn(async move {
            let mut jobs = 0;
            loop {
                let i = next.fetch_add(1, SeqCst);
                let due = rate.map_or(begun.elapsed().as_secs_f64(), |rate| i as f64 / rate);
                if due >= seconds {
                    return jobs;
                }
                tokio::time::sleep_until((begun + Duration::from_secs_f64(due)).into()).await;
                let t = rate.map(|_| nanoseconds() as f64 / 1e9);
                queue.enqueue(&pool, &Noop, &Input { i, t }).await.unwrap();
                jobs += 1;
            }
        }));
    }
    let mut jobs = 0;
    for producer in producers {
        jobs += producer.await.unwrap();
    }
    println!("{}", json!({"jobs": jobs, "seconds": begun.elapsed().as_secs_f64()}));
}

async fn work(queue: Queue<Noop>, limit: usize) {
    let mut stop = signal(SignalKind::terminate()).unwrap();
    println!("{}", json!({"ready": true}));
    let wait = || std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    tokio::task::spawn_blocking(wait).await.unwrap();
    std::thread::spawn(|| {
        let mut seen = u64::MAX;
        loop {
            std::thread::sleep(Duration::from_millis(20));
            let now = COUNT.load(SeqCst);
            if now != seen {
                seen = now;
                println!("{}", json!({"n": now, "first": FIRST.load(SeqCst), "now": nanoseconds()}));
            }
        }
    });
    let mut worker = Worker::new(queue.into(), Noop);
    worker.set_concurrency_limit(limit);
    tokio::select! {
        ended = worker.run() => eprintln!("{ended:?}"),
        _ = stop.recv() => {}
    }
    let latencies = LATENCIES.lock().unwrap();
    println!("{}", json!({"n": COUNT.load(SeqCst), "first": FIRST.load(SeqCst), "lat": *latencies}));
    std::process::exit(0);
}
