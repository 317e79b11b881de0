//! Many posts to be dealt with at once: a dry run, marking those whose retries are used up, a pass that reports many
//! posts, and a pass that a limit ends; each over few and over more posts.
//!
//! `cargo bench --locked --bench backlog`. How many posts are few: `DRY_RUN_POSTS` (10000), `EXHAUSTED_POSTS` (5000)
//! and `REPORT_POSTS` (1000; for SQLite a quarter of it). There are four times as many of more. `BACKLOG_ROUNDS` (3)
//! sets how often each program runs; the passes that report run once.

use postretry_bench_support::{
    BenchResult, Environment, Kind, Program, Report, Series, State, Store, interleave, run_part, size,
};
use tokio::runtime::Runtime;

/// How many times as many posts there are in the second of two stores.
const FACTOR: usize = 4;

fn main() -> BenchResult {
    run_part(&[]).unwrap_or_else(|| Runtime::new()?.block_on(compare()))
}

async fn compare() -> BenchResult {
    let rounds = size("BACKLOG_ROUNDS", 3)?;
    let env = Environment::start(env!("CARGO_BIN_EXE_postretry")).await?;
    env.make_video(1_000)?;
    for kind in Kind::ALL {
        let mut report = Report::new(format!("{}: many posts to be dealt with", kind.name()));
        let due = size("DRY_RUN_POSTS", 10_000)?;
        let stores = Stores::new(&env, kind, "due").await?;
        stores.fill(State::Due, due).await?;
        stores.make_indexes(&env)?;
        let [few, more] = stores.programs(&env.program.clone().args(&["run", "--dry-run", "--json"]));
        let [few, more] = interleave(rounds, [&few, &more])?;
        add(&mut report, "dry run", due, &few, &more);

        limited(&env, &stores.few, rounds, &mut report)?;
        exhausted(&env, kind, rounds, &mut report).await?;
        reported(&env, kind, &mut report).await?;
        report.note("`ratio` is that of the times; it is linear where it is no more than that of the posts");
        report.print();
    }
    Ok(())
}

/// A store with few posts and one with more.
struct Stores {
    few: Store,
    more: Store,
}

impl Stores {
    async fn new(env: &Environment, kind: Kind, name: &str) -> BenchResult<Self> {
        let few = env.store(kind, &format!("{name}_few")).await?;
        Ok(Self { few, more: env.store(kind, &format!("{name}_more")).await? })
    }

    fn both(&self) -> [&Store; 2] {
        [&self.few, &self.more]
    }

    async fn fill(&self, state: State, few: usize) -> BenchResult {
        for (store, posts) in self.both().into_iter().zip([few, FACTOR * few]) {
            store.clear().await?;
            store.fill(state, posts).await?;
        }
        Ok(())
    }

    /// A pass that may start nothing.
    fn make_indexes(&self, env: &Environment) -> BenchResult {
        for store in self.both() {
            env.program.on(store).args(&["run", "--limit", "0"]).run()?;
        }
        Ok(())
    }

    fn programs(&self, program: &Program) -> [Program; 2] {
        self.both().map(|store| program.on(store))
    }
}

fn add(report: &mut Report, work: &str, posts: usize, few: &Series, more: &Series) {
    report.base(&format!("{work}, {posts} posts"), few);
    report.compare(&format!("{work}, {} posts", FACTOR * posts), more, few);
}

/// One post of many, with the gap and without.
fn limited(env: &Environment, store: &Store, rounds: usize, report: &mut Report) -> BenchResult {
    let without = env.program.on(store).args(&["run", "--limit", "1"]);
    let with = without.clone().set("POST_RETRY_GAP", "10s");
    let [without, with] = interleave(rounds, [&without, &with])?;
    env.take_published();
    report.base("`run --limit 1`, no gap", &without);
    report.compare("`run --limit 1`, gap of 10 s", &with, &without);
    Ok(())
}

async fn exhausted(env: &Environment, kind: Kind, rounds: usize, report: &mut Report) -> BenchResult {
    let posts = size("EXHAUSTED_POSTS", 5_000)?;
    let stores = Stores::new(env, kind, "exhausted").await?;
    stores.make_indexes(env)?;
    let programs = stores.programs(&env.program.clone().args(&["run", "-q"]));
    let mut both = [Series::default(), Series::default()];
    for _ in 0..rounds {
        stores.fill(State::Exhausted, posts).await?;
        for (series, program) in both.iter_mut().zip(&programs) {
            series.push(program.run()?);
        }
    }
    let [few, more] = both;
    add(report, "marking exhausted posts", posts, &few, &more);
    Ok(())
}

/// Passes that publish and report all posts.
async fn reported(env: &Environment, kind: Kind, report: &mut Report) -> BenchResult {
    let divisor = if kind == Kind::Sqlite { 4 } else { 1 };
    let posts = size("REPORT_POSTS", 1_000)? / divisor;
    let stores = Stores::new(env, kind, "reported").await?;
    stores.fill(State::Due, posts).await?;
    stores.make_indexes(env)?;
    let mut both = [Series::default(), Series::default()];
    for (series, program) in both.iter_mut().zip(stores.programs(&env.program.clone().args(&["run", "--json"]))) {
        series.push(program.run()?);
    }
    let (published, expected) = (env.take_published(), (1 + FACTOR) * posts);
    if published != expected {
        return Err(format!("{published} of {expected} posts were published").into());
    }
    let [few, more] = both;
    add(report, "publishing and reporting", posts, &few, &more);
    Ok(())
}
