//! What an operator asks of many failed posts: a page of the list, a late page, what is due, and the statistics; each
//! beside a program that connects and makes only the cheapest query that gives the answer, with indexes made for it.
//!
//! `cargo bench --locked --bench queries`. `QUERY_POSTS` (300000) sets how many posts have failed, `QUERY_DELIVERIES`
//! (0) how many of a hundred are posts for several platforms, `QUERY_SKIP` (100000) where the late page begins,
//! `QUERY_ROUNDS` (7) how often each program runs. None of the posts is due.

mod raw;

use postretry_bench_support::{
    BenchResult, Environment, Kind, Part, Program, Report, State, Store, interleave, run_part, size,
};
use tokio::runtime::Runtime;

const PARTS: [Part; 2] =
    [("mongodb", |arguments| Runtime::new()?.block_on(raw::ask_mongodb(arguments))), ("sqlite", raw::ask_sqlite)];

fn main() -> BenchResult {
    run_part(&PARTS).unwrap_or_else(|| Runtime::new()?.block_on(compare()))
}

async fn compare() -> BenchResult {
    let (posts, percentage, rounds) =
        (size("QUERY_POSTS", 300_000)?, size("QUERY_DELIVERIES", 0)?.min(100), size("QUERY_ROUNDS", 7)?);
    let skip = size("QUERY_SKIP", 100_000)?.to_string();
    let env = Environment::start(env!("CARGO_BIN_EXE_postretry")).await?;
    for kind in Kind::ALL {
        let store = env.store(kind, "queries").await?;
        // A file has a row for each delivery, like any other.
        let deliveries = if kind == Kind::MongoDb { posts * percentage / 100 } else { 0 };
        store.fill(State::Waiting, posts - deliveries).await?;
        let part = copy(&env, &store, deliveries).await?;
        // The first pass makes the indexes.
        env.program.on(&store).args(&["run", "-q"]).run()?;
        let ask = |arguments: &[&str]| env.program.on(&store).args(arguments);
        let shape = if deliveries > 0 { "deliveries" } else { "posts" };
        let raw = |query: &str, skip: &str| part.clone().args(&[query, skip, shape]);

        let mut report = Report::new(format!("{}: {posts} failed posts, none due", kind.name()));
        let (list, due) = (ask(&["list-failed"]), ask(&["list-failed", "--due"]));
        let (raw_list, raw_due) = (raw("list", "0"), raw("due", "0"));
        let [raw_list, list, raw_due, due] = interleave(rounds, [&raw_list, &list, &raw_due, &due])?;
        report.base("raw query", &raw_list);
        report.compare("`list-failed`", &list, &raw_list);
        report.base("raw query", &raw_due);
        report.compare("`list-failed --due`", &due, &raw_due);
        report.note(format!("`list-failed --due` takes {:.2} of `list-failed`", due.ratio(&list)));

        let (late, stats) = (ask(&["list-failed", "--skip", &skip]), ask(&["stats"]));
        let (raw_late, raw_stats) = (raw("list", &skip), raw("stats", "0"));
        let [raw_late, late, raw_stats, stats] = interleave(rounds, [&raw_late, &late, &raw_stats, &stats])?;
        report.base("raw query", &raw_late);
        report.compare(&format!("`list-failed --skip {skip}`"), &late, &raw_late);
        report.base("raw aggregation", &raw_stats);
        report.compare("`stats`", &stats, &raw_stats);
        if deliveries > 0 {
            report.note(format!("{deliveries} of the posts are for several platforms"));
        }
        report.print();
    }
    Ok(())
}

/// Adds the posts for several platforms, and copies everything to where the raw queries find it. The copy has indexes
/// of its own, so that neither side maintains those of the other.
async fn copy(env: &Environment, store: &Store, deliveries: usize) -> BenchResult<Program> {
    if let Some(posts) = store.collection() {
        store.fill_deliveries(State::Waiting, deliveries).await?;
        raw::copy_mongodb(posts).await?;
        return Ok(Program::part("mongodb")?.args(&[store.url()]));
    }
    let rows = store.path().ok_or("the store is a file")?;
    let copy = env.folder().join("raw.db").display().to_string();
    raw::copy_sqlite(rows, &copy)?;
    Ok(Program::part("sqlite")?.args(&[&copy]))
}
