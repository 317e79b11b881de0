//! A pass with nothing to do: over few and over many failed posts, beside a program that only opens the store and makes
//! one query by an index.
//!
//! `cargo bench --locked --bench idle`. `IDLE_POSTS` (300000) sets how many posts are many, `IDLE_ROUNDS` (15) how
//! often each program runs.

use mongodb::Client;
use mongodb::bson::{Document, doc};
use postretry_bench_support::{
    BenchResult, Environment, Kind, Part, Program, Report, State, interleave, run_part, size,
};
use rusqlite::Connection;
use tokio::runtime::Runtime;

const FEW: usize = 1_000;

const PARTS: [Part; 2] =
    [("mongodb", |arguments| Runtime::new()?.block_on(ask_mongodb(arguments))), ("sqlite", ask_sqlite)];

fn main() -> BenchResult {
    run_part(&PARTS).unwrap_or_else(|| Runtime::new()?.block_on(compare()))
}

async fn ask_mongodb(arguments: &[String]) -> BenchResult {
    let [uri] = arguments else { return Err("usage: mongodb URI".into()) };
    let database = Client::with_uri_str(uri).await?.default_database().ok_or("the URI has no database")?;
    database.collection::<Document>("marketing_posts").find_one(doc! { "_id": "none" }).await?;
    Ok(())
}

fn ask_sqlite(arguments: &[String]) -> BenchResult {
    let [url] = arguments else { return Err("usage: sqlite URL".into()) };
    let connection = Connection::open(url.trim_start_matches("sqlite:"))?;
    connection.query_row("SELECT count(*) FROM posts WHERE id = 'none'", [], |row| row.get::<_, i64>(0))?;
    Ok(())
}

async fn compare() -> BenchResult {
    let (many, rounds) = (size("IDLE_POSTS", 300_000)?, size("IDLE_ROUNDS", 15)?);
    let env = Environment::start(env!("CARGO_BIN_EXE_postretry")).await?;
    for (kind, part) in [(Kind::MongoDb, "mongodb"), (Kind::Sqlite, "sqlite")] {
        let (small, large) = (env.store(kind, "small").await?, env.store(kind, "large").await?);
        for (store, posts) in [(&small, FEW), (&large, many)] {
            store.fill(State::Waiting, posts).await?;
            // The first pass makes the indexes.
            env.program.on(store).args(&["run"]).run()?;
        }
        let [over_few, over_many] = [&small, &large].map(|store| env.program.on(store).args(&["run"]));
        let one_query = Program::part(part)?.args(&[large.url()]);
        let [few, more, query] = interleave(rounds, [&over_few, &over_many, &one_query])?;
        let mut report = Report::new(format!("{}: a pass in which nothing is due", kind.name()));
        report.base(&format!("`run`, {FEW} failed posts"), &few);
        report.compare(&format!("`run`, {many} failed posts"), &more, &few);
        report.base("open the store and make one query", &query);
        report.compare(&format!("`run`, {many} failed posts"), &more, &query);
        report.print();
    }
    Ok(())
}
