//! The upload of one large file to the loopback interface, as a YouTube video, beside `curl -T` and beside a bare
//! client of the same HTTP library that streams the same file.
//!
//! `cargo bench --locked --bench upload`. `UPLOAD_MIB` (1024) sets the size of the file, `UPLOAD_ROUNDS` (5) how often
//! each program runs. The file is a hole, and the server throws the bytes away: neither a disk nor a hash is measured.

mod sink;

use postretry_bench_support::{
    BenchResult, Environment, Kind, Part, Program, Report, Series, Store, http_client, on_path, run_part, size, to_f64,
};
use reqwest::Body;
use reqwest::header::CONTENT_LENGTH;
use rusqlite::Connection;
use tokio::runtime::Runtime;
use tokio_util::io::ReaderStream;

const PARTS: [Part; 1] = [("bare", |arguments| Runtime::new()?.block_on(stream(arguments)))];

/// How much the bare client reads at a time.
const PIECE: usize = 256 * 1024;

fn main() -> BenchResult {
    run_part(&PARTS).unwrap_or_else(|| Runtime::new()?.block_on(compare()))
}

async fn stream(arguments: &[String]) -> BenchResult {
    let [url, path] = arguments else { return Err("usage: bare URL FILE".into()) };
    let file = tokio::fs::File::open(path).await?;
    let bytes = file.metadata().await?.len();
    let body = Body::wrap_stream(ReaderStream::with_capacity(file, PIECE));
    let request = http_client()?.put(url).header(CONTENT_LENGTH, bytes).body(body);
    request.send().await?.error_for_status()?.bytes().await?;
    Ok(())
}

async fn compare() -> BenchResult {
    let (mebibytes, rounds) = (size("UPLOAD_MIB", 1024)?, size("UPLOAD_ROUNDS", 5)?);
    let env = Environment::start(env!("CARGO_BIN_EXE_postretry")).await?;
    let bytes = u64::try_from(mebibytes)? * 1024 * 1024;
    let video = env.make_video(bytes)?.display().to_string();
    let origin = format!("http://{}", sink::start()?);
    let store = env.store(Kind::Sqlite, "upload").await?;
    let pass = env
        .program
        .on(&store)
        .args(&["run", "-q"])
        .set("YOUTUBE_API_URL", origin.as_str())
        .set("GOOGLE_TOKEN_URL", format!("{origin}/token"));
    let url = format!("{origin}/bare");
    let bare = Program::part("bare")?.args(&[&url, &video]);
    // Without the header curl asks first whether it may send.
    let curl = on_path("curl")
        .map(|curl| Program::new(curl).args(&["-sS", "-o", "/dev/null", "-H", "Expect:", "-T", &video, &url]));
    let (mut of_pass, mut of_bare, mut of_curl) = (Series::default(), Series::default(), Series::default());
    for _ in 0..rounds {
        if let Some(curl) = &curl {
            of_curl.push(curl.run()?);
        }
        of_bare.push(bare.run()?);
        insert_post(&store)?;
        of_pass.push(pass.run()?);
        if store.count("posted").await? != 1 {
            return Err("the video was not published".into());
        }
    }
    let mut report = Report::new(format!("Upload of {mebibytes} MiB to the loopback interface"));
    for (name, base) in [("`curl -T`", &of_curl), ("bare client", &of_bare)] {
        if base.wall().is_zero() {
            report.note(format!("{name}: not on this machine"));
            continue;
        }
        report.base(name, base);
        report.compare("`run`, one video", &of_pass, base);
        report.note(format!(
            "`run` reaches {:.2} of {name}, with {:.2} times its CPU; {name} sends {:.0} MiB a second",
            base.ratio(&of_pass),
            of_pass.cpu().as_secs_f64() / base.cpu().as_secs_f64(),
            to_f64(mebibytes) / base.wall().as_secs_f64(),
        ));
    }
    report.print();
    Ok(())
}

/// One video that is due, and nothing else.
fn insert_post(store: &Store) -> BenchResult {
    let path = store.path().ok_or("the store is a file")?;
    let sql = "DELETE FROM posts; INSERT INTO posts (id, title, platform, status, content_type, video_path, failed_at) \
               VALUES ('large', 'A title', 'youtube_shorts', 'failed', 'video', 'a.mp4', '2020-01-01T00:00:00Z')";
    Ok(Connection::open(path)?.execute_batch(sql)?)
}
