//! What each index costs: its bytes, and the time that it adds to the insert of a failed post.
//!
//! `cargo bench --locked --bench indexes`. `INDEX_POSTS` (100000) sets how many failed posts the bytes are for,
//! `INDEX_INSERTS` (10000) how many inserts are timed, `INDEX_ROUNDS` (3) how often. A store with one index is compared
//! with a store that has none of postretry's; the last row has all of them. Inserts are made many at a time, so that
//! neither the network nor the disk hides what an index adds. An insert is the write that changes most indexes.

use std::time::{Duration, Instant};

use postretry_bench_support::{
    BenchResult, Environment, Index, Kind, State, Store, print_table, run_part, size, to_f64,
};
use tokio::runtime::Runtime;

const HEADER: [&str; 5] = ["index", "bytes", "bytes for each post", "µs for each insert", "of these the index"];

fn main() -> BenchResult {
    run_part(&[]).unwrap_or_else(|| Runtime::new()?.block_on(measure_all()))
}

/// What the posts are for.
#[derive(Debug, Clone, Copy)]
enum Posts {
    /// One platform each.
    Single,
    /// Several platforms each; failed on one of them.
    Several,
}

impl Posts {
    async fn insert(self, store: &Store, number: usize) -> BenchResult {
        match self {
            Self::Single => store.fill(State::Waiting, number).await,
            Self::Several => store.fill_deliveries(State::Waiting, number).await,
        }
    }
}

async fn measure_all() -> BenchResult {
    let env = Environment::start(env!("CARGO_BIN_EXE_postretry")).await?;
    for (kind, posts, name) in [
        (Kind::MongoDb, Posts::Single, "posts"),
        (Kind::MongoDb, Posts::Several, "posts for several platforms"),
        // A file has a row for each delivery, like any other.
        (Kind::Sqlite, Posts::Single, "posts"),
    ] {
        measure(&env, kind, posts, name).await?;
    }
    Ok(())
}

async fn measure(env: &Environment, kind: Kind, posts: Posts, name: &str) -> BenchResult {
    let number = size("INDEX_POSTS", 100_000)?;
    let indexes = grown_indexes(env, kind, posts, number).await?;
    let ours: Vec<&Index> = indexes.iter().filter(|index| index.is_ours()).collect();
    let mut sets: Vec<Vec<&Index>> = vec![Vec::new()];
    sets.extend(ours.iter().map(|index| vec![*index]));
    sets.push(ours.clone());
    let times = time_inserts(env, kind, posts, &sets).await?;
    let [base, single @ .., all] = times.as_slice() else { return Err("nothing was measured".into()) };

    let total: u64 = ours.iter().map(|index| index.bytes).sum();
    let per_post = |bytes: u64| format!("{:.1}", to_f64(usize::try_from(bytes).unwrap_or(0)) / to_f64(number));
    let row = |label: String, bytes: Option<u64>, micros: Option<f64>| {
        let more = micros.map(|micros| micros - base);
        vec![
            label,
            bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
            bytes.map(per_post).unwrap_or_default(),
            micros.map(|micros| format!("{micros:.1}")).unwrap_or_default(),
            more.map(|more| format!("{more:.1}")).unwrap_or_default(),
        ]
    };
    let others = indexes.iter().filter(|index| !index.is_ours());
    let mut rows: Vec<Vec<String>> =
        others.map(|index| row(format!("`{}`, not ours", index.name), Some(index.bytes), None)).collect();
    rows.push(row("without ours".to_owned(), None, Some(*base)));
    for (index, micros) in ours.iter().zip(single) {
        rows.push(row(format!("`{}`", index.name), Some(index.bytes), Some(*micros)));
    }
    rows.push(row("all of ours".to_owned(), Some(total), Some(*all)));
    let title = format!("{}: {number} failed {name}", kind.name());
    print_table(&title, &HEADER, rows, &[]);
    Ok(())
}

/// The indexes that postretry makes, grown by so many inserts.
async fn grown_indexes(env: &Environment, kind: Kind, posts: Posts, number: usize) -> BenchResult<Vec<Index>> {
    let store = env.store(kind, &store_name(posts, "grown")).await?;
    // Those of deliveries are made once there is one.
    posts.insert(&store, 1).await?;
    env.program.on(&store).args(&["run", "-q"]).run()?;
    store.clear().await?;
    posts.insert(&store, number).await?;
    store.indexes().await
}

/// The median of the microseconds for each insert into a store with each of these sets of indexes. They take turns.
async fn time_inserts(env: &Environment, kind: Kind, posts: Posts, sets: &[Vec<&Index>]) -> BenchResult<Vec<f64>> {
    let (inserts, rounds) = (size("INDEX_INSERTS", 10_000)?, size("INDEX_ROUNDS", 3)?.max(1));
    let mut stores = Vec::new();
    for (position, set) in sets.iter().enumerate() {
        let store = env.store(kind, &store_name(posts, &position.to_string())).await?;
        store.set_indexes(set).await?;
        stores.push((store, Vec::new()));
    }
    for _ in 0..rounds {
        for (store, times) in &mut stores {
            store.clear().await?;
            let started = Instant::now();
            posts.insert(store, inserts).await?;
            times.push(started.elapsed());
        }
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e6 / to_f64(inserts)
    };
    Ok(stores.into_iter().map(|(_, times)| median(times)).collect())
}

fn store_name(posts: Posts, name: &str) -> String {
    let kind = match posts {
        Posts::Single => "single",
        Posts::Several => "several",
    };
    format!("indexes_{kind}_{name}")
}
