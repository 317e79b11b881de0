//! 1, 2, 4 and 8 passes at the same time on one MongoDB, as so many hosts make them: how long all posts take, and how
//! often a pass tries to claim a post that another has already.
//!
//! `cargo bench --locked --bench hosts`. `HOSTS_POSTS` (2000) sets how many posts are due, `HOSTS_ROUNDS` (3) how often
//! each number of hosts runs. All processes share the cores of this machine.

use std::time::{Duration, Instant};

use postretry_bench_support::{
    BenchResult, Environment, Kind, Program, Report, Run, Series, State, per_second, run_part, size, to_f64,
};
use tokio::runtime::Runtime;

const HOSTS: [usize; 4] = [1, 2, 4, 8];

fn main() -> BenchResult {
    run_part(&[]).unwrap_or_else(|| Runtime::new()?.block_on(compare()))
}

/// What so many hosts have done together, in all rounds.
#[derive(Default)]
struct Together {
    series: Series,
    claims: usize,
    refused: usize,
    server_cpu: Duration,
}

async fn compare() -> BenchResult {
    let (posts, rounds) = (size("HOSTS_POSTS", 2_000)?, size("HOSTS_ROUNDS", 3)?);
    let env = Environment::start(env!("CARGO_BIN_EXE_postretry")).await?;
    env.make_video(20_000)?;
    let store = env.store(Kind::MongoDb, "hosts").await?;
    let program = env.program.on(&store).set("POST_RETRY_CONCURRENCY", "4");
    program.clone().args(&["run", "--limit", "0"]).run()?;
    // The log says what became of each claim.
    let pass = program.args(&["run", "-v"]);
    let mut all = HOSTS.map(|_| Together::default());
    for _ in 0..rounds {
        for (hosts, together) in HOSTS.into_iter().zip(&mut all) {
            store.clear().await?;
            store.fill(State::Due, posts).await?;
            let cpu = env.server_cpu().await?;
            let runs = run_together(&pass, hosts, &mut together.series)?;
            together.server_cpu += env.server_cpu().await?.saturating_sub(cpu);
            for line in runs.iter().flat_map(|run| run.stderr.lines()) {
                together.claims += usize::from(line.contains(": attempt ") && line.ends_with(" starts"));
                together.refused += usize::from(line.contains("not claimed"));
            }
            let (published, left) = (env.take_published(), store.count("failed").await?);
            if published != posts || left > 0 {
                return Err(format!("{hosts} hosts published {published} of {posts} posts and left {left}").into());
            }
        }
    }
    let mut report = Report::new(format!("MongoDB: {posts} due posts, no gap, 4 in flight for each host"));
    for (hosts, together) in HOSTS.into_iter().zip(&all) {
        let name = if hosts == 1 { "1 host".to_owned() } else { format!("{hosts} hosts") };
        report.compare(&name, &together.series, &all[0].series);
        let asked = together.claims + together.refused;
        report.note(format!(
            "{name}: {:.0} posts a second; {} of {asked} claims refused ({:.1} %); mongod took {:.1?} of CPU a round",
            per_second(posts, together.series.wall()),
            together.refused,
            100.0 * to_f64(together.refused) / to_f64(asked),
            together.server_cpu.div_f64(to_f64(rounds)),
        ));
    }
    report.note("CPU and peak are those of all hosts together");
    report.print();
    Ok(())
}

/// Starts so many passes at once and adds what they took together: the time until the last has ended.
fn run_together(pass: &Program, hosts: usize, series: &mut Series) -> BenchResult<Vec<Run>> {
    let started = Instant::now();
    let runs = std::thread::scope(|scope| {
        let hosts: Vec<_> = (0..hosts).map(|_| scope.spawn(|| pass.run())).collect();
        let ended = hosts.into_iter().map(|host| host.join().unwrap_or_else(|_| Err("a thread panicked".into())));
        ended.collect::<BenchResult<Vec<Run>>>()
    })?;
    series.push(Run {
        wall: started.elapsed(),
        cpu: runs.iter().map(|run| run.cpu).sum(),
        peak: runs.iter().map(|run| run.peak).sum(),
        stderr: String::new(),
    });
    Ok(runs)
}
