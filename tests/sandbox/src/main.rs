//! The simulated platforms as a program, for a rehearsal of one's own.

use clap::{CommandFactory, Parser, Subcommand};
use postretry_sandbox::{Knobs, Sandbox};

/// TikTok, Instagram and `YouTube` as postretry sees them, on one port.
#[derive(Debug, Parser)]
#[command(
    name = "postretry-sandbox",
    version,
    about = "TikTok, Instagram and YouTube as postretry sees them, on one port",
    disable_help_subcommand = true
)]
struct Arguments {
    /// The port; 0 for a free one
    #[arg(long, default_value_t = 4280)]
    port: u16,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Print this help
    Help,
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "its output is what it is for")]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    if let Some(Command::Help) = arguments.command {
        return Arguments::command().print_help();
    }
    let sandbox = Sandbox::start_on(arguments.port).await?;
    // The limit on requests is TikTok's own here; the tests, which publish dozens of posts in a second, go without.
    sandbox.world().begin_with(Knobs { tiktok_window_ms: 60_000, ..Knobs::default() });
    println!("# The simulated platforms are at {}; settings for postretry:", sandbox.url());
    for (name, value) in sandbox.settings() {
        println!("{name}={value}");
    }
    tokio::signal::ctrl_c().await
}
