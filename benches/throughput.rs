//! Many due TikTok posts, beside a bare loop that makes the same requests and the same four writes for each post, with
//! as many in flight, against the same simulated platform and the same kind of store.
//!
//! `cargo bench --locked --bench throughput`. `THROUGHPUT_POSTS` (2000; for SQLite a quarter of it) sets how many posts
//! are due, `THROUGHPUT_ROUNDS` (3) how often each program runs. A video has 200 kB.

mod bare;

use std::time::Duration;

use postretry_bench_support::{
    BenchResult, Environment, Kind, Part, Program, Report, Series, State, Store, per_second, run_part, size, to_f64,
};
use tokio::runtime::Runtime;

const PARTS: [Part; 1] = [("bare", |arguments| Runtime::new()?.block_on(bare::publish_all(arguments)))];

const VIDEO: u64 = 200_000;

fn main() -> BenchResult {
    run_part(&PARTS).unwrap_or_else(|| Runtime::new()?.block_on(compare()))
}

async fn compare() -> BenchResult {
    let rounds = size("THROUGHPUT_ROUNDS", 3)?;
    let env = Environment::start(env!("CARGO_BIN_EXE_postretry")).await?;
    let video = env.make_video(VIDEO)?.display().to_string();
    for (kind, divisor) in [(Kind::MongoDb, 1), (Kind::Sqlite, 4)] {
        let posts = size("THROUGHPUT_POSTS", 2_000)? / divisor;
        let store = env.store(kind, "throughput").await?;
        // Both write to the same indexes.
        env.program.on(&store).args(&["run", "--limit", "0"]).run()?;
        let pass = env.program.on(&store).args(&["run", "-q"]);
        let bare = Program::part("bare")?.args(&[store.url(), &env.sandbox.url(), &env.token, &video]);
        let mut sides = [Side::of(&bare), Side::of(&pass)];
        for _ in 0..rounds {
            for side in &mut sides {
                side.take_turn(&env, &store, posts).await?;
            }
        }
        let [bare, pass] = &sides;
        let title = format!("{}: {posts} due TikTok posts of {} kB, no gap, 32 in flight", kind.name(), VIDEO / 1000);
        let mut report = Report::new(title);
        report.base("bare loop", &bare.series);
        report.compare("`run`", &pass.series, &bare.series);
        for (name, side) in [("bare loop", bare), ("`run`", pass)] {
            report.note(format!(
                "{name}: {:.0} posts a second; the server took {:.2?} of CPU a round",
                per_second(posts, side.series.wall()),
                side.server_cpu.div_f64(to_f64(rounds)),
            ));
        }
        report.note(format!("`run` reaches {:.2} of the bare loop", bare.series.ratio(&pass.series)));
        report.print();
    }
    Ok(())
}

/// One of the two.
struct Side<'a> {
    program: &'a Program,
    series: Series,
    server_cpu: Duration,
}

impl<'a> Side<'a> {
    fn of(program: &'a Program) -> Self {
        Self { program, series: Series::default(), server_cpu: Duration::ZERO }
    }

    async fn take_turn(&mut self, env: &Environment, store: &Store, posts: usize) -> BenchResult {
        store.clear().await?;
        store.fill(State::Due, posts).await?;
        let cpu = env.server_cpu().await?;
        self.series.push(self.program.run()?);
        self.server_cpu += env.server_cpu().await?.saturating_sub(cpu);
        let (published, left) = (env.take_published(), store.count("failed").await?);
        if published != posts || left > 0 {
            return Err(format!("{published} of {posts} posts were published, {left} are failed still").into());
        }
        Ok(())
    }
}
